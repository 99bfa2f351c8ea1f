"""The digest of rows in memory, by which a resumed run knows its inputs again."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Any

from chainette.json_bytes import encode
from chainette.reports.snapshot import SnapshotError, Snapshots
from chainette.run.inputs.files import InputRow

_SCALARS = frozenset((str, int, float, bool, type(None)))


def rows_digest(rows: Iterable[InputRow]) -> str | None:
    """SHA-256 of rows; `None` where they hold an object that is not data."""
    digest, snapshots = hashlib.sha256(), Snapshots(Any)
    try:
        for row in rows:
            content = str(row.error).encode() if row.error else _content(row.value, snapshots)
            digest.update(content + b"\n")
    except SnapshotError:
        return None
    return digest.hexdigest()


def _content(value: Any, snapshots: Snapshots) -> bytes:
    if type(value) is dict and _SCALARS.issuperset(map(type, value.values())):
        try:
            return encode(value)  # most rows; a snapshot takes ten times as long
        except ValueError:  # half a surrogate pair
            pass
    return encode(snapshots.take(value))
