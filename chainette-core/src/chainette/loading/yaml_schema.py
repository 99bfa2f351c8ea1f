"""The JSON Schemas of chain and engine files, for editors: made of the models that read them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from chainette.engine.config import EngineConfig
from chainette.errors import PluginError
from chainette.loading.yaml_spec import format_schema
from chainette.plugins import discovery

_DIALECT = "https://json-schema.org/draft/2020-12/schema"
_VARIABLE = {"type": "string", "pattern": r"\$\{.+\}"}
"""A value that comes from the environment, whatever its type."""


def chain_schema(backends: Iterable[str] | None = None) -> dict[str, Any]:
    """The schema of chains; see `engines_schema` for the engines in them."""
    schema = format_schema()
    own, more = _engines(backends)
    schema["$defs"] |= more | {"EngineSpec": own}
    return schema


def engines_schema(backends: Iterable[str] | None = None) -> dict[str, Any]:
    """The schema of files with engines: a list, or one under `engines`.

    Args:
        backends: Names of the backends whose fields it knows; by default those that are installed.
            Of others, the fields that all backends have are checked.
    """
    own, more = _engines(backends)
    entries = {"type": "array", "items": {"$ref": "#/$defs/EngineSpec"}}
    mapping = {
        "type": "object",
        "properties": {"engines": entries},
        "required": ["engines"],
        "additionalProperties": False,
    }
    return {
        "$schema": _DIALECT,
        "title": "Engines",
        "description": "Engines of Chainette.",
        "anyOf": [entries, mapping],
        "$defs": more | {"EngineSpec": own},
    }


def _engines(backends: Iterable[str] | None) -> tuple[dict[str, Any], dict[str, Any]]:
    """The definition of an engine, and those that it refers to."""
    names = discovery.names() if backends is None else [*backends]
    definitions: dict[str, Any] = {}
    common = _fields(EngineConfig, definitions)
    rules = []
    for name, config in _configs(names).items():
        definitions[f"engine_{name}"] = _fields(config, definitions) | {
            "title": f"An engine of the backend {name}",
            "additionalProperties": False,
        }
        is_it = {"properties": {"backend": {"const": name}}, "required": ["backend"]}
        rules.append({"if": is_it, "then": {"$ref": f"#/$defs/engine_{name}"}})
    more = {"examples": [*names]}
    common["properties"]["backend"] |= more
    own = common | {"title": "Engine", "description": "An engine; its fields are its backend's."}
    return own | ({"allOf": rules} if rules else {}), definitions


def _configs(names: Iterable[str]) -> Mapping[str, type[EngineConfig]]:
    found: dict[str, type[EngineConfig]] = {}
    for name in names:
        try:
            found[name] = discovery.load(name).config_class()
        except PluginError:  # a broken one is no reason to know nothing of the others
            continue
    return found


def _fields(config: type[EngineConfig], definitions: dict[str, Any]) -> dict[str, Any]:
    """The fields of a configuration; what they refer to is added to the definitions."""
    schema = config.model_json_schema()
    definitions |= schema.pop("$defs", {})
    properties = {name: _or_variable(it) for name, it in schema["properties"].items()}
    return {"type": "object", "properties": properties, "required": schema["required"]}


def _or_variable(schema: dict[str, Any]) -> dict[str, Any]:
    """The schema of a field whose value may also be that of an environment variable."""
    if schema.get("type") == "string" and not {"enum", "const"} & schema.keys():
        return schema
    words = {key: schema[key] for key in ("title", "description", "default") if key in schema}
    rest = {key: value for key, value in schema.items() if key not in words}
    return words | {"anyOf": [*rest.pop("anyOf", [rest] if rest else []), _VARIABLE]}
