"""The lines of functions that see all items at once, in a run that may continue an earlier one."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import zip_longest
from typing import Any, Protocol

from chainette.errors import Drop, FailedRowError
from chainette.folder.files import STEPS, RunFolder
from chainette.folder.lines import EncodedList, read_lines
from chainette.folder.resume_index import ResumeIndex
from chainette.folder.stale import Goes, Items, of_items, set_lines_aside
from chainette.json_bytes import decode, encode
from chainette.pipeline.graph import is_tolerated, judges_itself, reach
from chainette.pipeline.nodes.apply import ApplyNode
from chainette.pipeline.pipeline import Pipeline
from chainette.pipeline.reasoning import Reasoning
from chainette.reports.codec import OutputCodec
from chainette.reports.digest import values_digest
from chainette.reports.snapshot import SnapshotError
from chainette.run.item import Item
from chainette.run.output.lines import UNREADABLE, function_fields

_COMPARED = ("output", "snapshot", "kind")
_NONE = object()
"""In the place of an output: there is none. It is equal to nothing."""


class Entry(Protocol):
    """An item of a batch.

    Attributes:
        item: The item.
        value: Its value.
        context: The names that the function may see.
        output: The output for it.
        error: The reason why there is none, or `None`.
    """

    item: Item
    value: Any
    context: Mapping[str, Any]
    output: Any
    error: Exception | None


class Lines(Protocol):
    """The journal, as far as it is needed here."""

    batches: dict[str, str]

    def read(self, node: ApplyNode, line: dict[str, Any], names: Mapping[str, Any]) -> Any:
        """The end of a node in a line of an earlier run; `None` if it cannot be read."""

    def function_done(self, node: ApplyNode, item: Item, output: Any) -> None:
        """Write down an output."""


class WholeBatch:
    """The lines of one function that sees all items at once.

    Every line has a digest of what the function saw. Outputs of an earlier run are used if it saw
    the same; otherwise the function is called with all items, and where its output has changed,
    the lines of all that depends on it are set aside before new ones are written.

    Args:
        node: The function.
        chain: Its chain.
        codec: The conversion of its outputs.
        folder: The run's folder.
        earlier: The lines of the run that is resumed, or `None`.
        journal: Reads and writes lines.
        on_stale: Receives every line that does not count anymore.
    """

    def __init__(
        self,
        node: ApplyNode,
        chain: Pipeline,
        codec: OutputCodec,
        folder: RunFolder,
        earlier: ResumeIndex | None,
        journal: Lines,
        on_stale: Callable[[dict[str, Any]], object],
    ) -> None:
        self._node = node
        self._chain = chain
        self._codec = codec
        self._folder = folder
        self._earlier = earlier
        self._journal = journal
        self._on_stale = on_stale
        self._digest = ""
        self._is_tolerant = is_tolerated(chain, node.id)

    def take(self, entries: Sequence[Entry]) -> bool:
        """Take the outputs of an earlier run, if it made them of the same items.

        Args:
            entries: All items, which get outputs or errors.

        Returns:
            Whether that was so; if not, the function is to be called.
        """
        self._digest, is_certain = self._seen(entries)
        if self._earlier is None or not is_certain:
            return False
        for entry in entries:
            line = self._earlier.find(self._node.id, entry.item.key)
            if line is None or line.get("batch") != self._digest or line.get("kind") == UNREADABLE:
                return False
        for entry in entries:
            line = self._earlier.find(self._node.id, entry.item.key)
            try:
                found = self._journal.read(self._node, line or {}, entry.context)
            except FailedRowError as error:
                entry.error = error
                continue
            if found is None:
                return self._not_taken(entries)
            entry.output = found.output
        self._remove_older(entries)
        return True

    def write(self, entries: Sequence[Entry]) -> None:
        """Write down what the function returned; errors are left to the rows.

        Args:
            entries: All items, with their outputs and errors.

        Raises:
            OutputDirError: The folder cannot be written.
        """
        self._journal.batches[self._node.id] = self._digest
        if self._earlier is not None:
            self._set_dependents_aside(self._earlier, entries)
            self._earlier.forget_node(self._node.id)
        for entry in entries:
            if entry.error is None:
                self._journal.function_done(self._node, entry.item, entry.output)
        if self._earlier is not None:
            self._remove_older(entries)

    def _not_taken(self, entries: Sequence[Entry]) -> bool:
        for entry in entries:
            entry.output = entry.error = None
        return False

    def _seen(self, entries: Sequence[Entry]) -> tuple[str, bool]:
        """The digest of what the function sees, and whether it says all."""
        sees_names = self._node.takes_context or self._node.validates_in_context

        def values() -> Iterator[Any]:
            for entry in entries:
                yield [*_key(entry.item.key)]
                yield entry.value
                if sees_names:
                    yield {name: _as_data(entry.context[name]) for name in sorted(entry.context)}

        if (digest := values_digest(values())) is not None:
            return digest, True
        # Something is not data: only which items there are can be compared.
        keys = encode([_key(entry.item.key) for entry in entries])
        return "items:" + hashlib.sha256(keys).hexdigest(), False

    def _set_dependents_aside(self, earlier: ResumeIndex, entries: Sequence[Entry]) -> None:
        """Set the lines aside that depend on items whose output has changed."""
        changed, gone = self._changed(earlier, entries)
        goes: dict[str, Goes] = {}
        for id, of_whole_rows in reach(self._chain, self._node.id).items():
            stale = gone if judges_itself(self._chain, id) else changed
            if of_whole_rows:
                stale = {row_id: {""} for row_id in stale}
            lines = [
                line
                for row_id, items in stale.items()
                for item in items
                for line in earlier.forget(id, row_id, item)
            ]
            if lines:
                goes[id] = of_items(stale)
                for line in lines:
                    self._on_stale(line)
        if any(map(_is_error_of_batch, earlier.lines(self._node.id))):
            goes[self._node.id] = _is_error_of_batch
        set_lines_aside(self._folder, goes)

    def _changed(self, earlier: ResumeIndex, entries: Sequence[Entry]) -> tuple[Items, Items]:
        """The items by row whose outputs have changed, and those of them that have none anymore."""
        changed: Items = {}
        gone: Items = {}
        seen = set()
        for entry in entries:
            row_id, item = key = _key(entry.item.key)
            seen.add(key)
            line = earlier.find(self._node.id, entry.item.key)
            if items := {*self._differences(entry, line)}:
                changed.setdefault(row_id, set()).update(items)
                if entry.error is not None or _is_nothing(entry.output):
                    gone.setdefault(row_id, set()).add(item)
        for line in earlier.lines(self._node.id):
            row_id, item = key = _key(line)
            if key not in seen and _is_of_batch(line):
                changed.setdefault(row_id, set()).add(item)
                gone.setdefault(row_id, set()).add(item)
        return changed, gone

    def _differences(self, entry: Entry, line: dict[str, Any] | None) -> Iterator[str]:
        """The item, or the parts that it was split into, where what follows sees another value."""
        item = entry.item.name
        if entry.error is not None:  # what follows does not run, and may be needed by a retry
            if self._is_tolerant and (line is None or "message" not in line):
                yield item
        elif line is None or "message" in line:
            yield item
        elif not self._is_same(entry, line):
            found = self._found(entry, line)
            if not (isinstance(found, list) and isinstance(entry.output, list)):
                if not _are_equal(found, entry.output):
                    yield item
                return
            for index, (old, new) in enumerate(zip_longest(found, entry.output, fillvalue=_NONE)):
                if not _are_equal(old, new):
                    yield f"{item}.{index}" if item else f"{index}"

    def _is_same(self, entry: Entry, line: dict[str, Any]) -> bool:
        """Whether an output is the same as in a line, as far as their JSON says it."""
        try:
            fields = function_fields(self._codec, entry.output)
        except SnapshotError:
            return line.get("kind") == UNREADABLE and line.get("batch") == self._digest
        if fields["kind"] == "dropped" == line.get("kind"):
            return True
        return _content(fields) == encode([line.get(name) for name in _COMPARED])

    def _found(self, entry: Entry, line: dict[str, Any]) -> Any:
        """The output of a line, or `_NONE` if it cannot be read."""
        if line.get("kind") == UNREADABLE:
            return _NONE
        found = self._journal.read(self._node, line, entry.context)
        return _NONE if found is None else found.output

    def _remove_older(self, entries: Sequence[Entry]) -> None:
        """Set the node's lines aside that later ones replace, and those of items that are gone."""
        # Of an item that failed, the line says what follows has seen; unless it has run again.
        is_kept = not self._is_tolerant
        keys = {_key(entry.item.key) for entry in entries if entry.error is None or is_kept}
        left = Counter(map(_key, self._lines()))

        def is_older(line: dict[str, Any]) -> bool:
            if "message" in line:
                return False
            key = _key(line)
            left[key] -= 1
            return left[key] > 0 or not (key in keys or line.get("kind") == "skipped")

        has_older = any(count > 1 for count in left.values())
        if not has_older and not left.keys() <= keys:  # lines of skipped items stay
            has_older = any(_key(it) not in keys and _is_of_batch(it) for it in self._lines())
        if has_older:
            set_lines_aside(self._folder, {self._node.id: is_older})

    def _lines(self) -> Iterator[dict[str, Any]]:
        return read_lines(self._folder.path / STEPS / self._node.id, lambda place: None)


def _key(line: Mapping[str, Any]) -> tuple[int, str]:
    return line["row_id"], line.get("item", "")


def _as_data(value: Any) -> Any:
    """The value of a name, without the class that the chain itself gives it."""
    return dict(value) if isinstance(value, Reasoning) else value


def _are_equal(old: Any, new: Any) -> bool:
    """Whether two values are equal, such as sets whose JSON differs in its order."""
    digest = values_digest([old])
    return digest is not None and digest == values_digest([new])


def _is_nothing(output: Any) -> bool:
    """Whether an output ends the flow of its item."""
    return output is None or isinstance(output, Drop) or (isinstance(output, list) and not output)


def _is_of_batch(line: Mapping[str, Any]) -> bool:
    """Whether a line is of an item that was in the batch: it was not skipped, and got that far."""
    return line.get("kind") != "skipped" and ("message" not in line or "batch" in line)


def _is_error_of_batch(line: Mapping[str, Any]) -> bool:
    return "message" in line and "batch" in line


def _content(fields: Mapping[str, Any]) -> bytes:
    """The output in the fields of a line, as its line gives it back."""
    parts = []
    for name in _COMPARED:
        value = fields.get(name)
        parts.append(decode(bytes(value.end())) if isinstance(value, EncodedList) else value)
    return encode(decode(encode(parts)))
