"""Warnings about answers that are valid and yet not what was meant."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from chainette.engine.structured.schema import OutputSchema
from chainette.types import Completion

FIRST = 50
"""Answers of a type that are looked at."""
_NOTHING = object()


@dataclass(slots=True)
class _Counts:
    """The answers of a type so far.

    Attributes:
        blank: The value that has nothing but defaults, or `_NOTHING` where there is none.
        answers: Answers.
        blanks: Those among them that are `blank`.
    """

    blank: Any
    answers: int = 0
    blanks: int = 0


class AnswerWarnings:
    """Looks at the first answers of each type: at the order of their fields, and for defaults.

    Args:
        warn: Logs a warning that names the engine: a topic, the text, and values.

    Attributes:
        done: The types that need no further look.
    """

    def __init__(self, warn: Callable[..., None]) -> None:
        self._warn = warn
        self._counts: dict[OutputSchema, _Counts] = {}
        self.done: set[OutputSchema] = set()

    def look(self, output: OutputSchema, completion: Completion[Any], *, by_schema: bool) -> None:
        """Look at an answer.

        Args:
            output: The type.
            completion: The answer, which is valid.
            by_schema: Whether the server had the schema.
        """
        counts = self._counts.get(output)
        if counts is None:
            counts = self._counts[output] = _Counts(_blank(output))
            if by_schema:
                self._look_at_order(output, completion.json_text or completion.text)
        counts.answers += 1
        if counts.blank is not _NOTHING and _is_same(completion.parsed, counts.blank):
            counts.blanks += 1
        is_warned = counts.blanks > FIRST // 2
        if is_warned:
            self._warn(
                f"defaults of {output.name}",
                "more than half of the first %d answers of type %s are nothing but its defaults: "
                "fields without a default would have to be answered",
                FIRST,
                output.name,
            )
        if is_warned or counts.answers >= FIRST or counts.blank is _NOTHING:
            self.done.add(output)

    def _look_at_order(self, output: OutputSchema, text: str) -> None:
        """Warn where the server sorts the fields, and so the decision comes before its reasons.

        Ollama does, for models that llama.cpp's own template renders (0.33, `native`).
        """
        properties = _resolved(output.schema, output.schema).get("properties") or {}
        first = next(iter(properties), "")
        if not first or not _is_open(properties[first]):
            return
        try:
            names = list(json.loads(text))
        except (ValueError, TypeError, RecursionError):
            return
        if first in names[1:] and names == sorted(names):
            self._warn(
                f"order of {output.name}",
                "the server writes the fields of %s in alphabetical order: %r comes before %r, "
                "which the type has first; for the order of the type, give the fields aliases "
                "that sort so, or ask in two steps",
                output.name,
                names[0],
                first,
            )


def _is_open(node: Mapping[str, Any]) -> bool:
    """Whether a field is one to think in: a text that is not one of several, or a list."""
    is_text = node.get("type") == "string" and not node.keys() & {"enum", "const", "format"}
    return is_text or node.get("type") == "array"


def _resolved(node: Mapping[str, Any], root: Mapping[str, Any]) -> Mapping[str, Any]:
    name = str(node.get("$ref", "")).rpartition("/")[2]
    found: Mapping[str, Any] = root.get("$defs", {}).get(name, node)
    return found


def _blank(output: OutputSchema) -> Any:
    """The value of a type that has nothing but defaults, or `_NOTHING` where it needs more."""
    try:
        fields = _blank_fields(output.schema, output.schema, 0)
        return output.adapter.validate_python(fields)
    except Exception:  # a field without a default, or the type's own validators
        return _NOTHING


def _blank_fields(node: Mapping[str, Any], root: Mapping[str, Any], depth: int) -> dict[str, Any]:
    node = _resolved(node, root)
    properties = node.get("properties")
    if not properties or depth > 8:
        raise LookupError("a field that must be answered")
    return {
        name: _blank_fields(properties[name], root, depth + 1) for name in node.get("required", ())
    }


def _is_same(value: Any, blank: Any) -> bool:
    try:
        return bool(value == blank)
    except Exception:  # of the user's class
        return False
