"""Which rows and columns of the inputs are taken."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from chainette.errors import InputError
from chainette.run.inputs.files import InputRow, count_inputs

SEED = 0
"""The same rows every time, so that a sampled run can be resumed."""


def choose(inputs: Any, sample: int | None, limit: int | None) -> frozenset[int] | None:
    """The rows of a sample, or `None` for all of them.

    Args:
        inputs: See `Chain.run`.
        sample: How many rows.
        limit: Most input rows to choose from.

    Raises:
        InputError: It cannot be known how many rows there are.
    """
    if sample is None:
        return None
    total = count_inputs(inputs)
    if total is None:
        raise InputError(
            "a sample needs inputs whose rows can be counted: a list, or a JSONL or Parquet file"
        )
    total = total if limit is None else min(total, limit)
    return frozenset(random.Random(SEED).sample(range(total), min(sample, total)))  # noqa: S311


def select(row: InputRow, columns: Mapping[str, str] | None) -> InputRow:
    """The row with the columns that are taken, under the fields that they become."""
    if columns is None or not isinstance(row.value, Mapping):
        return row
    missing = [column for column in columns.values() if column not in row.value]
    if missing:
        there = ", ".join(map(str, row.value))
        problem = InputError(f"{row.place}: no column {missing[0]!r}; there are: {there}")
        return replace(row, error=problem)
    return replace(row, value={field: row.value[name] for field, name in columns.items()})
