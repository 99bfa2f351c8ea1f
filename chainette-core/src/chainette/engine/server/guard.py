"""Run a server for as long as another process holds stdin open; standard library only.

`python -m chainette.engine.server.guard -- COMMAND…` prints the server's process id on stdout and
sends its output to stderr. When stdin closes, as it does however the parent ends, the guard ends
the server's process group. When the server ends, the guard exits with its code.
"""

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import threading
import time

GRACE = 5.0  # seconds between asking the server to end and killing it


def main(command: list[str]) -> int:
    """Guard one server; return its exit code, 128 + N when signal N ended it."""
    try:
        server = _start(command)
    except OSError as error:
        sys.stderr.write(f"cannot start {command[0]}: {error.strerror}\n")
        return 127
    signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=_end, args=[server]).start())
    threading.Thread(target=_end_at_eof, args=[server], daemon=True).start()
    with contextlib.suppress(BrokenPipeError):  # the parent is gone already: see the thread
        os.write(1, f"{server.pid}\n".encode())
    code = server.wait()
    _end(server)  # the processes that the server has left behind
    return code if code >= 0 else 128 - code


def _start(command: list[str]) -> subprocess.Popen[bytes]:
    _prctl(36, 1)  # PR_SET_CHILD_SUBREAPER: we reap its orphans; a container has no other reaper
    # PR_SET_PDEATHSIG, if we are killed: SIGTERM lets the server end its workers, SIGKILL would not
    return subprocess.Popen(  # noqa: S603  the caller's own command, read by no shell
        command,
        stdin=subprocess.DEVNULL,
        stdout=sys.stderr.fileno(),
        start_new_session=True,
        preexec_fn=None if sys.platform == "win32" else lambda: _prctl(1, signal.SIGTERM),
    )


def _prctl(option: int, value: int) -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(option, value, 0, 0, 0)


def _end_at_eof(server: subprocess.Popen[bytes]) -> None:
    os.read(0, 1)  # nothing is ever written. sys.stdin's lock would be held when we exit
    _end(server)


def _end(server: subprocess.Popen[bytes]) -> None:
    number, deadline = int(signal.SIGTERM), time.monotonic() + GRACE
    while _signal_group(server, number) and number != signal.SIGKILL:
        time.sleep(0.02)
        number = 0 if time.monotonic() < deadline else signal.SIGKILL


def _signal_group(server: subprocess.Popen[bytes], number: int) -> bool:
    """Send a signal (0: test only) to the server's process group; False if the group is empty."""
    if sys.platform == "win32":  # which has no process groups
        return bool(server.terminate())
    with contextlib.suppress(ChildProcessError):
        while server.returncode is not None and os.waitpid(-server.pid, os.WNOHANG)[0]:
            pass  # an orphan of the server was reaped
    with contextlib.suppress(ProcessLookupError, PermissionError):  # the latter: zombies on macOS
        os.killpg(server.pid, number)
        return True
    return False


if __name__ == "__main__":
    sys.exit(main(sys.argv[sys.argv.index("--") + 1 :]))
