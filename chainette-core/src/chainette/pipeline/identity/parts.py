"""The parts of a chain's nodes that decide on their outputs."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from types import FunctionType
from typing import Any

from pydantic import BaseModel, PydanticUserError, TypeAdapter

from chainette.engine.structured.text import fence_of
from chainette.pipeline.composites.composite import Composite
from chainette.pipeline.composites.keys import canonical
from chainette.pipeline.composites.route import Route
from chainette.pipeline.graph import composite_fields, places
from chainette.pipeline.identity import origins
from chainette.pipeline.identity.uses import Uses
from chainette.pipeline.nodes.apply import ApplyNode
from chainette.pipeline.nodes.conditions import Condition, Fallback, condition_fields
from chainette.pipeline.nodes.naming import type_name
from chainette.pipeline.nodes.node import Node
from chainette.pipeline.nodes.step import Step
from chainette.pipeline.pipeline import Pipeline
from chainette.pipeline.validate import all_branches, all_nodes
from chainette.pipeline.words.word import Word
from chainette.validation import type_adapter

VALIDATORS = "validators"
"""The part of a step that decides which answers are valid, not what it is asked."""
METHODS = "methods of its output type"
"""The part of a step that only what follows can use."""


def parts(chain: Pipeline) -> dict[str, dict[str, str]]:
    """The digests of every node's parts, by the node's id and by words for people."""
    found, branches, reduces = places(chain), _branches(chain), _reduces(chain)
    input_type = _type(chain.input_model)
    return {
        id: {
            name: digest(value)
            for name, value in {
                **_parts(node, found[id], input_type),
                **branches.get(id, {}),
                **reduces.get(id, {}),
            }.items()
            if value not in (None, "")
        }
        for id, node in chain.nodes.items()
    }


def digest(value: Any) -> str:
    """A short digest of a JSON value."""
    text = json.dumps(value, sort_keys=True, default=str)
    return hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()[:16]


def _parts(node: Node, place: Mapping[str, str], input_type: Any) -> dict[str, Any]:
    is_first = place[""] == "chain_input"
    common: dict[str, Any] = {
        "kind": node.kind,
        "place": dict(place),
        "input type": [_schema(node.input_model), input_type if is_first else None],
    }
    if isinstance(node, Composite):
        own = _composite(node)
    else:
        own = _step(node) if isinstance(node, Step) else _function(node)
    return common | own | _conditions(node.condition, node.tolerance, node.skipped)


def _branches(chain: Pipeline) -> dict[str, dict[str, Any]]:
    """The conditions of branches, by the id of the first node."""
    found: dict[str, dict[str, Any]] = {}
    for branch in all_branches(chain.steps):
        fields = _conditions(branch.condition, branch.tolerance)
        own = {f"{name} of branch {branch.name!r}": value for name, value in fields.items()}
        found.setdefault(branch.first_node.id, {}).update(own)
    return found


def _reduces(chain: Pipeline) -> dict[str, dict[str, Any]]:
    """What brings the rows of a group together, by the id of each node that takes the group."""
    found: dict[str, dict[str, Any]] = {}
    for part in chain.group_steps:
        uses = Uses()
        code = [_code(function, uses) for function in part.key.functions]
        more = {f"{name}, used by by": value for name, value in uses.parts.items()}
        fields = {"by": [part.key.fields, code], "fold": part.fold, **more}
        found |= {node.id: fields for node in all_nodes(part.steps)}
    return found


def _conditions(
    condition: Condition | None, tolerance: Fallback | None, skipped: Fallback | None = None
) -> dict[str, Any]:
    """The condition and the fallbacks of a node or a branch."""
    uses, found = Uses(), condition_fields(condition, tolerance, skipped)
    fields: dict[str, Any] = {name: repr(value) for name, value in found.items()}
    if condition is not None and condition.function is not None:
        fields["when"] = _code(condition.function, uses)
    return fields | {f"{name}, used by when": value for name, value in uses.parts.items()}


def _step(step: Step) -> dict[str, Any]:
    validators, methods = _answer(step.answer_model)
    return {
        "engine_name": step.engine_name,
        **step.request_fields(),
        "output type": _answer_type(step),
        "accept_truncated": step.accept_truncated or None,
        VALIDATORS: validators,
        METHODS: methods,
    }


def _answer_type(step: Step) -> Any:
    """What the model is asked for: a value with a schema, text, or code in a language."""
    schema = _schema(step.answer_model)
    return {"text": repr(fence_of(step.answer_model)), **schema} if step.is_text else schema


def _composite(node: Composite) -> dict[str, Any]:
    """What a route or a repeat does with its nodes, which have parts of their own."""
    fields = composite_fields(node)
    name = "by" if isinstance(node, Route) else "until"
    condition = node.by if isinstance(node, Route) else getattr(node, "until", None)
    if isinstance(node, Route):
        fields["cases"] = [
            [canonical(arm.key), names]
            for arm, (_, names) in zip(node.cases, fields["cases"], strict=True)
        ]
    if condition is None or condition.function is None:
        return fields
    uses = Uses()
    fields[name] = _code(condition.function, uses)
    return fields | {f"{part}, used by {name}": value for part, value in uses.parts.items()}


def _function(node: Node) -> dict[str, Any]:
    assert isinstance(node, ApplyNode)
    uses = Uses()
    if isinstance(node, Word):
        function: Any = [node.says(), [_code(fn, uses) for fn in node.functions]]
    else:
        function = _code(node.fn, uses)
    return {
        "function": function,
        "batch": node.batch,
        "engines": [*node.engines] or None,
        "output type": _type(node.output_model),
        **uses.parts,
    }


def _code(fn: Any, uses: Uses) -> str:
    """The text of a function; what it uses is noted."""
    if isinstance(fn, FunctionType) and origins.is_own_file(fn.__code__.co_filename):
        text = uses.source(fn)
        uses.function(fn)
        return text
    return uses.text(fn)


def _type(model: Any) -> Any:
    """All of a type that decides on its values and on what they can do."""
    return [_schema(model), *_answer(model)]


def _answer(model: Any) -> tuple[Any, Any]:
    """The validators of a type, and what its values can do besides."""
    schema = type_adapter(model).core_schema
    uses, more = Uses(), Uses()
    rules = uses.schema(schema)
    methods = sorted(more.classes(cls, skip=_validators(cls)) for cls in {*_classes(schema)})
    return [rules, uses.parts], [*filter(None, methods), more.parts]


def _classes(schema: Any) -> Iterator[type]:
    """The user's classes in a schema of Pydantic's core."""
    if isinstance(schema, dict):
        cls = schema.get("cls")
        if isinstance(cls, type) and origins.is_own(cls.__module__):
            yield cls
        for key, value in schema.items():
            if key != "metadata":
                yield from _classes(value)
    elif isinstance(schema, list | tuple):
        for value in schema:
            yield from _classes(value)


def _validators(cls: type) -> set[str]:
    """Names of the validators of a class, which its schema has."""
    if not issubclass(cls, BaseModel):
        return set()
    found = cls.__pydantic_decorators__
    kinds = (found.validators, found.field_validators, found.root_validators)
    return {*found.model_validators}.union(*kinds)


def _schema(model: Any) -> Any:
    try:
        return TypeAdapter(model).json_schema()
    except PydanticUserError:  # a type without a schema
        return type_name(model)
