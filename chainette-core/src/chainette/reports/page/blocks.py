"""Rows as compressed blocks of a page: columns that are read at once, and rows that are opened."""

from __future__ import annotations

import re
import zlib
from base64 import b64encode
from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import cycle
from operator import is_not
from typing import Any, BinaryIO

from typing_extensions import Self

from chainette.folder.lines import encoded
from chainette.reports.page.document import Row

CHUNK = 10_000
"""Rows whose columns are in one block."""
BLOCK = 400
"""Rows that are opened from one block."""
CELL = 40
"""Characters of a text in a column; all of it is there where the row is opened."""
LEVELS = (6, 5)
"""Levels of compression, in turns: the lower one takes half of the time, and 6 % more room."""
THREADS = 2
"""With one, it would wait for its turn while the rows are read."""
WAITING = 8
_NOT_FINITE = re.compile(rb'"(?:[^"\\]|\\.)*"|(?P<number>-?(?:NaN|Infinity))')
"""Texts, which are left as they are, and numbers that JSON does not have."""


class Blocks:
    """Blocks of a page that are compressed beside the work, and written in their order.

    Args:
        file: Receives the blocks as elements.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._pool = ThreadPoolExecutor(THREADS, thread_name_prefix="chainette-page")
        self._waiting: deque[Future[bytes]] = deque()
        self._levels = cycle(LEVELS)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        if kind is None:
            while self._waiting:
                self._write()
        self._pool.shutdown(cancel_futures=True)

    def add(self, id: str, content: bytes) -> None:
        """Add a block; its content is JSON."""
        self._waiting.append(self._pool.submit(_element, id, content, next(self._levels)))
        if len(self._waiting) > WAITING:
            self._write()

    def _write(self) -> None:
        self._file.write(self._waiting.popleft().result())


def _element(id: str, content: bytes, level: int) -> bytes:
    not_finite = b"null" if id.startswith("c") else rb'"\g<number>"'
    packed = b64encode(zlib.compress(_strict(content, not_finite), level))
    return b'<script type="text/plain" id="%b">%b</script>\n' % (id.encode(), packed)


def _strict(content: bytes, not_finite: bytes) -> bytes:
    """JSON without `NaN` and infinity, which browsers refuse (RFC 8259, 6)."""
    if b"NaN" not in content and b"Infinity" not in content:
        return content
    return _NOT_FINITE.sub(
        lambda found: found.expand(not_finite) if found["number"] else found[0], content
    )


class TableBlocks:
    """The blocks of a table.

    Args:
        columns: Receives the blocks of columns.
        rows: Receives the blocks of rows.

    Attributes:
        count: Rows so far.
    """

    def __init__(self, columns: Blocks, rows: Blocks) -> None:
        self._columns, self._rows = columns, rows
        self._values: list[Sequence[Any]] = []
        self._parts: list[bytes] = []
        self.count: int = 0

    def add(self, row: Row) -> None:
        """Add a row."""
        self._values.append(row.values)
        self._parts.append(row.parts)
        self.count += 1
        if len(self._parts) == BLOCK:
            self._end_block()
            if not self.count % CHUNK:
                self._end_chunk()

    def end(self) -> None:
        """Add what is left."""
        if self._parts:
            self._end_block()
        if self._values:
            self._end_chunk()

    def _end_block(self) -> None:
        id = f"d{(self.count - 1) // BLOCK}"
        self._rows.add(id, b"[%b]" % b",\n".join(self._parts))
        self._parts.clear()

    def _end_chunk(self) -> None:
        columns = [_cells(column) for column in zip(*self._values, strict=True)]
        cut = [index for index, (_, is_cut) in enumerate(columns) if is_cut]
        content = {"columns": [values for values, _ in columns], "cut": cut}
        self._columns.add(f"c{(self.count - 1) // CHUNK}", encoded(content))
        self._values.clear()


def _cells(values: Sequence[Any]) -> tuple[Sequence[Any], bool]:
    """The values of a column as they are in the table, and whether one of them was cut."""
    kinds = {*map(type, values)}
    if not kinds & {str, list, dict}:
        return values, False
    if kinds == {str}:
        is_cut = max(map(len, values)) > CELL
        cut = [it if len(it) <= CELL else it[:CELL] + "…" for it in values] if is_cut else values
        return cut, is_cut
    cells = [*map(_cell, values)] if kinds & {list, dict} else values
    if str in kinds or cells is not values:
        short = [it[:CELL] + "…" if it.__class__ is str and len(it) > CELL else it for it in cells]
        return short, any(map(is_not, short, values))
    return cells, False


def _cell(value: Any) -> Any:
    """A list or an object; as JSON where it is long."""
    if value and value.__class__ in (list, dict):
        text = encoded(value)
        return value if len(text) <= 2 * CELL else text.decode() + " "
    return value
