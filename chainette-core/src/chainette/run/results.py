"""What a run gives back."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from itertools import groupby, islice
from pathlib import Path
from typing import Any, overload

from pydantic import TypeAdapter

from chainette.errors import FailedRowError
from chainette.pipeline.chain import Chain
from chainette.run.cost import total
from chainette.run.files import read_lines
from chainette.run.walk import Leaf, Many
from chainette.types import Result, Usage


class OutputCodec:
    """Turns the outputs of one node into JSON values and back.

    Args:
        model: The node's output type. Outputs of `Any` come back as plain JSON.
    """

    def __init__(self, model: Any) -> None:
        self._adapter: TypeAdapter[Any] = TypeAdapter(model)
        self.is_exact = model is not Any

    def dump(self, value: Any) -> Any:
        """The JSON value that `load` turns back into an equal output."""
        if isinstance(value, Many):
            return [self.dump(item) for item in value]
        if not self.is_exact:
            return self._adapter.dump_python(value, mode="json", fallback=str)
        return self._adapter.dump_python(value, mode="json", by_alias=False, round_trip=True)

    def check(self, value: Any) -> Any:
        """The value as an output of the node's type.

        Raises:
            pydantic.ValidationError: It does not fit.
        """
        return self._adapter.validate_python(value) if self.is_exact else value

    def load(self, value: Any) -> Any:
        """The output that `dump` was given."""
        return self._adapter.validate_python(value, by_name=True, by_alias=False)


def codecs(chain: Chain) -> dict[str, OutputCodec]:
    """A codec for every node."""
    return {id: OutputCodec(node.output_model) for id, node in chain.nodes.items()}


MANY = "[]"
"""Ends the name of a column that holds the outputs of all items that a branch split a row into."""


def flatten(outputs: dict[str, Any], many: Iterable[str] = ()) -> dict[str, Any]:
    """One flat mapping of `node.field` from the JSON values of the nodes' outputs."""
    flat: dict[str, Any] = {}
    for id, output in outputs.items():
        if id in many:
            flat[id + MANY] = output
        elif isinstance(output, dict) and output:
            flat.update({f"{id}.{key}": value for key, value in output.items()})
        else:
            flat[id] = output
    return flat


def unflatten(line: dict[str, Any]) -> dict[str, Any]:
    """The JSON values of the nodes' outputs from a flat mapping."""
    outputs: dict[str, Any] = {}
    for name, value in line.items():
        id, dot, key = name.partition(".")
        if dot:
            outputs.setdefault(id, {})[key] = value
        else:
            outputs[id] = value
    return outputs


def result_of(chain: Chain, row_id: int, leaves: Sequence[Leaf]) -> Result[Any]:
    """The result of a row from its one or more ends.

    Of a row that was split, `value` and the outputs are lists, one element for each item.
    """
    error = next((leaf.error for leaf in leaves if leaf.error is not None), None)
    ends = [
        (leaf, {id: leaf.outputs[id] for id in chain.nodes if id in leaf.outputs})
        for leaf in leaves
    ]
    if len(ends) == 1 and not ends[0][0].path:
        leaf, outputs = ends[0]
        value = None if error or leaf.dropped else _last(chain, outputs)
        return Result(row_id, value, error, outputs)
    values = [_last(chain, outputs) for leaf, outputs in ends if not (leaf.dropped or leaf.error)]
    merged: dict[str, list[Any]] = {}
    for _, outputs in ends:
        for id, output in outputs.items():
            merged.setdefault(id, []).append(output)
    return Result(row_id, None if error else values, error, merged)


def _last(chain: Chain, outputs: Mapping[str, Any]) -> Any:
    """The output of the last node of the main flow that yields."""
    return next((outputs[id] for id in reversed(chain.main_ids) if id in outputs), None)


class StoredResults(Sequence[Result[Any]]):
    """The results of a run on disk, in input order; read anew each time, so memory stays flat.

    Args:
        path: The run's folder.
        chain: The chain that ran.
        count: How many rows there are.
    """

    def __init__(self, path: Path, chain: Chain, count: int) -> None:
        self._path = path
        self._chain = chain
        self._codecs = codecs(chain)
        self._count = count

    def __len__(self) -> int:
        """Number of rows."""
        return self._count

    def __iter__(self) -> Iterator[Result[Any]]:
        """Read the rows one by one."""
        lines = read_lines(self._path / "flattened")
        for row_id, group in groupby(lines, key=lambda line: int(line["row_id"])):
            yield result_of(self._chain, row_id, [self._leaf(line) for line in group])

    @overload
    def __getitem__(self, index: int) -> Result[Any]: ...
    @overload
    def __getitem__(self, index: slice) -> list[Result[Any]]: ...
    def __getitem__(self, index: int | slice) -> Result[Any] | list[Result[Any]]:
        """One row, or several; the files are read from their start."""
        if isinstance(index, slice):
            wanted = range(*index.indices(self._count))
            found = {place: result for place, result in enumerate(self) if place in wanted}
            return [found[place] for place in wanted]
        row = range(self._count)[index]
        return next(islice(iter(self), row, None))

    def _leaf(self, line: dict[str, Any]) -> Leaf:
        """One end of a row, from its line."""
        del line["row_id"]
        path = tuple(int(part) for part in line.pop("item", "").split(".") if part)
        dropped = line.pop("dropped", False)
        values = unflatten(line)
        failure = values.pop("error", None)
        outputs: dict[str, Any] = {}
        for name, value in values.items():
            id = name.removesuffix(MANY)
            load = self._codecs[id].load
            outputs[id] = Many(map(load, value)) if name.endswith(MANY) else load(value)
        error = FailedRowError(failure["message"], type=failure["type"]) if failure else None
        return Leaf(path, outputs, dropped=dropped, error=error)


@dataclass(frozen=True, slots=True)
class Counts:
    """How many rows there were.

    Attributes:
        rows: Input rows that were taken.
        ok: Rows that went through all steps.
        failed: Rows that did not.
    """

    rows: int = 0
    ok: int = 0
    failed: int = 0


@dataclass(frozen=True, slots=True)
class Run:
    """A finished run.

    Attributes:
        results: One `Result` for each input row, in input order.
        counts: How many rows there were.
        usage: Tokens by step id.
        seconds: How long it took.
        path: The run's folder, or `None`.
        costs: US dollars by step id: 0 for models on this machine, `None` for unknown prices.
        interrupted: Whether it ended early, by Ctrl-C.
        stopped: Why it was stopped before all rows were done; resume it to go on.
        lines: Reads the lines of the flattened table; see `to_arrow`.
    """

    results: Sequence[Result[Any]]
    counts: Counts
    usage: dict[str, Usage] = field(default_factory=dict)
    seconds: float = 0.0
    path: Path | None = None
    costs: Mapping[str, Decimal | None] = field(default_factory=dict)
    interrupted: bool = False
    stopped: Exception | None = None
    lines: Callable[[], Iterator[dict[str, Any]]] = field(default=lambda: iter(()), repr=False)

    def to_arrow(self) -> Any:
        """The flattened table as a `pyarrow.Table`, in input order.

        Its columns are `row_id`, `<step id>.<field>`, and `error.…` where rows failed; a row that
        was split has one line for each item.

        Raises:
            ConfigError: The extra `chainette[parquet]` is not installed.
        """
        from chainette.run.inputs import require_pyarrow
        from chainette.run.parquet import chunks

        require_pyarrow()
        import pyarrow as pa

        return pa.concat_tables(chunks(self.lines))

    @property
    def cost(self) -> Decimal | None:
        """US dollars, or `None` when the price of a step's model is unknown."""
        return total(self.costs)

    @property
    def errors(self) -> Iterator[Result[Any]]:
        """The rows that failed."""
        return (result for result in self.results if not result.ok)
