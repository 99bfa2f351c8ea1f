"""Servers that are started before the runs that use them, and outlive the command that starts them.

Each has a record, a small JSON file without secrets. An engine with the same options finds the
server by its key instead of starting another one.
"""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import platformdirs

from chainette.atomic_file import replacing
from chainette.errors import EngineStartError

if TYPE_CHECKING:
    from chainette.engine.config import EngineConfig
    from chainette.engine.server.process import ServerProcess

GRACE = 10.0
"""Seconds that a server gets to end by itself."""


@dataclass(frozen=True, slots=True)
class WarmServer:
    """A server that runs independently of the programs that use it.

    Attributes:
        name: Name of the engine or backend that it was started for.
        backend: Name of the backend.
        key: Digest of the options that define the server.
        url: Its base URL.
        pid: Its process, or 0 for a container.
        created: Start time of the process, which tells it from a later one with the same number.
        container: Its container, or an empty string.
        log: File of its output, or an empty string.
    """

    name: str
    backend: str
    key: str
    url: str
    pid: int = 0
    created: float = 0.0
    container: str = ""
    log: str = ""

    @property
    def alive(self) -> bool:
        """Whether its process or container is still there."""
        if self.container:
            return _container_runs(self.container)
        import psutil

        try:
            process = psutil.Process(self.pid)
            zombie = process.status() == psutil.STATUS_ZOMBIE
            return not zombie and abs(process.create_time() - self.created) < 1
        except psutil.Error:
            return False

    def stop(self) -> None:
        """End the server with all its processes, and forget it."""
        if not self.alive:
            pass
        elif self.container:
            _docker("rm", "--force", self.container)
        else:
            _end_tree(self.pid)
        _record(self.name).unlink(missing_ok=True)


def warm_servers() -> list[WarmServer]:
    """The servers that run; records of servers that have ended are removed."""
    alive = []
    for server in _records():
        if server.alive:
            alive.append(server)
        else:
            server.stop()
    return alive


def find(config: EngineConfig) -> WarmServer | None:
    """The warm server of an engine's options, if one runs."""
    key = config.server_key
    return next((server for server in _records() if server.key == key and server.alive), None)


def keep(config: EngineConfig, server: ServerProcess) -> WarmServer:
    """Start a server that outlives this process, wait until it is healthy and record it.

    One that somebody else has started is left as it is, and not recorded.

    Raises:
        EngineStartError: It did not start.
    """
    import psutil

    server.outlives = True
    url = server.ensure_running()
    if server.pid is None:
        return WarmServer(config.name, config.backend, config.server_key, url)
    created = psutil.Process(server.pid).create_time()
    log = str(server.log_path)
    return record(
        WarmServer(
            config.name, config.backend, config.server_key, url, server.pid, created, log=log
        )
    )


def record(server: WarmServer) -> WarmServer:
    """Write a server's record, readable for this user alone."""
    import json

    path = _record(server.name)
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path, mode=0o600) as draft:
        draft.write_text(json.dumps(asdict(server)), encoding="utf-8")
    return server


def docker() -> str:
    """Path of the program `docker`.

    Raises:
        EngineStartError: It is not installed.
    """
    program = shutil.which("docker")
    if program is None:
        raise EngineStartError(
            "the program `docker` is not on PATH: install Docker to run the server in a "
            "container, or start it as a process, without Docker"
        )
    return program


def _records() -> Iterator[WarmServer]:
    for path in sorted(_folder().glob("*.json")):
        try:
            yield _read(path)
        except (OSError, ValueError, TypeError):  # of another version, or just removed
            continue


def _read(path: Path) -> WarmServer:
    import json

    return WarmServer(**json.loads(path.read_text(encoding="utf-8")))


def _folder() -> Path:
    return platformdirs.user_state_path("chainette", appauthor=False) / "servers"


def _record(name: str) -> Path:
    safe = "".join(c if c.isalnum() or c in "-_" else f"%{ord(c):x}" for c in name)
    return _folder() / f"{safe}.json"


def _container_runs(container: str) -> bool:
    if shutil.which("docker") is None:
        return False
    return _docker("inspect", "--format", "{{.State.Running}}", container).strip() == "true"


def _docker(*words: str) -> str:
    command = [docker(), *words]  # words that no shell reads
    return subprocess.run(command, check=False, capture_output=True, text=True).stdout  # noqa: S603


def _end_tree(pid: int) -> None:
    """End a process and all that it started: first ask, then kill."""
    import psutil

    parent = psutil.Process(pid)
    family = [parent, *parent.children(recursive=True)]
    parent.terminate()
    deadline = time.monotonic() + GRACE
    psutil.wait_procs([parent], timeout=GRACE)
    _, left = psutil.wait_procs(family, timeout=max(0.5, deadline - time.monotonic()))
    for process in left:
        process.kill()
    psutil.wait_procs(left, timeout=GRACE)
