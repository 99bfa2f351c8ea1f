"""Rows from nothing: what is drawn, when it is the same, and what is refused."""

from __future__ import annotations

import datetime as dt
import json
import os
import statistics
import subprocess
import sys
import tracemalloc
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import anyio
import polars as pl
import pyarrow as pa
import pytest
from chainette import Chain, Result, Step, apply, rows
from chainette.errors import ChainetteError, ConfigError, InputError, OutputDirError
from chainette.run.inputs.source import InputSource
from chainette.samplers import (
    Sampler,
    boolean,
    choice,
    constant,
    date,
    datetime,
    faker,
    integer,
    normal,
    number,
    optional,
    several,
    subset,
    switch,
    template,
    uuid,
)
from chainette.testing import fake_engine
from pydantic import BaseModel


class Tone(Enum):
    DRY = "dry"
    WARM = "warm"


class Person(BaseModel):
    tone: str
    age: int = 0
    note: str | None = "none yet"


class Said(BaseModel):
    text: str


@dataclass
class Town:
    town: str


def people() -> Chain[Person, Said]:
    step = Step(
        id="said",
        input_model=Person,
        output_model=Said,
        engine_name="e",
        user_prompt="{{ tone }} {{ age }}",
    )
    return Chain(name="people", steps=step)


def column(sampler: Any, count: int = 2000, **before: Any) -> list[Any]:
    return [row["x"] for row in rows(count, **before, x=sampler)]


# What is drawn

GOLDEN: dict[str, tuple[Any, list[Any]]] = {
    "choice": (choice("dry", "warm", "calm"), ["calm", "calm", "warm", "calm"]),
    "weights": (choice({"a": 3, "b": 1}), ["b", "b", "a", "a"]),
    "integer": (integer(18, 90), [87, 74, 66, 72]),
    "large": (
        integer(0, 10**30),
        [
            956068530351736224256465854092,
            773479251554437922363918018375,
            659174933649618381417612709674,
            743202036900915135013854178002,
        ],
    ),
    "number": (
        number(0, 1),
        [0.9560685303517362, 0.7734792515544379, 0.6591749336496183, 0.7432020369009151],
    ),
    "decimals": (number(-1, 1, decimals=2), [0.92, 0.55, 0.32, 0.49]),
    "normal": (normal(50, 10, decimals=3), [54.712, 64.195, 35.508, 37.272]),
    "boolean": (boolean(0.75), [False, False, True, True]),
    "date": (
        date("2024-01-01", "2024-12-31"),
        [dt.date(2024, 12, 15), dt.date(2024, 10, 10), dt.date(2024, 8, 29), dt.date(2024, 9, 29)],
    ),
    "datetime": (
        datetime("2024-01-01", "2024-01-02", step="hour"),
        [dt.datetime(2024, 1, 1, hour) for hour in (23, 19, 16, 18)],
    ),
    "uuid": (
        uuid(),
        [
            "f4c0e83e-9872-4012-87b9-dd3a6ea2950a",
            "c602bc79-8f95-4c42-9890-e2f9353766f7",
            "a8bfb03e-5e3a-4c47-8665-185eee19fb75",
            "be427d1a-cf5d-4051-a3ed-ab5c359f057c",
        ],
    ),
    "subset": (subset("a", "b", "c"), [["a", "b", "c"], ["a", "b", "c"], ["b", "c"], [*"abc"]]),
    "several": (several(integer(1, 6), (1, 3)), [[5, 5, 1], [1, 3, 6], [4, 4], [3, 1, 2]]),
    "function": (
        lambda row, rng: rng.sample(range(100), 3),
        [[95, 77, 79], [77, 9, 37], [65, 51, 59], [74, 38, 2]],
    ),
    "choices": (
        lambda row, rng: "".join(rng.choices("abc", [1, 2, 3], k=3)),
        ["ccc", "cab", "ccc", "cba"],
    ),
    "shuffle": (
        lambda row, rng: shuffled(rng, [1, 2, 3]),
        [[1, 2, 3], [2, 1, 3], [1, 3, 2], [2, 1, 3]],
    ),
}
"""Samplers and their first values with seed 7, which no version may change."""


def shuffled(rng: Any, values: list[int]) -> list[int]:
    rng.shuffle(values)
    return values


@pytest.mark.parametrize("name", GOLDEN)
def test_the_values_of_a_seed_stay_the_same(name: str) -> None:
    sampler, expected = GOLDEN[name]
    assert [row["x"] for row in rows(4, seed=7, x=sampler)] == expected


RANGES: dict[str, tuple[Any, set[Any]]] = {
    "choice": (choice("a", "b"), {"a", "b"}),
    "list": (choice([1, 2]), {1, 2}),
    "range": (choice(range(3)), {0, 1, 2}),
    "enum": (choice(Tone), {*Tone}),
    "one text": (choice("dry"), {"dry"}),
    "weight of 0": (choice("a", "b", "c", weights=[1, 0, 0]), {"a"}),
    "integer": (integer(-1, 1), {-1, 0, 1}),
    "one integer": (integer(5, 5), {5}),
    "step": (integer(0, 10, step=4), {0, 4, 8}),
    "decimals": (number(0.1, 0.3, decimals=1), {0.1, 0.2, 0.3}),
    "no decimals": (number(0.5, 2.5, decimals=0), {1.0, 2.0}),
    "normal": (normal(0, 5, low=-1, high=1, decimals=0), {-1.0, 0.0, 1.0}),
    "date": (date(dt.date(2024, 2, 28), "2024-03-01"), {
        dt.date(2024, 2, 28), dt.date(2024, 2, 29), dt.date(2024, 3, 1),
    }),
    "datetime": (datetime("2024-01-01", "2024-01-02T23:00", step="day"), {
        dt.datetime(2024, 1, 1), dt.datetime(2024, 1, 2),
    }),
    "never": (boolean(0), {False}),
    "always": (boolean(1), {True}),
    "optional": (optional(constant(1), 0.5), {1, None}),
    "constant": ("dry", {"dry"}),
    "None": (None, {None}),
    "switch": (switch("t", {"a": 1, "b": choice(2, 3)}), {1, 2, 3}),
    "default": (switch("t", {"a": 1}, default=lambda row: row["t"] * 2), {1, "bb"}),
    "template": (template("{{ t }}{{ t }}"), {"aa", "bb"}),
    "function": (lambda row: row["t"], {"a", "b"}),
    "sampler of a function": (lambda row: integer(1, 2) if row["t"] == "a" else 3, {1, 2, 3}),
    "only random numbers": (lambda rng: rng.randint(1, 2), {1, 2}),
    "keyword": (lambda row, *, rng: rng.choice("xy"), {"x", "y"}),
    "partial": (partial(lambda more, row: row["t"] + more, "!"), {"a!", "b!"}),
    "default of a loop": (lambda row, k="k": k, {"k"}),
}  # fmt: skip


@pytest.mark.parametrize("name", RANGES)
def test_every_value_of_a_sampler_is_drawn_and_no_other(name: str) -> None:
    sampler, expected = RANGES[name]
    assert {*column(sampler, 200, t=choice("a", "b"))} == expected


SHARES: dict[str, tuple[Any, Callable[[Any], bool], float]] = {
    "boolean": (boolean(0.2), bool, 0.2),
    "weights": (choice("a", "b", weights=[3, 1]), lambda it: it == "a", 0.75),
    "mapping": (choice({"a": 0.1, "b": 0.9}), lambda it: it == "a", 0.1),
    "optional": (optional(constant(1), 0.3), lambda it: it is None, 0.3),
    "normal": (normal(10, 2), lambda it: 8 <= it <= 12, 0.683),
    "number": (number(0, 10), lambda it: it < 4, 0.4),
    "subset": (subset("a", "b", size=1), lambda it: it == ["a"], 0.5),
    "several": (several(choice("a", "b"), 2), lambda it: it == ["a", "a"], 0.25),
}


@pytest.mark.parametrize("name", SHARES)
def test_values_have_their_shares(name: str) -> None:
    sampler, is_counted, share = SHARES[name]
    found = statistics.fmean(is_counted(it) for it in column(sampler, 4000))
    assert found == pytest.approx(share, abs=0.03)


def test_columns_do_not_depend_on_one_another() -> None:
    pairs = Counter((row["a"], row["b"]) for row in rows(8000, a=boolean(), b=boolean()))
    assert len(pairs) == 4
    assert min(pairs.values()) > 1800


def test_a_subset_has_different_values_in_their_order() -> None:
    found = column(subset("a", "b", "c", size=(0, 2)), 300)
    assert {len(it) for it in found} == {0, 1, 2}
    assert all(it == sorted({*it}) for it in found)


def test_times_with_a_zone_are_counted_in_real_time() -> None:
    zone = ZoneInfo("Europe/Berlin")
    low, high = (dt.datetime(2024, 3, 31, hour, tzinfo=zone) for hour in (1, 4))
    found = {it.isoformat()[11:16] for it in column(datetime(low, high, step="hour"), 100)}
    assert found == {"01:00", "03:00", "04:00"}  # at 2, summer began
    assert {
        it.utcoffset() for it in column(datetime("2024-01-01T00:00Z", "2024-01-02T00:00Z"))
    } == {dt.timedelta()}


def test_uuids_are_valid_and_differ() -> None:
    from uuid import UUID

    found = column(uuid(), 500)
    assert len({*found}) == 500
    assert all(UUID(it).version == 4 and str(UUID(it)) == it for it in found)


def test_a_row_cannot_change_the_values_of_another() -> None:
    drawn = rows(3, a=constant([1]), b=choice([[1], [1]]), c=lambda row: row["a"].append(2))
    assert [row["a"] for row in drawn] == [[1, 2]] * 3
    drawn[0]["b"].append(5)
    assert drawn[0]["b"] == [1]
    given = [{"a": 1}]
    first = rows(2, given=given)[0]
    first["a"] = 2
    assert rows(2, given=given)[1] == {"a": 1}


def test_names_come_from_faker_in_a_language() -> None:
    drawn = rows(20, name=faker("name", locale=["de_DE", "ja_JP"]), n=faker("random_int", max=3))
    assert len({row["name"] for row in drawn}) == 20
    assert 0 < sum(row["name"].isascii() or row["name"] < "\u3000" for row in drawn) < 20
    assert {row["n"] for row in drawn} <= {0, 1, 2, 3}


def test_without_faker_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    from chainette.samplers import fakes

    monkeypatch.setitem(sys.modules, "faker", None)
    monkeypatch.setattr(fakes, "_local", type("Empty", (), {})())
    with pytest.raises(ConfigError, match=r'pip install "chainette\[faker\]"'):
        faker("name")


# When it is the same

SCRIPT = """
from chainette import rows
from chainette.samplers import *
drawn = rows(50, seed=3, tone=choice({"dry": 1, "warm": 2}), name=faker("name"),
    parts=subset("a", "b", "c"), age=lambda row, rng: rng.randint(1, len(row["name"])),
    text=template("{{ name }}: {{ parts }}"), words=faker("words", unique=True))
found = repr([*drawn]), drawn.digest()
"""


def test_every_process_draws_the_same_rows() -> None:
    program = f"{SCRIPT}\nprint(found)"
    environment = {**os.environ, "PYTHONHASHSEED": "1"}
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, env=environment, check=True
    )
    names: dict[str, Any] = {"__name__": "__main__"}
    exec(SCRIPT, names)
    assert done.stdout == f"{names['found']}\n"


def test_rows_are_read_in_any_order_and_more_than_once() -> None:
    drawn = rows(100, tone=choice("a", "b"), n=lambda row, rng: rng.random())
    assert [*drawn] == [*drawn] == [drawn[index] for index in range(100)]
    assert drawn[-1] == drawn[99] == [*drawn][99]
    assert drawn[10:13] == [*islice(drawn, 10, 13)]
    assert len(drawn) == 100
    with pytest.raises(IndexError, match="there is no row 100; there are 100"):
        drawn[100]
    first, second = iter(drawn), iter(drawn)
    assert [(next(first), next(second)) for _ in range(5)] == [(it, it) for it in drawn[:5]]


def test_a_table_shows_its_first_rows() -> None:
    assert repr(rows(5, n=integer(1, 1))) == (
        "<5 rows, seed 0:\n  {'n': 1}\n  {'n': 1}\n  {'n': 1}\n  …>"
    )
    assert repr(rows(1, n="x" * 500)).endswith("xxx…>")
    assert "KeyError: 'z'" in repr(rows(2, n=lambda row: row["z"]))
    assert repr(choice("a", "b", weights=[1, 2])) == "choice('a', 'b', weights=(1, 2))"
    assert repr(optional(integer(1, 2))) == "optional(integer(1, 2), 0.1)"


def test_many_rows_take_no_memory() -> None:
    drawn = rows(10**12, tone=choice("a", "b"), age=integer(18, 90))
    tracemalloc.start()
    for _ in islice(drawn, 10_000):
        pass
    assert tracemalloc.get_traced_memory()[1] < 100_000
    tracemalloc.stop()
    assert drawn[10**12 - 1] == drawn[-1]


# Data that rows are drawn from

TOWNS = [{"town": "Ulm", "size": 1}, {"town": "Jena", "size": None}]


def written(folder: Path, name: str) -> Path:
    path = folder / name
    if path.suffix == ".jsonl":
        path.write_text("".join(json.dumps(it) + "\n" for it in TOWNS))
    elif path.suffix == ".csv":
        path.write_text("town,size\nUlm,1\nJena,\n")
    else:
        pl.DataFrame(TOWNS).write_parquet(path)
    return path


DATA: dict[str, Callable[[Path], Any]] = {
    "list": lambda folder: TOWNS,
    "tuple": lambda folder: tuple(TOWNS),
    "generator": lambda folder: (it for it in TOWNS),
    "dataclasses": lambda folder: [Town("Ulm"), Town("Jena")],
    "models": lambda folder: [Person(tone="Ulm"), Person(tone="Jena")],
    "polars": lambda folder: pl.DataFrame(TOWNS),
    "arrow": lambda folder: pa.Table.from_pylist(TOWNS),
    "jsonl": lambda folder: written(folder, "towns.jsonl"),
    "csv": lambda folder: str(written(folder, "towns.csv")),
    "parquet": lambda folder: written(folder, "towns.parquet"),
    "rows": lambda folder: rows(100, town=choice("Ulm", "Jena")),
}


@pytest.mark.parametrize("name", DATA)
def test_each_row_begins_with_one_of_the_data(name: str, tmp_path: Path) -> None:
    drawn = rows(50, given=DATA[name](tmp_path), n=integer(1, 3), t=template("{{ n }}"))
    field = "tone" if name == "models" else "town"
    assert {row[field] for row in drawn} == {"Ulm", "Jena"}
    assert next(iter(drawn[0])) == field
    assert [*drawn[0]][-2:] == ["n", "t"]
    assert drawn[7] == [*drawn][7]
    assert (
        drawn.digest()
        == rows(50, given=DATA[name](tmp_path), n=integer(1, 3), t=template("{{ n }}")).digest()
    )


def test_a_column_can_replace_one_of_the_data() -> None:
    drawn = rows(20, given=TOWNS, town=lambda row: row["town"].upper())
    assert {row["town"] for row in drawn} == {"ULM", "JENA"}
    assert {row["size"] for row in drawn} == {1, None}


def test_an_empty_cell_is_left_out_and_a_value_that_was_drawn_is_not() -> None:
    frame = pl.DataFrame({"tone": ["dry"], "note": [None]})
    with fake_engine("e"):
        run = people().run(rows(3, given=frame))
        assert run.counts.ok == 3
    source = InputSource(rows(1, given=frame), limit=None, sample=None, columns=None, model=Person)
    (row,) = source_values(source)
    assert row == {"tone": "dry"}
    source = InputSource(
        rows(1, given=frame, note=None), limit=None, sample=None, columns=None, model=Person
    )
    (row,) = source_values(source)
    assert row == {"tone": "dry", "note": None}


def source_values(source: InputSource) -> list[Any]:
    async def read() -> list[Any]:
        return [row.value async for row in source.rows()]

    return anyio.run(read)


# Runs


def prompts(client: Any) -> list[str]:
    return sorted(messages[-1]["content"] for messages in client.requests)


def test_a_chain_runs_on_rows() -> None:
    inputs = rows(20, seed=7, tone=choice("dry", "warm"), age=integer(18, 90))
    expected = sorted(f"{row['tone']} {row['age']}" for row in inputs)
    with fake_engine("e") as client:
        assert people().run(inputs).counts.ok == 20
        assert prompts(client) == expected


def test_rows_are_selected_as_others_are() -> None:
    inputs = rows(1000, tone=choice("dry", "warm"), age=lambda row_id: row_id)
    for options, count in [({"limit": 3}, 3), ({"sample": 5}, 5)]:
        with fake_engine("e") as client:
            assert people().run(inputs, **options).counts.ok == count
            taken = {int(it.split()[1]) for it in prompts(client)}
            assert taken == {0, 1, 2} if "limit" in options else len(taken) == 5
    with fake_engine("e") as client:
        people().run(rows(1, colour="red"), columns={"tone": "colour"})
        assert prompts(client) == ["red 0"]


def test_a_sample_of_a_huge_table_draws_no_other_rows() -> None:
    drawn_ids = []

    def note(row: Any, row_id: int) -> None:
        drawn_ids.append(row_id)

    with fake_engine("e"):
        run = people().run(rows(10**9, tone="dry", note=note), sample=4)
    assert run.counts.ok == 4
    assert drawn_ids[10:] == [it.row_id for it in run.results]  # ten are looked at first


def test_rows_are_streamed() -> None:
    async def read() -> list[Result[Said]]:
        inputs = rows(10**9, tone=choice("dry", "warm"))
        found = []
        async for result in people().stream(inputs):
            found.append(result)
            if len(found) == 5:
                break
        return found

    with fake_engine("e"):
        assert len(anyio.run(read)) == 5


def test_no_rows_are_a_run_without_rows() -> None:
    with fake_engine("e"):
        assert people().run(rows(0, tone="dry")).counts.rows == 0


def risky(row: Any, row_id: int) -> str:
    if row_id % 3 == 1:
        raise ValueError("it is odd")
    return "dry"


def test_a_row_that_cannot_be_drawn_fails_alone() -> None:
    with fake_engine("e") as client:
        run = people().run(rows(6, tone=risky))
        assert (run.counts.ok, run.counts.failed) == (4, 2)
        assert len(client.requests) == 4
    assert [str(it.error) for it in run.errors] == [
        f"input row {index}: column 'tone': ValueError: it is odd" for index in (1, 4)
    ]


def test_a_column_without_its_field_is_refused_before_a_request() -> None:
    wrong: dict[str, Any] = {
        "no column 'tone' (did you mean 'tne'?)": rows(3, tne=choice("a", "b")),
        "Person has no field 'agge' (did you mean 'age'?)": rows(3, tone="dry", agge=integer(1, 2)),
        "Person has no field 'Note' (did you mean 'note'?)": rows(3, tone="dry", Note="x"),
    }
    with fake_engine("e") as client:
        for message, inputs in wrong.items():
            with pytest.raises(InputError) as caught:
                people().run(inputs)
            assert message in str(caught.value)
        helper = rows(3, nota=choice("a", "b"), tone=template("{{ nota }}"), kind="unlike any")
        assert people().run(helper).counts.ok == 3
        assert len(client.requests) == 3


def half(row: Any, rng: Any) -> float:
    return rng.random() / FACTOR  # type: ignore[no-any-return]


FACTOR = 2
SAME: dict[str, Callable[[], Any]] = {
    "the same": lambda: rows(9, seed=1, tone=choice("a", "b"), note=half),
    "a dict of columns": lambda: rows(9, {"tone": choice("a", "b"), "note": half}, seed=1),
}
OTHERS: dict[str, Callable[[], Any]] = {
    "count": lambda: rows(10, seed=1, tone=choice("a", "b"), note=half),
    "seed": lambda: rows(9, seed=2, tone=choice("a", "b"), note=half),
    "sampler": lambda: rows(9, seed=1, tone=choice("a", "c"), note=half),
    "order": lambda: rows(9, seed=1, tone=choice("b", "a"), note=half),
    "weights": lambda: rows(9, seed=1, tone=choice("a", "b", weights=[1, 1]), note=half),
    "column": lambda: rows(9, seed=1, tone=choice("a", "b"), note=half, age=5),
    "function": lambda: rows(9, seed=1, tone=choice("a", "b"), note=lambda row: 1),
    "data": lambda: rows(9, seed=1, given=TOWNS, tone=choice("a", "b"), note=half),
}


def test_the_digest_is_that_of_what_decides_on_the_rows() -> None:
    digests = {name: make().digest() for name, make in {**SAME, **OTHERS}.items()}
    assert len({digests[name] for name in SAME}) == 1
    assert len({*digests.values()}) == len(OTHERS) + 1
    assert rows(2, given=TOWNS).digest() != rows(2, given=TOWNS[:1]).digest()
    assert rows(2, given=[{"a": object()}]).digest() is None


def test_the_digest_tells_functions_apart_by_their_place() -> None:
    def first(row: Any) -> int:
        return 1

    def second(row: Any) -> int:
        return 2

    pairs = [(first, second), (second, first)]
    assert len({rows(2, a=one, b=two).digest() for one, two in pairs}) == 2
    arms = [switch("a", {1: one, 2: two}) for one, two in pairs]
    assert len({rows(2, a=choice(1, 2), b=arm).digest() for arm in arms}) == 2


def test_the_digest_has_the_code_of_own_samplers() -> None:
    numbers = [Sampler("own", (), {}, lambda *_: 1), Sampler("own", (), {}, lambda *_: 2)]
    assert len({rows(2, a=it).digest() for it in numbers}) == 2


def module(folder: Path, text: str) -> Any:
    from chainette.loading.importing import load_symbol

    (folder / "ages.py").write_text(text)
    return load_symbol(f"{folder}/ages.py:age")


def test_the_digest_has_what_a_function_uses(tmp_path: Path) -> None:
    most = "LIMIT = 5\ndef most():\n    return LIMIT\n"
    text = f"{most}def age(row, rng):\n    return rng.randint(1, most())\n"
    texts = [
        text,
        f"# a remark\n{text}",
        text.replace("5", "6"),
        text.replace("(1, most())", "(1, 9)"),
    ]
    found = [rows(2, age=module(tmp_path, it)).digest() for it in texts]
    assert found[0] == found[1]
    assert len({*found}) == 3


@pytest.mark.parametrize("name", OTHERS)
def test_other_rows_are_refused_when_a_run_is_resumed(name: str, tmp_path: Path) -> None:
    with fake_engine("e") as client:
        for inputs, limit in [(SAME["the same"](), 4), (SAME["a dict of columns"](), None)]:
            text = {"tone": "tone"}
            people().run(
                inputs, output_dir=tmp_path / "run", resume=True, limit=limit, columns=text
            )
        assert len(client.requests) == 9
        with pytest.raises(OutputDirError, match="changed since: the inputs"):
            people().run(
                OTHERS[name](), output_dir=tmp_path / "run", resume=True, columns={"tone": "tone"}
            )


def test_an_output_folder_is_not_that_of_the_data(tmp_path: Path) -> None:
    path = written(tmp_path, "towns.jsonl")
    with fake_engine("e"), pytest.raises(OutputDirError):
        people().run(rows(2, given=path, tone="dry"), output_dir=tmp_path, overwrite=True)


# What is refused


def nothing() -> int:
    return 1


def row_and_more(row: Any, more: int) -> int:
    return more


async def later(row: Any) -> int:
    return 1


def each(row: Any) -> Any:
    yield 1


REFUSED: dict[str, tuple[Callable[[], Any], str]] = {
    "no values": (lambda: choice(), "choice: there are no values"),
    "empty list": (lambda: choice([]), "choice: there are no values"),
    "set": (lambda: choice({1, 2}), "a set has no order; give a list"),
    "iterator": (lambda: choice(iter([1])), "give the values in a list, not in a list_iterator"),
    "sampler as value": (lambda: choice(integer(1, 2), 3), "integer(1, 2) is a sampler"),
    "weights": (lambda: choice("a", weights=[1, 2]), "there are 1 values and 2 weights"),
    "negative": (lambda: choice("a", "b", weights=[1, -2]), "a weight is -2"),
    "nan": (lambda: choice({"a": float("nan")}), "a weight is nan"),
    "text": (lambda: choice("a", weights=["1"]), "a weight is '1'"),
    "huge": (lambda: choice("a", "b", weights=[1e308, 1e308]), "too large to be added"),
    "zero": (lambda: choice("a", weights=[0]), "all weights are 0"),
    "both": (lambda: choice({"a": 1}, weights=[1]), "a dict has their weights"),
    "integer": (lambda: integer(5, 1), "integer: low is 5, which is above high, 1"),
    "float": (lambda: integer(1.5, 3), "low is 1.5; give a whole number; for other numbers, see"),
    "true": (lambda: integer(True, 3), "integer: low is True"),
    "step": (lambda: integer(1, 3, step=0), "step is 0"),
    "number": (lambda: number(2, 1), "number: low is 2, which is above high, 1"),
    "infinite": (lambda: number(0, float("inf")), "high is inf; give a number"),
    "none between": (lambda: number(0.1, 0.2, decimals=0), "no number with 0 decimals is from"),
    "decimals": (lambda: number(1, 2, decimals=-1), "decimals is -1"),
    "deviation": (lambda: normal(1, 0), "deviation is 0; give a number above 0"),
    "far": (lambda: normal(0, 1, low=9), "less than 1% of the numbers"),
    "boolean": (lambda: boolean(2), "boolean: p is 2; give a number from 0 to 1"),
    "optional": (lambda: optional(uuid(), -1), "optional: p is -1"),
    "date": (lambda: date("2024-02-01", "2024-01-01"), "low is 2024-02-01, which is above"),
    "no date": (lambda: date("soon", "2024-01-01"), "low is 'soon'; give a date"),
    "time": (lambda: date(dt.datetime(2024, 1, 1), "2024-01-02"), "for times, use datetime"),
    "zone": (lambda: datetime("2024-01-01T00:00Z", "2024-02-01"), "the other has none"),
    "unit": (lambda: datetime("2024-01-01", "2024-02-01", step="week"), "step is 'week'"),
    "subset": (lambda: subset("a", size=2), "size is 2, but there are 1 values"),
    "sizes": (lambda: several(uuid(), (3, 1)), "the smaller first"),
    "size": (lambda: several(uuid(), 1.5), "size is 1.5; give a whole number"),
    "no cases": (lambda: switch("a", {}), "give a dict of samplers by value"),
    "template": (lambda: template("{{ a"), "template, line 1"),
    "method": (lambda: faker("nam"), "there is no 'nam' (did you mean 'name'?)"),
    "private": (lambda: faker("seed_instance"), "there is no 'seed_instance'"),
    "locale": (lambda: faker("name", locale="de_ED"), "no locale 'de_ED' (did you mean 'de_DE'?)"),
    "argument": (lambda: faker("name", size=3), "unexpected keyword argument 'size'"),
    "clock": (lambda: faker("date_of_birth"), "asks for today's date"),
    "count": (lambda: rows(-1), "count is -1; give a number that is not negative"),
    "float count": (lambda: rows(1e6), "count is 1000000.0; give a whole number, such as 1000000"),
    "no seed": (lambda: rows(1, seed=None), "a resumed run draws the same rows again"),
    "misspelt seed": (lambda: rows(1, seeds=7), "'seeds' is not an option (did you mean 'seed'?)"),
    "misspelt given": (lambda: rows(1, givn="a.csv"), "(did you mean 'given'?)"),
    "list": (lambda: rows(1, a=[1, 2]), "to draw from a list, give choice(values)"),
    "dict": (lambda: rows(1, a={"b": 1}), "to draw from a dict, give choice(values)"),
    "class": (lambda: rows(1, a=int), "int is a class"),
    "not called": (lambda: rows(1, a=uuid), "call the sampler, as in uuid(…)"),
    "no template": (lambda: rows(1, a="{{ b }}"), "for a template, give template('{{ b }}')"),
    "name": (lambda: rows(1, {1: "a"}), "a column has the name 1"),
    "twice": (lambda: rows(1, {"a": 1}, a=2), "the column 'a' is given twice"),
    "takes nothing": (lambda: rows(1, a=nothing), "its function takes nothing"),
    "takes more": (lambda: rows(1, a=row_and_more), "its function takes row, more"),
    "asynchronous": (lambda: rows(1, a=later), "is asynchronous"),
    "partly asynchronous": (lambda: rows(1, a=partial(later)), "is asynchronous"),
    "generator": (lambda: rows(1, a=each), "has yield"),
    "later": (
        lambda: rows(1, a=template("{{ b }}"), b=1),
        "column 'a': template needs the column 'b', which must come before it",
    ),
    "itself": (lambda: rows(1, a=template("{{ a }}")), "which must come before it"),
    "unknown": (
        lambda: rows(1, given=TOWNS, a=template("{{ twon }}")),
        "'twon', which does not exist (did you mean 'town'?)",
    ),
    "no case": (
        lambda: rows(1, a=choice("b", "c"), d=switch("a", {"b": 1})),
        "switch has no case for 'c' of 'a'; add one, or a default",
    ),
    "no data": (lambda: rows(1, given=[]), "the data has no rows"),
    "one row": (lambda: rows(1, given={"a": 1}), "expected rows, not dict"),
    "one model": (lambda: rows(1, given=Person(tone="a")), "expected rows, not Person"),
    "texts": (lambda: rows(1, given=["a"]), "row 0 is str 'a'; give dicts or models"),
    "a set": (lambda: rows(1, given={("a", 1)}), "a set has no order"),
    "standard input": (lambda: rows(1, given="-"), "standard input can be read only once"),
    "no file": (lambda: rows(1, given="none.jsonl"), "none.jsonl: No such file"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_mistake_is_refused_at_once(name: str) -> None:
    make, message = REFUSED[name]
    with pytest.raises(ChainetteError) as caught:
        make()
    assert message in str(caught.value)


FAILING: dict[str, tuple[dict[str, Any], str]] = {
    "name": ({"a": 1, "b": lambda row: row["c"]}, "KeyError: 'c'; the columns before it are: a"),
    "case": ({"a": boolean(0), "b": switch("a", {True: 1})}, "no case for False; the cases are"),
    "template": ({"a": "x", "b": template("{{ a.b.c }}")}, "'str object' has no attribute 'b'"),
    "seed": ({"b": lambda row, rng: rng.seed(5)}, "the seed is that of rows"),
}


@pytest.mark.parametrize("name", FAILING)
def test_a_cell_that_cannot_be_drawn_says_why(name: str) -> None:
    columns, message = FAILING[name]
    with pytest.raises(InputError) as caught:
        rows(3, columns)[2]
    assert str(caught.value).startswith("input row 2: column 'b': ")
    assert message in str(caught.value)


def test_every_sampler_can_be_imported_from_one_place() -> None:
    from chainette import samplers

    assert all(hasattr(samplers, name) for name in samplers.__all__)
    assert isinstance(uuid(), Sampler)


def test_importing_the_name_is_light() -> None:
    program = (
        "import sys; from chainette.samplers import choice; choice('a'); "
        "sys.exit(any(it in sys.modules for it in ('pydantic', 'jinja2', 'faker', 'aiohttp')))"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


def test_functions_of_a_chain_see_the_columns_of_rows() -> None:
    def shout(person: Person) -> Said:
        return Said(text=person.tone.upper())

    chain = Chain(name="shouts", steps=apply(shout))
    run = chain.run(rows(4, tone=choice("dry", "warm")))
    assert {it.unwrap().text for it in run.results} <= {"DRY", "WARM"}
