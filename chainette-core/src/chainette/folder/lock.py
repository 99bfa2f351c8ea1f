"""The lock of a run's folder: one run at a time.

The operating system holds it for the process, so that it is free after `kill -9` too.
"""

from __future__ import annotations

import json
import logging
import os
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime, timezone
from pathlib import Path

from chainette.errors import OutputDirError

LOCK = ".lock"
"""File in the folder; it says which process holds the lock."""
FAR = 1 << 30
"""Offset of the byte that is locked on Windows, where locked bytes cannot be read."""

_logger = logging.getLogger(__name__)


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the lock of a folder, which is created if necessary.

    Args:
        path: The folder.

    Raises:
        OutputDirError: Another run holds it, or the folder cannot be written.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
        descriptor = _acquire(path)
    except OSError as error:
        raise OutputDirError(f"{path}: cannot be written: {error.strerror}") from None
    try:
        yield
    finally:
        _release(path / LOCK, descriptor)


def is_held(path: Path) -> bool:
    """Whether a run holds the lock of a folder; of another computer's run, it is believed.

    The lock itself is not tried, so that no run that begins just then finds it taken.
    """
    try:
        holder = json.loads((path / LOCK).read_text(encoding="utf-8"))
        pid, host = int(holder["pid"]), holder["host"]
    except (OSError, ValueError, KeyError, TypeError):
        return False
    import psutil

    return host != socket.gethostname() or psutil.pid_exists(pid)


def _acquire(path: Path) -> int:
    file = path / LOCK
    while True:
        descriptor = os.open(file, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            if not _try_lock(descriptor, path):
                raise OutputDirError(
                    f"{path}: another run is writing to this folder{_holder(file)}; "
                    "let it finish, end it, or choose another folder"
                )
            if _is_at(file, descriptor):  # its last holder has not removed it meanwhile
                _sign(descriptor)
                return descriptor
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)


def _release(file: Path, descriptor: int) -> None:
    """Remove the file while the lock is held, unless it is another run's by now."""
    if sys.platform == "win32":  # an open file cannot be removed
        os.close(descriptor)
        with suppress(OSError):
            file.unlink()
        return
    with suppress(OSError):
        if _is_at(file, descriptor):
            file.unlink()
    os.close(descriptor)


def _try_lock(descriptor: int, path: Path) -> bool:
    """Whether the lock was free; a file system that has no locks is only warned about."""
    try:
        if sys.platform == "win32":
            import msvcrt

            os.lseek(descriptor, FAR, os.SEEK_SET)
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):
        return False
    except OSError as error:
        _logger.warning(
            "%s: cannot be locked (%s): make sure that no other run writes to it",
            path,
            error.strerror,
        )
    return True


def _is_at(file: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(file.stat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False


def _sign(descriptor: int) -> None:
    started = datetime.now(timezone.utc).isoformat(timespec="seconds")
    holder = {"pid": os.getpid(), "host": socket.gethostname(), "started": started}
    with suppress(OSError):  # on a full disk the lock still holds
        os.ftruncate(descriptor, 0)
        os.lseek(descriptor, 0, os.SEEK_SET)
        os.write(descriptor, json.dumps(holder).encode() + b"\n")


def _holder(file: Path) -> str:
    """The process that holds the lock, in brackets; it may be about to sign."""
    for _ in range(10):
        try:
            it = json.loads(file.read_text(encoding="utf-8"))
            return f" (process {it['pid']} on {it['host']}, since {it['started']})"
        except (OSError, ValueError, KeyError, TypeError):
            time.sleep(0.02)
    return ""
