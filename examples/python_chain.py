"""Functions only: no engine is needed to split, drop and batch rows.

chainette run examples/python_chain.py -i examples/numbers.jsonl
"""

from chainette import Chain, apply
from pydantic import BaseModel


class Number(BaseModel):
    number: int


class Factor(BaseModel):
    factor: int


class Share(BaseModel):
    factor: int
    share: float


def factors(row: Number) -> list[Factor] | None:
    """The prime factors of a number; one without any is dropped."""
    rest, result = row.number, []
    for candidate in range(2, row.number + 1):
        while rest % candidate == 0:
            result.append(Factor(factor=candidate))
            rest //= candidate
    return result or None


def shares(items: list[Factor]) -> list[Share]:
    """Each factor's share of all factors of all rows."""
    total = sum(item.factor for item in items)
    return [Share(factor=item.factor, share=item.factor / total) for item in items]


chain = Chain(name="python_chain", steps=apply(factors) >> apply(shares, batch="all"))
