"""Rules of a type that JSON Schema has no keyword for, in words."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from pydantic import AliasChoices, AliasPath
from pydantic.errors import PydanticInvalidForJsonSchema
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import to_jsonable_python

from chainette.engine.structured.strict import sentences

Schema = dict[str, Any]

RULES = "x-chainette-rules"
"""The keyword of rules that JSON Schema cannot say, until they are in the description."""
_DATES = {"ge": "Not before", "gt": "After", "le": "Not after", "lt": "Before"}
_SPANS = {"ge": "At least", "gt": "More than", "le": "At most", "lt": "Less than"}
_BRANCHES = ("anyOf", "oneOf", "allOf")
_NAMED = ("properties", "patternProperties", "$defs")
DECIMAL = "x-chainette-decimal"
"""The keyword with the texts of a decimal, a pattern, for decoders that would take any text."""
IS_NUMBER = "x-chainette-number"
"""The keyword of the numbers beside such texts, where only the texts can be held to the rules."""
OWN = frozenset((RULES, DECIMAL, IS_NUMBER))
"""Keywords that are never sent."""


class ModelSchema(GenerateJsonSchema):
    """The JSON schema of a type, with rules that JSON Schema does not have a keyword for."""

    def model_schema(self, schema: Any) -> JsonSchemaValue:
        """A model, whose fields have names in the answer."""
        model = schema["cls"]
        by_name = {"populate_by_name", "validate_by_name"} & {
            name for name, value in model.model_config.items() if value is True
        }
        for name, field in () if by_name else model.model_fields.items():
            if _has_paths_alone(field.validation_alias):
                raise PydanticInvalidForJsonSchema(
                    f"field {name!r} of {model.__name__} is read at a path (AliasPath) alone, "
                    "and a schema has names: use an alias, or AliasChoices with one"
                )
        return super().model_schema(schema)

    def date_schema(self, schema: Any) -> JsonSchemaValue:
        """A date, with its bounds."""
        return _ruled(super().date_schema(schema), schema, _DATES)

    def datetime_schema(self, schema: Any) -> JsonSchemaValue:
        """A date and a time, with their bounds."""
        return _ruled(super().datetime_schema(schema), schema, _DATES)

    def time_schema(self, schema: Any) -> JsonSchemaValue:
        """A time, with its bounds."""
        return _ruled(super().time_schema(schema), schema, _DATES)

    def timedelta_schema(self, schema: Any) -> JsonSchemaValue:
        """A duration, with its bounds."""
        return _ruled(super().timedelta_schema(schema), schema, _SPANS)

    def decimal_schema(self, schema: Any) -> JsonSchemaValue:
        """A decimal number, with the number of its digits."""
        made = super().decimal_schema(schema)
        is_limited = "max_digits" in schema or "decimal_places" in schema
        for branch in made.get("anyOf", ()):
            if branch.get("type") == "string":
                branch[DECIMAL] = _decimals(schema)
            elif is_limited:
                branch[IS_NUMBER] = True
        return _ruled(made, schema, {})


def finite(value: Any) -> Any:
    """A schema in which infinite numbers, such as defaults, are texts; JSON has no such numbers.

    Args:
        value: The schema, or a part of it; it is not changed.
    """
    if isinstance(value, Mapping):
        return {key: finite(it) for key, it in value.items()}
    if isinstance(value, list):
        return [finite(it) for it in value]
    if isinstance(value, float) and not math.isfinite(value):
        return json.dumps(value)
    return value


def in_words(schema: Mapping[str, Any]) -> Schema:
    """Put the rules that JSON Schema has no keyword for into the descriptions of their fields.

    Args:
        schema: A schema of `ModelSchema`; it is not changed.
    """
    made: Schema = described(*_walk(schema))
    return made


def _has_paths_alone(alias: Any) -> bool:
    """Whether a field has no name of its own where it is read."""
    choices = alias.choices if isinstance(alias, AliasChoices) else [alias]
    return all(isinstance(each, AliasPath) and len(each.path) > 1 for each in choices)


def _ruled(made: JsonSchemaValue, core: Mapping[str, Any], words: Mapping[str, str]) -> Schema:
    """A schema with the rules of the core schema that it lacks."""
    rules = [
        f"{text} {to_jsonable_python(core[name])}." for name, text in words.items() if name in core
    ]
    if "max_digits" in core:
        rules.append(f"At most {core['max_digits']} digits.")
    if "decimal_places" in core:
        rules.append(f"At most {core['decimal_places']} decimal places.")
    if "now_op" in core:
        rules.append(f"In the {core['now_op']}.")
    if core.get("tz_constraint") in ("aware", "naive"):
        rules.append("With a time zone." if core["tz_constraint"] == "aware" else "No time zone.")
    result: Schema = {**made, RULES: rules} if rules else made
    return result


def _decimals(core: Mapping[str, Any]) -> str:
    """The texts of a decimal number as a pattern; numbers in other notations are left out."""
    digits, places = core.get("max_digits"), core.get("decimal_places")
    is_positive = any(core.get(bound) is not None and core[bound] >= 0 for bound in ("ge", "gt"))
    sign = "" if is_positive else "-?"
    if digits is None:
        fraction = r"(\.[0-9]+)?" if places is None else rf"(\.[0-9]{{1,{places}}})?"
        return f"^{sign}[0-9]+{fraction if places != 0 else ''}$"
    after = digits // 2 if places is None else min(places, digits)
    before = f"[0-9]{{1,{digits - after}}}" if digits > after else "0"
    whole = f"[0-9]{{1,{digits}}}|" if places is None else ""
    fraction = rf"(\.[0-9]{{1,{after}}})?" if after else ""
    return f"^{sign}({whole}{before}{fraction})$"


def _walk(node: Any) -> tuple[Any, list[str]]:
    """A schema whose parts are described, and the rules of its own."""
    if not isinstance(node, Mapping):
        return node, []
    made: Schema = {key: value for key, value in node.items() if key not in OWN}
    return made, [*node.get(RULES, ()), *within(made, _walk)]


def within(made: Schema, walk: Callable[[Any], tuple[Any, list[str]]]) -> list[str]:
    """Walk the schemas inside one, in place; return the rules that belong to itself.

    Args:
        made: The schema.
        walk: Returns a schema inside it as it is to be, and its rules, which are said there, or
            where the schema is one of several for the same value, by the outer one.
    """
    rules: list[str] = []
    for key, value in made.items():
        if key in _BRANCHES:
            parts = [walk(branch) for branch in value]
            made[key] = [branch for branch, _ in parts if branch is not None]
            rules += [rule for _, own in parts for rule in own]
        elif key in _NAMED:
            made[key] = {name: described(*walk(it)) for name, it in value.items()}
        elif key == "prefixItems":
            made[key] = [described(*walk(it)) for it in value]
        elif key in ("items", "additionalProperties"):
            made[key] = described(*walk(value))
    return rules


def described(schema: Any, rules: Iterable[str]) -> Any:
    """A schema with rules in its description, except those that it has."""
    if not isinstance(schema, Mapping):
        return schema
    said = [rule for rule in dict.fromkeys(rules) if rule not in schema.get("description", "")]
    if not said:
        return schema
    return {**schema, "description": sentences(schema.get("description", ""), *said)}
