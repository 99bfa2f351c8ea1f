"""The outputs of functions, and of steps that take several answers, as fields of their lines."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from chainette.errors import ChainetteError, Drop, FailedRowError
from chainette.folder.lines import EncodedList
from chainette.pipeline.words.word import KEPT, Recorded
from chainette.reports.codec import OutputCodec
from chainette.usage import Spending, dollars

UNREADABLE = "unreadable"
"""The kind of a line whose output cannot be read back."""


def function_fields(codec: OutputCodec, output: Any) -> dict[str, Any]:
    """The fields of a function's output.

    Args:
        codec: The conversion of its outputs.
        output: The output; a list if it split its item, `None` or a `Drop` if it dropped it,
            `KEPT` if it passed it on.

    Raises:
        SnapshotError: It holds an object that is not data.
    """
    if output is KEPT:
        return {"output": None, "kind": "kept"}
    if isinstance(output, Recorded):
        return {**codec.record(output.output), "kind": "one"}
    if isinstance(output, list):
        return {**_together(map(codec.record, output)), "kind": "split"}
    if isinstance(output, Drop) and output.reason:
        return {"output": None, "kind": "dropped", "reason": output.reason}
    if output is None or isinstance(output, Drop):
        return {"output": None, "kind": "dropped"}
    return {**codec.record(output), "kind": "one"}


def unreadable_fields(codec: OutputCodec, output: Any) -> dict[str, Any]:
    """The fields of an output that cannot be read back: they say that there was one."""
    dumped = [codec.dump(it) for it in output] if isinstance(output, list) else codec.dump(output)
    return {"output": dumped, "kind": UNREADABLE}


def _together(records: Iterable[dict[str, Any]]) -> dict[str, EncodedList]:
    """The records of a split's parts as one."""
    outputs, snapshots, has_snapshots = EncodedList(), EncodedList(), False
    for record in records:
        outputs.append(record["output"])
        snapshots.append(record.get("snapshot"))
        has_snapshots = has_snapshots or "snapshot" in record
    return {"output": outputs} | ({"snapshot": snapshots} if has_snapshots else {})


@dataclass(frozen=True, slots=True)
class Sample:
    """One answer.

    Attributes:
        value: The answer.
        error: The reason why there is none, or `None`.
    """

    value: Any
    error: ChainetteError | None = None


@dataclass(frozen=True, slots=True)
class Sampled:
    """The output of a step some of whose answers cannot be used.

    Attributes:
        values: Those that can.
        failed: The reasons of the others by the number of the sample.
    """

    values: list[Any]
    failed: dict[int, ChainetteError]


def sampled(samples: Sequence[Sample]) -> Any:
    """The output of a step: its answers, or a `Sampled` where some cannot be used."""
    values = [it.value for it in samples if it.error is None]
    failed = {k: it.error for k, it in enumerate(samples) if it.error is not None}
    return Sampled(values, failed) if failed else values


def sampled_fields(samples: Sequence[Sample], paid: Spending, seconds: float) -> dict[str, Any]:
    """What a line says about the answers of a step beside those that can be used.

    Args:
        samples: The answers; each has its own line, too.
        paid: What they took.
        seconds: Duration.
    """
    usage = paid.usage and paid.usage.as_dict()
    fields: dict[str, Any] = {"usage": usage, "cost": dollars(paid.cost)}
    fields |= {"latency": round(seconds, 6), "calls": len(samples)}
    failed = [
        {
            "sample": sample,
            "type": type(error).__name__,
            "message": str(error),
            "engine": getattr(error, "engine", None),
            "raw_text": getattr(error, "raw_text", None),
        }
        for sample, error in ((k, it.error) for k, it in enumerate(samples))
        if error is not None
    ]
    return fields | ({"failed": failed} if failed else {})


def failed_of(fields: Sequence[dict[str, Any]]) -> dict[int, ChainetteError]:
    """The failures that `sampled_fields` made JSON values of."""
    return {
        it["sample"]: FailedRowError(
            it["message"], type=it["type"], engine=it["engine"], raw_text=it["raw_text"]
        )
        for it in fields
    }
