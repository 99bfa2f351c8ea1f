"""The parameters of functions in chains: what a function is given, and how."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, get_origin

from chainette.errors import ChainError
from chainette.pipeline.functions.calls import Calls, SyncCalls

CALLS = "calls"
ROW_ID = "row_id"
BY_NAME = (CALLS, ROW_ID)
"""Names of the parameters that stand for something other than the item and the names."""
_ITEM, _NAMES = "item", "names"
_POSITIONAL = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)


@dataclass(frozen=True, slots=True)
class Parameters:
    """The arguments that a function takes.

    Attributes:
        positional: What it takes in order: `item`, then `names`, `calls` and `row_id` if it has
            parameters for them.
        keywords: What it takes by keyword, by the name of the parameter.
    """

    positional: tuple[str, ...] = (_ITEM,)
    keywords: tuple[tuple[str, str], ...] = ()

    def takes(self, what: str) -> bool:
        """Whether it takes `names`, `calls` or `row_id`."""
        return what in self.positional or any(what == it for _, it in self.keywords)

    def arguments(
        self, item: Any, names: Any, row_id: Any, calls: Any
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """The arguments of one call, in order and by keyword."""
        if len(self.positional) == 1 and not self.keywords:
            return (item,), {}
        values = {_ITEM: item, _NAMES: names, ROW_ID: row_id, CALLS: calls}
        ordered = tuple(values[what] for what in self.positional)
        return ordered, {name: values[what] for name, what in self.keywords}


def parameters_of(fn: Callable[..., Any], id: str, *, has_calls: bool) -> Parameters:
    """The parameters of a function.

    The first one takes the item. Others of the names `calls` and `row_id` take these; one more
    without a default takes the mapping of names.

    Args:
        fn: The function.
        id: Its name in messages.
        has_calls: Whether it has engines to call.

    Raises:
        ChainError: It needs something else.
    """
    try:
        parameters = [*inspect.signature(fn).parameters.values()]
    except (TypeError, ValueError):  # of a builtin such as `str`
        return Parameters()
    if not any(it.kind in (*_POSITIONAL, it.VAR_POSITIONAL) for it in parameters):
        raise ChainError(f"apply {id!r}: the function has no parameter; it gets an item")
    first = next((it for it in parameters if it.kind in _POSITIONAL), None)
    rest = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    others = [it for it in parameters if it is not first and it.kind not in rest]
    _check_needed(id, first, [it for it in others if _meaning(it, has_calls) == _NAMES])
    positional, keywords = [_ITEM], []
    for index, parameter in enumerate(others):
        what, is_next = _meaning(parameter, has_calls), len(positional) == 1 + index
        if what is None:
            continue
        if parameter.kind is not parameter.POSITIONAL_ONLY and (what != _NAMES or not is_next):
            keywords.append((parameter.name, what))
        elif is_next:
            positional.append(what)
    return Parameters(tuple(positional), tuple(keywords))


def _meaning(parameter: inspect.Parameter, has_calls: bool) -> str | None:
    """What a parameter beside the first takes; `None` for one that keeps its default."""
    has_default = parameter.default is not parameter.empty
    if parameter.name == ROW_ID or (parameter.name == CALLS and (has_calls or not has_default)):
        return parameter.name
    return None if has_default else _NAMES


def _check_needed(
    id: str, first: inspect.Parameter | None, needed: Sequence[inspect.Parameter]
) -> None:
    """Refuse a function with more parameters than there is something for.

    Raises:
        ChainError: It has more.
    """
    if len(needed) > 1 or any(it.kind is it.KEYWORD_ONLY for it in needed):
        own = [first] if first is not None and first.default is first.empty else []
        names = ", ".join(it.name for it in [*own, *needed])
        raise ChainError(
            f"apply {id!r}: the function needs {names}; it gets an item and the names, and, by "
            f"their own names, {' and '.join(BY_NAME)}"
        )


def engines_of(engines: Any, id: str) -> tuple[str, ...]:
    """The names of the engines that a function calls, each once.

    Raises:
        ChainError: They are something else.
    """
    if engines is None:
        return ()
    if isinstance(engines, str) or not isinstance(engines, Sequence):
        example = engines if isinstance(engines, str) else "judge"
        raise ChainError(f"apply {id!r}: engines is a list of names, as in engines=[{example!r}]")
    for engine in engines:
        name = getattr(getattr(engine, "config", engine), "name", None)
        if not (isinstance(engine, str) and engine):
            hint = f": engines=[{name!r}]" if isinstance(name, str) else ""
            raise ChainError(f"apply {id!r}: engines has {engine!r}; give names of engines{hint}")
    return tuple(dict.fromkeys(engines))


_ALL = ", or use reduce(…) without by, whose function sees all items and may call engines"


def check_calls(
    id: str,
    takes_calls: bool,
    engines: tuple[str, ...],
    *,
    batch: Any,
    waits: bool,
    annotation: Any,
) -> None:
    """Check that a function that calls engines can do so.

    Args:
        id: Its name in messages.
        takes_calls: Whether it has a parameter `calls`.
        engines: Names of the engines.
        batch: The number of items that it takes at a time, or `None`.
        waits: Whether it can wait for an answer: `await` it, or block a thread.
        annotation: The annotation of `calls`, if it is not the one that fits.

    Raises:
        ChainError: It cannot.
    """
    if takes_calls and not engines:
        problem = "the function takes calls; name the engines, as in engines=['judge']"
    elif engines and not takes_calls:
        problem = f"engines={[*engines]!r}, but the function has no parameter calls after its item"
    elif engines and batch is not None:
        problem = (
            f"with batch={batch!r} it cannot call engines, since a call belongs to one item; leave "
            f"out batch, or ask in a function before it{_ALL if batch == 'all' else ''}"
        )
    elif engines and not waits:
        problem = "to call engines, the function must be async, or run with threaded=True"
    elif engines and annotation is not None:
        other = SyncCalls if annotation is Calls else Calls
        kind = "a function in a thread" if annotation is Calls else "an async function"
        problem = f"calls is annotated {annotation.__name__}; {kind} gets {other.__name__}"
    else:
        return
    raise ChainError(f"apply {id!r}: {problem}")


def returns_awaitable(fn: Callable[..., Any], hints: Mapping[str, Any]) -> bool:
    """Whether a function that is not `async` itself passes on what one returns."""
    inner = inspect.unwrap(fn)
    origin = get_origin(hints.get("return"))
    return inspect.iscoroutinefunction(inner) or origin in (Awaitable, Coroutine)
