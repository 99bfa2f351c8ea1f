"""Expressions of conditions and keys, which take Jinja only where they need it."""

from __future__ import annotations

from enum import Enum
from typing import Any

import pytest
from chainette.errors import ChainError
from chainette.pipeline.expression import Expression
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel


class Inner(BaseModel):
    value: Any


class Row(BaseModel):
    value: Any
    inner: Inner
    range: Any = None


class Colour(str, Enum):
    RED = "red"


VALUES = [0, 1, -1, 1.0, 2.5, float("nan"), True, False, "", "1", "red", None, [1], Colour.RED]
OPERATORS = ["==", "!=", "<", "<=", ">", ">="]
CONSTANTS = ["1", "0", "-1", "2.5", "'red'", '"1"', "true", "False", "none", "[1]", "1 + 0"]


def outcome(evaluate: Any, row: Row, names: dict[str, Any]) -> Any:
    try:
        return bool(evaluate(row, names))
    except ChainError as error:
        return str(error)


@given(
    path=st.sampled_from(["value", "inner.value", "range", "other", "other.value"]),
    operator=st.sampled_from(OPERATORS),
    constant=st.sampled_from(CONSTANTS),
    value=st.sampled_from(VALUES),
    end=st.sampled_from(["", " and true", " < 3"]),
)
def test_a_comparison_is_the_one_of_jinja(
    path: str, operator: str, constant: str, value: Any, end: str
) -> None:
    row = Row(value=value, inner=Inner(value=value), range=value)
    expression = Expression(f"{path} {operator} {constant}{end}", "step 'a', when")
    for names in [{"other": value}, {"other": Inner(value=value)}, {"value": "named", "other": 1}]:
        assert outcome(expression.value, row, names) == outcome(expression._evaluated, row, names)


@pytest.mark.parametrize(
    ("source", "is_simple"),
    [
        ("value == 3", True),
        ("inner.value != 'red'", True),
        ("value < 2.5", True),
        ("3 == value", False),
        ("value | length < 3", False),
        ("value in [1]", False),
        ("1 < value < 3", False),
        ("value == other", False),
    ],
)
def test_which_comparisons_take_no_jinja(source: str, is_simple: bool) -> None:
    assert (Expression(source, "when")._comparison is not None) is is_simple
