"""The schemas that the converters behind Ollama refuse, by server, as recorded."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from chainette.testing.ollama.recorded import CRASH, Version, nested

GONE = "gone"
"""The program itself ends, so that the connection is reset."""
_INVALID = "invalid JSON schema in format"
_SAMPLERS = "Failed to initialize samplers: failed to parse grammar"
_LONGEST = 2000
_PLACES = {
    "0.33 template": "Field 'json_schema': \"json_schema\"",
    "0.33 native": (
        "Unable to generate parser for this template. Automatic parser generation failed"
    ),
}
_TYPES = frozenset(("type", "enum", "const", "anyOf", "oneOf", "allOf", "$ref", "properties"))


def refusal_of(schema: dict[str, Any], version: Version) -> tuple[int, str] | None:
    """The status and the error with which a server refuses a schema; `None` where it takes it."""
    for part in _parts(schema):
        if reason := _unreadable(part, schema, version):
            return _unread(reason, version)
        pattern = part.get("pattern", "")
        if "(?i" in pattern:
            return (0, GONE) if version == "0.25" else (500, CRASH)
        if re.search(r"\(\?[=!<]", pattern) and version == "0.25":
            return 0, GONE
        if re.search(r"\\[dw]", pattern):
            return (500, CRASH) if version == "0.25" else (400, nested(400, _SAMPLERS))
        if part.get("maxItems", 0) > _LONGEST and version != "0.25":
            return 400, nested(400, _SAMPLERS)
        if part.get("maxLength", 0) > _LONGEST and version == "0.25":
            return 500, CRASH
    return None


def _unreadable(part: dict[str, Any], schema: dict[str, Any], version: Version) -> str:
    """The reason why the converter gives up, or an empty text."""
    pattern = part.get("pattern")
    if pattern is not None and not (pattern.startswith("^") and pattern.endswith("$")):
        return "Pattern must start with '^' and end with '$'"
    if r"\p{" in (pattern or "") and version != "0.25":
        return "Invalid number in curly brackets"
    reference = part.get("$ref", "")
    if reference.startswith("#/$defs/") and "$defs" not in schema:
        is_native = version == "0.33 native"
        text = json.dumps(schema, separators=(",", ":"), sort_keys=is_native)
        return f"Error resolving ref {reference}: $defs not in {text}"
    if version == "0.25" and part and not _TYPES & part.keys():
        return _INVALID
    return ""


def _unread(reason: str, version: Version) -> tuple[int, str]:
    if version == "0.25":
        return 500, _INVALID
    return 400, nested(400, f"{_PLACES[version]}: JSON schema conversion failed:\n{reason}")


def _parts(schema: Any) -> Iterator[dict[str, Any]]:
    """A schema and those of its properties, items and alternatives."""
    if not isinstance(schema, dict):
        return
    yield schema
    for key in ("properties", "$defs"):
        for part in (schema.get(key) or {}).values():
            yield from _parts(part)
    for key in ("items", "additionalProperties"):
        yield from _parts(schema.get(key))
    for key in ("anyOf", "oneOf", "allOf", "prefixItems"):
        for part in schema.get(key) or ():
            yield from _parts(part)
