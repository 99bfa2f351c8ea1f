"""Python's garbage collector while a run goes on.

By default it looks for cycles whenever 700 objects have come and not gone, which a few dozen rows
in flight are enough for: it would look again and again at rows that are not done yet, and at every
module. What nothing refers to is freed at once all the same; only cycles wait a little longer.
"""

from __future__ import annotations

import gc
import threading
from collections.abc import Iterator
from contextlib import contextmanager

OBJECTS = 20_000
"""So many objects may come and not go."""

_lock = threading.Lock()
_runs = 0
_before = (0, 0, 0)


@contextmanager
def relaxed() -> Iterator[None]:
    """Around a run; the last one that ends puts back what was set before."""
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
