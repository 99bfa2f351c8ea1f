"""Selection of rows and columns from the inputs."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import replace

from chainette.errors import InputError
from chainette.run.inputs.files import InputRow
from chainette.run.inputs.formats.arrow_values import Wanted
from chainette.run.inputs.kept import Kept

SEED = 0
"""The sample is the same every time, so that a sampled run can be resumed."""


def choose(total: int | None, sample: int | None, limit: int | None) -> frozenset[int] | None:
    """The row ids of a sample, or `None` for all rows.

    Args:
        total: The number of rows, or `None` if it is unknown.
        sample: Size of the sample.
        limit: Maximum number of input rows to choose from.

    Raises:
        InputError: The rows cannot be counted.
    """
    if sample is None:
        return None
    if total is None:
        raise InputError(
            "a sample needs inputs whose rows can be counted: a list, a data frame or a file"
        )
    total = total if limit is None else min(total, limit)
    return frozenset(random.Random(SEED).sample(range(total), min(sample, total)))  # noqa: S311


def select(row: InputRow, columns: Mapping[str, str] | None) -> InputRow:
    """The row with the selected columns only, under the names of their fields."""
    if columns is None or not isinstance(row.value, Mapping):
        return row
    missing = [column for column in columns.values() if column not in row.value]
    if missing:
        known = ", ".join(map(str, row.value))
        error = InputError(f"{row.place}: no column {missing[0]!r}; the columns are: {known}")
        return replace(row, error=error)
    return replace(row, value={field: row.value[name] for field, name in columns.items()})


def wanted(columns: Mapping[str, str] | None, keep: Kept | None) -> Wanted:
    """The columns of a table that are read, for the chain and to be kept."""
    needed = None if columns is None else frozenset(columns.values())
    if keep is None:
        return Wanted(needed)
    return Wanted(needed, None if keep.names is None else frozenset(keep.names))
