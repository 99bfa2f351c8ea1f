"""Outputs of nodes as JSON values and back, and the columns of the flattened table."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any
from weakref import WeakKeyDictionary

from pydantic import TypeAdapter

from chainette.pipeline.pipeline import Pipeline
from chainette.reports.result import Many


class OutputCodec:
    """Conversion of one node's outputs into JSON values and back.

    Args:
        model: The node's output type. Outputs of `Any` come back as plain JSON.
    """

    def __init__(self, model: Any) -> None:
        self._adapter: TypeAdapter[Any] = TypeAdapter(model)
        self.is_exact: bool = model is not Any

    def dump(self, value: Any) -> Any:
        """The JSON value of an output; `load` turns it back into an equal one."""
        if isinstance(value, Many):
            return [self.dump(item) for item in value]
        if not self.is_exact:
            return self._adapter.dump_python(value, mode="json", fallback=str)
        return self._adapter.dump_python(value, mode="json", by_alias=False, round_trip=True)

    def check(self, value: Any) -> Any:
        """The value as an output of the node's type.

        Raises:
            pydantic.ValidationError: It does not fit.
        """
        return self._adapter.validate_python(value) if self.is_exact else value

    def load(self, value: Any) -> Any:
        """The output of a JSON value from `dump`."""
        return self._adapter.validate_python(value, by_name=True, by_alias=False)


_codecs: WeakKeyDictionary[Pipeline, dict[str, OutputCodec]] = WeakKeyDictionary()


def codecs(chain: Pipeline) -> dict[str, OutputCodec]:
    """The codecs of a chain's nodes by id, created once."""
    if chain not in _codecs:
        _codecs[chain] = {id: OutputCodec(node.output_model) for id, node in chain.nodes.items()}
    return _codecs[chain]


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
