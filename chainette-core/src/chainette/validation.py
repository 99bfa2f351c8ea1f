"""Pydantic's validation errors as messages for the person who wrote the value."""

from __future__ import annotations

import dataclasses
import re
import sysconfig
import traceback
import types
from collections.abc import Collection, Iterator, Mapping
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, Union, get_args, get_origin

import pydantic
from pydantic import (
    BaseModel,
    ConfigDict,
    PydanticSchemaGenerationError,
    TypeAdapter,
    ValidationError,
)
from typing_extensions import is_typeddict

from chainette.errors import ConfigError, ValidatorError
from chainette.text import ClassT, did_you_mean

if TYPE_CHECKING:
    from pydantic._internal._model_construction import ModelMetaclass
else:
    ModelMetaclass = type(BaseModel)

_OURS = (str(Path(__file__).parent), str(Path(pydantic.__file__).parent))
_OTHERS = tuple({sysconfig.get_path(name) for name in ("stdlib", "purelib", "platlib")})
_MEMBER = re.compile(r"(str|int|float|bool|none)|(constrained-|(list|dict|tuple|literal)\[).*")
"""Pydantic's names of the types that one value can have, at the end of a location."""
UNKNOWN = ("extra_forbidden", "unexpected_keyword_argument")
"""Pydantic's types of errors of keys that there are not."""


class OneMessage(ModelMetaclass):
    """The class of a model that describes mistakes in its arguments in one message."""

    if not TYPE_CHECKING:

        def __call__(cls, *args: Any, **fields: Any) -> Any:  # noqa: N805
            """Make an instance."""
            try:
                return super().__call__(*args, **fields)
            except ValidationError as error:
                raise config_error(cls.__name__, error, cls.model_fields) from None


def no_truth(value: Any, kind: Any) -> Any:
    """The value of a field, unless it is `true` or `false` for a number, which would be 1 or 0.

    Args:
        value: The value, not validated yet.
        kind: The field's annotation.

    Raises:
        ValueError: It is.
    """
    if isinstance(value, bool) and {*(get_args(kind) or (kind,))} <= {int, float, type(None)}:
        raise ValueError(f"expected a number, not {str(value).lower()}")
    return value


def one_message(cls: ClassT) -> ClassT:
    """Let a dataclass of Pydantic describe mistakes in its arguments in one message."""
    construct: Any = cls.__init__  # type: ignore[misc]

    @wraps(construct)
    def initialize(self: Any, *args: Any, **fields: Any) -> None:
        try:
            construct(self, *args, **fields)
        except ValidationError as error:
            known = cls.__pydantic_fields__  # type: ignore[attr-defined]
            raise config_error(cls.__name__, error, known) from None

    cls.__init__ = initialize  # type: ignore[misc]
    return cls


def config_error(name: str, error: ValidationError, known: Collection[str]) -> ConfigError:
    """The one message about mistakes in the arguments of a class.

    Args:
        name: Name of the class.
        error: The validation error.
        known: Its fields.
    """
    return ConfigError(f"{name}: {'; '.join(message for _, message in problems(error, known))}")


def type_adapter(model: Any) -> TypeAdapter[Any]:
    """Pydantic's adapter of a type; of a class that Pydantic does not know, its instances fit."""
    try:
        return TypeAdapter(model)
    except PydanticSchemaGenerationError:
        return TypeAdapter(model, config=ConfigDict(arbitrary_types_allowed=True))


def is_valid_already(value: Any, model: Any) -> bool:
    """Whether a value is, as it is, an instance of a type, with the lists and dicts around it.

    Validating an instance of a model again would run its `after` and `wrap` validators again, on
    the instance itself. Only what is certain counts; what its class wants to have validated each
    time (`revalidate_instances`) does not.

    Args:
        value: The value.
        model: The type.
    """
    if model is Any:
        return True
    if type(value) is dict and isinstance(model, type):  # most rows: a model is made of each
        return False
    origin, arguments = get_origin(model), get_args(model)
    if origin in (Union, types.UnionType):
        return any(is_valid_already(value, option) for option in arguments)
    if origin in (list, set, frozenset, dict):
        parts = (value, value.values()) if origin is dict and type(value) is dict else (value,)
        return type(value) is origin and all(
            is_valid_already(item, argument)
            for part, argument in zip(parts, arguments, strict=True)
            for item in part
        )
    if not isinstance(model, type) or is_typeddict(model) or not isinstance(value, model):
        return value is None and model in (None, type(None))
    if isinstance(value, BaseModel):
        return value.model_config.get("revalidate_instances", "never") == "never"
    is_scalar = model in (bool, int, float, str) and type(value) is model
    return is_scalar or dataclasses.is_dataclass(model)


_EXPECTED = {
    **dict.fromkeys(("int_type", "int_parsing", "int_from_float"), "a whole number"),
    **dict.fromkeys(("float_type", "float_parsing", "decimal_type", "decimal_parsing"), "a number"),
    **dict.fromkeys(("bool_type", "bool_parsing"), "true or false"),
    **dict.fromkeys(("list_type", "tuple_type", "set_type"), "a list"),
    **dict.fromkeys(
        ("dict_type", "model_type", "model_attributes_type", "dataclass_type", "mapping_type"),
        "a mapping of keys and values",
    ),
    "string_type": "a text",
    "finite_number": "a finite number",
    "path_type": "a path",
    "literal_error": "{expected}",
    "enum": "{expected}",
    "greater_than": "a number above {gt}",
    "greater_than_equal": "a number of at least {ge}",
    "less_than": "a number below {lt}",
    "less_than_equal": "a number of at most {le}",
    "too_short": "a list of at least {min_length}",
    "too_long": "a list of at most {max_length}",
    "string_too_short": "a text of at least {min_length} characters",
    "invalid_key": "a text as the key; put it in quotes",
}
"""By Pydantic's type of an error, the value that a configuration should have."""


def in_words(item: Any) -> str:
    """A mistake in a configuration in words for the person who wrote it; never the value.

    Args:
        item: An entry of `ValidationError.errors`.
    """
    expected = _EXPECTED.get(item["type"])
    if expected is None:
        return str(item["msg"]).removeprefix("Value error, ")
    context = {key: _plain_number(value) for key, value in item.get("ctx", {}).items()}
    quotes = item["type"] == "string_type" and isinstance(item["input"], int | float)
    return f"expected {expected.format_map(context)}{'; put it in quotes' if quotes else ''}"


def merged(error: ValidationError) -> list[Any]:
    """The mistakes in a configuration; one for a value that could have several types.

    Args:
        error: The validation error.
    """
    items: dict[tuple[str | int, ...], Any] = {}
    for item in error.errors(include_url=False):
        location, words = item["loc"], in_words(item)
        if not (location and _MEMBER.fullmatch(str(location[-1]))):
            items[location] = item
        elif (first := items.get(location[:-1])) is None:
            items[location[:-1]] = {**item, "loc": location[:-1], "type": "union", "msg": words}
        else:
            first["msg"] += f", or {words.removeprefix('expected ')}"
    return list(items.values())


def _plain_number(value: Any) -> Any:
    return int(value) if isinstance(value, float) and value.is_integer() else value


def validator_error(name: str, error: Exception) -> ValidatorError:
    """The error of a row for what a validator has raised, other than a value that is not valid.

    Args:
        name: The type that was validated.
        error: What Pydantic has passed on.
    """
    place = _place(error)
    return ValidatorError(
        f"a validator of {name} failed: {type(error).__name__}: {error}{place}; "
        "the bug is in the validator: of a value that is not valid, it must raise ValueError"
    )


def _place(error: Exception) -> str:
    """The line of the user's code that raised an error; empty where it is not in Python."""
    lines = [
        (frame.f_code, line)
        for frame, line in traceback.walk_tb(error.__traceback__)
        if not frame.f_code.co_filename.startswith((*_OURS, "<string>", "<frozen"))
    ]
    own = [each for each in lines if not each[0].co_filename.startswith(_OTHERS)]
    if not lines:
        return ""
    code, line = own[-1] if own else lines[0]
    return f" ({code.co_filename}:{line}, in {code.co_name})"


def reads_context(adapter: TypeAdapter[Any]) -> bool:
    """Whether a validator of a type may look at `info.context`."""
    return any(_names_context(function) for function in _with_info(adapter.core_schema))


def _with_info(schema: Any) -> Iterator[Any]:
    """The functions in a core schema that take `info`."""
    if isinstance(schema, Mapping):
        if schema.get("type") == "with-info" and "function" in schema:
            yield schema["function"]
            return
        schema = schema.values()
    elif not isinstance(schema, list | tuple):
        return
    for part in schema:
        yield from _with_info(part)


def _names_context(function: Any) -> bool:
    code = getattr(getattr(function, "__func__", function), "__code__", None)
    return code is None or "context" in code.co_names


def problems(error: ValidationError, known: Collection[str] = ()) -> list[tuple[str, str]]:
    """List the problems as pairs of location and message; values are never shown.

    Args:
        error: The validation error.
        known: The valid keys of a configuration, for suggestions; as a mapping, to their fields,
            whose own keys are then suggested inside of them.

    Returns:
        Pairs such as `("model", "missing")`; the location is dotted, or empty for the whole value.
    """
    pairs = []
    for item in merged(error) if known else error.errors(include_url=False):
        location = ".".join(str(part) for part in without_tags(item["loc"]))
        if item["type"] in UNKNOWN:
            *path, key = map(str, item["loc"])
            place = f" in {'.'.join(path)}" if path and isinstance(known, Mapping) else ""
            hint = did_you_mean(key, _keys(known, path))
            pairs.append((location, f"unknown key {key!r}{place}{hint}"))
        elif item["type"] == "missing":
            pairs.append((location, f"{location!r} is missing"))
        else:
            message = item["msg"].removeprefix("Value error, ").removeprefix("Assertion failed, ")
            message = in_words(item) if known else message or "it is not valid"
            pairs.append((location, f"{location}: {message}" if location else message))
    return pairs


def _keys(known: Collection[str], path: list[str]) -> Collection[str]:
    """The valid keys of the value at a path."""
    for part in path if isinstance(known, Mapping) else ():
        assert isinstance(known, Mapping)
        if part in known:
            known = next(_models(known[part].annotation), {})
    return known


def _models(annotation: Any) -> Iterator[Mapping[str, Any]]:
    """The fields of every model in an annotation."""
    if (fields := getattr(annotation, "__pydantic_fields__", None)) is not None:
        yield fields
    for argument in get_args(annotation):
        yield from _models(argument)


def without_tags(location: tuple[str | int, ...]) -> tuple[str | int, ...]:
    """A location without the tags of unions, such as `<step>`, which are not in the file."""
    return tuple(part for part in location if not (isinstance(part, str) and part.startswith("<")))


def summary(error: ValidationError, limit: int = 3) -> str:
    """The first problems on one line."""
    messages = [message for _, message in problems(error)]
    more = f" (and {len(messages) - limit} more)" if len(messages) > limit else ""
    return "; ".join(messages[:limit]) + more
