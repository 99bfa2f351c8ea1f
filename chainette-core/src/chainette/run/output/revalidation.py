"""Answers of an earlier run, validated again by the types that their steps have now."""

from __future__ import annotations

from typing import Any

from chainette.folder.redo import Revalidate
from chainette.pipeline.pipeline import Pipeline
from chainette.reports.codec import OutputCodec, codecs
from chainette.reports.snapshot import SnapshotError


def revalidation(chain: Pipeline) -> Revalidate:
    """The validation of a chain's answers; see `Revalidate`."""
    found = codecs(chain)

    def revalidate(id: str, line: dict[str, Any]) -> dict[str, Any] | None:
        codec = found[id]
        if line.get("kind") == "skipped":
            return line
        if line.get("text") is None:
            return None
        try:
            record = _record(codec, codec.read({"text": line["text"]}))
        except Exception:  # it does not fit, or a validator has a defect: asking again says so
            return None
        return line if _is_same(codec, line, record) else _with(line, record)

    return revalidate


def _record(codec: OutputCodec, value: Any) -> dict[str, Any]:
    try:
        return codec.record(value, is_validated=True)
    except SnapshotError:
        return {"output": codec.dump(value)}


def _is_same(codec: OutputCodec, line: dict[str, Any], record: dict[str, Any]) -> bool:
    """Whether a line already holds the value of a record."""
    if line.get("output") != record["output"]:
        return False
    if line.get("snapshot") is None or line["snapshot"] == record.get("snapshot"):
        return True
    try:
        return _record(codec, codec.read(line)) == record
    except Exception:  # its class is gone
        return False


def _with(line: dict[str, Any], record: dict[str, Any]) -> dict[str, Any]:
    """A line with another output, and its other fields in their order."""
    fields: dict[str, Any] = {}
    for key, value in line.items():
        if key == "output":
            fields |= record
        elif key != "snapshot":
            fields[key] = value
    return fields
