"""Where the nodes of a chain are in its YAML file."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from chainette.loading.yaml_spec import (
    ApplySpec,
    BranchSpec,
    ReduceSpec,
    RepeatSpec,
    RouteSpec,
)
from chainette.yaml_source import Location

_NAMES = ("id", "branch", "route", "repeat", "reduce")
"""Keys whose value is what messages call a node."""
_KINDS = ("step", "apply", "split", "filter", "distinct", "vote", *_NAMES)
_NAMED = re.compile(rf"\b(?:{'|'.join(_KINDS)}) '(\w+)'")


def inside_of(spec: Any) -> dict[Location, list[Any]]:
    """The nodes inside of a node, by where they are in it."""
    if isinstance(spec, BranchSpec | RepeatSpec | ReduceSpec):
        return {("steps",): spec.steps}
    if not isinstance(spec, RouteSpec):
        return {}
    cases: dict[Location, list[Any]] = {("cases", key): it or [] for key, it in spec.cases.items()}  # type: ignore[misc]
    return cases | (
        {("default",): spec.default or []} if "default" in spec.model_fields_set else {}
    )


def place_of(message: str, specs: list[Any]) -> Location | None:
    """The node that a message about a whole chain is about: the first one that it names.

    Args:
        message: The message.
        specs: The nodes of the file.
    """
    known = dict(_places(specs, ("steps",)))
    return next((known[name] for name in _NAMED.findall(message) if name in known), None)


def _places(specs: list[Any], location: Location) -> Iterator[tuple[str, Location]]:
    for index, spec in enumerate(specs):
        here: Location = (*location, index)
        names = [getattr(spec, key, None) for key in _NAMES]
        if isinstance(spec, ApplySpec) and spec.id is None:  # the name of the function is its id
            names = [re.split(r"[:.]", spec.apply)[-1]]
        yield from ((name, here) for name in names if isinstance(name, str))
        for path, inside in inside_of(spec).items():
            yield from _places(inside, (*here, *path))
