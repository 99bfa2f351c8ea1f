"""The flattened table of a run as data of Arrow, pandas and Polars."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cached_property, partial
from itertools import groupby
from typing import Any

from chainette.errors import ConfigError
from chainette.reports.codec import MANY
from chainette.reports.frames.chunks import Lines, chunks, kinds_of, require_pyarrow, schema_of
from chainette.reports.frames.from_arrow import Origin, kind_of_arrow
from chainette.reports.frames.from_schema import kind_of
from chainette.reports.frames.kinds import Kind, Many, Nothing, Plain, Struct
from chainette.reports.stored.names import OWN, ColumnNames

_OWN: Mapping[str, type] = {"row_id": int, "partial": bool, "dropped": bool}
_FIRST = ("row_id", "item")
_logger = logging.getLogger(__name__)
Schemas = Callable[[], Mapping[str, Mapping[str, Any] | None]]


class RunFrames:
    """The flattened table of a run, with the types of its models and its inputs.

    Args:
        lines: Reads its lines.
        schemas: Makes the JSON schemas of the nodes' outputs.
        yielding: The ids of the nodes whose outputs are in the table, in the order of the chain.
        node_ids: The ids of all nodes.
        origin: What is known of the inputs.
        splits: Whether rows are split; `None` if only the lines tell it.
    """

    def __init__(
        self,
        lines: Lines,
        *,
        schemas: Schemas = dict,
        yielding: Sequence[str] = (),
        node_ids: Sequence[str] = (),
        origin: Origin | None = None,
        splits: bool | None = None,
    ) -> None:
        self._lines = lines
        self._schemas = schemas
        self._yielding = yielding
        self._names = ColumnNames(node_ids or yielding)
        self._ids = (*yielding, *(id for id in node_ids if id not in yielding))
        self._splits = splits
        self.origin: Origin = origin or Origin()

    def table(self, *, explode: bool = True) -> Any:
        """The table as a `pyarrow.Table`.

        Args:
            explode: Whether a row that was split has a line for each item.
        """
        import pyarrow as pa

        lines, kinds = self._columns(explode)
        return pa.concat_tables(chunks(lines, kinds))

    def stream(self, requested_schema: Any = None) -> Any:
        """The table as Arrow passes it from library to library, a chunk at a time."""
        import pyarrow as pa

        lines, kinds = self._columns(True)
        batches = (batch for table in chunks(lines, kinds) for batch in table.to_batches())
        reader = pa.RecordBatchReader.from_batches(schema_of(kinds), batches)
        return reader.__arrow_c_stream__(requested_schema)

    def chunks(self) -> Iterator[Any]:
        """The table as one or more tables of Arrow."""
        return chunks(*self._columns(True))

    def detached(self, lines: Lines) -> RunFrames:
        """The same table without the chain and the inputs, so that it can be pickled.

        Args:
            lines: Reads its lines.
        """
        return RunFrames(
            lines,
            schemas=partial(dict, self._all_schemas),
            yielding=self._yielding,
            node_ids=self._ids,
            origin=self.origin.detached(),
            splits=self._splits,
        )

    def names(self, seen: Iterable[str]) -> list[str]:
        """All columns in the order of the table, with those of nodes that gave no output.

        Args:
            seen: The columns that its lines have.
        """
        return [*self._ordered({it: self._known(it) or Plain(str) for it in seen}, self._known)]

    def is_input(self, name: str) -> bool:
        """Whether a column is from the inputs."""
        return self._names.input_column(name) is not None

    def input_names(self, columns: Sequence[str]) -> dict[str, str]:
        """The columns of the inputs that a table has, by the names that they have there."""
        found = {name: self._names.input_column(name) for name in columns}
        return {name: column for name, column in found.items() if column is not None}

    def _columns(self, explode: bool) -> tuple[Lines, dict[str, Kind]]:
        """The lines, and the kinds of their columns."""
        if explode or not self._is_split:
            return self._lines, self._kinds
        return self._merged, self._ordered(kinds_of(self._merged, self._known_list), self._list)

    @cached_property
    def _kinds(self) -> dict[str, Kind]:
        return self._ordered(kinds_of(self._lines, self._known), self._known)

    @property
    def _is_split(self) -> bool:
        return any("item" in it for it in self._lines()) if self._splits is None else self._splits

    @cached_property
    def _all_schemas(self) -> Mapping[str, Mapping[str, Any] | None]:
        return self._schemas()

    @cached_property
    def _input_types(self) -> dict[str, Any]:
        return self.origin.kinds()

    def _known(self, name: str) -> Kind | None:
        """The kind of a column, as far as it does not depend on its values."""
        if (column := self._names.input_column(name)) is not None:
            found = self._input_types.get(column)
            return None if found is None else kind_of_arrow(found)
        id, _, field = name.partition(".")
        if id.removesuffix(MANY) in OWN:
            kind = Plain(_OWN.get(name, str))
            return Many(kind) if name.endswith(MANY) else kind
        kind_of_node = kind_of(self._all_schemas.get(id.removesuffix(MANY)))
        if id.endswith(MANY) and kind_of_node is not None:
            return Many(kind_of_node)
        if isinstance(kind_of_node, Struct):
            return kind_of_node.column(field) if field else Nothing()
        return None if field else kind_of_node

    def _list(self, name: str) -> Kind | None:
        kind = self._known(name)
        return kind if kind is None or isinstance(kind, Nothing) else Many(kind)

    def _known_list(self, name: str) -> Kind | None:
        return self._known(name) if name == "row_id" or self.is_input(name) else self._list(name)

    def _ordered(
        self, kinds: dict[str, Kind], known: Callable[[str], Kind | None]
    ) -> dict[str, Kind]:
        """All columns in the order of the table, with those of nodes that gave no output."""
        if not kinds:  # no row tells which columns there would be
            kept = [it for it in self._input_types if self.origin.keeps(it)]
            kinds = {it: self._known(it) or Plain(str) for it in map(self._names.of_input, kept)}
        heads = {name.partition(".")[0] for name in kinds}
        empty = Plain(str) if known == self._known else Many(Plain(str))
        order = ["row_id", "item", *(name for name in kinds if self.is_input(name))]
        for id in self._yielding:
            kind = None if id + MANY in heads else kind_of(self._all_schemas.get(id))
            own = [f"{id}.{it}" for it in kind.names] if isinstance(kind, Struct) else [id]
            if isinstance(kind, Struct) or (kind is not None and not _has_fields(id, kinds)):
                kinds |= {it: known(it) or empty for it in own if it not in kinds}
                order += own
            order += [it for it in kinds if it.partition(".")[0] in (id, id + MANY)]
        places = {name: place for place, name in reversed([*enumerate([*order, *kinds])])}
        kinds.setdefault("row_id", Plain(int))
        names = sorted(kinds, key=lambda name: places.get(name, 0))
        return {it: kinds[it] for it in names if not isinstance(kinds[it], Nothing)}

    def _merged(self) -> Iterator[dict[str, Any]]:
        """The lines with all items of a row in one."""
        for _, group in groupby(self._lines(), key=lambda line: line["row_id"]):
            items = [*group]
            first = {it: v for it, v in items[0].items() if it == "row_id" or self.is_input(it)}
            others = dict.fromkeys(it for line in items for it in line if it not in first)
            yield first | {it: [line.get(it) for line in items] for it in others}


def _has_fields(id: str, columns: Iterable[str]) -> bool:
    """Whether a node's output is in columns for its fields, such as those of a dict."""
    return any(name.startswith(f"{id}.") for name in columns)


def arrow_of(frames: RunFrames) -> Any:
    """The table as a `pyarrow.Table`.

    Raises:
        ConfigError: The extra is not installed.
    """
    require_pyarrow("Arrow tables")
    return frames.table()


def polars_of(frames: RunFrames, *, explode: bool) -> Any:
    """The table as a data frame of Polars; see `Run.to_polars`.

    Raises:
        ConfigError: The extra is not installed.
    """
    require_pyarrow("Data frames of Polars", "polars")
    try:
        import polars as pl
    except ImportError:
        raise ConfigError(
            'Data frames of Polars need an extra: pip install "chainette[polars]"'
        ) from None
    frame = pl.DataFrame(frames.table(explode=explode))
    if frames.origin.library != "polars":
        return frame
    kinds = dict(zip(frames.origin.frame.columns, frames.origin.frame.dtypes, strict=True))
    for name, column in frames.input_names(frame.columns).items():
        kind = kinds.get(column)
        if kind is not None and kind != frame[name].dtype:
            try:
                frame = frame.with_columns(frame[name].cast(kind))
            except pl.exceptions.PolarsError:  # JSON has the values in another form
                continue
    return frame
