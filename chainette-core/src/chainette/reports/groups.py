"""The groups of a run: their keys, their values, and how they are read back."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from enum import Enum
from itertools import groupby, islice
from pathlib import Path
from typing import Any, Generic, overload
from uuid import UUID

from chainette.errors import DroppedRowError, FailedRowError
from chainette.events import RowState
from chainette.folder.files import GROUPS
from chainette.folder.lines import item_name, read_file
from chainette.messages.brief import brief_call
from chainette.pipeline.composites.composite import main_nodes
from chainette.pipeline.composites.reduce import Reduce
from chainette.pipeline.composites.repeat import may_give_other, value_node
from chainette.pipeline.nodes.flow import Out
from chainette.pipeline.nodes.node import Node
from chainette.pipeline.pipeline import Pipeline
from chainette.reports.codec import codecs
from chainette.reports.result import (
    Leaf,
    Many,
    drop_reason,
    error_columns,
    merged_outputs,
    state_of,
)
from chainette.reports.snapshot import Snapshots


class Keys:
    """Keys of groups as JSON values and back.

    Args:
        model: Type of the items, which knows the classes of their fields.
    """

    def __init__(self, model: Any) -> None:
        self._snapshots = Snapshots(model)

    def written(self, key: Any) -> Any:
        """The JSON value of a key, which no other key has; a tuple is a list."""
        if type(key) is tuple:
            return [self.written(part) for part in key]
        return self._snapshots.take(key)

    def read(self, written: Any) -> Any:
        """The key of its JSON value.

        Raises:
            LookupError: Its class does not exist anymore.
        """
        if isinstance(written, list):
            return tuple(self.read(part) for part in written)
        return self._snapshots.restore(written)


def shown(key: Any) -> Any:
    """A key as a JSON value for people: an Enum as its value, a date as a text."""
    if type(key) is tuple:
        return [shown(part) for part in key]
    if isinstance(key, Enum):
        return shown(key.value) if isinstance(key.value, str | int) else key.name
    return str(key) if isinstance(key, date | UUID) else key


def title_of(key: Any) -> str:
    """A key as a text for people."""
    value = shown(key)
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


@dataclass(frozen=True, slots=True)
class Head:
    """What a group is made of.

    Attributes:
        key: Its key.
        row_ids: The row ids of its items.
        size: The number of its items.
    """

    key: Any
    row_ids: Sequence[int]
    size: int


@dataclass(frozen=True, slots=True)
class GroupResult(Generic[Out]):
    """The result of one group.

    Attributes:
        key: The key; a tuple if there are several, `None` for the one group of all rows.
        row_ids: The row id of each of its items, in input order; of a group that is made of other
            groups, their row ids, each once.
        value: The output of the node that was asked for, or `None`. If a function has split the
            group, a list of those of its items.
        error: The reason why the group, or a part of it, failed, or `None`.
        state: As in `Result`.
        outputs: Outputs of the nodes that it has passed, by id.
        size: The number of its items.
        drop_reason: The reason that the function gave which dropped the group, or the first of the
            items that it was split into; `None` if there is none.
        is_split: Whether a function split the group; `value` and the outputs are lists then.
    """

    key: Any
    row_ids: Sequence[int]
    value: Out | None = None
    error: Exception | None = None
    state: RowState = "ok"
    outputs: Mapping[str, Any] = field(default_factory=dict)
    size: int = 0
    drop_reason: str | None = None
    is_split: bool = False

    def __repr__(self) -> str:
        """Its key, size, state and value."""
        return brief_call(
            "GroupResult",
            key=self.key,
            size=self.size,
            state=self.state,
            value=self.value,
            error=self.error,
            drop_reason=self.drop_reason,
        )

    @property
    def ok(self) -> bool:
        """Whether the state is `ok`."""
        return self.state == "ok"

    def unwrap(self) -> Out:
        """Return the value.

        Raises:
            Exception: The error of the group, or of a part of it.
            DroppedRowError: A function dropped the group.
        """
        if self.error is not None:
            raise self.error
        if self.state == "dropped":
            reason = f": {self.drop_reason}" if self.drop_reason else ""
            message = f"group {title_of(self.key)} has no value: a function dropped it{reason}"
            raise DroppedRowError(message)
        return self.value  # type: ignore[return-value]


def group_result(
    node_id: str, head: Head, leaves: Sequence[Leaf], passed_from: str | None = None
) -> GroupResult[Any]:
    """The result of a group, from its one or more ends.

    Args:
        node_id: The node whose output is the value.
        head: Its key, and what it is made of.
        leaves: Its ends.
        passed_from: The node whose outputs are passed on by that node, which has none; see
            `source_of`.
    """
    error = next((leaf.error for leaf in leaves if leaf.error is not None), None)
    is_whole = len(leaves) == 1 and not leaves[0].path
    outputs: dict[str, Any] = (
        {**leaves[0].outputs} if is_whole else merged_outputs(leaf.outputs for leaf in leaves)
    )
    value, state = outputs.get(node_id), state_of(leaves)
    if passed_from is not None:
        went_on = [it for it in leaves if not it.dropped and (it.error is None or it.is_partial)]
        passed = [it.outputs[passed_from] for it in went_on if passed_from in it.outputs]
        value = next(iter(passed), None) if is_whole else passed
    reason = drop_reason(leaves)
    return GroupResult(
        head.key,
        head.row_ids,
        value,
        error,
        state,
        outputs,
        size=head.size,
        drop_reason=reason,
        is_split=not is_whole,
    )


class GroupLines:
    """The ends of groups as lines of their table, and back.

    Args:
        chain: The chain.
        reduce: The `reduce` that makes the groups.

    Attributes:
        keys: Writes and reads keys.
    """

    def __init__(self, chain: Pipeline[Any, Any], reduce: Reduce[Any, Any]) -> None:
        self._codecs = codecs(chain)
        self._main = value_node(reduce.last).id
        self.keys: Keys = Keys(reduce.input_model)

    def lines(self, head: Head, leaves: Sequence[Leaf]) -> Iterator[dict[str, Any]]:
        """The lines of a group, one for each item that it was split into.

        The first one says what the group is made of.
        """
        written, readable = self.keys.written(head.key), shown(head.key)
        fields: dict[str, Any] = {"key": readable}
        if written != readable:
            fields["group"] = written
        made: dict[str, Any] = {"row_ids": head.row_ids}
        if head.size != len(head.row_ids):
            made["size"] = head.size
        for leaf in leaves:
            yield fields | made | self._end(leaf)
            made = {}

    def _end(self, leaf: Leaf) -> dict[str, Any]:
        """What a line says about an end."""
        fields: dict[str, Any] = {}
        if leaf.path:
            fields["item"] = item_name(leaf.path)
        outputs = {id: self._codecs[id].dump(value) for id, value in leaf.outputs.items()}
        if self._main in outputs:
            fields["output"] = outputs.pop(self._main)
        fields |= {"outputs": outputs} if outputs else {}
        many = [id for id, value in leaf.outputs.items() if isinstance(value, Many)]
        snapshots = {
            id: snapshot
            for id, value in leaf.outputs.items()
            if (snapshot := self._codecs[id].snapshot_or_lost(value)) is not None
        }
        fields |= {"many": many} if many else {}
        fields |= {"snapshots": snapshots} if snapshots else {}
        if leaf.error is not None:
            fields["error"] = error_columns(leaf)
        states = {"partial": leaf.is_partial, "dropped": leaf.dropped}
        fields |= {name: True for name, holds in states.items() if holds}
        return fields | ({"reason": leaf.reason} if leaf.dropped and leaf.reason else {})

    def head(self, line: Mapping[str, Any]) -> Head:
        """What a group is made of, from its first line."""
        row_ids: list[int] = line["row_ids"]
        return Head(self._key(line), row_ids, line.get("size", len(row_ids)))

    def _key(self, line: Mapping[str, Any]) -> Any:
        """The key of a line; readable JSON where that is all that is left of it."""
        try:
            return self.keys.read(line.get("group", line["key"]))
        except Exception:  # its class is gone
            return line["key"]

    def leaf(self, line: Mapping[str, Any]) -> Leaf:
        """The end of a group, from its line."""
        path = tuple(int(part) for part in line.get("item", "").split(".") if part)
        dumped = dict(line.get("outputs", {}))
        if "output" in line:
            dumped = {self._main: line["output"], **dumped}
        snapshots, many = line.get("snapshots", {}), line.get("many", ())
        outputs = {
            id: self._codecs[id].read_back(value, snapshots.get(id), is_many=id in many)
            for id, value in dumped.items()
        }
        failure = line.get("error")
        error = FailedRowError(failure["message"], type=failure["type"]) if failure else None
        dropped, is_partial = line.get("dropped", False), line.get("partial", False)
        reason = line.get("reason")
        return Leaf(
            path, outputs, dropped=dropped, error=error, is_partial=is_partial, reason=reason
        )


class StoredGroups(Sequence[GroupResult[Any]]):
    """The groups of a run on disk, read again each time, so that memory stays flat.

    Args:
        path: The run's folder.
        chain: The chain that ran.
        reduce: The `reduce` that made them.
        node_id: The node whose outputs are the values.
        passed_from: See `group_result`.
    """

    def __init__(
        self,
        path: Path,
        chain: Pipeline[Any, Any],
        reduce: Reduce[Any, Any],
        node_id: str,
        passed_from: str | None = None,
    ) -> None:
        self._file = path / GROUPS / f"{reduce.id}.jsonl"
        self._lines = GroupLines(chain, reduce)
        self._node_id = node_id
        self._passed_from = passed_from

    def __repr__(self) -> str:
        """The file that they are in."""
        return f"<groups in {self._file}>"

    def __len__(self) -> int:
        """The number of groups."""
        return sum(1 for _ in self._grouped())

    def __iter__(self) -> Iterator[GroupResult[Any]]:
        """Read the groups one by one."""
        for lines in self._grouped():
            leaves = [self._lines.leaf(line) for line in lines]
            head = self._lines.head(lines[0])
            yield group_result(self._node_id, head, leaves, self._passed_from)

    @overload
    def __getitem__(self, index: int) -> GroupResult[Any]: ...
    @overload
    def __getitem__(self, index: slice) -> list[GroupResult[Any]]: ...
    def __getitem__(self, index: int | slice) -> GroupResult[Any] | list[GroupResult[Any]]:
        """One group, or several; the file is read from its start."""
        if isinstance(index, slice) or index < 0:
            return list(self)[index]
        found = next(islice(iter(self), index, None), None)
        if found is None:
            raise IndexError(f"there are {len(self)} groups")
        return found

    def _grouped(self) -> Iterator[list[dict[str, Any]]]:
        """The lines of each group."""
        if self._file.exists():
            lines = read_file(self._file)
            for _, them in groupby(lines, key=lambda it: (str(it.get("group")), str([it["key"]]))):
                yield list(them)


def group_nodes(chain: Pipeline[Any, Any]) -> Iterator[tuple[str, Reduce[Any, Any], str]]:
    """The names of groups: of a `reduce`, and of the nodes that its groups pass through.

    Yields:
        The name, the `reduce`, and the node whose outputs are the values.
    """
    for reduce in chain.group_steps:
        yield reduce.id, reduce, value_node(reduce.last).id
        for node in chain.stage_nodes(reduce):
            if node.id != reduce.id:
                yield node.id, reduce, node.id


def source_of(chain: Pipeline[Any, Any], reduce: Reduce[Any, Any], id: str) -> str | None:
    """The node whose outputs are the values of a filter, or the like, at the end of a flow.

    Args:
        chain: The chain.
        reduce: The `reduce` that makes the groups.
        id: The node.

    Returns:
        The node in front, or `None` where what went on is not known from the groups' ends.
    """
    flow = main_nodes(chain.group_steps[reduce])
    at = next((index for index, node in enumerate(flow) if node.id == id), len(flow))
    if not all(map(_only_passes_on, flow[at:])):
        return None
    before = [it for it in flow[:at] if not _only_passes_on(it)]
    if not (before and flow[at:]) or may_give_other(before[-1]):
        return None
    source = value_node(before[-1])
    return source.id if source.yield_output else None


def _only_passes_on(node: Node) -> bool:
    """Whether a node has no outputs: what it lets go on is the output of the one in front."""
    is_plain = node.tolerance is None and node.skipped is None
    return node.passes_on and not node.yield_output and is_plain


def stored_groups(path: Path, chain: Pipeline[Any, Any]) -> dict[str, Sequence[GroupResult[Any]]]:
    """The groups of a run on disk, by name."""
    return {
        name: StoredGroups(path, chain, reduce, node_id, source_of(chain, reduce, node_id))
        for name, reduce, node_id in group_nodes(chain)
    }
