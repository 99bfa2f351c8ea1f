"""What is said of a function of the chain's that raises: where, and which names there are."""

from __future__ import annotations

import asyncio
import json
import logging
import traceback
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from chainette import Calls, Chain, Group, SyncCalls, apply, reduce, repeat, route
from chainette.errors import ApplyError
from chainette.run.progress.stats import RunStats
from chainette.testing import fake_engine
from pydantic import BaseModel


class Row(BaseModel):
    n: int = 0


def broken(row: Any) -> Any:
    return [row][1]  # the line


LINE = broken.__code__.co_firstlineno + 1
HERE = Path(__file__).name


async def broken_later(row: Row) -> Row:
    await asyncio.sleep(0)
    return broken(row)


async def broken_part(row: Row) -> Iterator[Row]:
    for it in [row]:
        yield broken(it)


async def broken_task(row: Row) -> Row:
    async def work() -> None:
        broken(row)

    import anyio

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(work)
    return row


async def broken_calls(row: Row, calls: Calls) -> Row:
    await calls["e"].ask("?")
    return broken(row)


def broken_thread_calls(row: Row, calls: SyncCalls) -> Row:
    calls["e"].ask("?")
    return broken(row)


def broken_inside(row: Row) -> Row:
    json.loads("[1, 2]", object_hook=broken)
    return json.loads('{"a": 1}', object_hook=broken)


def same(row: Row) -> Row:
    return row


def size(group: Group[Row]) -> int:
    return len(group.items)


CHAINS: dict[str, tuple[str, Callable[[], Any]]] = {
    "a function": ("apply 'f'", lambda: apply(broken, id="f")),
    "a lambda": ("apply 'f'", lambda: apply(lambda row: broken(row), id="f")),
    "a thread": ("apply 'f'", lambda: apply(broken, id="f", threaded=True)),
    "a coroutine": ("apply 'f'", lambda: apply(broken_later, id="f")),
    "a generator": ("apply 'f'", lambda: apply(broken_part, id="f", output_model=Row)),
    "a task": ("apply 'f'", lambda: apply(broken_task, id="f")),
    "a batch": ("apply 'f'", lambda: apply(lambda rows: broken(rows[0]), id="f", batch=2)),
    "calls": ("apply 'f'", lambda: apply(broken_calls, id="f", engines=["e"])),
    "calls in a thread": (
        "apply 'f'", lambda: apply(broken_thread_calls, id="f", engines=["e"], threaded=True),
    ),
    "through the library": ("apply 'f'", lambda: apply(broken_inside, id="f")),
    "when": ("apply 'f', when", lambda: apply(same, id="f", when=broken)),
    "when, later": ("apply 'f', when", lambda: apply(same, id="f", when=broken_later)),
    "until": ("repeat 'r', until", lambda: repeat(apply(same), until=broken, id="r")),
    "by": ("route 'w', by", lambda: route(broken, id="w").case("a", None).default(None)),
    "a key": ("reduce 'g', by", lambda: reduce(apply(size, id="g"), by=broken)),
}  # fmt: skip


@pytest.mark.parametrize("name", CHAINS)
def test_the_error_of_a_row_says_the_line(name: str) -> None:
    where, node = CHAINS[name]
    with fake_engine("e", {"": "text"}):
        run = Chain(name="c", steps=node()).run([{"n": 1}, {"n": 2}])
    errors = [result.error for result in run.results]
    said = {
        f"{where} failed at {HERE}:{LINE}: IndexError: list index out of range",
        f"row 0: {where} failed at {HERE}:{LINE}: IndexError: list index out of range",
    }
    assert {str(error) for error in errors} <= said


def test_what_has_no_line_of_its_own_says_none() -> None:
    chain = Chain(name="c", steps=apply(int, input_model=str, output_model=int))
    (result,) = chain.run(["x"]).results
    assert str(result.error).startswith("apply 'int' failed: ValueError: invalid literal")


def test_a_name_that_there_is_not_is_told_with_those_that_there_are() -> None:
    def use(row: Row, names: Mapping[str, Any]) -> Row:
        assert ("chain_inputs" in names, names.get("chain_inputs", 3)) == (False, 3)
        assert names.get("chain_input") == row
        return names["chain_inputs"]

    message = (
        r"failed at \S+:\d+: KeyError: there is no name 'chain_inputs' "
        r"\(did you mean 'chain_input'\?\); the names are: chain_input"
    )
    with pytest.raises(ApplyError, match=message):
        Chain(name="c", steps=apply(use)).run_one({})
    until = repeat(apply(same), until=lambda row, names: names["chain_inputs"], id="r")
    with pytest.raises(ApplyError, match="there is no name 'chain_inputs'"):
        Chain(name="c", steps=until).run_one({})


@pytest.mark.parametrize("when", [None, broken], ids=["function", "condition"])
def test_the_traceback_of_one_row_has_the_users_frames_and_no_other_error(when: Any) -> None:
    chain = Chain(name="c", steps=apply(broken if when is None else same, id="f", when=when))
    with pytest.raises(ApplyError) as caught:
        chain.run_one({})
    text = "".join(traceback.format_exception(caught.value))
    assert "return [row][1]  # the line" in text
    assert "no running event loop" not in text


def test_debug_logs_show_the_first_failure_of_each_node(caplog: pytest.LogCaptureFixture) -> None:
    chain = Chain(name="c", steps=apply(broken, id="f", default=Row()) >> apply(broken, id="g"))
    with caplog.at_level(logging.DEBUG, "chainette"):
        chain.run([{}, {}])
    shown = [it for it in caplog.records if it.exc_info]
    assert [it.getMessage() for it in shown] == [
        "the first failure of 'f'",
        "the first failure of 'g'",
    ]
    assert all("return [row][1]" in caplog.text for it in shown)


def test_equal_failures_are_one_reason() -> None:
    def odd(row: Row) -> Row:
        if row.n % 2:
            raise ValueError(f"{row.n} is odd")
        raise ValueError(f"{row.n} is even")

    stats = RunStats({})
    for n in range(4):
        with pytest.raises(ApplyError) as caught:
            Chain(name="c", steps=apply(odd)).run_one({"n": n})
        _count(stats, caught.value)
    assert [*stats.errors.values()] == [2, 2]


def _count(stats: Any, error: Exception) -> None:
    from chainette.events import NodeFailed

    stats(NodeFailed("odd", 0, "", error, False, None))


async def dialogue(row: Row, calls: Calls) -> Row:
    for n in range(9):
        await calls["e"].ask(f"turn {n}", output_model=Row, reasks=0)
    return row


def test_the_error_of_a_call_says_which_one_it_is_also_when_it_is_replayed(tmp_path: Path) -> None:
    chain = Chain(name="c", steps=apply(dialogue, engines=["e"]))
    words = "(in call 4 of function 'dialogue')"
    with fake_engine("e", {"turn 3": "no", "": Row()}) as engine:
        first = chain.run([{}], output_dir=tmp_path)
        assert str(first.results[0].error).endswith(words)
        (tmp_path / "errors.jsonl").write_text("")
        manifest = json.loads((tmp_path / "run.json").read_text())
        (tmp_path / "run.json").write_text(json.dumps(manifest | {"status": "running"}))
        again = chain.run([{}], output_dir=tmp_path, resume=True)
    assert str(again.results[0].error) == str(first.results[0].error)
    assert len(engine.requests) == 4
