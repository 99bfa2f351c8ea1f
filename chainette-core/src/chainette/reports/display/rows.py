"""One row of a run as a card for notebooks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any

from chainette.messages.brief import brief, cut, kind_of_error
from chainette.pipeline.drawing.markup import card, quiet, table, text

MAX_HTML = 18_000
"""Characters of a card."""
MAX_LINES = 30
"""Values that are shown."""


def result_card(result: Any) -> str:
    """A row: its state, inputs, outputs and error."""
    for size in (800, 300, 100, 20):
        lines = [
            (quiet(text(name, 60)) if is_quiet else text(name, 60), text(value, size))
            for name, value, is_quiet in islice(_lines(result, size), MAX_LINES)
        ]
        html = card(f"<b>row {result.row_id}</b> {result.state}", table((), lines))
        if len(html) <= MAX_HTML:
            break
    return html


def _lines(result: Any, size: int) -> Iterator[tuple[str, str, bool]]:
    """The names and values of a row, and whether they say less than others."""
    inputs: Mapping[str, Any] = getattr(result, "inputs", {})
    for name, value in inputs.items():
        yield f"{name}", _shown(value, size), True
    for id, value in result.outputs.items():
        names = getattr(type(value), "model_fields", None)
        if isinstance(names, dict) and not result.is_split:
            for name in names:
                yield f"{id}.{name}", _shown(getattr(value, name, None), size), False
        else:
            yield id, _shown(value, size), False
    if result.error is not None:
        yield "error", f"{kind_of_error(result.error)}: {str(result.error)[:size]}", False
    if result.drop_reason:
        yield "dropped", result.drop_reason, False
    for id, value in result.reasoning.items():
        yield f"reasoning.{id}", _shown(value, size), True


def _shown(value: Any, size: int) -> str:
    return cut(value, size) if isinstance(value, str) else brief(value, size)
