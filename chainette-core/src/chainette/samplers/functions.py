"""Functions, templates and plain values as samplers."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

from chainette.errors import ChainError, InputError
from chainette.samplers.cell import CellRandom
from chainette.samplers.sampler import Sampler
from chainette.samplers.values import constant

OWN = ("rng", "row_id")
"""Parameters of functions that are not the row."""


def as_sampler(value: Any, what: str) -> Sampler[Any]:
    """A sampler for a value, a function of the row, or what is one already.

    Args:
        value: The value.
        what: The place where it is given.

    Raises:
        InputError: It could mean more than one thing, or nothing.
    """
    if isinstance(value, Sampler):
        return value
    if isinstance(value, type):
        raise InputError(f"{what}: {value.__name__} is a class; give a sampler or a value")
    if str(getattr(value, "__module__", "")).startswith("chainette.samplers"):
        raise InputError(f"{what}: call the sampler, as in {value.__name__}(…)")
    if callable(value):
        return of_function(value, what)
    if isinstance(value, str) and ("{{" in value or "{%" in value):
        raise InputError(f"{what}: for a template, give template({value[:60]!r}); else constant(…)")
    is_model = hasattr(type(value), "model_fields")
    if hasattr(value, "__iter__") and not isinstance(value, str | bytes) and not is_model:
        raise InputError(
            f"{what}: to draw from a {type(value).__name__}, give choice(values); for the same "
            "in every row, constant(value)"
        )
    return constant(value)


def of_function(fn: Callable[..., Any], what: str) -> Sampler[Any]:
    """A function of the row so far; what it returns is the value, or a sampler that draws it.

    Args:
        fn: The function; its parameters `rng` and `row_id`, if it has them, are the random
            numbers of the cell and the row's index.
        what: The place where it is given.

    Raises:
        InputError: It takes something else.
    """
    call = fn if inspect.isroutine(fn) else getattr(fn, "__call__", fn)  # noqa: B004
    if any(map(inspect.iscoroutinefunction, (fn, call))) or inspect.isasyncgenfunction(call):
        raise InputError(f"{what}: its function is asynchronous; give one that is not")
    if inspect.isgeneratorfunction(call):
        raise InputError(f"{what}: its function has yield; return the value of one row")
    takes_row, own = _parameters(fn, what)

    def draw(cell: CellRandom, row: Mapping[str, Any], row_id: int) -> Any:
        given = {"rng": cell, "row_id": row_id}
        keywords = {name: given[name] for name in own}
        value = fn(dict(row), **keywords) if takes_row else fn(**keywords)
        return value.draw(cell, row, row_id) if isinstance(value, Sampler) else value

    return Sampler("function", (fn,), {}, draw)


def _parameters(fn: Callable[..., Any], what: str) -> tuple[bool, list[str]]:
    """Whether a function takes the row, and which of the other parameters it has.

    Raises:
        InputError: It takes nothing, or something that rows do not have.
    """
    try:
        parameters = [*inspect.signature(fn).parameters.values()]
    except (TypeError, ValueError):  # some functions that are written in C
        return True, []
    parameters = [it for it in parameters if it.kind is not it.VAR_KEYWORD]
    own = [it.name for it in parameters if it.name in OWN and it.kind is not it.POSITIONAL_ONLY]
    others = [it for it in parameters if it.name not in own]
    needed = [it for it in others if it.default is it.empty]
    takes_row = bool(needed) or any(it.name == "row" for it in others)
    first = others[0] if others else None
    is_odd = takes_row and (
        first is None
        or first.kind is first.KEYWORD_ONLY
        or (needed and needed[0] is not first)
        or any(it.kind is not it.VAR_POSITIONAL for it in needed[1:])
    )
    if is_odd or not (takes_row or own):
        found = ", ".join(it.name for it in parameters) or "nothing"
        raise InputError(
            f"{what}: its function takes {found}; it can take the row so far, then rng (random "
            "numbers) and row_id; for the same value in every row, give the value"
        )
    return takes_row, own


def template(text: str) -> Sampler[str]:
    """A text made of the columns before it; `row_id` is the row's index.

    Args:
        text: A Jinja2 template, such as `{{ name }} from {{ town }}`.

    Raises:
        InputError: It is not a template.
    """
    from chainette.pipeline.prompt import PromptTemplate

    try:
        prompt = PromptTemplate(text, "template")
    except ChainError as error:
        raise InputError(str(error)) from None

    def draw(_: CellRandom, row: Mapping[str, Any], row_id: int) -> str:
        return prompt.render({"row_id": row_id, **row})

    return Sampler("template", (text,), {}, draw, frozenset(prompt.names - {"row_id"}))
