"""The members of groups, kept until every row has ended."""

from __future__ import annotations

import hashlib
import sqlite3
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any, Protocol, TypeAlias

from chainette.errors import OutputDirError
from chainette.folder.lines import encoded, group_name
from chainette.json_bytes import decode
from chainette.reports.codec import OutputCodec
from chainette.reports.groups import Keys
from chainette.reports.snapshot import SnapshotError
from chainette.run.item import Item

BUFFER = 1000
"""Members that are written to the temporary file together."""
_ROW = struct.Struct(">q").pack
_CACHE = 16_000
"""Kilobytes of the temporary database that are kept in memory."""
Member: TypeAlias = tuple[list[int], Any]
"""The row ids of a member, which is one unless it is a group itself; and its value."""
_Record: TypeAlias = tuple[str, bytes, bytes | None, bytes | None]


@dataclass(frozen=True, slots=True)
class GroupRow:
    """A group that can be worked on.

    Attributes:
        index: Its place among the groups, in the order of their first members.
        name: Its key as a text that no other key has.
        start: The place of its first member.
        count: The number of its members.
        digest: Digest of its members; `None` where they cannot be compared.
    """

    index: int
    name: str
    start: int
    count: int
    digest: str | None = None


class Members(Protocol):
    """The members of the groups of a `reduce`."""

    def add(self, item: Item, key: Any, value: Any) -> None:
        """Add a value to the group of a key."""

    def close(self) -> int:
        """Take no more, and return the number of groups."""

    def groups(self) -> Iterator[GroupRow]:
        """The groups, in the order of their first members."""

    def row_ids(self, group: GroupRow) -> list[int]:
        """The row ids of the members of a group."""

    def read(self, group: GroupRow, first: int, count: int) -> list[Member]:
        """Some members of a group, in input order."""

    def forget(self) -> None:
        """Let go of everything."""


class MemoryMembers:
    """Members in memory, for a run without a folder.

    Args:
        keys: Writes keys.
    """

    def __init__(self, keys: Keys) -> None:
        self._keys = keys
        self._groups: dict[str, list[tuple[tuple[int, ...], list[int], Any]]] = {}
        self._rows: list[GroupRow] = []

    def add(self, item: Item, key: Any, value: Any) -> None:
        """Add a value; see `Members.add`."""
        members = self._groups.setdefault(group_name(self._keys.written(key)), [])
        members.append(((item.row_id, *item.path), _row_ids(item), value))

    def close(self) -> int:
        """Sort the members; see `Members.close`."""
        for members in self._groups.values():
            members.sort(key=lambda member: member[0])
        first = sorted((members[0][0], name) for name, members in self._groups.items())
        self._rows = [
            GroupRow(index, name, 0, len(self._groups[name]))
            for index, (_, name) in enumerate(first)
        ]
        return len(self._rows)

    def groups(self) -> Iterator[GroupRow]:
        """The groups; see `Members.groups`."""
        yield from self._rows

    def row_ids(self, group: GroupRow) -> list[int]:
        """The row ids; see `Members.row_ids`."""
        return [id for _, ids, _ in self._groups[group.name] for id in ids]

    def read(self, group: GroupRow, first: int, count: int) -> list[Member]:
        """Some members; see `Members.read`."""
        found = islice(self._groups[group.name], first, first + count)
        return [(row_ids, value) for _, row_ids, value in found]

    def forget(self) -> None:
        """Let go of everything; see `Members.forget`."""
        self._groups.clear()


class StoredMembers:
    """Members in a temporary database, so that memory stays flat.

    Values that are not data, which a file cannot hold, stay in memory; their groups cannot be
    compared with those of an earlier run.

    Args:
        model: Type of the values.
        keys: Writes keys.
    """

    def __init__(self, model: Any, keys: Keys) -> None:
        self._codec = OutputCodec(model)
        self._keys = keys
        self._added: list[_Record] = []
        self._objects: dict[bytes, Any] = {}
        self._names: dict[str | int, str] = {}
        self._db = sqlite3.connect("", check_same_thread=False)  # a temporary file
        self._db.execute("PRAGMA journal_mode=OFF")
        self._db.execute(f"PRAGMA cache_size=-{_CACHE}")
        self._run("CREATE TABLE added (name TEXT, place BLOB, rows BLOB, value BLOB)")

    def add(self, item: Item, key: Any, value: Any) -> None:
        """Add a value; see `Members.add`."""
        place = _ROW(item.row_id)
        if item.path:
            place += struct.pack(f">{len(item.path)}I", *item.path)
        content: bytes | None = None
        try:
            content = self._codec.pack(value)
        except (SnapshotError, ValueError):  # not data, or half a surrogate pair
            self._objects[place] = value
        rows = None if item.group is None else encoded(item.group.row_ids)
        self._added.append((self._name(key), place, rows, content))
        if len(self._added) >= BUFFER:
            self._flush()

    def _name(self, key: Any) -> str:
        """The name of a group; those of texts and numbers are kept for the next ones."""
        if type(key) is not str and type(key) is not int:
            return group_name(self._keys.written(key))
        name = self._names.get(key)
        if name is None:
            if len(self._names) >= BUFFER:
                self._names.clear()
            name = self._names[key] = group_name(self._keys.written(key))
        return name

    def close(self) -> int:
        """Sort the members and digest them; see `Members.close`."""
        self._flush()
        columns = "name TEXT, place BLOB, rows BLOB, value BLOB"
        self._run(f"CREATE TABLE members (id INTEGER PRIMARY KEY, {columns})")
        self._run(
            "INSERT INTO members (name, place, rows, value) "
            "SELECT name, place, rows, value FROM added ORDER BY name, place"
        )
        self._run("DROP TABLE added")
        self._run(
            "CREATE TABLE groups (name TEXT PRIMARY KEY, place BLOB, start INTEGER, "
            "count INTEGER, digest TEXT) WITHOUT ROWID"
        )
        self._db.executemany("INSERT INTO groups VALUES (?, ?, ?, ?, ?)", self._digested())
        ((count,),) = self._run("SELECT count(*) FROM groups")
        return int(count)

    def groups(self) -> Iterator[GroupRow]:
        """The groups; see `Members.groups`."""
        rows = self._run("SELECT name, start, count, digest FROM groups ORDER BY place")
        for index, row in enumerate(rows):
            yield GroupRow(index, *row)

    def digest(self, name: str) -> str | None:
        """The digest of the members of a group; `None` if there is no such group, either."""
        found = self._run("SELECT digest FROM groups WHERE name = ?", name).fetchone()
        return found[0] if found else None

    def row_ids(self, group: GroupRow) -> list[int]:
        """The row ids; see `Members.row_ids`."""
        query = "SELECT place, rows FROM members WHERE id >= ? AND id < ? ORDER BY id"
        rows = self._run(query, group.start, group.start + group.count)
        return [id for place, ids in rows for id in _stored_ids(place, ids)]

    def read(self, group: GroupRow, first: int, count: int) -> list[Member]:
        """Some members; see `Members.read`."""
        start, end = group.start + first, group.start + min(first + count, group.count)
        query = "SELECT place, rows, value FROM members WHERE id >= ? AND id < ? ORDER BY id"
        rows = self._run(query, start, end)
        return [(_stored_ids(place, ids), self._value(place, value)) for place, ids, value in rows]

    def forget(self) -> None:
        """Let go of everything; see `Members.forget`."""
        self._db.close()

    def _value(self, place: bytes, content: bytes | None) -> Any:
        return self._objects[place] if content is None else self._codec.unpack(content)

    def _flush(self) -> None:
        self._db.executemany("INSERT INTO added VALUES (?, ?, ?, ?)", self._added)
        self._added.clear()

    def _digested(self) -> Iterator[tuple[str, bytes, int, int, str | None]]:
        """The groups with their first member, their number of members and their digest."""
        name, first, start, count = "", b"", 0, 0
        digest: Any = None
        for id, other, place, rows, value in self._run("SELECT * FROM members ORDER BY id"):
            if other != name or not count:
                if count:
                    yield name, first, start, count, digest and digest.hexdigest()[:32]
                name, first, start, count, digest = other, place, id, 0, hashlib.sha256()
            count += 1
            if value is None:
                digest = None
            elif digest is not None:
                digest.update(b"%d %d " % (len(place), len(value)) + place + value + (rows or b""))
        if count:
            yield name, first, start, count, digest and digest.hexdigest()[:32]

    def _run(self, query: str, *values: Any) -> sqlite3.Cursor:
        try:
            return self._db.execute(query, values)
        except sqlite3.OperationalError as error:
            raise OutputDirError(
                f"the temporary file of a run's groups cannot be written: {error}; make room (or "
                "set TMPDIR to another folder), then resume the run (--resume)"
            ) from None


def _row_ids(item: Item) -> list[int]:
    return [item.row_id] if item.group is None else item.group.row_ids


def _stored_ids(place: bytes, ids: bytes | None) -> list[int]:
    return [struct.unpack_from(">q", place)[0]] if ids is None else decode(ids)
