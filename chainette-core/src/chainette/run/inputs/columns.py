"""Whether rows can fit the first step's input: found out once, from the first of them."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from difflib import get_close_matches
from typing import Any

from pydantic import AliasChoices, AliasPath, BaseModel, RootModel, TypeAdapter, ValidationError
from pydantic.fields import FieldInfo
from typing_extensions import is_typeddict

from chainette.errors import InputError, ValidatorError
from chainette.pipeline.nodes.naming import type_name
from chainette.run.inputs.files import InputRow
from chainette.run.inputs.not_rows import conversion, kind_of
from chainette.text import did_you_mean
from chainette.validation import is_valid_already, problems, validator_error

LOOK = 10
"""Rows that are looked at before any is sent."""
RESEMBLING = 0.75
"""From here, a name is taken for another one that is misspelt (`difflib`)."""


class Fields:
    """The fields that rows need.

    Args:
        adapter: The validation of rows.
        model: Their type.

    Attributes:
        is_value: Whether a row is one value, such as a text; a table then has one column.
    """

    def __init__(self, adapter: TypeAdapter[Any], model: Any) -> None:
        self._adapter = adapter
        is_model = isinstance(model, type) and issubclass(model, BaseModel)
        self._model: type[BaseModel] | None = (
            model if is_model and not issubclass(model, RootModel) else None
        )
        self._type = model
        self._fields: list[str] = _field_names(model)
        self.is_value: bool = not self._fields and _is_value(adapter)
        fields = self._model.model_fields if self._model else {}
        self._optional: set[str] = {
            name
            for key, field in fields.items()
            if not field.is_required()
            for name in (key, field.alias, field.validation_alias)
            if isinstance(name, str)
        }

    def check(self, rows: Sequence[InputRow], source: str, columns: Mapping[str, str]) -> None:
        """Refuse rows none of which can fit, before any is sent.

        Args:
            rows: The first rows.
            source: Name of the inputs.
            columns: The columns that were asked for, by the field that each becomes.

        Raises:
            InputError: A field that is required is in none of them, or they are not rows.
        """
        rows = [row for row in rows if row.error is None]
        if self.is_value:
            self._check_values(rows, source)
        if not self._fields or not rows:
            return
        if not any(isinstance(row.value, Mapping) and row.value for row in rows):
            self._check_kind(rows)
            return
        if self._model is None:
            return
        values = [row.value for row in rows if isinstance(row.value, Mapping) and row.value]
        if len(values) < len([row for row in rows if not _is_empty(row.value)]):
            return
        known = [str(key) for key in dict.fromkeys(key for value in values for key in value)]
        wanted = [name for name in columns.values() if name not in known]
        if not columns:
            wanted = self._missing(values)
        elif not wanted:
            self._check_taken(values, source, columns)
        if wanted:
            hint = did_you_mean(wanted[0], known)
            take = f"; columns={{{wanted[0]!r}: …}} takes one under another name"
            if len(known) == 1 and (delimiter := _delimiter(known[0], wanted)):
                hint, take = "", f"; if {delimiter!r} is the delimiter, say delimiter={delimiter!r}"
            raise InputError(
                f"{source}: no column {wanted[0]!r}{hint}; the columns are: "
                f"{', '.join(known)}{'' if columns else take}"
            )

    def check_fields(self, columns: Mapping[str, str]) -> None:
        """Refuse a column that is taken for what is not a field.

        Args:
            columns: The columns that were asked for, by the field that each becomes.

        Raises:
            InputError: There is one.
        """
        model = self._model
        if model is None or model.model_config.get("extra") == "allow" or _reads_rows(model):
            return
        known = {name for key, it in model.model_fields.items() for name in _names_of(key, it)}
        for name in columns:
            if name not in known:
                raise InputError(
                    f"columns: {type_name(self._type)} has no field {name!r}"
                    f"{did_you_mean(name, known)}; its fields are: {', '.join(self._fields)}"
                )

    def _check_values(self, rows: Sequence[InputRow], source: str) -> None:
        """Refuse rows of several columns where one value is expected."""
        tables = [row.value for row in rows if row.is_record and isinstance(row.value, Mapping)]
        if tables and all(len(value) > 1 for value in tables):
            raise InputError(
                f"{source}: the first step takes one value a row ({type_name(self._type)}), and "
                f"the rows have the columns {', '.join(map(str, tables[0]))}: give one column "
                "alone, or the step an input_model that has these fields"
            )

    def _check_taken(self, values: Sequence[Any], source: str, columns: Mapping[str, str]) -> None:
        """Refuse a choice of columns that has none for a field that is required."""
        taken = [
            {field: value[name] for field, name in columns.items() if name in value}
            for value in values
        ]
        if missing := self._missing(taken):
            others = [field for field in columns if field not in self._fields]
            raise InputError(
                f"{source}: no column is taken for {missing[0]!r}"
                f"{did_you_mean(missing[0], others)}; columns are taken for: {', '.join(columns)}"
            )

    def may_fit(self, row: InputRow, columns: Mapping[str, str]) -> bool:
        """Whether a row shows that rows can fit: it lacks no field that is required.

        Args:
            row: The row.
            columns: The columns that were asked for, by the field that each becomes.
        """
        if self._model is None:
            return True
        if row.error is not None or _is_empty(row.value):
            return False
        try:
            self.check([row], "", columns)
        except InputError:
            return False
        return True

    def check_names(self, drawn: Iterable[str], columns: Collection[str]) -> None:
        """Refuse a column that is drawn for a field, and is misspelt.

        Args:
            drawn: The columns that are drawn.
            columns: All columns.

        Raises:
            InputError: No field has its name, and no column that of the field which it resembles.
        """
        if self._model is None or self._model.model_config.get("extra") == "allow":
            return
        fields = {*self._fields, *self._optional}
        missing = sorted(name for name in fields if name not in columns)
        for name in drawn:
            close = get_close_matches(name.lower(), [it.lower() for it in missing], 1, RESEMBLING)
            if name not in fields and close:
                raise InputError(
                    f"rows: {type_name(self._type)} has no field {name!r}"
                    f"{did_you_mean(name, missing)}"
                )

    def _check_kind(self, rows: Sequence[InputRow]) -> None:
        """Refuse rows that are neither dicts nor what the model takes in their place."""
        for row in rows:
            if is_valid_already(row.value, self._type):
                return
            try:
                self._adapter.validate_python(row.value)
            except ValidationError as error:
                if _is_empty(row.value) or error.errors(include_url=False)[0]["loc"]:
                    return
            except Exception:  # a validator of the user's; the rows will show it
                return
            else:
                return
        first, name = rows[0].value, type_name(self._type)
        hint = conversion(first, self._fields[0])
        raise InputError(
            f"{rows[0].place}: expected rows, not {kind_of(first)}: give dicts or instances of "
            f"{name}{hint}"
        )

    def _missing(self, values: Sequence[Any]) -> list[str]:
        """The fields that are required and in none of the rows."""
        missing: list[str] | None = None
        for value in values:
            try:
                self._adapter.validate_python(self._without_empty(value))
            except ValidationError as error:
                names = [
                    str(item["loc"][0])
                    for item in error.errors(include_url=False, include_input=False)
                    if item["type"] == "missing" and len(item["loc"]) == 1
                ]
                missing = [name for name in missing or names if name in names]
                if not missing:
                    return []
            except Exception:  # a validator of the user's; the rows will show it
                return []
            else:
                return []
        return missing or []

    def fitted(self, row: InputRow) -> InputRow:
        """A row of a table; its empty cells are left out where their field has a default."""
        if not row.is_record or not isinstance(row.value, dict):
            return row
        if self.is_value:
            value = next(iter(row.value.values())) if len(row.value) == 1 else row.value
            return InputRow(row.row_id, value, row.place, row.error, True)
        value = self._without_empty(row.value)
        # `dataclasses.replace` takes as long as all the rest.
        return (
            row if value is row.value else InputRow(row.row_id, value, row.place, row.error, True)
        )

    def _without_empty(self, value: Mapping[str, Any]) -> Mapping[str, Any]:
        optional = self._optional
        if not optional or not any(value.get(key, 0) is None for key in optional):
            return value
        return {key: it for key, it in value.items() if it is not None or key not in optional}


def _field_names(model: Any) -> list[str]:
    """The fields of a model, dataclass or TypedDict; empty for other types."""
    if not isinstance(model, type) or issubclass(model, RootModel):
        return []
    if issubclass(model, BaseModel):
        return list(model.model_fields)
    if dataclasses.is_dataclass(model):
        return [field.name for field in dataclasses.fields(model)]
    return list(model.__annotations__) if is_typeddict(model) else []


def _is_value(adapter: TypeAdapter[Any]) -> bool:
    """Whether a type takes values that are not dicts, such as a text."""
    try:
        adapter.validate_python({})
    except ValidationError as error:
        return not any(item["loc"] for item in error.errors(include_url=False))
    except Exception:  # a validator of the user's
        return False
    return False


def _names_of(key: str, field: FieldInfo) -> Iterator[str]:
    """The names under which a row can have a field."""
    yield key
    for alias in (field.alias, field.validation_alias):
        for it in alias.choices if isinstance(alias, AliasChoices) else [alias]:
            name = it.path[0] if isinstance(it, AliasPath) else it
            if isinstance(name, str):
                yield name


def _reads_rows(model: type[BaseModel]) -> bool:
    """Whether a validator of a model sees rows before its fields are taken."""
    validators = model.__pydantic_decorators__.model_validators.values()
    return any(it.info.mode in ("before", "wrap") for it in validators)


def _is_empty(value: Any) -> bool:
    return isinstance(value, Mapping) and not value


def _delimiter(header: str, wanted: Sequence[str]) -> str | None:
    """The character between the fields that are wanted, where the only column has their names."""
    words = "|".join(map(re.escape, wanted))
    found = re.search(rf"(?:^|\W)(?:{words})\s*([^\w\s])|([^\w\s])\s*(?:{words})(?:\W|$)", header)
    return found and (found[1] or found[2])


def explained(error: ValidationError, limit: int = 3) -> str:
    """The first problems of a row on one line."""
    messages = []
    items = error.errors(include_url=False, include_context=False)
    for (location, message), item in zip(problems(error), items, strict=True):
        if item["input"] is None and item["type"] != "missing" and location:
            message = f"{location!r} is empty"
        elif item["type"] == "string_unicode":
            message = f"{location!r} holds half a surrogate pair, which UTF-8 cannot encode"
        messages.append(message)
    more = f" (and {len(messages) - limit} more)" if len(messages) > limit else ""
    return "; ".join(messages[:limit]) + more


def validated(source: InputRow, model: Any, validate: Callable[[Any], Any]) -> Any:
    """The value of a row, as the first node takes it.

    Args:
        source: The row as it was read.
        model: The type of rows.
        validate: Validates a value by that type.

    Raises:
        InputError: The row could not be read, or does not fit.
        ValidatorError: A validator failed for a reason of its own.
    """
    if source.error is not None:
        raise source.error
    if is_valid_already(source.value, model):
        return source.value
    try:
        return validate(source.value)
    except ValidationError as error:
        raise InputError(f"{source.place}: {explained(error)}") from None
    except Exception as error:
        bug = validator_error(type_name(model), error)
        raise ValidatorError(f"{source.place}: {bug}") from error
