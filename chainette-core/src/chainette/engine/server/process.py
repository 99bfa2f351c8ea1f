"""Server processes on loopback, as long-lived as the program that needs them.

A backend asks `server_process(command, name=…)` for its server and calls `ensure_running()` before
its requests. The server runs under a guard whose stdin is a pipe from this process: however this
process ends, `kill -9` included, the pipe closes and the guard ends the server.
"""

from __future__ import annotations

import atexit
import contextlib
import itertools
import logging
import os
import re
import shlex
import signal
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import platformdirs

from chainette.engine.client.secrets import Secrets
from chainette.engine.server import guard as server_guard
from chainette.engine.server.health import is_healthy
from chainette.engine.server.ports import free_port, is_free, listener
from chainette.engine.server.progress import announce
from chainette.errors import EngineStartError
from chainette.text import names_keywords

_logger = logging.getLogger(__name__)

KEPT_LOGS = 20
_PORT, _ADDRESS_FILE = "{port}", "{address_file}"
_SECRET_NAME = re.compile(r"(key|token|secret|password)$", re.IGNORECASE)
_ADDRESS_TAKEN = re.compile(r"address (is )?already in use|EADDRINUSE", re.IGNORECASE)
_log_numbers = itertools.count(1)


@names_keywords
class ServerProcess:
    """One server, started when it is first needed and ended with this process.

    Args:
        command: Program and arguments. In its words, `{port}` is replaced by the port, and
            `{address_file}` by a path: the server writes its base URL to that file, in one piece
            (write beside it, then rename), once it listens. A server that can choose its own port
            should do so, since no other program can then take the port first.
        name: Name of the server in messages and of its log file.
        env: Additional environment variables; the same two words are replaced in the values.
        health_path: Path that answers 200 once the server is ready.
        port: The port for `{port}`; 0 chooses a free one.
        startup_timeout: Seconds until the server must be healthy.
        shared: Whether a server that is healthy on `port` already serves as well, whoever started
            it.

    Attributes:
        outlives: Whether the server stays when this process ends; set it before the start.
        users: The objects that need the server; when the last one goes, the server stops.
    """

    outlives = False

    def __init__(
        self,
        command: Sequence[str],
        *,
        name: str,
        env: Mapping[str, str] | None = None,
        health_path: str = "/health",
        port: int = 0,
        startup_timeout: float = 120.0,
        shared: bool = False,
    ) -> None:
        self.command: list[str] = list(command)
        self.env: dict[str, str] = dict(env or {})
        self.name: str = name
        self.health_path: str = health_path
        self.port: int = port
        self.startup_timeout: float = startup_timeout
        self.shared: bool = shared
        text = "\n".join([*self.command, *self.env.values()])
        self._chooses_port = port == 0 and _PORT in text
        self._reports_address = _ADDRESS_FILE in text
        if not (port or self._chooses_port or self._reports_address):
            raise ValueError(f"{name}: give a port, or {_PORT} or {_ADDRESS_FILE} in the command")
        self._secrets = Secrets(*_secrets(self.command, self.env))
        self.users: weakref.WeakSet[object] = weakref.WeakSet()
        self._reset()
        _instances.add(self)

    def _reset(self) -> None:
        self._lock, self._cancelled = threading.RLock(), threading.Event()
        self._guard: subprocess.Popen[bytes] | None = None
        self._pid, self._url, self._shown_command = 0, "", ""
        self._failure: EngineStartError | None = None
        self._log_path = _next_log_path(self.name)

    @property
    def log_path(self) -> Path:
        """The file that the server's output goes to; every start has its own."""
        return self._log_path

    @property
    def running(self) -> bool:
        """Whether the server's process exists, healthy or not yet."""
        guard = self._guard
        return guard is not None and guard.poll() is None

    @property
    def pid(self) -> int | None:
        """Process id of the server while it runs."""
        return self._pid if self._pid and self.running else None

    def tail(self, lines: int = 20) -> str:
        """Return the last lines of the log, without the secrets of the command."""
        try:
            text = self._log_path.read_text(encoding="utf-8", errors="replace")
        except OSError:
            return ""
        return self._secrets.scrub("\n".join(text.splitlines()[-lines:]))

    @property
    def shown_command(self) -> str:
        """The command line, quoted for a shell, without its secrets."""
        return self._shown(self.command)

    def _shown(self, command: list[str]) -> str:
        return shlex.join(self._secrets.scrub(word) for word in command)

    def ensure_running(self) -> str:
        """Start the server unless it runs, wait until it is healthy and return its base URL.

        Blocks. Any number of threads may call it: one of them starts the server.

        Raises:
            EngineStartError: The server ended, or was not healthy in time; the message quotes its
                log.
        """
        failure = self._failure
        with self._lock:
            if self._url and self.running:
                return self._url
            if self._failure not in (None, failure):  # while we waited: don't fail once per thread
                raise EngineStartError(str(self._failure), engine=self.name)
            try:
                return self._start()
            except EngineStartError as error:
                self._failure = error
                raise

    def stop(self) -> None:
        """End the server and wait until it is gone; do nothing if it does not run."""
        self._cancelled.set()  # a start in another thread gives up and frees the lock
        with self._lock:
            self._end()
            self._cancelled.clear()

    def _start(self) -> str:
        self._tell_end()
        for last_attempt in (False, False, True):
            self._end()
            port = free_port() if self._chooses_port else self.port
            if self.port and not is_free(port):
                if url := self._other_url(port):
                    return url
                message = f"{self.name} did not start: port {port} is in use by another program"
                found = listener(port)
                message += f" ({found})" if found else ""
                raise EngineStartError(message, engine=self.name)
            try:
                return self._start_on(port)
            except EngineStartError:
                if url := self._other_url(port):  # another process was faster
                    return url
                is_taken = _ADDRESS_TAKEN.search(self.tail()) or not is_free(port)
                if last_attempt or not (self._chooses_port and is_taken):
                    raise
        raise AssertionError("the last attempt returns or raises")

    def _other_url(self, port: int) -> str:
        """The address of a server on the port that somebody else started, if it serves as well."""
        url = f"http://127.0.0.1:{port}"
        return url if self.shared and is_healthy(url, self.health_path) else ""

    def _tell_end(self) -> None:
        """Warn that a server has ended by itself, before it is started again."""
        if self._url and self._guard is not None and self._guard.returncode is not None:
            _logger.warning(
                "%s ended with exit code %d and is started again; last lines of %s:\n%s",
                *(self.name, self._guard.returncode, self._log_path, self.tail(5)),
            )

    def _start_on(self, port: int) -> str:
        start, pause, what = time.monotonic(), 0.05, f"starting {self.name}"
        log = self._open_log()
        address_file = self._log_path.with_suffix(".address")
        try:
            guard = self._spawn(port, log, address_file)
            while not (url := self._healthy_url(port, address_file)) or guard.poll() is not None:
                if guard.poll() is not None:
                    raise self._start_error(f"it ended with exit code {guard.returncode}")
                if time.monotonic() - start > self.startup_timeout:
                    raise self._start_error(f"not healthy after {self.startup_timeout:g} s")
                announce(what, f"{self.tail(1)[-100:]} (log: {self._log_path})")
                if self._cancelled.wait(pause):
                    raise self._start_error("it was stopped while it started")
                pause = min(0.5, 1.5 * pause)
        except BaseException:
            self._end()
            raise
        finally:
            announce(what, over=True)
            address_file.unlink(missing_ok=True)
        self._url = url
        _logger.info("%s is up at %s after %.1f s", self.name, url, time.monotonic() - start)
        return url

    def _spawn(self, port: int, log: int, address_file: Path) -> subprocess.Popen[bytes]:
        def filled(word: str) -> str:
            return word.replace(_PORT, str(port)).replace(_ADDRESS_FILE, str(address_file))

        command = [filled(word) for word in self.command]
        env = {name: filled(value) for name, value in self.env.items()}
        self._shown_command = self._shown(command)
        _logger.info("starting %s (log: %s)", self.name, self._log_path)
        if self.outlives:
            return self._spawn_alone(command, env, log)
        with open(log, "ab") as stderr:
            self._guard = guard = subprocess.Popen(  # noqa: S603  words that no shell reads
                # By its path and isolated, the guard is up in 20 ms and imports nothing of ours.
                [sys.executable, "-I", "-S", server_guard.__file__, "--", *command],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=stderr,
                env={"PYTHONUNBUFFERED": "1", **os.environ, **env},
                start_new_session=True,  # Ctrl-C is for us, who decide when the server ends
            )
        atexit.register(self.stop)
        assert guard.stdout is not None
        with guard.stdout:
            self._pid = int(guard.stdout.readline() or 0)
        return guard

    def _spawn_alone(
        self, command: list[str], env: dict[str, str], log: int
    ) -> subprocess.Popen[bytes]:
        """Start the server without a guard, so that only `stop` ends it."""
        with open(log, "ab") as output:
            try:
                self._guard = server = subprocess.Popen(  # noqa: S603  words that no shell reads
                    command,
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=output,
                    env={"PYTHONUNBUFFERED": "1", **os.environ, **env},
                    start_new_session=True,
                )
            except OSError as error:
                raise self._start_error(str(error)) from None
        self._pid = server.pid
        return server

    def _healthy_url(self, port: int, address_file: Path) -> str:
        url = f"http://127.0.0.1:{port}"
        try:
            if self._reports_address:
                url = address_file.read_text(encoding="utf-8").strip().rstrip("/")
        except OSError:
            return ""
        return url if is_healthy(url, self.health_path) else ""

    def _end(self) -> None:
        guard, server, self._guard, self._pid, self._url = self._guard, self._pid, None, 0, ""
        if guard is None:
            return
        atexit.unregister(self.stop)
        if guard.stdin is None:  # the server itself, without a guard
            guard.terminate()
        else:
            guard.stdin.close()
        try:
            guard.wait(2 * server_guard.GRACE + 5)
        except subprocess.TimeoutExpired:
            guard.kill()
        if guard.wait() < 0 and server and sys.platform != "win32":  # the guard was killed
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(server, signal.SIGKILL)

    def _start_error(self, reason: str) -> EngineStartError:
        return EngineStartError(
            f"{self.name} did not start: {reason}\ncommand: {self._shown_command}\n"
            f"last lines of {self._log_path}:\n{self.tail()}",
            engine=self.name,
        )

    def _open_log(self) -> int:
        try:
            self._log_path.parent.mkdir(parents=True, exist_ok=True)
            while self._log_path.exists():
                self._log_path = _next_log_path(self.name)
            log = os.open(self._log_path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_EXCL, 0o600)
        except OSError as error:
            message = f"{self.name} did not start: its log cannot be written: {error}"
            raise EngineStartError(message, engine=self.name) from error
        with contextlib.suppress(FileNotFoundError):  # another process does the same
            logs = sorted(self._log_path.parent.glob("*-*-*.log"), key=os.path.getmtime)
            for old in logs[:-KEPT_LOGS]:
                old.unlink()
        return log


_instances: weakref.WeakSet[ServerProcess] = weakref.WeakSet()
_registry: dict[object, ServerProcess] = {}
_registry_lock = threading.Lock()


def server_process(
    command: Sequence[str],
    *,
    name: str,
    env: Mapping[str, str] | None = None,
    health_path: str = "/health",
    port: int = 0,
    startup_timeout: float = 120.0,
    shared: bool = False,
) -> ServerProcess:
    """This process's server with that command, environment and port, started or not.

    The arguments are those of `ServerProcess`. If calls differ in the other arguments, the first
    call decides.
    """
    key = (tuple(command), frozenset((env or {}).items()), port)
    with _registry_lock:
        if key not in _registry:
            _registry[key] = ServerProcess(
                command,
                name=name,
                env=env,
                health_path=health_path,
                port=port,
                startup_timeout=startup_timeout,
                shared=shared,
            )
        return _registry[key]


def _disown_all() -> None:
    """Forget the parent's servers, in a child created by fork."""
    global _registry_lock
    _registry_lock = threading.Lock()
    _registry.clear()
    for server in list(_instances):
        if (guard := server._guard) and guard.stdin:
            guard.stdin.close()  # or the server would live on with us when the parent ends
            guard.returncode = 0  # not ours to wait for
        server._reset()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_disown_all)


def _secrets(command: Sequence[str], env: Mapping[str, str]) -> Iterable[str]:
    for word, following in zip(command, [*command[1:], ""], strict=True):
        option, _, value = word.partition("=")
        if _SECRET_NAME.search(option) and (value or option.startswith("-")):
            yield value or following
    yield from (value for name, value in env.items() if _SECRET_NAME.search(name))
    for name, value in os.environ.items():  # of proxies, which servers write into their logs
        if name.lower().endswith("_proxy") and "@" in value:
            yield value.rpartition("@")[0].rpartition("/")[2].partition(":")[2]


def _next_log_path(name: str) -> Path:
    safe = re.sub(r"[^\w.-]", "_", name)
    folder = platformdirs.user_log_path("chainette", appauthor=False)
    return folder / f"{safe}-{os.getpid()}-{next(_log_numbers)}.log"
