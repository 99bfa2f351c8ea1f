"""Figures of reports: counted in memory that does not grow, as exact as they say they are."""

from __future__ import annotations

import itertools
import json
import math
import random
import statistics
from pathlib import Path
from typing import Any

import pytest
from chainette import Chain, apply
from chainette.reports.page.fields import Field
from chainette.reports.page.tallies import EXACT, Moments, Numbers
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel
from report_runs import keep_inputs, report

NUMBERS = st.one_of(
    st.integers(-(10**6), 10**6),
    st.integers(-(10**9), 10**9).map(lambda it: it / 8),
    st.integers(0, 5),
)


def counted(values: list[float], size: int = 100) -> Numbers:
    numbers = Numbers()
    for start in range(0, len(values), size):
        numbers.update(values[start : start + size])
    return numbers


@given(st.lists(NUMBERS, min_size=1, max_size=200))
def test_few_numbers_are_exact(values: list[float]) -> None:
    numbers = counted(values)
    assert numbers.count == len(values)
    assert numbers.quantile(0.5) == sorted(values)[(len(values) + 1) // 2 - 1]
    assert numbers.range == (min(values), max(values))
    bins, is_cut = numbers.bins()
    assert sum(count for _, _, count in bins) == len(values)
    assert len(bins) < 45
    assert bins[0][0] <= min(values) + 1e-6 * abs(min(values))
    assert is_cut or max(values) <= bins[-1][1] + 1e-6 * abs(max(values))
    assert all(a[1] == b[0] for a, b in itertools.pairwise(bins))


@pytest.mark.parametrize("spread", [0.3, 2.0])
def test_many_numbers_are_within_a_fifth_of_a_percent(spread: float) -> None:
    chance = random.Random(1)
    values = [chance.lognormvariate(0, spread) for _ in range(5 * EXACT)]
    numbers = counted(values, 1000)
    assert len(numbers._counts) <= EXACT  # memory is bounded
    ordered = sorted(values)
    for share in (0.01, 0.5, 0.9, 0.99):
        exact = ordered[int(share * len(values))]
        assert numbers.quantile(share) == pytest.approx(exact, rel=0.005)
    assert dict(numbers.figures())["mean"] == pytest.approx(statistics.fmean(values))
    bins, is_cut = numbers.bins()
    assert is_cut == (spread > 1)
    assert sum(count for _, _, count in bins) == len(values)


@given(st.lists(st.floats(1.7e9, 1.8e9), min_size=1, max_size=100))
def test_moments_are_all_counted_in_few_intervals(times: list[float]) -> None:
    moments = Moments()
    for time in times:
        moments.update("a", [time])
    moments.update("b", times)
    start, seconds, series = moments.series()
    assert [(name, sum(counts)) for name, counts in series] == [
        ("a", len(times)), ("b", len(times)),
    ]  # fmt: skip
    assert len(series[0][1]) <= 100
    assert start <= min(times)
    assert max(times) < start + seconds * len(series[0][1])


FIELDS: list[tuple[dict[str, Any], list[Any], list[str], str]] = [
    ({"type": "string", "enum": ["a", "b"]}, ["a", None], ["f bars"], "category"),
    ({"$ref": "#/$defs/E"}, ["x", "x"], ["f bars"], "category"),
    ({"anyOf": [{"$ref": "#/$defs/E"}, {"type": "null"}]}, [None, "x"], ["f bars"], "category"),
    ({"type": "integer"}, [1, 2, None], ["f histogram"], "number"),
    ({"type": "number"}, [1, 2.5], ["f histogram"], "number"),
    ({"type": "string", "format": "decimal"}, ["1.50", "20", None], ["f histogram"], "number"),
    ({"type": "boolean"}, [True, False], ["f bars"], "boolean"),
    ({"type": "string"}, ["one", "two"], ["f histogram"], "text"),
    ({"type": "string"}, ["one", "one"], ["f histogram", "f bars"], "category"),
    ({"type": "string", "format": "date"}, ["2024-01-01", "1999-12-31"], ["f histogram"], "date"),
    ({"type": "string", "format": "date-time"}, ["2024-01-01T01:02:03Z"], ["f histogram"], "date"),
    ({"type": "array", "items": {"type": "integer"}}, [[1, 2], []],
     ["f histogram", "f: the items histogram"], "list"),
    ({"type": "object", "properties": {"a": {"$ref": "#/$defs/E"}}}, [{"a": "x"}, {"b": 1}],
     ["f.a bars", "f.b histogram"], "other"),
    ({}, [{"a": {"b": {"c": {"d": {"e": 1}}}}}], [], "other"),
    ({}, [1, "a", None], ["f: types of values bars", "f histogram", "f histogram"], "other"),
    ({}, [None, None], ["f bars"], "text"),
    ({}, [], [], "text"),
]  # fmt: skip


@pytest.mark.parametrize(("schema", "values", "drawn", "kind"), FIELDS)
def test_a_field_is_drawn_as_its_type_wants(
    schema: dict[str, Any], values: list[Any], drawn: list[str], kind: str
) -> None:
    field = Field(schema, {"E": {"type": "string", "enum": ["x", "y"]}})
    field.extend(values)
    assert [f"{it['title']} {it['kind']}" for it in field.charts("f")] == drawn
    assert field.kind == kind
    assert (field.count, field.empty) == (len(values), values.count(None))


def test_texts_without_end_are_not_kept() -> None:
    field = Field({}, {})
    for start in range(0, 50_000, 5_000):
        field.extend(f"text {n}" for n in range(start, start + 5_000))
    assert field.options is None
    assert field._values is None
    named = Field({"enum": ["a"]}, {})
    named.extend(f"text {n}" for n in range(50_000))
    (chart,) = named.charts("f")
    assert sum(it[1] for it in chart["bars"]) == 50_000


class Number(BaseModel):
    n: int


def twice(number: Number) -> Number:
    return Number(n=2 * number.n)


def test_lines_are_found_in_any_order_and_in_many_files(tmp_path: Path) -> None:
    rows = [{"n": n} for n in range(100)]
    chain = Chain(name="c", steps=[apply(twice)])
    chain.run(rows, output_dir=tmp_path / "run", max_lines_per_file=7)
    files = sorted((tmp_path / "run/steps/twice").glob("*.jsonl"))
    lines = [line for file in files for line in file.read_text().splitlines(keepends=True)]
    assert len(files) > 10
    random.Random(2).shuffle(lines)
    for index, file in enumerate(files):
        file.write_text("".join(lines[7 * index : 7 * index + 7]))
    keep_inputs(tmp_path / "run", rows)
    page = report(tmp_path / "run")
    assert [json.loads(json.dumps(row[1]["line"]["output"])) for row in page.rows] == [
        {"n": 2 * n} for n in range(100)
    ]
    assert page.columns["n"] == [*range(100)]


@pytest.mark.parametrize(
    "values",
    [[math.nan], [1.0, math.inf, -math.inf], [1, 10**400], [1e308, -1e308, 1.0], [0.0, 5e-324]],
)
def test_numbers_that_cannot_be_drawn_are_counted(values: list[float]) -> None:
    field = Field({"type": "number"}, {})
    field.extend(values)
    (block,) = field.charts("n")
    drawn = sum(count for _, _, count in block["bins"])
    far = len(values) - drawn
    assert far == sum(not -1e290 < it < 1e290 for it in values)
    assert block["about"] == (
        f"{far} of {len(values)} are NaN, infinite or too large to draw" if far else ""
    )
