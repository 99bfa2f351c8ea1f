"""The members of groups, kept until every row has ended."""

from __future__ import annotations

import hashlib
import sqlite3
import struct
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import groupby
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
_ROW_SIZE = 8
_CACHE = 16_000
"""Kilobytes of the temporary database that are kept in memory."""
_Record: TypeAlias = tuple[str, bytes, bytes | None]


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

    def row_ids(self, group: GroupRow, first: int = 0, count: int | None = None) -> list[int]:
        """The row id of each member of a group, or of some of them, in input order.

        Where the members are groups, or items of groups, the row ids of those groups, each once.
        """

    def read(self, group: GroupRow, first: int, count: int) -> list[Any]:
        """The values of some members of a group, in input order."""

    def forget(self) -> None:
        """Let go of everything."""


class MemoryMembers:
    """Members in memory, for a run without a folder.

    Args:
        keys: Writes keys.
    """

    def __init__(self, keys: Keys) -> None:
        self._keys = keys
        self._groups: dict[str, list[tuple[tuple[int, ...], Any]]] = {}
        self._origins: dict[int, list[int]] = {}
        self._rows: list[GroupRow] = []

    def add(self, item: Item, key: Any, value: Any) -> None:
        """Add a value; see `Members.add`."""
        members = self._groups.setdefault(group_name(self._keys.written(key)), [])
        members.append(((item.row_id, *item.path), value))
        if item.group is not None:
            self._origins[item.row_id] = item.group.row_ids

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

    def row_ids(self, group: GroupRow, first: int = 0, count: int | None = None) -> list[int]:
        """The row ids; see `Members.row_ids`."""
        end = None if count is None else first + count
        found = self._groups[group.name][first:end]
        return _row_ids((place[0] for place, _ in found), self._origins.get)

    def read(self, group: GroupRow, first: int, count: int) -> list[Any]:
        """Some values; see `Members.read`."""
        return [value for _, value in self._groups[group.name][first : first + count]]

    def forget(self) -> None:
        """Let go of everything; see `Members.forget`."""
        self._groups.clear()
        self._origins.clear()


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
        self._run("CREATE TABLE added (name TEXT, place BLOB, value BLOB)")
        self._has_rows = bytearray()  # by origin, for those that are groups
        self._run("CREATE TABLE origins (id INTEGER PRIMARY KEY, rows BLOB)")

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
        if item.group is not None:
            self._note_origin(item.row_id, item.group.row_ids)
        self._added.append((self._name(key), place, content))
        if len(self._added) >= BUFFER:
            self._flush()

    def _note_origin(self, index: int, row_ids: list[int]) -> None:
        """Keep the row ids of a group, once for all items that it was split into."""
        if missing := max(0, index + 1 - len(self._has_rows)):
            self._has_rows.extend(bytes(missing))
        if not self._has_rows[index]:
            self._has_rows[index] = True
            self._run("INSERT INTO origins VALUES (?, ?)", index, encoded(row_ids))

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
        columns = "name TEXT, place BLOB, value BLOB"
        self._run(f"CREATE TABLE members (id INTEGER PRIMARY KEY, {columns})")
        self._run(
            "INSERT INTO members (name, place, value) "
            "SELECT name, place, value FROM added ORDER BY name, place"
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

    def row_ids(self, group: GroupRow, first: int = 0, count: int | None = None) -> list[int]:
        """The row ids; see `Members.row_ids`."""
        places = self._part("SELECT place", group, first, count)
        return _row_ids((_origin(place) for (place,) in places), self._origin_ids)

    def read(self, group: GroupRow, first: int, count: int) -> list[Any]:
        """Some values; see `Members.read`."""
        found = self._part("SELECT place, value", group, first, count)
        return [self._value(place, value) for place, value in found]

    def _part(self, select: str, group: GroupRow, first: int, count: int | None) -> sqlite3.Cursor:
        """Columns of some members."""
        end = group.count if count is None else min(first + count, group.count)
        query = f"{select} FROM members WHERE id >= ? AND id < ? ORDER BY id"
        return self._run(query, group.start + first, group.start + end)

    def _origin_ids(self, index: int) -> list[int] | None:
        """The row ids of a group that members come from; `None` if they come from a row."""
        rows = self._origin_rows(index)
        return None if rows is None else decode(rows)

    def _origin_rows(self, index: int) -> bytes | None:
        if not self._has_rows:
            return None
        ((rows,),) = self._run("SELECT rows FROM origins WHERE id = ?", index)
        return bytes(rows)

    def forget(self) -> None:
        """Let go of everything; see `Members.forget`."""
        self._db.close()

    def _value(self, place: bytes, content: bytes | None) -> Any:
        return self._objects[place] if content is None else self._codec.unpack(content)

    def _flush(self) -> None:
        self._db.executemany("INSERT INTO added VALUES (?, ?, ?)", self._added)
        self._added.clear()

    def _digested(self) -> Iterator[tuple[str, bytes, int, int, str | None]]:
        """The groups with their first member, their number of members and their digest."""
        name, first, start, count, origin = "", b"", 0, 0, b""
        digest: Any = None
        for id, other, place, value in self._run("SELECT * FROM members ORDER BY id"):
            if other != name or not count:
                if count:
                    yield name, first, start, count, digest and digest.hexdigest()[:32]
                name, first, start, count, digest = other, place, id, 0, hashlib.sha256()
                origin = b""
            count += 1
            if value is None:
                digest = None
            elif digest is not None:
                digest.update(b"%d %d " % (len(place), len(value)) + place + value)
                if self._has_rows and place[:_ROW_SIZE] != origin:
                    origin = place[:_ROW_SIZE]
                    digest.update(self._origin_rows(_origin(place)) or b"")
        if count:
            yield name, first, start, count, digest and digest.hexdigest()[:32]

    def _run(self, query: str, *values: Any) -> sqlite3.Cursor:
        try:
            return self._db.execute(query, values)
        except sqlite3.OperationalError as error:
            raise OutputDirError(
                f"the temporary file of a run's groups cannot be written: {error}; make room (or "
                "set TMPDIR to another folder), then resume the run (resume=True)"
            ) from None


def _origin(place: bytes) -> int:
    """The row, or the group, that a member comes from."""
    return int.from_bytes(place[:_ROW_SIZE], "big", signed=True)


def _row_ids(origins: Iterable[int], of_group: Callable[[int], list[int] | None]) -> list[int]:
    """The row id of each member that comes from a row; those of groups, each once.

    Args:
        origins: The row, or the group, that each member comes from; the same ones together.
        of_group: The row ids of a group, or `None` if the members come from rows.
    """
    found: list[int] = []
    distinct: dict[int, None] = {}
    for origin, them in groupby(origins):
        ids = of_group(origin)
        if ids is None:
            found.extend(them)
        else:
            distinct.update(dict.fromkeys(ids))
    return [*found, *distinct]
