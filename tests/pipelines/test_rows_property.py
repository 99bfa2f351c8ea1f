"""Random columns: each cell depends on the seed, its column and its row alone."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from chainette import rows
from chainette.samplers import (
    Sampler,
    boolean,
    choice,
    constant,
    date,
    datetime,
    integer,
    normal,
    number,
    optional,
    several,
    subset,
    uuid,
)
from chainette.samplers.cell import CellRandom
from hypothesis import given, settings
from hypothesis import strategies as st

SEEDS = st.integers(-(10**20), 10**20)
INDEXES = st.integers(0, 10**15)


def drawn_by_function(row: Mapping[str, Any], rng: Any, row_id: int) -> Any:
    return [rng.random(), rng.choice([1, 2]), row_id]


def pairs(draw: Any) -> Any:
    return st.tuples(draw, draw).map(sorted)


def samplers() -> st.SearchStrategy[Any]:
    texts = st.lists(st.text(), min_size=1, max_size=5)
    finite = st.floats(-1e300, 1e300)
    plain: st.SearchStrategy[Any] = st.one_of(
        texts.map(choice),
        st.lists(st.tuples(st.text(), st.floats(0.1, 9)), min_size=1).map(
            lambda it: choice(dict(it))
        ),
        pairs(st.integers()).map(lambda ends: integer(*ends)),
        pairs(finite).map(lambda ends: number(*ends)),
        st.tuples(finite, st.floats(0.01, 1e9)).map(lambda it: normal(*it)),
        st.floats(0, 1).map(boolean),
        pairs(st.dates()).map(lambda ends: date(*ends)),
        pairs(st.datetimes()).map(lambda ends: datetime(*ends)),
        texts.map(subset),
        st.just(uuid()),
        st.just(drawn_by_function),
        st.integers().map(constant),
    )
    return st.recursive(
        plain,
        lambda inner: st.one_of(
            st.tuples(inner, st.floats(0, 1)).map(lambda it: optional(*it)),
            st.tuples(inner, st.integers(0, 3)).map(lambda it: several(*it)),
        ),
        max_leaves=3,
    )


TABLES = st.dictionaries(st.text(min_size=1, max_size=5), samplers(), max_size=4)


@settings(max_examples=25, deadline=None)
@given(table=TABLES, more=TABLES, seed=SEEDS, index=INDEXES)
def test_a_cell_depends_on_nothing_else(
    table: dict[str, Any], more: dict[str, Any], seed: int, index: int
) -> None:
    row = rows(index + 1, table, seed=seed)[index]
    assert rows(index + 7, table, seed=seed)[index] == row
    others = {name: it for name, it in more.items() if name not in table}
    for wider in ({**table, **others}, {**others, **table}):
        found = rows(index + 1, wider, seed=seed)[index]
        assert {name: found[name] for name in table} == row
    for name in table:
        assert rows(index + 1, {name: table[name]}, seed=seed)[index] == {name: row[name]}


@settings(max_examples=20, deadline=None)
@given(table=TABLES, seed=SEEDS)
def test_rows_are_the_same_in_any_order(table: dict[str, Any], seed: int) -> None:
    drawn = rows(5, table, seed=seed)
    one_by_one = [drawn[index] for index in (4, 2, 0, 3, 1)]
    assert [*drawn] == [one_by_one[index] for index in (2, 4, 1, 3, 0)]
    assert drawn.digest() == rows(5, dict(table), seed=seed).digest()
    assert drawn.digest() != rows(5, table, seed=seed + 1).digest()


def drawn(sampler: Sampler[Any], seed: int) -> Any:
    return rows(1, x=sampler, seed=seed)[0]["x"]


@given(ends=pairs(st.integers()), step=st.integers(1, 10**9), seed=SEEDS)
def test_whole_numbers_are_within_their_ends(ends: list[int], step: int, seed: int) -> None:
    value = drawn(integer(*ends, step=step), seed)
    assert ends[0] <= value <= ends[1]
    assert (value - ends[0]) % step == 0


@given(ends=pairs(st.floats(allow_nan=False, allow_infinity=False)), seed=SEEDS)
def test_numbers_are_within_their_ends(ends: list[float], seed: int) -> None:
    value = drawn(number(*ends), seed)
    assert ends[0] <= value <= ends[1]
    assert math.isfinite(value)


@given(ends=pairs(st.integers(-1000, 1000)), decimals=st.integers(0, 4), seed=SEEDS)
def test_numbers_have_their_decimals(ends: list[int], decimals: int, seed: int) -> None:
    low, high = ends[0] / 16, ends[1] / 16 + 1
    value = drawn(number(low, high, decimals=decimals), seed)
    assert low <= value <= high
    assert value == round(value, decimals)


@given(ends=pairs(st.datetimes()), seed=SEEDS)
def test_times_are_within_their_ends(ends: list[Any], seed: int) -> None:
    assert ends[0] <= drawn(datetime(*ends), seed) <= ends[1]


@given(size=st.integers(0, 60), seed=SEEDS, index=st.integers(0, 10**6))
def test_methods_of_random_keep_their_promises(size: int, seed: int, index: int) -> None:
    cell = CellRandom()
    cell.start(cell.column(seed, "x"), index)
    sample = cell.sample(range(60), size)
    assert len({*sample}) == size
    assert {*sample} <= {*range(60)}
    values = list(range(size))
    cell.shuffle(values)
    assert sorted(values) == list(range(size))
    assert len(cell.randbytes(size)) == size
    assert cell.getrandbits(size + 1) < 2 ** (size + 1)
    assert 0 <= cell.below(size + 1) <= size
    assert cell.randrange(5, -(10**40), -3) in range(5, -(10**40), -3)
    assert 0 <= cell.random() < 1
