"""Server processes start once, explain failed starts, and never outlive their parent."""

from __future__ import annotations

import http.client
import logging
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeAlias

import platformdirs
import psutil
import pytest
from chainette.engine.server import guard as server_guard
from chainette.engine.server import process as server_module
from chainette.engine.server.process import ServerProcess, server_process
from chainette.errors import EngineStartError

SERVER = """
import http.server, os, pathlib, signal, subprocess, sys, time
mode, where = sys.argv[1:]
(pathlib.Path(__file__).parent / "pids").open("a").write(f"{os.getpid()}\\n")
if mode == "crash":
    print("\\n".join(f"line {n}" for n in range(50)), file=sys.stderr)
    sys.exit(7)
if mode == "worker":  # a worker that the server leaves behind
    code = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(600)"
    worker = subprocess.Popen([sys.executable, "-c", code])
    (pathlib.Path(__file__).parent / "pids").open("a").write(f"{worker.pid}\\n")
if mode == "stubborn":
    signal.signal(signal.SIGTERM, signal.SIG_IGN)

class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200 if mode != "unhealthy" and self.path == "/health" else 503)
        self.send_header("Content-Length", "0")
        self.end_headers()

port = int(where) if where.isdigit() else 0
server = http.server.ThreadingHTTPServer(("127.0.0.1", port), Handler)
if not where.isdigit():
    draft = pathlib.Path(where + ".draft")
    draft.write_text(f"http://127.0.0.1:{server.server_port}/\\n")
    draft.rename(where)
print("serving", os.environ.get("GREETING", ""))
server.serve_forever()
"""

PARENT = """
import os, sys, time
sys.path[:0] = os.environ["TEST_PATH"].split(os.pathsep)
from chainette.engine.server import guard
from chainette.engine.server.process import server_process
guard.__file__ = os.environ["TEST_GUARD"]
server = server_process([sys.executable, *sys.argv[1:]], name="child")
url = server.ensure_running()
print(server.pid, flush=True)
"""


@pytest.fixture(autouse=True)
def log_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    return platformdirs.user_log_path("chainette", appauthor=False)


@pytest.fixture
def hasty_guard(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The guard, with less patience for a server that does not end."""
    text = Path(server_guard.__file__).read_text()
    hasty = re.sub(r"^GRACE = \S+", "GRACE = 0.5", text, flags=re.MULTILINE)
    assert hasty != text
    (tmp_path / "guard.py").write_text(hasty)
    monkeypatch.setattr(server_guard, "__file__", str(tmp_path / "guard.py"))


@pytest.fixture
def script(tmp_path: Path) -> Path:
    path = tmp_path / "serve.py"
    path.write_text(SERVER)
    return path


@pytest.fixture
def make(script: Path) -> Iterator[Callable[..., ServerProcess]]:
    servers = []

    def make(mode: str = "healthy", where: str = "{port}", **options: object) -> ServerProcess:
        command = [sys.executable, str(script), mode, where]
        servers.append(ServerProcess(command, **{"name": "toy", **options}))  # type: ignore[arg-type]
        return servers[-1]

    yield make
    for server in servers:
        server.stop()


def pids(script: Path) -> list[int]:
    """The processes that the script has started so far."""
    file = script.parent / "pids"
    return [int(line) for line in file.read_text().split()] if file.exists() else []


def alive(pid: int) -> bool:
    """Whether a process is running; a zombie is not."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    if sys.platform != "linux":
        return True
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return not stat.rpartition(")")[2].startswith(" Z")


def eventually(condition: Callable[[], object], seconds: float = 10) -> bool:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def status(url: str) -> int:
    connection = http.client.HTTPConnection(url.removeprefix("http://"), timeout=5)
    try:
        connection.request("GET", "/health")
        return connection.getresponse().status
    finally:
        connection.close()


def test_a_server_starts_and_answers(make, script, log_folder, caplog) -> None:
    caplog.set_level(logging.INFO, logger="chainette.engine.server.process")
    server = make(env={"GREETING": "hello from {port}"})
    assert (server.running, server.pid) == (False, None)
    url = server.ensure_running()
    assert url.startswith("http://127.0.0.1:")
    assert status(url) == 200
    assert server.running
    assert [server.pid] == pids(script)
    assert server.log_path.parent == log_folder
    assert server.log_path.stat().st_mode & 0o777 == 0o600
    assert eventually(lambda: f"hello from {url.rpartition(':')[2]}" in server.tail())
    starting, up = caplog.messages
    assert starting == f"starting toy (log: {server.log_path})"
    assert up.startswith(f"toy is up at {url} after ")


def test_a_running_server_is_not_started_again(make, script) -> None:
    server = make()
    assert server.ensure_running() == server.ensure_running()
    assert len(pids(script)) == 1


def test_health_checks_bypass_proxies(make, monkeypatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    assert status(make().ensure_running()) == 200


def test_the_server_may_report_its_own_address(make) -> None:
    server = make(where="{address_file}")
    url = server.ensure_running()
    assert status(url) == 200
    assert [path.suffix for path in server.log_path.parent.iterdir()] == [".log"]


def test_a_command_without_a_placeholder_for_the_address_is_refused(make) -> None:
    with pytest.raises(ValueError, match="give a port"):
        make(where="1234")


def test_the_same_command_and_environment_share_one_server(script) -> None:
    command = [sys.executable, str(script), "healthy", "{port}"]
    server = server_process(command, name="one")
    assert server_process(tuple(command), name="two", env={}) is server
    assert server_process(command, name="one", env={"A": "b"}) is not server


def test_concurrent_threads_share_one_server(make, script) -> None:
    server = make()
    with ThreadPoolExecutor(8) as pool:
        urls = set(pool.map(lambda _: server.ensure_running(), range(8)))
    assert len(urls) == 1
    assert len(pids(script)) == 1


def test_threads_that_wait_for_a_failing_start_fail_with_it(make, script) -> None:
    server = make("unhealthy", startup_timeout=1)

    def failure(_: int) -> str:
        with pytest.raises(EngineStartError) as exc_info:
            server.ensure_running()
        return str(exc_info.value)

    with ThreadPoolExecutor(4) as pool:
        assert len(set(pool.map(failure, range(4)))) == 1
    assert len(pids(script)) == 1
    with pytest.raises(EngineStartError):  # a later call tries again
        server.ensure_running()
    assert len(pids(script)) == 2


def test_stop_ends_every_process_and_frees_the_port(make) -> None:
    server = make()
    url = server.ensure_running()
    pid, guard = server.pid, server._guard.pid
    server.stop()
    server.stop()
    for process in (pid, guard):
        with pytest.raises(ProcessLookupError):
            os.kill(process, 0)
    with pytest.raises(ConnectionRefusedError):
        status(url)
    assert (server.running, server.pid) == (False, None)


def test_a_stopped_server_can_be_started_again(make, script) -> None:
    server = make()
    server.ensure_running()
    first_log = server.log_path
    server.stop()
    assert status(server.ensure_running()) == 200
    assert len(pids(script)) == 2
    assert server.log_path != first_log


def test_stop_interrupts_a_start(make) -> None:
    server = make("unhealthy")
    with ThreadPoolExecutor(1) as pool:
        start = pool.submit(server.ensure_running)
        assert eventually(lambda: server.pid)
        server.stop()
        with pytest.raises(EngineStartError, match="stopped while it started"):
            start.result()
    assert not server.running


def test_a_failed_start_quotes_the_command_and_the_end_of_the_log(make, script) -> None:
    server = make("crash")
    with pytest.raises(EngineStartError) as exc_info:
        server.ensure_running()
    lines = str(exc_info.value).splitlines()
    assert lines[0] == "toy did not start: it ended with exit code 7"
    assert lines[1].startswith(f"command: {sys.executable} {script} crash ")
    assert lines[2] == f"last lines of {server.log_path}:"
    assert lines[3:] == [f"line {n}" for n in range(30, 50)]
    assert exc_info.value.engine == "toy"
    assert not server.running


def test_a_missing_program_is_named() -> None:
    server = ServerProcess(["no-such-program", "{port}"], name="toy")
    with pytest.raises(EngineStartError, match="cannot start no-such-program: No such file"):
        server.ensure_running()


def test_a_server_that_does_not_become_healthy_is_stopped(make, script) -> None:
    server = make("unhealthy", startup_timeout=0.5)
    with pytest.raises(EngineStartError, match=r"not healthy after 0\.5 s"):
        server.ensure_running()
    assert not alive(pids(script)[0])


def test_secrets_of_the_command_are_not_quoted(script) -> None:
    code = "import os, sys; print(sys.argv, os.environ['TOY_TOKEN']); sys.exit(1)"
    command = [sys.executable, "-c", code, "{port}", "--api-key", "sk-123456", "--key=sk-abcdef"]
    server = ServerProcess(command, name="toy", env={"TOY_TOKEN": "tok-123456"})
    with pytest.raises(EngineStartError) as exc_info:
        server.ensure_running()
    assert "--api-key" in str(exc_info.value)
    for secret in ("sk-123456", "sk-abcdef", "tok-123456"):
        assert secret not in str(exc_info.value)


def test_passwords_of_proxies_are_not_in_error_messages(make, monkeypatch) -> None:
    """Ollama writes its environment into its log when it starts."""
    monkeypatch.setenv("https_proxy", "http://me:pass-123456@127.0.0.1:9")
    server = make("crash", env={"GREETING": "x"})
    os.close(server._open_log())
    server.log_path.write_text("config HTTPS_PROXY:http://me:pass-123456@127.0.0.1:9")
    assert server.tail() == "config HTTPS_PROXY:http://me:***@127.0.0.1:9"


def test_another_port_is_tried_when_the_first_is_in_use(make, script, monkeypatch) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        free = server_module.free_port()
        ports = iter([other.getsockname()[1], free])
        monkeypatch.setattr(server_module, "free_port", lambda: next(ports))
        assert make().ensure_running() == f"http://127.0.0.1:{free}"
    assert len(pids(script)) == 2


def test_a_configured_port_that_is_in_use_is_an_error(make, script) -> None:
    port = int(make().ensure_running().rpartition(":")[2])
    found = rf"port {port} is in use by another program \({psutil.Process().name()}, process \d+\)"
    with pytest.raises(EngineStartError, match=found):
        make(port=port).ensure_running()
    assert len(pids(script)) == 1


def test_a_server_that_may_be_shared_is_used_and_left_as_it_is(make, script) -> None:
    url = make().ensure_running()
    other = make(port=int(url.rpartition(":")[2]), shared=True)
    assert other.ensure_running() == url
    assert (other.running, other.pid) == (False, None)
    other.stop()
    assert status(url) == 200
    assert len(pids(script)) == 1


def test_two_that_start_a_shared_server_at_once_come_to_have_one(make) -> None:
    port = server_module.free_port()
    servers = [make(port=port, shared=True) for _ in range(2)]
    with ThreadPoolExecutor(2) as pool:
        urls = {*pool.map(lambda server: server.ensure_running(), servers)}
    assert urls == {f"http://127.0.0.1:{port}"}
    assert eventually(lambda: sum(server.running for server in servers) == 1)
    assert {server.ensure_running() for server in servers} == urls


def test_a_server_that_died_is_started_again(make, script, caplog) -> None:
    server = make()
    server.ensure_running()
    log, pid = server.log_path, server.pid
    assert eventually(lambda: "serving" in server.tail())
    os.kill(pid, signal.SIGKILL)
    assert eventually(lambda: not server.running)
    assert status(server.ensure_running()) == 200
    (warning,) = [each.getMessage() for each in caplog.records if each.levelname == "WARNING"]
    last = f"ended with exit code 137 and is started again; last lines of {log}:\nserving"
    assert last in warning
    assert [server.pid] == pids(script)[1:]


def test_a_server_that_ignores_sigterm_is_killed(hasty_guard, make) -> None:
    server = make("stubborn")
    server.ensure_running()
    pid = server.pid
    server.stop()
    assert not alive(pid)


def test_workers_that_the_server_leaves_behind_are_stopped(hasty_guard, make, script) -> None:
    server = make("worker")
    server.ensure_running()
    server.stop()
    assert len(pids(script)) == 2
    assert eventually(lambda: not any(alive(pid) for pid in pids(script)))


@pytest.mark.skipif(sys.platform != "linux", reason="needs the signal for a parent's death")
def test_a_server_whose_guard_is_killed_ends(make) -> None:
    server = make()
    server.ensure_running()
    pid = server.pid
    server._guard.kill()
    assert eventually(lambda: not alive(pid))
    assert eventually(lambda: not server.running)
    assert status(server.ensure_running()) == 200


def test_a_stubborn_server_whose_guard_is_killed_ends_with_stop(make) -> None:
    server = make("stubborn")
    server.ensure_running()
    pid = server.pid
    server._guard.kill()
    server.stop()
    assert eventually(lambda: not alive(pid))


Parent: TypeAlias = "subprocess.Popen[str]"


def start_parent(script: Path, ending: str, mode: str = "healthy") -> tuple[Parent, int]:
    """Start a program that starts a server and then runs `ending`; return it and the server PID."""
    program = script.with_name("parent.py")
    program.write_text(PARENT + ending)
    parent = subprocess.Popen(
        [sys.executable, program, script, mode, "{address_file}"],
        env={
            **os.environ,
            "TEST_PATH": os.pathsep.join(sys.path),
            "TEST_GUARD": str(server_guard.__file__),
        },
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert parent.stdout is not None
    return parent, int(parent.stdout.readline())


@pytest.mark.parametrize(
    "ending",
    ["", "raise RuntimeError", "sys.exit(3)", "os._exit(3)", "os.kill(os.getpid(), 11)"],
    ids=["exit", "exception", "sys.exit", "os._exit", "segfault"],
)
def test_the_server_ends_with_its_parent(script: Path, ending: str) -> None:
    parent, pid = start_parent(script, ending)
    with parent:
        parent.wait(20)
    assert eventually(lambda: not alive(pid))


@pytest.mark.parametrize(
    ("number", "mode"),
    [
        (signal.SIGTERM, "healthy"),
        (signal.SIGINT, "healthy"),
        (signal.SIGKILL, "healthy"),
        (signal.SIGKILL, "stubborn"),
    ],
)
def test_the_server_ends_when_its_parent_is_killed(
    hasty_guard: None, script: Path, number: int, mode: str
) -> None:
    parent, pid = start_parent(script, "time.sleep(600)", mode)
    with parent:
        assert alive(pid)
        parent.send_signal(number)
        parent.wait(20)
    assert eventually(lambda: not alive(pid))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_child_does_not_touch_the_parents_server(script: Path) -> None:
    ending = """
child = os.fork()
same = server_process(server.command, name="child") is server
line = f"{os.getpid()} {same} {server.running} {server.pid}\\n"
os.write(1, line.encode())  # at once, since both processes write
if not child:
    server.stop()
    print(server.ensure_running() != url, server.pid, flush=True)
    sys.exit()
assert os.waitpid(child, 0)[1] == 0
print(server.running, server.pid, flush=True)
sys.stdin.read()
"""
    parent, pid = start_parent(script, ending)
    with parent:
        assert parent.stdout is not None
        lines = [parent.stdout.readline().split() for _ in range(4)]
        assert [str(parent.pid), "True", "True", str(pid)] in lines
        assert [line[1:] for line in lines if line[0].isdigit() and line[0] != str(parent.pid)] == [
            ["False", "False", "None"]
        ]
        assert lines[3] == ["True", str(pid)]
        (own,) = {int(line[1]) for line in lines if line[0] == "True"} - {pid}
        assert eventually(lambda: not alive(own))
        assert alive(pid)
        parent.communicate()
    assert not alive(pid)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_child_does_not_keep_the_server_of_a_killed_parent(script: Path) -> None:
    ending = """
child = os.fork()
if child:
    print(child, flush=True)
time.sleep(600)
"""
    parent, pid = start_parent(script, ending)
    with parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        parent.kill()
        try:
            assert eventually(lambda: not alive(pid))
            assert alive(child)
        finally:
            os.kill(child, signal.SIGKILL)


def test_only_the_newest_logs_are_kept(make, log_folder: Path) -> None:
    log_folder.mkdir(parents=True)
    for number in range(30):
        old = log_folder / f"toy-1-{number}.log"
        old.touch()
        os.utime(old, (number, number))
    (log_folder / "notes.txt").touch()
    server = make()
    server.ensure_running()
    kept = {path.name for path in log_folder.iterdir()}
    newest = {f"toy-1-{number}.log" for number in range(11, 30)}
    assert kept == {*newest, server.log_path.name, "notes.txt"}


def test_a_log_that_cannot_be_written_is_an_error_that_names_it(make, log_folder: Path) -> None:
    log_folder.parent.mkdir(parents=True)
    log_folder.write_text("a file where the folder should be")
    with pytest.raises(EngineStartError, match=f"its log cannot be written: .*{log_folder}"):
        make().ensure_running()


def test_the_name_of_a_server_cannot_leave_the_log_folder(make, log_folder: Path) -> None:
    server = make(name="../../toy model:8b")
    server.ensure_running()
    assert server.log_path.parent == log_folder


def test_the_guard_exits_with_the_servers_code() -> None:
    guard = [sys.executable, "-m", "chainette.engine.server.guard", "--", sys.executable, "-c"]
    for code, expected in [
        ("raise SystemExit(5)", 5),
        ("import os; os.kill(os.getpid(), 9)", 137),
    ]:
        with subprocess.Popen([*guard, code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as run:
            assert run.wait(20) == expected


def test_a_terminated_guard_ends_its_server(make) -> None:
    server = make()
    server.ensure_running()
    pid = server.pid
    server._guard.terminate()
    assert eventually(lambda: not alive(pid))
    assert eventually(lambda: not server.running)


def test_the_guard_needs_only_the_standard_library() -> None:
    code = f"import runpy; runpy.run_path({server_guard.__file__!r})"
    subprocess.run([sys.executable, "-I", "-S", "-c", code], check=True, timeout=20)


def test_a_server_does_not_leave_threads_behind(make) -> None:
    before = threading.active_count()
    make().ensure_running()
    assert threading.active_count() == before
