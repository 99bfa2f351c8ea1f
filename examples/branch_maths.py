"""Branches of plain functions that are joined in a final one.

chainette run examples/branch_maths.py -i examples/numbers.jsonl
"""

from collections.abc import Mapping
from typing import Any

from chainette import Branch, Chain, apply
from pydantic import BaseModel


class Number(BaseModel):
    number: int


class Sum(BaseModel):
    square: int
    cube: int
    total: int


def square(row: Number) -> Number:
    """The second power."""
    return Number(number=row.number**2)


def cube(row: Number) -> Number:
    """The third power."""
    return Number(number=row.number**3)


def total(row: Number, names: Mapping[str, Any]) -> Sum:
    """Add up the results of the branches."""
    squared, cubed = names["squared"].number, names["cubed"].number
    return Sum(square=squared, cube=cubed, total=row.number + squared + cubed)


chain = Chain(
    name="branch_maths",
    steps=(
        Branch(name="squares", steps=apply(square)).join("squared")
        | Branch(name="cubes", steps=apply(cube)).join("cubed")
    )
    >> apply(total),
)
