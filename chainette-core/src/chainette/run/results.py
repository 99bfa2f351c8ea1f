"""What a run gives back."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, overload

from pydantic import TypeAdapter

from chainette.errors import FailedRowError
from chainette.pipeline.chain import Chain
from chainette.run.files import read_lines
from chainette.types import Result, Usage


class OutputCodec:
    """Turns the outputs of one step into JSON values and back.

    Args:
        model: The step's output type.
    """

    def __init__(self, model: Any) -> None:
        self._adapter: TypeAdapter[Any] = TypeAdapter(model)

    def dump(self, value: Any) -> Any:
        """The JSON value that `load` turns back into an equal output."""
        return self._adapter.dump_python(value, mode="json", by_alias=False, round_trip=True)

    def load(self, value: Any) -> Any:
        """The output that `dump` was given."""
        return self._adapter.validate_python(value, by_name=True, by_alias=False)


def codecs(chain: Chain) -> dict[str, OutputCodec]:
    """A codec for every step."""
    return {step.id: OutputCodec(step.output_model) for step in chain.steps}


def flatten(outputs: dict[str, Any]) -> dict[str, Any]:
    """One flat mapping of `step.field` from the JSON values of the steps' outputs."""
    flat: dict[str, Any] = {}
    for step_id, output in outputs.items():
        if isinstance(output, dict) and output:
            flat.update({f"{step_id}.{key}": value for key, value in output.items()})
        else:
            flat[step_id] = output
    return flat


def unflatten(line: dict[str, Any]) -> dict[str, Any]:
    """The JSON values of the steps' outputs from a flat mapping."""
    outputs: dict[str, Any] = {}
    for name, value in line.items():
        step_id, dot, key = name.partition(".")
        if dot:
            outputs.setdefault(step_id, {})[key] = value
        else:
            outputs[step_id] = value
    return outputs


class StoredResults(Sequence[Result[Any]]):
    """The results of a run on disk, in input order; read anew each time, so memory stays flat.

    Args:
        path: The run's folder.
        chain: The chain that ran.
        count: How many rows there are.
    """

    def __init__(self, path: Path, chain: Chain, count: int) -> None:
        self._path = path
        self._codecs = codecs(chain)
        self._count = count

    def __len__(self) -> int:
        """Number of rows."""
        return self._count

    def __iter__(self) -> Iterator[Result[Any]]:
        """Read the rows one by one."""
        for line in read_lines(self._path / "flattened"):
            yield self._result(line)

    @overload
    def __getitem__(self, index: int) -> Result[Any]: ...
    @overload
    def __getitem__(self, index: slice) -> list[Result[Any]]: ...
    def __getitem__(self, index: int | slice) -> Result[Any] | list[Result[Any]]:
        """One row, or several; the files are read from their start."""
        if isinstance(index, slice):
            wanted = range(*index.indices(self._count))
            found = {result.row_id: result for result in self if result.row_id in wanted}
            return [found[row_id] for row_id in wanted]
        row = range(self._count)[index]
        return next(islice(iter(self), row, None))

    def _result(self, line: dict[str, Any]) -> Result[Any]:
        row_id = line.pop("row_id")
        values = unflatten(line)
        failure = values.pop("error", None)
        outputs = {id: self._codecs[id].load(value) for id, value in values.items()}
        if failure is not None:
            error = FailedRowError(failure["message"], type=failure["type"])
            return Result(row_id, error=error, outputs=outputs)
        return Result(row_id, value=list(outputs.values())[-1], outputs=outputs)


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
        interrupted: Whether it ended early, by Ctrl-C.
    """

    results: Sequence[Result[Any]]
    counts: Counts
    usage: dict[str, Usage] = field(default_factory=dict)
    seconds: float = 0.0
    path: Path | None = None
    interrupted: bool = False

    @property
    def errors(self) -> Iterator[Result[Any]]:
        """The rows that failed."""
        return (result for result in self.results if not result.ok)
