"""Equality and similarity of two values of JSON."""

from __future__ import annotations

import json
import math
import re
import unicodedata
from collections import Counter
from typing import Any, Literal, TypeAlias

MISSING = object()
"""In the place of a value that a row does not have."""
Kind: TypeAlias = Literal["category", "number", "text", "list", "object", "value"]
"""What a field is compared as; `value` where it has several types, or nothing but `null`."""
_TOKEN = re.compile(r"[\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff]|[^\W_]+")
"""A word or number; a character of Chinese or Japanese, which are written without spaces."""

_LOOKS_TYPED = re.compile(r"-?\d+(\.\d+)?([eE][+-]?\d+)?|true|false|null")


def is_number(value: Any) -> bool:
    """Whether a value is a number; `true` is not one."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def difference(a: Any, b: Any) -> float | None:
    """The second of two numbers minus the first; `None` where that is not a finite number."""
    if not (is_number(a) and is_number(b)):
        return None
    try:
        found = float(b - a)
    except OverflowError:
        return None
    return found if math.isfinite(found) else None


def identity(value: Any) -> Any:
    """Something that equal values share, and no others: 1 and 1.0 are equal, 1, "1" and true not.

    NaN is equal to NaN. The order of an object's fields does not matter, and that of a list does.
    It can be hashed.
    """
    if isinstance(value, str):
        return value
    if isinstance(value, dict):
        return "object", frozenset((key, identity(it)) for key, it in value.items())
    if isinstance(value, list):
        return "list", tuple(map(identity, value))
    if is_number(value):
        return "number", value if value == value else "NaN"
    return "constant", value


def are_equal(a: Any, b: Any) -> bool:
    """Whether two values are equal; see `identity`."""
    if type(a) is type(b) and isinstance(a, str | int | bool):
        return bool(a == b)
    return bool(identity(a) == identity(b))


def text_of(value: Any) -> str:
    """A value as people read it: a text as it is, anything else as JSON; 1.0 is 1."""
    if isinstance(value, str):
        return value
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e15:
        value = int(value)
    return json.dumps(value, ensure_ascii=False, sort_keys=True)


def label(value: Any) -> str:
    """The name of a category: a text as it is, but `"1"` and `"true"` in quotes, unlike 1, true."""
    if isinstance(value, str):
        return json.dumps(value) if _LOOKS_TYPED.fullmatch(value) else value
    return text_of(value)


def folded(value: Any) -> str:
    """A value as text without its case, the space around it and its way of composing characters."""
    return unicodedata.normalize("NFC", text_of(value)).strip().casefold()


def folded_pair(a: Any, b: Any) -> tuple[Any, Any]:
    """Two values, of which texts are folded, and a number or a boolean beside a text is, too."""
    kinds = (str, int, float, bool)
    if not (isinstance(a, str) or isinstance(b, str)):
        return a, b
    return folded(a) if isinstance(a, kinds) else a, folded(b) if isinstance(b, kinds) else b


def are_alike(a: Any, b: Any) -> bool:
    """Whether two values that differ would be equal if they were folded; null is like null only."""
    return a is not None and b is not None and folded(a) == folded(b)


def similarity(a: str, b: str) -> float:
    """The F1 score of the words that two texts have in common, 1 for the same words.

    Words are compared without case, each as often as it occurs; their order does not matter.
    """
    if a == b:
        return 1.0
    left, right = _words(a), _words(b)
    total = left.total() + right.total()
    if not total:  # of signs alone
        return 0.0
    return 2 * (left & right).total() / total


def _words(text: str) -> Counter[str]:
    return Counter(_TOKEN.findall(unicodedata.normalize("NFC", text).casefold()))


def jaccard(a: list[Any], b: list[Any]) -> float:
    """The share of the different items of two lists that both have; 1 of two empty ones."""
    left, right = {*map(identity, a)}, {*map(identity, b)}
    return len(left & right) / len(left | right) if left or right else 1.0


def kind_of_schema(schema: dict[str, Any], root: dict[str, Any]) -> Kind | None:
    """What the values of a JSON schema are compared as; `None` where only they can tell.

    Args:
        schema: The schema of a field.
        root: The schema that holds its definitions.
    """
    if "$ref" in schema:
        name = str(schema["$ref"]).rpartition("/")[2]
        schema = root.get("$defs", {}).get(name, {})
    if "enum" in schema or "const" in schema:
        return "category"
    if several := schema.get("anyOf") or schema.get("oneOf"):
        parts = [it for it in several if it.get("type") != "null"]
        kinds = {kind_of_schema(it, root) for it in parts}
        return kinds.pop() if len(kinds) == 1 else None
    return _KINDS.get(schema["type"]) if isinstance(schema.get("type"), str) else None


_KINDS: dict[str, Kind] = {
    "boolean": "category",
    "integer": "number",
    "number": "number",
    "array": "list",
    "object": "object",
}


def kind_of_value(value: Any) -> Kind | None:
    """What a value is compared as; `None` of a text, which may be a category, and of `null`."""
    if isinstance(value, bool):
        return "category"
    if is_number(value):
        return "number"
    return "list" if isinstance(value, list) else "object" if isinstance(value, dict) else None
