"""Outputs of nodes as JSON values and back, and the columns of the flattened table."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cached_property
from typing import Any
from weakref import WeakKeyDictionary

from pydantic import TypeAdapter, ValidationError

from chainette.json_bytes import decode, encode
from chainette.pipeline.composites.composite import main_nodes
from chainette.pipeline.composites.repeat import Repeat, value_node
from chainette.pipeline.composites.route import Route
from chainette.pipeline.nodes.naming import type_name
from chainette.pipeline.nodes.node import Node
from chainette.pipeline.nodes.step import Step
from chainette.pipeline.pipeline import Pipeline
from chainette.reports.plain import Check, plain_check
from chainette.reports.result import Many
from chainette.reports.snapshot import LOST, SnapshotError, Snapshots
from chainette.validation import is_valid_already, type_adapter, validator_error

_PLAIN = b"="
"""The start of packed outputs whose JSON value says all."""


class OutputCodec:
    """Conversion of one node's outputs into JSON values and back.

    Args:
        model: The node's output type. Outputs of `Any` are read as plain JSON.
        is_validated: Whether every output comes from a validation, as those of a step do.
        is_text: Whether it comes from plain text, not from JSON.
    """

    def __init__(self, model: Any, *, is_validated: bool = False, is_text: bool = False) -> None:
        self._adapter: TypeAdapter[Any] = type_adapter(model)
        self._model = model
        self._is_typed = model is not Any
        self._is_validated = is_validated
        self._is_text = is_text
        self._snapshots = Snapshots(model)

    @cached_property
    def _plain_check(self) -> Check | None:
        return plain_check(self._adapter)

    @cached_property
    def is_certain(self) -> bool:
        """Whether `load` makes an equal value of the JSON value of every output."""
        return self._is_validated and self._plain_check is not None

    def _is_plain(self, value: Any, *, is_validated: bool) -> bool:
        """Whether `load` makes an equal value of an output's JSON value, as far as types tell."""
        check = self._plain_check
        return check is not None and (is_validated or check(value))

    def check(self, value: Any, context: Mapping[str, Any] | None = None) -> Any:
        """The value as an output of the node's type.

        Args:
            value: The value.
            context: What validators see as `info.context`.

        Raises:
            pydantic.ValidationError: It does not fit.
            ValidatorError: A validator failed for a reason of its own.
        """
        if not self._is_typed or is_valid_already(value, self._model):
            return value
        try:
            return self._adapter.validate_python(value, context=context)
        except ValidationError:
            raise
        except Exception as error:
            raise validator_error(type_name(self._model), error) from error

    def dump(self, value: Any) -> Any:
        """The JSON value of an output, as its own serializers write it."""
        if isinstance(value, Many):
            return [self.dump(item) for item in value]
        try:
            if self.is_certain or self._is_plain(value, is_validated=False):
                return self._adapter.dump_python(value, mode="json", by_alias=False)
            return self._adapter.dump_python(
                value,
                mode="json",
                by_alias=False,
                fallback=str,
                warnings=False,
                polymorphic_serialization=True,
            )
        except Exception:  # of a serializer of the user's
            return self._without_serializers(value)

    def _without_serializers(self, value: Any) -> Any:
        try:
            return self._snapshots.take(value)
        except SnapshotError:
            return str(value)

    def snapshot(self, value: Any, *, is_validated: bool | None = None) -> Any:
        """The snapshot of an output, or `None` where `load` makes an equal one of its JSON value.

        Args:
            value: The output.
            is_validated: Whether it comes from a validation of JSON; by default as for the codec.

        Raises:
            SnapshotError: The value holds an object that is not data.
        """
        if isinstance(value, Many):
            parts = [self.snapshot(part) for part in value]
            has_any = any(part is not None for part in parts)
            return [self._snapshots.take(part) for part in value] if has_any else None
        if is_validated is None:
            is_validated = self._is_validated
        try:
            if self._is_plain(value, is_validated=is_validated):
                return None
            taken = self._snapshots.take(value)
        except (SnapshotError, RecursionError) as error:
            if self._comes_back(value):
                return None
            raise SnapshotError(str(error)) from None
        return None if self._survives(value, taken) else taken

    def _survives(self, value: Any, taken: Any) -> bool:
        """Whether `load` makes an equal value of an output's JSON value, today and later."""
        if self._is_typed and self._plain_check is None:
            return False
        try:
            return encode(self._snapshots.take(self._again(value))) == encode(taken)
        except Exception:  # it was not validated, so anything can be wrong
            return False

    def _comes_back(self, value: Any) -> bool:
        """Whether `load` makes of an output's JSON value what the class calls equal."""
        try:
            return self._is_typed and bool(self._again(value) == value)
        except Exception:  # of the class or its validators
            return False

    def _again(self, value: Any) -> Any:
        """The output that `load` makes of an output's JSON value, once it was written to a file."""
        return self.load(decode(encode(self.dump(value))))

    def snapshot_or_lost(self, value: Any) -> Any:
        """The snapshot of an output, `None` where it needs none, or `LOST`."""
        try:
            return self.snapshot(value)
        except SnapshotError:
            return LOST

    def record(self, value: Any, *, is_validated: bool | None = None) -> dict[str, Any]:
        """The fields of a line from which `read` makes an equal value.

        Raises:
            SnapshotError: The value holds an object that is not data.
        """
        fields = {"output": self.dump(value)}
        if self.is_certain and is_validated is not False:
            return fields
        snapshot = self.snapshot(value, is_validated=is_validated)
        return fields if snapshot is None else fields | {"snapshot": snapshot}

    def pack(self, value: Any) -> bytes:
        """An output as bytes from which `unpack` makes an equal value.

        Raises:
            SnapshotError: The value holds an object that is not data.
        """
        if not self._is_plain(value, is_validated=False):
            record = self.record(value)
            return encode({"snapshot": record["snapshot"]} if "snapshot" in record else record)
        return _PLAIN + encode(self._adapter.dump_python(value, mode="json", by_alias=False))

    def unpack(self, content: bytes) -> Any:
        """The output of the bytes that `pack` made of it."""
        if not content.startswith(_PLAIN):
            return self.read(decode(content))
        return self._adapter.validate_json(content[len(_PLAIN) :], by_name=True, by_alias=False)

    def read(self, fields: Mapping[str, Any], context: Mapping[str, Any] | None = None) -> Any:
        """The output of a line.

        Args:
            fields: The line.
            context: What validators see as `info.context`, where the line has no snapshot.

        Raises:
            Exception: The line is not one of this node's outputs.
        """
        if fields.get("snapshot") is not None:
            return self.restore(fields["snapshot"])
        if fields.get("text") is not None:
            validate = self._adapter
            read = validate.validate_python if self._is_text else validate.validate_json
            return read(fields["text"], context=context)
        return self.load(fields["output"], context)

    def load(self, value: Any, context: Mapping[str, Any] | None = None) -> Any:
        """The output of a JSON value from `dump`.

        Args:
            value: The JSON value.
            context: What validators see as `info.context`.

        Raises:
            Exception: The value does not fit the type.
        """
        if not self._is_typed:
            return value
        return self._adapter.validate_python(value, context=context, by_name=True, by_alias=False)

    def read_back(self, output: Any, snapshot: Any, *, is_many: bool = False) -> Any:
        """An output from a table; JSON where that is all that is left of it.

        Args:
            output: Its JSON value.
            snapshot: Its snapshot, or `None`.
            is_many: Whether it is the outputs of all items that a branch split its item into.
        """
        if is_many:
            snapshots = snapshot if isinstance(snapshot, list) else [snapshot] * len(output)
            pairs = zip(output, snapshots, strict=True)
            return Many(self.read_back(*pair) for pair in pairs)
        try:
            return self.load(output) if snapshot is None else self.restore(snapshot)
        except Exception:  # it holds objects that are not data, or its class is gone
            return output

    def restore(self, snapshot: Any) -> Any:
        """The output of a snapshot.

        Raises:
            LookupError: Its class does not exist anymore.
        """
        return self._snapshots.restore(snapshot)


_codecs: WeakKeyDictionary[Pipeline, dict[str, OutputCodec]] = WeakKeyDictionary()


def codecs(chain: Pipeline) -> dict[str, OutputCodec]:
    """The codecs of a chain's nodes by id, created once."""
    if chain not in _codecs:
        _codecs[chain] = {
            id: OutputCodec(
                node.recorded_model,
                is_validated=_is_validated(node),
                is_text=isinstance(node, Step) and node.is_text and node.samples is None,
            )
            for id, node in chain.nodes.items()
        }
    return _codecs[chain]


def _is_validated(node: Node) -> bool:
    """Whether every output of a node comes from a validation."""
    if isinstance(node, Route):
        last = [main_nodes(flow)[-1:] for flow in node.flows]
        return all(nodes and _is_validated(value_node(nodes[0])) for nodes in last)
    return isinstance(node, Step | Repeat)


def value_codec(chain: Pipeline) -> OutputCodec | None:
    """The codec of the rows' values, where it is not that of the last node's outputs."""
    node = None if chain.value_id is None else chain.nodes[chain.value_id]
    if node is None or node.recorded_model == node.output_model:
        return None
    return OutputCodec(node.output_model)


MANY = "[]"
"""The end of a column's name, for outputs of all items that a branch split a row into."""


def flatten(outputs: dict[str, Any], many: Iterable[str] = ()) -> dict[str, Any]:
    """One flat mapping of `node.field` from the JSON values of the nodes' outputs."""
    flat: dict[str, Any] = {}
    for id, output in outputs.items():
        if id in many:
            flat[id + MANY] = output
        elif isinstance(output, dict) and output:
            flat.update({f"{id}.{key}": value for key, value in output.items()})
        else:
            flat[id] = output
    return flat


def unflatten(line: dict[str, Any]) -> dict[str, Any]:
    """The JSON values of the nodes' outputs from a flat mapping."""
    outputs: dict[str, Any] = {}
    for name, value in line.items():
        id, dot, key = name.partition(".")
        if dot:
            outputs.setdefault(id, {})[key] = value
        else:
            outputs[id] = value
    return outputs
