"""Random chains, killed at a random line and resumed: their files are those of a clean run."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import tempfile
from collections import Counter
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from chainette import (
    Branch,
    Calls,
    Chain,
    Drop,
    Group,
    Step,
    apply,
    distinct,
    filter,
    reduce,
    repeat,
    route,
    split,
    vote,
)
from chainette.errors import RequestError
from chainette.folder import lines as folder_lines
from chainette.testing import fake_engine
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import BaseModel

pytestmark = pytest.mark.exhaustive

EXAMPLES = int(os.environ.get("LANGUAGE_EXAMPLES", "12"))
IN_FLIGHT = 4
ROWS = 7
KILLED = 9
Draw = Callable[..., Any]


class Value(BaseModel):
    n: int
    text: str = ""


class Values(BaseModel):
    parts: list[Value]


def number(*parts: object) -> int:
    """A number that looks random and is the same in every process."""
    return int.from_bytes(hashlib.sha256(repr(parts).encode()).digest()[:4], "big")


def answer(messages: Any) -> Any:
    """An answer that depends on the whole request: now and then it is a failure."""
    drawn = number([turn["content"] for turn in messages])
    if drawn % 17 == 0:
        return RequestError(f"refused {drawn % 100}")
    if drawn % 13 == 0:
        return "not what was asked for"
    return {"n": drawn % 30, "text": f"t{drawn % 5}"}


class Parts:
    """Draws the parts of a chain; every one takes and gives a `Value`.

    Args:
        draw: Hypothesis's function.
    """

    def __init__(self, draw: Draw) -> None:
        self._draw = draw
        self._numbers = count()
        self._splits = True
        self._repeats = 0

    def id(self, kind: str) -> str:
        return f"{kind}{next(self._numbers)}"

    def chain(self, depth: int) -> Chain[Any, Any]:
        steps = self.flow(depth, splits=True)
        if self._draw(st.booleans()):
            steps += self._reduce(depth)
        return Chain(name="drawn", steps=steps)

    def flow(self, depth: int, *, splits: bool) -> list[Any]:
        kinds = ["step", "map", "drop", "filter", "calls", "vote"]
        kinds += ["split", "parts"] if splits else []
        kinds += ["all", "distinct"] if splits and not self._repeats else []
        kinds += ["branch", "route", "repeat"] if depth > 1 else []
        nodes: list[Any] = []
        for kind in self._draw(st.lists(st.sampled_from(kinds), min_size=1, max_size=3)):
            nodes += getattr(self, f"_{kind}")(depth)
        if all(isinstance(node, Branch) for node in nodes):
            nodes += self._map(depth)
        return nodes

    def _options(self) -> dict[str, Any]:
        return self._draw(  # type: ignore[no-any-return]
            st.sampled_from(
                [
                    {},
                    {},
                    {"default": Value(n=1, text="default")},
                    {"when": "n % 2 == 0"},
                    {"when": "n % 3 > 0", "otherwise": Value(n=2, text="otherwise")},
                    {"when": "n > 3", "default": Value(n=5)},
                ]
            )
        )

    def _step(self, depth: int) -> list[Any]:
        id = self.id("step")
        return [
            Step(
                id=id, input_model=Value, output_model=Value, engine_name="e",
                user_prompt=f"{id} {{{{ n }}}} {{{{ text }}}}", **self._options(),
            )
        ]  # fmt: skip

    def _map(self, depth: int) -> list[Any]:
        id = self.id("map")

        def change(value: Value) -> Value:
            if value.n % 11 == 3:
                raise ValueError(f"{id} does not take {value.n}")
            return Value(n=number(id, value.n) % 30, text=value.text)

        return [apply(change, id=id, **self._options())]

    def _drop(self, depth: int) -> list[Any]:
        id = self.id("drop")

        def keep(value: Value) -> Value | None:
            if value.n % 7 == 5:
                raise Drop(f"{id} {value.n}")
            return None if value.n % 7 == 6 else value

        return [apply(keep, id=id)]

    def _split(self, depth: int) -> list[Any]:
        id = self.id("split")

        def parts(value: Value) -> list[Value]:
            return [Value(n=value.n + part, text=f"{part}") for part in range(value.n % 4)]

        return [apply(parts, id=id)]

    def _filter(self, depth: int) -> list[Any]:
        id = self.id("filter")

        def is_kept(value: Value) -> bool:
            return value.n % 5 != 4

        keeps = self._draw(st.sampled_from(["n % 5 != 4", "n * 3 % 4 != 1", is_kept]))
        return [
            filter(
                keeps,
                id=id,
                input_model=Value,
                **self._draw(st.sampled_from([{}, {"when": "n > 2"}])),
            )
        ]

    def _parts(self, depth: int) -> list[Any]:
        def several(value: Value) -> Values:
            return Values(parts=[Value(n=value.n, text=f"p{it}") for it in range(value.n % 3)])

        return [apply(several, id=self.id("several")), split("parts", id=self.id("parts"))]

    def _distinct(self, depth: int) -> list[Any]:
        by = self._draw(st.sampled_from([None, "n", "n % 6", ["text", "n"], lambda it: it.n // 2]))
        return [distinct(by, id=self.id("distinct"), input_model=Value)]

    def _vote(self, depth: int) -> list[Any]:
        id = self.id("samples")
        options = self._draw(st.sampled_from([{}, {"default": []}, {"sampling": {"seed": 5}}]))
        step = Step(
            id=id, input_model=Value, output_model=Value, engine_name="e", samples=3, reasks=0,
            user_prompt=f"{id} {{{{ n }}}} {{{{ text }}}}", **options,
        )  # fmt: skip
        by = self._draw(st.sampled_from([None, "n", "text"]))
        some = filter(f"{id} | length != 2", id=self.id("filter"))
        return [step, some, vote(by, id=self.id("vote"))]

    def _calls(self, depth: int) -> list[Any]:
        id = self.id("calls")

        async def judged(value: Value, calls: Calls) -> Value:
            first, second = await asyncio.gather(
                calls["e"].ask(f"{id} first {value.n}", output_model=Value),
                calls["e"].ask(f"{id} second {value.text}", output_model=Value),
            )
            third = await calls["e"].ask(f"{id} {first.n} {second.n}", output_model=Value)
            return Value(n=third.n, text=second.text)

        return [apply(judged, id=id, engines=["e"], **self._options())]

    def _route(self, depth: int) -> list[Any]:
        arms = [self.flow(depth - 1, splits=self._splits) for _ in range(2)]
        made = route("n % 3", id=self.id("route")).case(0, arms[0]).case(1, arms[1])
        return [made.default(None) if self._draw(st.booleans()) else made]

    def _repeat(self, depth: int) -> list[Any]:
        id, kind = self.id("repeat"), self._draw(st.sampled_from(["text", "bool", "expression"]))

        def check(value: Value, names: Any) -> bool | str | None:
            drawn = number(id, value.n, names["round"], repr(names["feedback"]))
            if drawn % 3 == 0:
                return True if kind == "bool" else None
            return False if kind == "bool" else f"not good: {drawn % 10}"

        before, self._splits = self._splits, False
        self._repeats += 1
        says = self.id("says")
        step = Step(
            id=says, input_model=Value, output_model=Value, engine_name="e",
            user_prompt=f"{says} {{{{ n }}}} {{{{ round }}}} {{{{ feedback }}}} "
            "{{ previous.n if previous else '-' }}",
            **self._options(),
        )  # fmt: skip
        body = [*self.flow(depth - 1, splits=False), step]
        self._splits = before
        self._repeats -= 1
        until = "n % 2 == 0" if kind == "expression" else check
        exhausted = self._draw(st.sampled_from(["fail", "last"]))
        return [repeat(body, until=until, max_rounds=3, id=id, exhausted=exhausted)]

    def _reduce(self, depth: int) -> list[Any]:
        id, fold = self.id("reduce"), self._draw(st.sampled_from([None, None, 2]))
        step = Step(
            id=id, input_model=Group[Value], output_model=Value, engine_name="e",
            user_prompt=f"{id} {{{{ key }}}} {{{{ so_far }}}} "
            "{% for item in items %}{{ item.n }} {% endfor %}",
        )  # fmt: skip
        self._repeats += 1  # no function takes all groups
        rest = self.flow(2, splits=True) if self._draw(st.booleans()) else []
        self._repeats -= 1
        return [reduce(step, by="n % 3", fold=fold), *rest]

    def _all(self, depth: int) -> list[Any]:
        id = self.id("all")

        def rank(values: list[Value]) -> list[Value]:
            total = sum(value.n for value in values)
            return [Value(n=(value.n + total) % 30, text=value.text) for value in values]

        return [apply(rank, id=id, batch="all")]

    def _branch(self, depth: int) -> list[Any]:
        alias, id = self.id("alias"), self.id("joins")
        options = self._draw(st.sampled_from([{}, {"on_error": "none"}, {"when": "n % 2 == 0"}]))
        before, self._splits = self._splits, True
        branch = Branch(self.id("branch"), self.flow(depth - 1, splits=True), **options)
        self._splits = before
        if not self._draw(st.booleans()):
            return [branch]

        def join(value: Value, names: Any) -> Value:
            return Value(n=number(id, value.n, repr(names[alias])) % 30, text=value.text)

        return [branch.join(alias), apply(join, id=id)]


def chains() -> st.SearchStrategy[Chain[Any, Any]]:
    return st.composite(lambda draw: Parts(draw).chain(4))()


def run(chain: Chain[Any, Any], folder: Path, asked: list[str] | None = None, **more: Any) -> None:
    def logged(messages: Any) -> Any:
        if asked is not None:
            asked.append(json.dumps([turn["content"] for turn in messages]))
        return answer(messages)

    with fake_engine("e", logged, max_concurrency=IN_FLIGHT):
        chain.run([{"n": n} for n in range(ROWS)], output_dir=folder, **more)


def run_and_die(chain: Chain[Any, Any], folder: Path, log: Path, last_line: int) -> bool:
    """Run in another process that dies before it writes a line; whether it died."""
    if (child := os.fork()) == 0:
        write, written = folder_lines.LineFile._add, count()

        def dying(self: Any, *arguments: Any) -> None:
            if next(written) == last_line:
                os._exit(KILLED)
            write(self, *arguments)

        folder_lines.LineFile._add = dying  # type: ignore[method-assign]
        descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)

        class Log(list[str]):
            def append(self, text: str) -> None:
                os.write(descriptor, f"{text}\n".encode())

        status = 1
        try:
            run(chain, folder, Log())
            status = 0
        finally:
            os._exit(status)
    _, status = os.waitpid(child, 0)
    code = os.waitstatus_to_exitcode(status)
    assert code in (0, KILLED)
    return code == KILLED


def content(folder: Path) -> Counter[str]:
    """The outputs and errors of a run, as lines of (node, row, item, round, group, output)."""
    found: Counter[str] = Counter()
    keys = ("row_id", "item", "round", "group", "kind", "reason", "output")
    for path in folder.glob("steps/**/*.jsonl"):
        for line in folder_lines.read_file(path):
            found[f"{path.parent.name} {[line.get(key) for key in keys]}"] += 1
    for name in ("errors.jsonl", "dropped.jsonl"):
        for line in folder_lines.read_file(folder / name):
            keys = ("node_id", "row_id", "item", "round", "group", "type", "message", "reason")
            found[f"{name} {[line.get(key) for key in keys]}"] += 1
    return found


def table(folder: Path) -> list[Any]:
    return [*folder_lines.read_lines(folder / "flattened")]


@settings(
    max_examples=EXAMPLES, deadline=None, derandomize=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)  # fmt: skip
@given(chain=chains(), place=st.floats(0, 1))
def test_a_run_that_was_killed_at_any_line_ends_as_one_that_was_not(
    chain: Chain[Any, Any], place: float
) -> None:
    with tempfile.TemporaryDirectory() as parent:
        clean, killed, log = (Path(parent) / name for name in ("clean", "killed", "log"))
        once: list[str] = []
        run(chain, clean, once)
        last_line = int(place * sum(content(clean).values()))
        died = run_and_die(chain, killed, log, last_line)
        before = log.read_text().splitlines() if log.exists() else []
        again: list[str] = []
        run(chain, killed, again, resume=True)
        assert content(killed) == content(clean)
        assert table(killed) == table(clean)
        repeated = Counter(before) + Counter(again) - Counter(once)
        assert repeated.total() <= IN_FLIGHT * died


def test_the_chains_that_are_drawn_have_every_part() -> None:
    """The property would say little if the strategy never drew some of the parts."""
    kinds: Counter[str] = Counter()

    @settings(max_examples=80, deadline=None, derandomize=True, database=None)
    @given(chain=chains())
    def look(chain: Chain[Any, Any]) -> None:
        kinds.update({id.rstrip("0123456789") for id in chain.nodes})

    look()
    expected = {name.removeprefix("_") for name in vars(Parts) if name.startswith("_")}
    assert expected - {"options", "branch", "_init__", "draw", "numbers"} - {*kinds} <= {
        name for name in expected if name.startswith("_")
    }


if __name__ == "__main__":
    pytest.main([__file__])
