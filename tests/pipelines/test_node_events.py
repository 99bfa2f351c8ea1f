"""Events of nodes: what fails or finishes in a node has begun there, whatever the node is."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio
import pytest
from chainette import Branch, Chain, Group, Step, apply, pipe, reduce, repeat, route
from chainette.errors import RequestError
from chainette.events import Event, NodeFailed, NodeFinished, NodeStarted
from chainette.run.executor import Executor
from chainette.run.progress.stats import RunStats
from chainette.testing import fake_engine
from pydantic import BaseModel


class Number(BaseModel):
    n: int


class Verdict(BaseModel):
    ok: bool
    feedback: str = "no"


def even(it: Any, *names: Any) -> Any:
    """Fails for every second number."""
    if it.n % 2:
        raise ValueError("odd")
    return it


def holds(it: Any) -> bool:
    return bool(even(it))


def several(it: Number) -> Any:
    return [it, it] if it.n % 2 else it


def total(group: Group[Number]) -> Number:
    if group.so_far is not None and group.so_far.n == 1:
        raise ValueError("one")
    return Number(n=sum(it.n for it in group.items))


def parts(group: Group[Number]) -> Any:
    return group.items


def ranked(items: list[Number]) -> Any:
    return [even(it) if it.n == 4 else it for it in items]


def step(id: str = "step", **options: Any) -> Step[Any, Any]:
    return Step(
        id=id,
        **{"input_model": Number, "output_model": Number, **options},
        engine_name="e",
        user_prompt="{{ n }}",
    )


def fn(id: str = "fn", **options: Any) -> Any:
    return apply(even, id=id, input_model=Number, output_model=Number, **options)


def same(id: str = "same", **options: Any) -> Any:
    return apply(lambda it: it, id=id, input_model=Number, output_model=Number, **options)


def answer(messages: Any) -> Any:
    n = int(messages[-1]["content"])
    return RequestError("refused") if n % 3 == 0 else {"n": n + 1, "ok": n % 2 == 0}


FAULTS: dict[str, dict[str, Any]] = {"fails": {}, "is tolerated": {"on_error": "none"}}
KINDS: dict[str, Callable[..., Any]] = {
    "step": step,
    "step, when": lambda **more: step(when=holds, otherwise=Number(n=1), **more),
    "function": fn,
    "function, when": lambda **more: fn(when=holds, **more),
    "function, when is an expression": lambda **more: fn(when="1 // (n % 2)", **more),
    "batch": lambda **more: fn(batch=2, **more),
    "batch of all": lambda **more: apply(ranked, batch="all", **more),
    "branch": lambda **more: pipe(Branch("b", fn(), **more).join("j"), same()),
    "branch, when": lambda **more: pipe(Branch("b", fn(), when=holds, **more).join("j"), same()),
    "branch of a branch": lambda **more: pipe(
        Branch("b", [Branch("c", fn(), when=holds), same("inner")], **more), same()
    ),
    "branch with a route first": lambda **more: pipe(
        Branch("b", route("n", id="r").case(2, None), when=holds, **more), same()
    ),
    "route without a case": lambda **more: route("n", id="r", **more).case(2, fn()),
    "route whose key fails": lambda **more: route(holds, id="r", **more)
    .case(True, fn())
    .default(None),
    "route, when": lambda **more: route("n", id="r", when=holds, **more).case(2, fn()),
    "route in a route": lambda **more: route("n % 2", id="r", **more)
    .case(0, route("n", id="inner").case(0, step()))
    .default(fn()),
    "repeat without a good round": lambda **more: repeat(
        same(), until="n > 2", max_rounds=2, id="r", **more
    ),
    "repeat whose end fails": lambda **more: repeat(same(), until=holds, id="r", **more),
    "repeat whose body fails": lambda **more: repeat(fn(), until="n > 1", id="r", **more),
    "repeat whose last round is taken": lambda **more: repeat(
        same(), until="n > 2", exhausted="last", id="r", **more
    ),
    "repeat, when": lambda **more: repeat(same(), until="n > 1", when=holds, id="r", **more),
    "repeat in a repeat": lambda **more: repeat(
        repeat(same(), until="n > 2", max_rounds=2, id="inner"), until="n > 3", id="r", **more
    ),
    "judge": lambda **more: repeat(
        same(), until=step("judge", output_model=Verdict), max_rounds=2, id="r", **more
    ),
    "judge, when": lambda **more: repeat(
        same(),
        until=step("judge", output_model=Verdict, when=holds, otherwise=Verdict(ok=False)),
        max_rounds=2, id="r", **more,
    ),
    "items in a repeat": lambda **more: repeat(
        apply(several, output_model=Any), until=lambda it: it.n > 2, max_rounds=2, id="r", **more
    ),
    "items": lambda **more: pipe(apply(several, output_model=Number), fn(**more)),
}  # fmt: skip
GROUPS: dict[str, Any] = {
    "groups": lambda: reduce(apply(total), by="n % 2"),
    "key": lambda: reduce(apply(total), by="1 // (n % 2)"),
    "key is a function": lambda: reduce(apply(total), by=holds),
    "key, id": lambda: reduce(apply(total), by="1.5", id="sums"),
    "parts": lambda: reduce(apply(total), by="n % 2", fold=1),
    "parts, id": lambda: reduce(apply(total), by="n % 2", fold=1, id="sums"),
    "items of parts": lambda: reduce(apply(parts, output_model=Any), by="n % 2", fold=2),
    "items of parts, id": lambda: reduce(apply(parts), by="n % 2", fold=2, id="sums"),
    "behind": lambda: pipe(reduce(apply(total), by="n"), fn(), same(when=holds)),
    "group of groups": lambda: pipe(
        reduce(apply(total), by="n"), reduce(apply(total, id="all"), by="1 // (n % 2)", id="sums")
    ),
}
CHAINS = {
    **{f"{kind}: {fault}": (KINDS[kind], FAULTS[fault]) for kind in KINDS for fault in FAULTS},
    **{kind: (make, {}) for kind, make in GROUPS.items()},
}


class Balance:
    """Counts, for each node and item, what has begun and not ended."""

    def __init__(self) -> None:
        self.open: Counter[tuple[Any, ...]] = Counter()
        self.wrong: list[Event] = []

    def __call__(self, event: Event) -> None:
        if not isinstance(event, NodeStarted | NodeFailed | NodeFinished) or not event.node_id:
            return
        place = event.node_id, event.row_id, event.item, event.group
        self.open[place] += 1 if isinstance(event, NodeStarted) else -1
        if self.open[place] < 0:
            self.wrong.append(event)


def heard(chain: Chain[Any, Any], **options: Any) -> tuple[Balance, RunStats]:
    balance, stats = Balance(), RunStats()
    rows: list[Any] = [{"n": n} for n in range(5)] + [{"n": "none"}]
    with fake_engine("e", answer):
        anyio.run(Executor(chain, rows, listeners=[balance, stats], **options).run)
    return balance, stats


@pytest.mark.parametrize("name", CHAINS)
def test_what_ends_in_a_node_has_begun_there(name: str, tmp_path: Path) -> None:
    make, fault = CHAINS[name]
    again = {"output_dir": tmp_path, "resume": True, "retry_errors": not fault}
    runs: list[dict[str, Any]] = [{"output_dir": tmp_path}, again]
    for options in runs:
        balance, stats = heard(Chain(name="c", steps=pipe(same("first"), make(**fault))), **options)
        assert balance.wrong == []
        assert +balance.open == Counter()
        assert {id: node.in_flight for id, node in stats.nodes.items() if node.in_flight} == {}
        assert "in flight" not in stats.line()
