"""The digest of values in memory, by which a resumed run knows its inputs again."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Any

from chainette.json_bytes import encode
from chainette.reports.snapshot import SnapshotError, Snapshots

_SCALARS = frozenset((str, int, float, bool, type(None)))


def values_digest(values: Iterable[Any]) -> str | None:
    """SHA-256 of values; `None` where they hold an object that is not data."""
    digest, snapshots = hashlib.sha256(), Snapshots(Any)
    try:
        for value in values:
            digest.update(_content(value, snapshots) + b"\n")
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
