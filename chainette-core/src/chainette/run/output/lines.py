"""The outputs of functions as fields of their lines."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from chainette.errors import Drop
from chainette.folder.lines import EncodedList
from chainette.pipeline.words.word import KEPT, Recorded
from chainette.reports.codec import OutputCodec

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
