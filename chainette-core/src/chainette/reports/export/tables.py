"""The tables of a run that can be exported, as lines."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from typing import Any, Literal, TypeAlias

from chainette.errors import ExportError
from chainette.folder.files import DROPPED, ERRORS, FLATTENED
from chainette.reports.codec import flatten
from chainette.reports.frames.chunks import Known, unknown
from chainette.reports.frames.from_schema import kind_in_step
from chainette.reports.frames.run_frames import RunFrames
from chainette.reports.stored.names import has_error
from chainette.reports.stored.run_folder import StoredRun
from chainette.text import did_you_mean

Lines: TypeAlias = Callable[[], Iterator[dict[str, Any]]]
Only: TypeAlias = Literal["ok", "failed"]
INTERNAL = ("snapshot", "members")
"""Fields of a node's lines that only a resumed run needs."""
ERROR = "error"
LAST = (ERROR, "partial", "dropped", "reason")
"""Columns that come last, since the first line may be that of a row that failed."""
_INTEGERS = 2**63


class Table:
    """A table, whose lines are read more than once, since its columns must be known first.

    A run that is going on adds lines. Once all have been read, no more are.

    Args:
        name: Its name.
        lines: Reads its lines.
        known: Says what kind a column has, if that is known before its values.
        run: The run whose flattened table it is.

    Attributes:
        name: The same.
        known: The same.
        rows: The number of lines; `None` before all have been read.
    """

    def __init__(
        self, name: str, lines: Lines, *, known: Known = unknown, run: StoredRun | None = None
    ) -> None:
        self.name: str = name
        self.known: Known = known
        self._run = run
        self.rows: int | None = None
        self._lines = lines

    def lines(self) -> Iterator[dict[str, Any]]:
        """Read the lines."""
        if self.rows is not None:
            yield from islice(self._lines(), self.rows)
            return
        rows = 0
        for line in self._lines():
            rows += 1
            yield line
        self.rows = rows

    def frames(self) -> RunFrames | None:
        """The table with the types of the chain's models; `None` if it is not the flattened one."""
        run = self._run
        if run is None:
            return None
        return RunFrames(
            self.lines,
            schemas=lambda: {id: run.schema(id) for id in run.node_ids},
            yielding=[id for id, it in run.nodes.items() if _is_in_rows(it)],
            node_ids=run.node_ids,
        )


def _is_in_rows(node: dict[str, Any]) -> bool:
    """Whether the flattened table has the outputs of a node."""
    return bool(node["yield_output"]) and "reduce" not in node


@dataclass(slots=True)
class Shape:
    """The columns of a table, and the number of its rows.

    Attributes:
        kinds: Kinds of values by column, in the order of their first appearance, and those of
            failures last: `bool`, `int`, `big` (beyond 64 bits), `float`, `text` and `json`.
        rows: The number of rows.
    """

    kinds: dict[str, set[str]] = field(default_factory=dict)
    rows: int = 0


_KINDS = {bool: "bool", float: "float", str: "text", dict: "json", list: "json"}


def kind_of(value: Any) -> str:
    """The kind of a JSON value that is not `None`; see `Shape`."""
    if type(value) is int:
        return "int" if -_INTEGERS <= value < _INTEGERS else "big"
    return _KINDS[type(value)]


def shape_of(table: Table) -> Shape:
    """Read a table once, to know its columns."""
    shape = Shape()
    kinds = shape.kinds
    for line in table.lines():
        shape.rows += 1
        for name, value in line.items():
            known = kinds.get(name)
            if known is None:
                known = kinds[name] = set()
            if value is not None:
                known.add(kind_of(value))
    shape.kinds = {name: kinds.get(name, set()) for name in _names(table, kinds)}
    return shape


def _names(table: Table, kinds: dict[str, set[str]]) -> list[str]:
    """The columns of a table: those that its lines have, and those that answers would have had."""
    frames = table.frames()
    promised = [] if frames is None else frames.names(kinds)
    unknown = [name for name in kinds if name not in promised and (kinds[name] or frames is None)]
    names = sorted((*promised, *unknown), key=lambda name: name.partition(".")[0] in LAST)
    return names or ["row_id"]


def flattened(lines: Lines, only: Only | None, run: StoredRun | None = None) -> Table:
    """The flattened table, or the part of it that went well or failed.

    Args:
        lines: Reads its lines.
        only: The rows that it has.
        run: The run whose models have the types of its columns.
    """
    taken = lines if only is None else partial(_only, lines, only)
    return Table(FLATTENED, taken, run=run)


def _only(lines: Lines, only: Only) -> Iterator[dict[str, Any]]:
    for line in lines():
        is_failed = has_error(line)
        if is_failed if only == "failed" else not (is_failed or line.get("dropped")):
            yield line


def chosen(
    run: StoredRun, *, step: str | None = None, groups: str | None = None, only: Only | None = None
) -> Table:
    """One table of a run.

    Args:
        run: The run.
        step: The node whose table it is; by default, the flattened one.
        groups: The `reduce` whose groups it has.
        only: The rows that it has: those that are `ok`, or those that `failed`.

    Raises:
        ExportError: There is no such table, or the choices do not fit together.
    """
    if step is not None and (groups is not None or only is not None):
        raise ExportError("a node's table has only its answers: give step without groups and only")
    if step is not None:
        _check("node", step, run.node_ids)
        return node_table(run, step)
    if groups is not None:
        _check("reduce", groups, run.reduce_ids)
        table = group_table(run, groups)
        return Table(table.name, flattened(table.lines, only).lines)
    return flattened(run.lines, only, run)


def _check(kind: str, id: str, known: list[str]) -> None:
    """Check that a run has what an id names.

    Raises:
        ExportError: It has not.
    """
    if id not in known:
        names = ", ".join(map(repr, known)) or "none"
        raise ExportError(
            f"the run has no {kind} with the id {id!r}{did_you_mean(id, known)}; it has {names}"
        )


def every_table(run: StoredRun, only: Only | None) -> list[Table]:
    """All tables of a run, the flattened one first; a node's name is its id."""
    tables = [flattened(run.lines, only, run)]
    tables += [node_table(run, id) for id in run.node_ids]
    tables += [group_table(run, id) for id in run.reduce_ids]
    return [
        *tables,
        Table(ERRORS.partition(".")[0], run.errors),
        Table(DROPPED.partition(".")[0], run.dropped),
    ]


def node_table(run: StoredRun, id: str) -> Table:
    """The table of one node."""
    return Table(id, partial(_node_lines, run, id), known=partial(kind_in_step, run.schema(id)))


def group_table(run: StoredRun, id: str) -> Table:
    """The table of the groups of a `reduce`."""
    return Table(f"groups_{id}", partial(_group_lines, run, id))


def _node_lines(run: StoredRun, id: str) -> Iterator[dict[str, Any]]:
    for line in run.step_lines(id):
        own = {name: value for name, value in line.items() if name not in INTERNAL}
        nested: dict[str, Any] = {
            name: own.pop(name) for name in ("output", "usage") if name in own
        }
        yield own | flatten(nested)


def _group_lines(run: StoredRun, id: str) -> Iterator[dict[str, Any]]:
    last = run.last_of_reduce(id)
    for line in run.groups(id):
        outputs = {last: line["output"]} if "output" in line else {}
        outputs |= line.get("outputs", {})
        error = {ERROR: line[ERROR]} if ERROR in line else {}
        names = ("key", "row_ids", "size", "item", "partial", "dropped", "reason")
        own = {name: line[name] for name in names if name in line}
        yield own | flatten(outputs | error, line.get("many", ()))
