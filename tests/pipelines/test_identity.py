"""What a function depends on: the parts whose change refuses a resume."""

from __future__ import annotations

import functools
import itertools
import subprocess
import sys
import threading
import types
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from enum import Enum
from pathlib import Path
from typing import Any

import pytest
from chainette import Chain, apply
from chainette.pipeline.identity.parts import parts
from pydantic import BaseModel, SecretStr


class Row(BaseModel):
    n: int


class Colour(Enum):
    RED = "red"


@dataclass
class Options:
    rate: float
    words: set[str]


class Rates:
    def __init__(self, rate: float) -> None:
        self.rate = rate

    def __call__(self, row: Row) -> Row:
        return row

    def method(self, row: Row) -> Row:
        return row


class Hostile:
    """An object whose attributes cannot be read."""

    def __getattribute__(self, name: str) -> Any:
        raise RuntimeError(name)


def uses(fn: Callable[..., Any]) -> dict[str, str]:
    return parts(Chain(name="c", steps=apply(fn, id="f")))["f"]


def reads(value: Any) -> Callable[[Row], Row]:
    def fn(row: Row) -> Row:
        return value or row

    return fn


def scaled(rate: float, row: Row) -> Row:
    return Row(n=int(row.n * rate))


def changed(before: Any, after: Any) -> set[str]:
    one, other = uses(before), uses(after)
    return {name for name in {**one, **other} if one.get(name) != other.get(name)}


CYCLE: list[Any] = []
CYCLE.append(CYCLE)
EQUAL = [
    (1, 1), ({"a", "b", "c"}, {"c", "b", "a"}), ({"a": 1, "b": 2}, {"b": 2, "a": 1}),
    (threading.Lock(), threading.Lock()), (object(), object()), (CYCLE, CYCLE),
    (SecretStr("a"), SecretStr("b")), (lambda row: row, lambda row: row),
]  # fmt: skip
DIFFERENT = [
    (1, 2), (1, 1.0), ("a", "b"), (1, True), ({"a"}, {"b"}), ([1, 2], [2, 1]), ({"a": 1}, {"a": 2}),
    (Options(1, {"a"}), Options(2, {"a"})), (Rates(1), Rates(2)), (Row(n=1), Row(n=2)),
    (date(2026, 1, 1), date(2026, 1, 2)), (Path("a"), Path("b")), (Colour.RED, "red"),
    (functools.partial(max, 1), functools.partial(max, 2)), (Rates(1).method, Rates(2).method),
    (lambda row: row, lambda row: row.n), (len, max), (itertools, functools),
    (reads(1), reads(2)), (functools.cache(reads(1)), functools.cache(reads(2))),
    ([reads(1), reads(2)], [reads(3), reads(2)]),
]  # fmt: skip


@pytest.mark.parametrize(("before", "after"), EQUAL)
def test_values_that_are_equal_in_another_process_change_nothing(before: Any, after: Any) -> None:
    assert changed(reads(before), reads(after)) == set()


@pytest.mark.parametrize(("before", "after"), DIFFERENT)
def test_another_value_is_a_change(before: Any, after: Any) -> None:
    assert changed(reads(before), reads(after))


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (Rates(1), Rates(2)),
        (Rates(1).method, Rates(2).method),
        (functools.partial(scaled, 1), functools.partial(scaled, 2)),
    ],
)
def test_an_object_with_a_state_is_code_too(before: Any, after: Any) -> None:
    assert changed(before, after) == {"function"}
    assert changed(before, before) == set()


def test_an_object_that_cannot_be_read_counts_by_its_type() -> None:
    assert changed(reads(Hostile()), reads(Hostile())) == set()
    assert changed(reads(Hostile()), reads(1)) == {"closure value"}


def test_what_a_function_fills_counts_as_it_is_written() -> None:
    seen: list[int] = []
    by: Counter[str] = Counter()
    calls = 0

    def fn(row: Row) -> Row:
        nonlocal calls
        calls += 1
        seen.append(row.n)
        by["a"] += 1
        return row

    before = uses(fn)
    fn(Row(n=1))
    assert uses(fn) == before
    assert {"closure seen", "closure by"} <= before.keys()
    assert "closure calls" not in before


def test_what_a_parameter_holds_counts_as_it_is() -> None:
    def make(words: list[str] | None = None) -> Callable[[Row], Row]:
        if words is None:
            words = []

        def fn(row: Row) -> Row:
            return Row(n=len(words or ()))

        return fn

    assert changed(make(["a"]), make(["b"])) == {"closure words"}


def test_functions_that_call_each_other_end() -> None:
    def even(n: int) -> bool:
        return n == 0 or odd(n - 1)

    def odd(n: int) -> bool:
        return n != 0 and even(n - 1)

    def fn(row: Row) -> Row | None:
        return row if even(row.n) else None

    assert {"helper even", "helper odd"} <= uses(fn).keys()


def test_keys_are_not_looked_at() -> None:
    def make(api_key: str, user_token: str) -> Callable[[Row], Row]:
        def fn(row: Row) -> Row:
            return Row(n=len(api_key + user_token))

        return fn

    assert changed(make("a", "b"), make("c", "b")) == set()
    assert "closure api_key" not in uses(make("a", "b"))


def test_defaults_count_and_so_does_code_without_a_file() -> None:
    def make(text: str) -> Any:
        names: dict[str, Any] = {"__name__": __name__}
        exec(text, names)
        return names["fn"]

    assert changed(make("def fn(row, rate=1): return row"), make("def fn(row, rate=2): return row"))
    assert changed(make("def fn(row): return row"), make("def fn(row): return [row]"))
    assert not changed(make("def fn(row): return row"), make("def fn(row):  return row"))


PROGRAM = """
import json, re, sys
from functools import cache, partial
from pydantic import BaseModel, field_validator
from chainette import Chain, Step, apply
from chainette.pipeline.identity.parts import parts

class Row(BaseModel):
    n: int
    tags: frozenset[str] = frozenset({"x", "y", "z"})
    @field_validator("n")
    @classmethod
    def check(cls, n):
        assert n not in {"a", "b", "c"}
        return n

STOP = {"the", "a", "of"} | {"and"}
LOCK = object()
fixed = lambda row: row if row.n not in {"p", "q", "r"} else None

@cache
def known(n):
    return n in STOP

def fn(row: Row) -> Row:
    return row if known(row.n) and LOCK and re.sub("a", "b", "c") else fixed(row)

step = Step(id="s", input_model=Row, output_model=Row, engine_name="e", user_prompt="{{ n }}")
print(json.dumps(parts(Chain(name="c", steps=step >> apply(fn)))))
"""


def test_parts_are_equal_in_two_processes(tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text(PROGRAM)
    texts = {
        subprocess.run(
            [sys.executable, "program.py"],
            cwd=tmp_path, env={"PYTHONHASHSEED": seed}, check=True, capture_output=True,
        ).stdout
        for seed in ("1", "2")
    }  # fmt: skip
    assert len(texts) == 1


def test_a_module_that_cannot_give_what_is_asked_for_is_passed_over(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    lazy = types.ModuleType("lazy_module")
    lazy.__file__ = __file__
    lazy.__getattr__ = Hostile.__getattribute__.__get__(lazy)  # type: ignore[method-assign]
    monkeypatch.setitem(sys.modules, "lazy_module", lazy)
    monkeypatch.setitem(globals(), "lazy", lazy)

    def fn(row: Row) -> Any:
        return lazy.anything(row)  # type: ignore[name-defined]

    assert "function" in uses(fn)
