"""Rows from nothing that are written in YAML."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from chainette import samplers
from chainette.errors import ChainError, ChainetteError, InputError
from chainette.loading.importing import load_symbol
from chainette.loading.yaml_spec import SAMPLERS, RowsSpec
from chainette.registry.config_file import raise_mistakes
from chainette.run.inputs.generated import Rows, check_reads, column_sampler
from chainette.run.inputs.given import Given
from chainette.samplers.sampler import Sampler
from chainette.text import did_you_mean
from chainette.yaml_source import Location, YamlSource

_REFERENCE = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*")
_SPREAD = frozenset({"integer", "number", "normal", "date", "datetime"})
"""Samplers whose list is one of arguments, and whose mapping is one of keywords."""
_NESTED = frozenset({"optional", "several"})
"""Samplers whose argument is a sampler."""
_EXAMPLE = "give a value, a template, or a sampler, such as {choice: [dry, warm]}"


class YamlRows:
    """Rows from nothing, as a file describes them.

    Args:
        source: The file.
        spec: The description.
        given: The file of data to draw from.

    Raises:
        ChainError: There are mistakes; all of them are named together, with file and line.
    """

    def __init__(self, source: YamlSource, spec: RowsSpec, given: Path | str | None) -> None:
        self._source = source
        self._spec = spec
        self._given = given
        self._samplers = self._build()
        if given is None:
            self._check(None)

    def open(self) -> Rows:
        """The rows.

        Raises:
            ChainError: A column needs one that the data does not have.
            InputError: The data cannot be read.
        """
        data = Given(self._given) if self._given else None
        self._check(data)
        return Rows(self._spec.rows, self._samplers, self._spec.seed, data)

    def _build(self) -> dict[str, Sampler[Any]]:
        mistakes: list[str] = []
        found: dict[str, Sampler[Any]] = {}
        for name, value in (self._spec.model_extra or {}).items():
            location: Location = ("inputs", name)
            try:
                found[name] = column_sampler(name, _value(value))
            except ChainetteError as error:
                text = str(error).removeprefix(f"column {name!r}: ")
                mistakes.append(f"{self._source.place(location)}: inputs.{name}: {text}")
        raise_mistakes(self._source, mistakes, ChainError)
        return found

    def _check(self, data: Given | None) -> None:
        before: dict[str, Sampler[Any]] = {}
        for name, sampler in self._samplers.items():
            before[name] = sampler
            columns = data.columns if data else ()
            try:
                check_reads(name, sampler, before, columns, self._samplers)
            except InputError as error:
                place = self._source.place(("inputs", name))
                raise ChainError(f"{place}: inputs: {error}") from None


def _value(spec: Any) -> Any:
    """A sampler or a plain value.

    Raises:
        ChainetteError: It is neither, or could be more than one.
    """
    if isinstance(spec, dict):
        return _sampler(spec)
    if isinstance(spec, list):
        raise InputError(f"it is a list; {_EXAMPLE}")
    if isinstance(spec, str) and ("{{" in spec or "{%" in spec):
        return samplers.template(spec)
    if isinstance(spec, str) and _REFERENCE.fullmatch(spec):
        raise InputError(f"give {{function: {spec!r}}} or, for the text itself, {{constant: …}}")
    return spec


def _sampler(spec: Mapping[str, Any]) -> Sampler[Any]:
    found = [key for key in spec if key in SAMPLERS]
    if not found:
        hint = did_you_mean(str(next(iter(spec))), SAMPLERS) if spec else ""
        what = f"{', '.join(map(repr, spec))} is not a sampler" if spec else "it is empty"
        raise InputError(f"{what}{hint}; samplers: {', '.join(SAMPLERS)}")
    name = found[0]
    options = {key: value for key, value in spec.items() if key != name}
    if name == "function":
        return _function(spec[name], options)
    arguments, keywords = _arguments(name, spec[name])
    for key in ("cases", "default") if name == "switch" else ():
        if key in options:
            options[key] = _cases(options[key]) if key == "cases" else _value(options[key])
    return _called(name, getattr(samplers, name), arguments, {**keywords, **options})


def _arguments(name: str, value: Any) -> tuple[list[Any], dict[str, Any]]:
    """The arguments and keywords that are written as the value of a sampler's key."""
    if name in _SPREAD and isinstance(value, list):
        return value, {}
    if name in _SPREAD and isinstance(value, dict):
        return [], value
    if value is None and name in ("uuid", "boolean"):
        return [], {}
    return [_value(value) if name in _NESTED else value], {}


def _cases(cases: Any) -> Any:
    if not isinstance(cases, dict):
        return cases
    return {key: _value(value) for key, value in cases.items()}


def _called(
    name: str, make: Callable[..., Sampler[Any]], arguments: list[Any], keywords: dict[str, Any]
) -> Sampler[Any]:
    signature = inspect.signature(make)
    try:
        signature.bind(*arguments, **keywords)
    except TypeError as error:
        known = [it.name for it in signature.parameters.values()]
        unknown = next((key for key in keywords if key not in known), None)
        hint = did_you_mean(unknown, known) if unknown else ""
        raise InputError(f"{name}: {error}{hint}; it takes {', '.join(known)}") from None
    return make(*arguments, **keywords)


def _function(reference: Any, options: Mapping[str, Any]) -> Sampler[Any]:
    if options or not isinstance(reference, str):
        raise InputError("function: give module:name, and nothing else")
    loaded = load_symbol(reference)
    if not callable(loaded) and not isinstance(loaded, Sampler):
        raise InputError(f"function: {reference} is not a function")
    return column_sampler(reference, loaded)
