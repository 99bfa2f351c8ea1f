"""The state of a row: ok, partial, dropped or failed, in memory, on disk and in the counts."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from chainette import Branch, Chain, Drop, Run, Step, apply
from chainette.errors import ApplyError, ChainError, DroppedRowError
from chainette.testing import fake_engine
from pydantic import BaseModel


class Row(BaseModel):
    n: int


def parts(row: Row) -> list[Row]:
    return [Row(n=row.n * 10 + index) for index in range(3)]


def not_eleven(row: Row) -> Row:
    if row.n == 11:
        raise ValueError("eleven")
    return row


def not_the_first(row: Row) -> Row | None:
    return None if row.n % 10 == 0 else row


def small(row: Row) -> Row:
    if row.n > 1:
        raise Drop(f"{row.n} is too large")
    return row


def fails(row: Row) -> Row:
    raise ValueError("no")


def same(row: Row) -> Row:
    return row


def called(command: list[str]) -> subprocess.CompletedProcess[str]:
    command[0] = str(Path(sys.executable).parent / command[0])
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def side(*, joined: bool) -> Branch:
    branch = Branch("side", apply(fails))
    return branch.join("aside") if joined else branch


def uses_it(row: Row, names: Any) -> Row:
    return names["aside"]  # type: ignore[no-any-return]


CHAINS: dict[str, tuple[Callable[[], list[Any]], int, str, Any]] = {
    "all went well": (lambda: [apply(same)], 1, "ok", Row(n=1)),
    "one of three items failed": (
        lambda: [apply(parts), apply(not_eleven)], 1, "partial", [Row(n=10), Row(n=12)],
    ),
    "every item failed": (lambda: [apply(parts), apply(fails)], 1, "failed", None),
    "one of three items was dropped": (
        lambda: [apply(parts), apply(not_the_first)], 1, "ok", [Row(n=11), Row(n=12)],
    ),
    "every item was dropped": (lambda: [apply(parts), apply(small)], 1, "dropped", []),
    "the row was dropped": (lambda: [apply(small)], 2, "dropped", None),
    "the list was empty": (lambda: [apply(lambda row: [], id="none")], 1, "dropped", None),
    "an unused branch failed": (lambda: [side(joined=False), apply(same)], 1, "partial", Row(n=1)),
    "a joined branch that nothing uses failed": (
        lambda: [side(joined=True), apply(same)], 1, "partial", Row(n=1),
    ),
    "a branch that is used failed": (
        lambda: [side(joined=True), apply(uses_it)], 1, "failed", None,
    ),
    "a branch failed beside a dropped row": (
        lambda: [side(joined=False), apply(small)], 2, "failed", None,
    ),
}  # fmt: skip


def run(steps: list[Any], n: int, path: Path | None) -> Run[Any]:
    return Chain(name="c", steps=steps).run([Row(n=n)], output_dir=path)


@pytest.mark.parametrize("on_disk", [False, True], ids=["memory", "disk"])
@pytest.mark.parametrize("case", CHAINS)
def test_a_row_has_the_state_of_what_happened_to_it(
    case: str, on_disk: bool, tmp_path: Path
) -> None:
    steps, n, state, value = CHAINS[case]
    found = run(steps(), n, tmp_path / "run" if on_disk else None)
    (result,) = found.results
    assert (result.state, result.value) == (state, value)
    assert getattr(found.counts, state) == found.counts.rows == 1
    assert result.ok == (state == "ok")
    assert result.dropped == (state == "dropped")
    assert (result.error is not None) == (state in ("partial", "failed"))
    if on_disk:
        counts = json.loads((tmp_path / "run/run.json").read_text())["counts"]
        assert counts[state] == counts["rows"] == 1


def test_the_items_of_a_row_have_path_state_value_error_and_outputs(tmp_path: Path) -> None:
    def third(row: Row) -> Row:
        if row.n == 12:
            raise Drop("the third")
        return not_eleven(row)

    found = Chain(name="c", steps=[apply(parts), apply(third)]).run(
        [Row(n=1)], output_dir=tmp_path / "run"
    )
    (result,) = found.results
    assert [(it.path, it.state, it.value) for it in result.items] == [
        ("0", "ok", Row(n=10)), ("1", "failed", None), ("2", "dropped", None),
    ]  # fmt: skip
    assert "eleven" in str(result.items[1].error)
    assert result.items[1].outputs == {"parts": Row(n=11)}
    (error,) = lines(tmp_path / "run/errors.jsonl")
    assert (error["row_id"], error["item"], error["node_id"]) == (0, "1", "third")


@pytest.mark.parametrize(
    ("steps", "n", "expected"),
    [
        ([apply(small)], 2, [{"row_id": 0, "node_id": "small", "reason": "2 is too large"}]),
        ([apply(small)], 1, []),
        ([apply(lambda row: None, id="none")], 1,
         [{"row_id": 0, "node_id": "none", "reason": None}]),
        ([apply(lambda row: [], id="none")], 1,
         [{"row_id": 0, "node_id": "none", "reason": "it returned no items"}]),
        ([apply(lambda row: Drop("returned"), id="none")], 1,
         [{"row_id": 0, "node_id": "none", "reason": "returned"}]),
        ([apply(parts), apply(lambda rows: [None, Drop("b"), rows[2]], id="some", batch=3)], 1,
         [{"row_id": 0, "item": "0", "node_id": "some", "reason": None},
          {"row_id": 0, "item": "1", "node_id": "some", "reason": "b"}]),
        ([Branch("side", apply(small)), apply(same)], 2,
         [{"row_id": 0, "node_id": "small", "reason": "2 is too large"}]),
    ],
)  # fmt: skip
def test_what_was_dropped_is_in_a_file_with_the_reason_also_after_a_resume(
    steps: list[Any], n: int, expected: list[Any], tmp_path: Path
) -> None:
    chain = Chain(name="c", steps=steps)
    chain.run([Row(n=n)], output_dir=tmp_path / "run")
    for line in expected:
        line["inputs"] = {"n": n}
    assert lines(tmp_path / "run/dropped.jsonl") == expected
    chain.run([Row(n=n)], output_dir=tmp_path / "run", resume=True, force=True)
    assert lines(tmp_path / "run/dropped.jsonl") == expected


def test_unwrap_raises_for_all_but_ok() -> None:
    (dropped,) = run([apply(small)], 2, None).results
    with pytest.raises(DroppedRowError, match="2 is too large"):
        dropped.unwrap()
    (partial,) = run([apply(parts), apply(not_eleven)], 1, None).results
    with pytest.raises(ApplyError, match="eleven"):
        partial.unwrap()


def test_a_retry_runs_the_failed_items_alone(tmp_path: Path) -> None:
    is_broken = True

    def answer(messages: Any) -> Any:
        if is_broken and messages[-1]["content"] == "11":
            return "nothing"
        return {"n": int(messages[-1]["content"])}

    def chain() -> Chain:
        step = Step(
            id="say", input_model=Row, output_model=Row, engine_name="e", user_prompt="{{ n }}"
        )
        return Chain(name="c", steps=[apply(parts), step, apply(same)])

    with fake_engine("e", answer) as engine:
        first = chain().run([Row(n=1), Row(n=2)], output_dir=tmp_path / "run")
        assert (first.counts.ok, first.counts.partial) == (1, 1)
        assert first.results[0].value == [Row(n=10), Row(n=12)]
        is_broken = False
        engine.requests.clear()
        again = chain().run([Row(n=1), Row(n=2)], output_dir=tmp_path / "run", retry_errors=True)
    assert [it[-1]["content"] for it in map(list, engine.requests)] == ["11"]
    assert again.counts.ok == 2
    assert again.results[0].value == [Row(n=10), Row(n=11), Row(n=12)]


SCRIPT = """
from chainette import Chain, Drop, apply
from pydantic import BaseModel

class Row(BaseModel):
    n: int

def parts(row: Row) -> list[Row]:
    if row.n == 6:
        raise Drop("six")
    return [Row(n=row.n), Row(n=row.n + 1)]

def picky(row: Row) -> Row:
    if row.n == 2:
        raise ValueError("two")
    return row

CHAIN = Chain(name="c", steps=[apply(parts), apply(picky)])
"""


def test_the_command_line_counts_partial_rows_as_failed_and_says_what_was_dropped(
    tmp_path: Path,
) -> None:
    (tmp_path / "chain.py").write_text(SCRIPT)
    (tmp_path / "rows.jsonl").write_text('{"n": 1}\n{"n": 6}\n{"n": 7}\n')
    command = ["chainette", "run", f"{tmp_path}/chain.py:CHAIN", "-i", f"{tmp_path}/rows.jsonl"]
    shown = called([*command, "-o", f"{tmp_path}/a"])
    assert shown.returncode == 1
    assert "1 ok, 1 partial, 1 dropped, 0 failed" in shown.stderr
    assert '"error.node_id":"picky"' in shown.stdout
    assert '"dropped":true' in shown.stdout
    assert called([*command, "-o", f"{tmp_path}/b", "--allow-errors", "1"]).returncode == 0


def test_a_row_that_is_partial_counts_for_the_limit_on_errors() -> None:
    chain = Chain(name="c", steps=[apply(parts), apply(not_eleven)])
    found = chain.run([Row(n=1)] * 50, max_errors=2)
    assert "rows failed (max_errors=2)" in str(found.stopped)


def test_no_node_can_have_the_name_of_a_column(tmp_path: Path) -> None:
    with pytest.raises(ChainError, match="partial"):
        apply(same, id="partial")
