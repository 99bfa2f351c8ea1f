"""A finished run."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, Literal, TypeVar, overload

from chainette.errors import OutputDirError
from chainette.pipeline.composites.reduce import Reduce
from chainette.pipeline.nodes.flow import Out
from chainette.pipeline.nodes.node import Node
from chainette.remote.address import shown
from chainette.reports.frames.chunks import require_pyarrow
from chainette.reports.frames.run_frames import RunFrames, arrow_of, polars_of
from chainette.reports.groups import GroupResult
from chainette.reports.result import Output, Result
from chainette.text import did_you_mean, names_keywords
from chainette.usage import Usage

if TYPE_CHECKING:
    import pandas as pd
    import polars as pl
    import pyarrow as pa

    from chainette.reports.comparing.difference import Difference

TargetT = TypeVar("TargetT", str, Path)
_logger = logging.getLogger(__name__)


def total_cost(costs: Mapping[str, Decimal | None]) -> Decimal | None:
    """The sum of costs, or `None` if one of them is unknown."""
    known = [cost for cost in costs.values() if cost is not None]
    return sum(known, Decimal(0)) if len(known) == len(costs) else None


@dataclass(frozen=True, slots=True)
class Counts:
    """The numbers of rows.

    Attributes:
        rows: Input rows that were taken.
        ok: Rows that went through all steps.
        partial: Rows that have a value, and of which an item or a branch failed.
        dropped: Rows that functions dropped.
        failed: Rows without a value, because something failed.
        tolerated: Failures that the chain tolerates; their rows go on.
        groups: Groups that were made of the rows.
        failed_groups: Groups of which something failed.
        dropped_groups: Groups that functions dropped.
    """

    rows: int = 0
    ok: int = 0
    partial: int = 0
    dropped: int = 0
    failed: int = 0
    tolerated: int = 0
    groups: int = 0
    failed_groups: int = 0
    dropped_groups: int = 0

    @property
    def unfinished(self) -> int:
        """Rows of which something failed: the failed and the partial ones."""
        return self.failed + self.partial


@dataclass(frozen=True, slots=True)
class ItemCounts:
    """The numbers of items of a function.

    Attributes:
        taken: Items that it has finished.
        given: Items that it gave: several for one that it split, none for one that it dropped.
        dropped: Items that it dropped, or split into nothing.
    """

    taken: int
    given: int
    dropped: int = 0

    def as_dict(self) -> dict[str, int]:
        """The numbers under the names of `run.json`."""
        return {"in": self.taken, "out": self.given, "dropped": self.dropped}


@names_keywords
@dataclass(frozen=True, slots=True)
class Run(Generic[Out]):
    """A finished run.

    Attributes:
        results: One `Result` for each input row, in input order.
        counts: The numbers of rows.
        usage: Tokens by step id.
        seconds: Duration.
        path: The run's folder, or `None`.
        costs: US dollars by step id: 0 for models on this machine, `None` where they are unknown.
        interrupted: Whether a signal ended it early.
        signal: The number of that signal, such as `signal.SIGINT` for Ctrl-C, or `None`.
        stopped: The reason why it was stopped before all rows were done, or `None`; it can be
            resumed.
        lines: Reads the lines of the flattened table; see `to_arrow`.
        group_results: The groups by the nodes that work on them; see `groups`.
        node_ids: The ids of the chain's nodes.
        frames: The flattened table as data frames; see `to_pandas`.
        items: The numbers of items by function, of those that split or drop items.
        nothing_to_do: Whether the run that was resumed had an end for every row, so that nothing
            ran.
    """

    results: Sequence[Result[Out]]
    counts: Counts
    usage: dict[str, Usage] = field(default_factory=dict)
    seconds: float = 0.0
    path: Path | None = None
    costs: Mapping[str, Decimal | None] = field(default_factory=dict)
    interrupted: bool = False
    signal: int | None = None
    stopped: Exception | None = None
    lines: Callable[[], Iterator[dict[str, Any]]] = field(default=lambda: iter(()), repr=False)
    frames: RunFrames | None = field(default=None, repr=False, compare=False)
    nothing_to_do: bool = False
    node_ids: Collection[str] = field(default=(), repr=False)
    items: Mapping[str, ItemCounts] = field(default_factory=dict, repr=False)
    group_results: Mapping[str, Sequence[GroupResult[Any]]] = field(
        default_factory=dict, repr=False
    )

    @overload
    def groups(self, node: Reduce[Any, Output]) -> Sequence[GroupResult[Output]]: ...
    @overload
    def groups(self, node: Node[Any, Output]) -> Sequence[GroupResult[Output]]: ...
    @overload
    def groups(self, node: str) -> Sequence[GroupResult[Any]]: ...
    def groups(self, node: Any) -> Any:
        """The results of the groups of a `reduce`, in the order of their first rows.

        Args:
            node: The `reduce`, its id, or a node behind it, whose outputs are the values then.

        Returns:
            One result for each group. There are none if the run ended before all of its rows.

        Raises:
            KeyError: The node does not work on groups, or there is none of that id.
        """
        id = node if isinstance(node, str) else str(node.id)
        if id not in self.group_results:
            known = ", ".join(map(repr, self.group_results)) or "none"
            if self.node_ids and id not in self.node_ids:
                near = did_you_mean(id, self.group_results)
                raise KeyError(f"no node has the id {id!r}{near}; those on groups: {known}")
            raise KeyError(f"{id!r} does not work on groups; nodes that do: {known}")
        return self.group_results[id]

    def to_arrow(self) -> pa.Table:
        """The flattened table as a `pyarrow.Table`, in input order.

        Its columns are `row_id`, those of the inputs, `<step id>.<field>`, and `error.…` if rows
        failed. They have the types of the output models, and of the data that the rows came in. A
        row that was split has one line for each item.

        Raises:
            ConfigError: The extra `chainette[parquet]` is not installed.
        """
        table: pa.Table = arrow_of(self._frames)
        return table

    def to_pandas(self, *, explode: bool = True, inputs: bool | None = None) -> pd.DataFrame:
        """The flattened table as a `pandas.DataFrame`, in input order.

        Where the inputs were a data frame of pandas, it has the index of that, and no `row_id`, so
        that `df.join(run.to_pandas())` puts the answers beside the rows. Integers and booleans can
        be missing and keep their type. Literals and enums of texts are categories; dates, times,
        decimals, lists and nested models have Arrow's types.

        Args:
            explode: Whether a row that was split has a line for each item; else it has one, with
                lists in the columns of its answers.
            inputs: Whether it has the columns of the inputs; by default, unless they were a data
                frame of pandas, which has them already.

        Raises:
            ConfigError: The extra `chainette[pandas]` is not installed.
        """
        from chainette.reports.frames.pandas import pandas_of

        frame: pd.DataFrame = pandas_of(self._frames, explode=explode, inputs=inputs)
        return frame

    def to_polars(self, *, explode: bool = True) -> pl.DataFrame:
        """The flattened table as a `polars.DataFrame`, in input order; see `to_arrow`.

        Args:
            explode: As in `to_pandas`.

        Raises:
            ConfigError: The extra `chainette[polars]` is not installed.
        """
        frame: pl.DataFrame = polars_of(self._frames, explode=explode)
        return frame

    def __arrow_c_stream__(self, requested_schema: Any = None) -> Any:
        """The flattened table for every library that speaks Arrow, such as DuckDB and Polars."""
        require_pyarrow("Arrow tables")
        return self._frames.stream(requested_schema)

    @property
    def _frames(self) -> RunFrames:
        return self.frames or RunFrames(self.lines, node_ids=(*self.node_ids,))

    def export(
        self,
        target: TargetT,
        *,
        step: Node[Any, Any] | str | None = None,
        groups: Reduce[Any, Any] | str | None = None,
        only: Literal["ok", "failed"] | None = None,
        format: Literal["csv", "tsv", "jsonl", "parquet", "xlsx", "db"] | None = None,
        overwrite: bool = False,
    ) -> TargetT:
        """Write a table of the run as a file of another format, line by line.

        Args:
            target: A path or an address that ends in `.csv`, `.tsv`, `.jsonl`, `.parquet`, `.xlsx`
                or `.db`. A database of SQLite has all tables, unless one is named.
            step: The node whose table it is; by default, the flattened one.
            groups: The `reduce` whose groups it has.
            only: The rows of the flattened table: those that are `ok`, or those that `failed`.
            format: The format, where the target's name does not end in it.
            overwrite: Whether the target may be there already.

        Returns:
            The target.

        Raises:
            ExportError: It cannot be written, or does not fit the format.
            ConfigError: An extra is needed.
        """
        from chainette.reports.export.export import Choice, export_lines, export_run
        from chainette.reports.stored.run_folder import StoredRun

        ids = [it if it is None or isinstance(it, str) else str(it.id) for it in (step, groups)]
        choice = Choice(ids[0], ids[1], only, format, overwrite)
        if self.path is None:
            done = export_lines(self.lines, target, choice)
        else:
            done = export_run(StoredRun(self.path), target, choice)
        for note in done.notes:
            _logger.warning("%s: %s", shown(target), note)
        return target

    def diff(
        self,
        other: Run[Any] | str | Path | None = None,
        *,
        on: str | None = None,
        fields: Sequence[str] = (),
        gold: str | None = None,
        fold: bool = False,
    ) -> Difference:
        """Compare the run with another one, or with labels that its inputs have.

        Rows are read from the folders and matched in one pass, so memory stays flat.

        Args:
            other: The other run or its folder; `None` to compare with labels alone.
            on: Column of the inputs that identifies a row. By default, the number of the row does,
                and the inputs of both runs must be the same.
            fields: Fields to compare, such as `label.topic`, or nodes, for all of their fields;
                `label.topic=tag.topic` where the other run has another name. By default all.
            gold: Column of the inputs with labels.
            fold: Compare texts without their case and the space around them, and a text with a
                number or boolean by what it says.

        Returns:
            The comparison; as text, it is for people.

        Raises:
            ConfigError: A run has no folder, a column does not exist, or rows cannot be matched by
                their number.
            InputError: Two rows have the same id.
        """
        from chainette.reports.comparing.comparison import compare
        from chainette.reports.comparing.difference import folder_of

        second = None if other is None else folder_of(other)
        return compare(folder_of(self), second, on=on, fields=fields, gold=gold, fold=fold)

    def __reduce__(self) -> tuple[Any, ...]:
        """Let `pickle` have the run with all of its rows, and without the chain."""
        from chainette.reports.stored.pickled import reduced

        return reduced(self)

    def __repr__(self) -> str:
        """Its rows by state, cost, duration and folder, in one line."""
        from chainette.reports.display.words import line_of

        return f"Run({line_of(self)})"

    def _repr_html_(self) -> str:
        from chainette.reports.display.runs import run_card

        return run_card(self)

    def report(self, path: str | Path, *, rows: int = 100_000) -> Path:
        """Write a page about the run, with charts and its rows, as one HTML file.

        Args:
            path: The file.
            rows: Maximum number of rows that it shows; its figures cover all.

        Returns:
            The path of the file.

        Raises:
            OutputDirError: The run has no folder, or the file cannot be written.
        """
        from chainette.reports.page.report import write_report

        if self.path is None:
            raise OutputDirError(
                "this run has no folder that a report could be made of: "
                "run the chain with output_dir="
            )
        write_report(self.path, path, rows=rows)
        return Path(path)

    @property
    def cost(self) -> Decimal | None:
        """US dollars, or `None` if the cost of a step is unknown."""
        return total_cost(self.costs)

    @property
    def errors(self) -> Iterator[Result[Out]]:
        """The rows that failed, or a part of which did."""
        return (result for result in self.results if result.error is not None)
