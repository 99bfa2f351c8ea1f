"""Estimates for a terminal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.console import RenderableType
from rich.text import Text

from chainette.cli.tables import table
from chainette.messages.numbers import plural
from chainette.run.estimate.result import Estimate, amount_rows, remarks
from chainette.text import escaped


def tables(found: Sequence[Estimate]) -> Iterator[RenderableType]:
    """The numbers of estimates side by side, and what there is to say besides.

    Args:
        found: The estimates, of the same rows.
    """
    first = found[0]
    count = plural(first.rows, "row")
    yield Text(f"{count}, estimated from {first.sampled} of them; intervals of 95 %")
    rows = [*map(list, amount_rows(list(found)))]
    yield table(["", *(it.name for it in found)], rows)
    for it in found:
        title = f"{it.name}: " if len(found) > 1 else ""
        for line in remarks(it):
            yield Text(escaped(title + line))
