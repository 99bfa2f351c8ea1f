"""Pydantic models that are declared in YAML."""

from __future__ import annotations

import ast
import warnings
from datetime import date, datetime, time
from decimal import Decimal
from typing import Annotated, Any, ClassVar, ForwardRef, Literal, Optional, Union

from pydantic import (
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    Tag,
    TypeAdapter,
    ValidationError,
    create_model,
)

from chainette.text import did_you_mean
from chainette.validation import in_words, merged

SCALARS: dict[str, Any] = {
    "str": str,
    "int": int,
    "float": float,
    "bool": bool,
    "date": date,
    "datetime": datetime,
    "time": time,
    "decimal": Decimal,
    "any": Any,
}
"""Type names of fields."""


class FieldSpec(BaseModel):
    """A field of an inline model; a plain text is its `type`.

    Attributes:
        type: `str`, `int`, …, the name of another inline model, `list[…]`, `dict[str, …]`, or
            several of them with `|`; `null` allows no value.
        enum: The values to choose from, instead of a type.
        items: The elements of a list, instead of a type; for lists whose elements have limits.
        description: The field's description for the model.
        default: Value of a field that is left out.
    """

    model_config: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    type: str | None = None
    enum: list[str | int | float | bool] | None = Field(default=None, min_length=1)
    items: InlineField | None = None
    description: str | None = None
    default: Any = None
    ge: float | None = None
    gt: float | None = None
    le: float | None = None
    lt: float | None = None
    min_length: int | None = Field(default=None, ge=0)
    max_length: int | None = Field(default=None, ge=0)
    pattern: str | None = None


InlineField = Annotated[
    Annotated[str, Tag("<text>")] | Annotated[FieldSpec, Tag("<field>")],
    Discriminator(lambda value: "<text>" if isinstance(value, str) else "<field>"),
]
"""A field of an inline model, or the elements of one; a plain text is its type."""
FieldSpec.model_rebuild()


def build_models(specs: dict[str, dict[str, FieldSpec]]) -> dict[str, type[BaseModel]]:
    """Build the models of a chain.

    Args:
        specs: The fields of each model; models may refer to each other and to themselves.

    Returns:
        The models by name.

    Raises:
        ValueError: A type is unknown or malformed; the message names model and field.
    """
    models: dict[str, type[BaseModel]] = {}
    for name, fields in specs.items():
        definitions = {
            key: _definition(spec, f"{name}.{key}", specs) for key, spec in fields.items()
        }
        for key, definition in definitions.items():
            if key.startswith("_") or key == "model_config":
                raise ValueError(f"{name}.{key}: a field cannot have this name; choose another")
            _build(f"{name}.{key}", Field=definition)
        models[name] = _build(name, **definitions)
    for name, model in models.items():
        try:
            model.model_rebuild(_types_namespace=models)
            _check_defaults(model)
        except Exception as error:  # a constraint or a default that does not fit its type
            raise ValueError(f"{name}: {error}") from None
    return models


def _build(name: str, /, **definitions: Any) -> type[BaseModel]:
    """Build a model.

    Raises:
        ValueError: A limit does not fit its field.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of a field that is called as a method of Pydantic's
            return create_model(name, **definitions)
    except Exception as error:  # Pydantic raises several kinds
        reason = str(error).splitlines()[-1].strip()
        raise ValueError(f"{name}: a limit does not fit: {reason}") from None


def _check_defaults(model: type[BaseModel]) -> None:
    """Refuse a default that is not of its field's type.

    Raises:
        ValueError: There is one.
    """
    for key, field in model.model_fields.items():
        if not field.is_required():
            try:
                TypeAdapter[Any](field.annotation or Any).validate_python(field.default)
            except ValidationError as error:
                reason = "; ".join(map(in_words, merged(error)))
                raise ValueError(f"{key}: default: {reason}") from None


def _definition(spec: FieldSpec, location: str, models: Any) -> tuple[Any, Any]:
    annotation: Any
    match spec:
        case FieldSpec(type=str(text), enum=None, items=None):
            annotation = _annotation(text, location, models)
        case FieldSpec(type=None, enum=list(values), items=None):
            annotation = Literal[tuple(values)]
        case FieldSpec(type=None, enum=None, items=FieldSpec() | str() as given):
            items = FieldSpec(type=given) if isinstance(given, str) else given
            element, limits = _definition(items, f"{location}.items", models)
            annotation = list[Annotated[element, limits]]  # type: ignore[valid-type]
        case _:
            raise ValueError(f"{location}: give one of type, enum, items")
    arguments = spec.model_dump(exclude_unset=True, exclude={"type", "enum", "items", "default"})
    if "default" in spec.model_fields_set:
        arguments |= {"default": spec.default, "validate_default": True}
        if spec.default is None:
            annotation = Optional[annotation]  # noqa: UP045  the operand may be a ForwardRef
    return annotation, Field(**arguments)


def _annotation(text: str, location: str, models: Any) -> Any:
    try:
        return _parse(ast.parse(text, mode="eval").body, models)
    except SyntaxError:
        raise ValueError(f"{location}: {text!r} is not a type; known: {_known(models)}") from None
    except ValueError as error:
        raise ValueError(f"{location}: {error}") from None


def _parse(node: ast.expr, models: Any) -> Any:
    """A type from a parsed expression; nothing is evaluated."""
    match node:
        case ast.Name(id="null" | "none") | ast.Constant(value=None):
            return None
        case ast.Name(id=name):
            if name in models:
                return models[name] if isinstance(models[name], type) else ForwardRef(name)
            if name in SCALARS:
                return SCALARS[name]
            hint = did_you_mean(name, [*SCALARS, "list[...]", "dict[str, ...]", *models])
            raise ValueError(f"unknown type {name!r}{hint}; known: {_known(models)}")
        case ast.BinOp(left=left, op=ast.BitOr(), right=right):
            return Union[_parse(left, models), _parse(right, models)]  # noqa: UP007  ForwardRefs
        case ast.Subscript(value=ast.Name(id="list"), slice=item):
            return list[_parse(item, models)]  # type: ignore[misc]
        case ast.Subscript(value=ast.Name(id="dict"), slice=ast.Tuple(elts=[key, item])):
            return dict[_parse(key, models), _parse(item, models)]  # type: ignore[misc]
        case ast.Subscript(value=ast.Name(id="Literal"), slice=choice):
            choices = choice.elts if isinstance(choice, ast.Tuple) else [choice]
            if all(isinstance(it, ast.Constant) for it in choices):
                return Literal[tuple(it.value for it in choices)]  # type: ignore[attr-defined]
    raise ValueError(f"{ast.unparse(node)!r} is not a type; known: {_known(models)}")


def type_of(text: str, models: dict[str, type[BaseModel]]) -> Any:
    """The type that a text names, such as `list[Label]`, where a file has it beside its models.

    Args:
        text: The text, as in the fields of models.
        models: The models by name.

    Raises:
        ValueError: It is not a type, or one that is not known.
    """
    return _parse(ast.parse(text, mode="eval").body, models)


def _known(models: Any) -> str:
    return ", ".join([*SCALARS, "list[...]", "dict[str, ...]", *models])
