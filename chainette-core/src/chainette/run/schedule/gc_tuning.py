"""Tuning of Python's garbage collector during a run.

By default it looks for cycles whenever 700 more objects have been allocated than freed. A few dozen
rows in flight reach that number, so it would examine unfinished rows and every module again and
again. Objects without references are still freed at once; only cycles wait a little longer.
"""

from __future__ import annotations

import gc
import threading
from collections.abc import Iterator
from contextlib import contextmanager

OBJECTS = 20_000
"""Net allocations before the collector looks for cycles."""

_lock = threading.Lock()
_runs = 0
_before = (0, 0, 0)


@contextmanager
def relaxed() -> Iterator[None]:
    """Relax the collector during a run; the last run to end restores the earlier settings."""
    global _runs, _before
    with _lock:
        if not _runs:
            _before = gc.get_threshold()
            if 0 < _before[0] < OBJECTS:
                gc.set_threshold(OBJECTS, *_before[1:])
        _runs += 1
    try:
        yield
    finally:
        with _lock:
            _runs -= 1
            if not _runs and gc.get_threshold()[0] == OBJECTS:
                gc.set_threshold(*_before)
