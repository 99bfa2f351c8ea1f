"""The requests and the US dollars that one row may take."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from chainette import Branch, Chain, Step, apply, register_engine
from chainette.errors import BudgetError, ConfigError, RowBudgetError, ServerError
from chainette.events import RowFinished
from chainette.registry import engines as registry
from chainette.run.schedule.flow.accounts import RowAccounts
from chainette.testing.fake_engine import fake_engine
from chainette.testing.script import Reply
from chainette.testing.servers import FakeOpenAI
from pydantic import BaseModel

PRICE = {"input": 1_000_000, "output": 1_000_000}
"""A dollar for a token."""


class Text(BaseModel):
    text: str


ROW = {"text": "a"}
GOOD = {"text": "b"}


def step(id: str, **fields: Any) -> Step[Text, Text]:
    return Step(
        id=id,
        input_model=Text,
        output_model=Text,
        engine_name="e",
        user_prompt="{{ chain_input.text }}",
        **fields,
    )


def chain(*ids: str, **fields: Any) -> Chain[Text, Text]:
    return Chain(name="c", steps=[step(id, **fields) for id in ids])


def errors(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "errors.jsonl").read_text().splitlines()]


@pytest.mark.parametrize(
    ("most", "answers", "sent", "ok"),
    [
        (1, [GOOD, GOOD, GOOD], 1, False),
        (2, [GOOD, GOOD, GOOD], 2, False),
        (3, [GOOD, GOOD, GOOD], 3, True),
        (3, ["no", GOOD, GOOD, GOOD], 3, False),
        (4, ["no", GOOD, GOOD, GOOD], 4, True),
        (2, ["no", "no", "no"], 2, False),
    ],
)
def test_steps_and_invalid_answers_count_together(
    most: int, answers: list[Any], sent: int, ok: bool
) -> None:
    with fake_engine("e", answers) as engine:
        run = chain("a", "b", "c", reasks=5).run([ROW], max_requests_per_row=most)
    assert (len(engine.requests), run.results[0].ok) == (sent, ok)
    assert run.stopped is None
    if not ok:
        error = run.results[0].error
        assert isinstance(error, RowBudgetError)
        assert isinstance(error, BudgetError)
        assert f"row 0 has taken {most} request" in str(error)
        assert f"(max_requests_per_row={most})" in str(error)


def test_the_error_has_the_last_answer_and_what_it_cost(tmp_path: Path) -> None:
    with fake_engine("e", ["no", "not"]):
        run = chain("a", reasks=5).run([ROW], max_requests_per_row=2, output_dir=tmp_path)
    (line,) = errors(tmp_path)
    assert (line["type"], line["raw_text"], line["requests"]) == ("RowBudgetError", "not", 2)
    assert "the last answer was not accepted (the answer is not valid: " in line["message"]
    assert run.usage["a"].completion_tokens == 2


def test_each_row_has_its_own(tmp_path: Path) -> None:
    def answer(messages: Any) -> Any:
        return "no" if "bad" in messages[-1]["content"] or len(messages) > 2 else GOOD

    with fake_engine("e", answer) as engine:
        rows = [{"text": "good"}, {"text": "bad"}, {"text": "fine"}]
        run = chain("a", "b", reasks=9).run(rows, max_requests_per_row=4, output_dir=tmp_path)
    assert [it.ok for it in run.results] == [True, False, True]
    assert len(engine.requests) == 2 + 4 + 2


def test_items_and_branches_of_a_row_count_together() -> None:
    def thrice(text: Text) -> list[Text]:
        return [text] * 3

    split = Chain(name="c", steps=[apply(thrice), step("a")])
    beside = Chain(name="c", steps=[Branch(name="x", steps=[step("a")]), step("b"), step("d")])
    for it, most in ((split, 2), (beside, 2)):
        with fake_engine("e") as engine:
            run = it.run([ROW], max_requests_per_row=most)
        assert (len(engine.requests), run.results[0].ok) == (most, False)


def test_what_a_limit_or_a_fault_of_the_server_refused_does_not_count(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(registry, "_configs", {})
    monkeypatch.setattr(registry, "_clients", {})
    soon = {"retry-after-ms": "1"}
    with FakeOpenAI() as server:
        refused = [Reply(status=status, headers=soon) for status in (429, 500, 503)]
        server.set_answers([*refused, GOOD, GOOD])
        register_engine("e", backend="openai", model="m", endpoint=server.endpoint)
        run = chain("a", "b").run([ROW], max_requests_per_row=2)
    assert run.counts.ok == 1
    assert len(server.requests) == 5


def test_a_request_that_failed_gives_its_place_back() -> None:
    with fake_engine("e", [ServerError("down"), GOOD]) as engine:
        run = chain("a").run([ROW], max_requests_per_row=1)
        assert isinstance(run.results[0].error, ServerError)
        assert len(engine.requests) == 1
    accounts = RowAccounts(max_requests=1)
    account = accounts.of(0)
    account.before()
    with pytest.raises(RowBudgetError):
        account.check()
    account.after(0, None if accounts.max_cost else account.cost)
    account.check()


@pytest.mark.parametrize(("most", "sent"), [(0, 1), (2, 1), (3, 1), (4.5, 2), (100, 3)])
def test_no_more_is_sent_once_a_row_has_cost_more(most: float, sent: int) -> None:
    with fake_engine("e", price=PRICE) as engine:
        usage = chain("a", "b", "c").run([ROW]).usage["a"]
        one = usage.prompt_tokens + usage.completion_tokens
        engine.requests.clear()
        limit = most if most in (0, 100) else {2: one - 0.5, 3: one - 1, 4.5: one + 0.5}[most]
        run = chain("a", "b", "c").run([ROW], max_cost_per_row=limit)
    assert len(engine.requests) == sent
    assert run.results[0].ok == (sent == 3)
    if sent < 3:
        assert f"row 0 has cost ${sent * one:.4f} (max_cost_per_row=" in str(run.results[0].error)


def test_an_answer_beyond_the_limit_is_kept_where_it_is_the_last() -> None:
    with fake_engine("e", price=PRICE):
        assert chain("a").run([ROW], max_cost_per_row=0.5).counts.ok == 1


def test_an_unknown_price_is_refused_before_the_first_request(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(registry, "_configs", {})
    monkeypatch.setattr(registry, "_clients", {})
    with FakeOpenAI() as server:
        register_engine("e", backend="openai", model="unheard-of", endpoint=server.endpoint)
        with pytest.raises(ConfigError) as caught:
            chain("a").run([ROW], max_cost_per_row=1)
        assert server.requests == []
    assert "max_cost_per_row cannot be kept" in str(caught.value)
    assert "leave out max_cost_per_row" in str(caught.value)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("max_requests_per_row", 0),
        ("max_requests_per_row", -1),
        ("max_requests_per_row", 1.5),
        ("max_requests_per_row", True),
        ("max_cost_per_row", -1),
        ("max_cost_per_row", float("nan")),
        ("max_cost_per_row", "much"),
    ],
)
def test_other_limits_are_refused(name: str, value: Any) -> None:
    with fake_engine("e"), pytest.raises(ConfigError, match=f"{name}="):
        chain("a").run([ROW], **{name: value})


@pytest.mark.parametrize(("most", "sent", "ok"), [(2, 0, False), (3, 1, False), (4, 2, True)])
def test_what_a_row_took_before_counts_on(most: int, sent: int, ok: bool, tmp_path: Path) -> None:
    with fake_engine("e", [GOOD, ServerError("down")]):
        chain("a", "b").run([ROW], output_dir=tmp_path)
    with fake_engine("e", ["no", ServerError("down")]):
        chain("a", "b").run([ROW], output_dir=tmp_path, retry_errors=True)
    with fake_engine("e", ["no", GOOD]) as engine:
        options: dict[str, Any] = {"retry_errors": True, "max_requests_per_row": most}
        run = chain("a", "b").run([ROW], output_dir=tmp_path, **options)
    assert (len(engine.requests), run.results[0].ok) == (sent, ok)


def test_the_cost_of_earlier_runs_counts_on(tmp_path: Path) -> None:
    with fake_engine("e", [GOOD, ServerError("down")], price=PRICE):
        run = chain("a", "b").run([ROW], output_dir=tmp_path)
    assert run.cost is not None
    spent = float(run.cost)
    for limit, ok in ((spent - 0.5, False), (spent, True)):
        with fake_engine("e", price=PRICE):
            options: dict[str, Any] = {"retry_errors": True, "max_cost_per_row": limit}
            again = chain("a", "b").run([ROW], output_dir=tmp_path, **options)
        assert again.results[0].ok is ok


def test_a_redo_has_what_it_replaces_for_free(tmp_path: Path) -> None:
    for redo in ([], ["a"], ["a"]):
        with fake_engine("e") as engine:
            run = chain("a").run(
                [ROW], output_dir=tmp_path, redo=redo, overwrite=not redo, max_requests_per_row=1
            )
        assert (run.counts.ok, len(engine.requests)) == (1, 1)


def test_answers_of_the_cache_take_no_requests(tmp_path: Path) -> None:
    pytest.importorskip("diskcache")
    with fake_engine("e", ["no", GOOD, GOOD]) as engine:
        chain("a").run([ROW], cache=tmp_path / "c")
        folder = tmp_path / "out"
        options: dict[str, Any] = {"cache": tmp_path / "c", "max_requests_per_row": 1}
        run = chain("a", "b", reasks=1).run([ROW], output_dir=folder, **options)
    assert run.counts.ok == 1
    assert len(engine.requests) == 3
    line = json.loads((folder / "steps/a/000000.jsonl").read_text())
    assert (line["cached"], line["requests"]) == (True, 2)


def test_the_accounts_of_rows_that_are_done_are_forgotten() -> None:
    accounts = RowAccounts(max_requests=3)
    accounts.of(1).before()
    assert accounts.of(1).requests == 1
    accounts(RowFinished(1, True, None))
    assert accounts.of(1).requests == 0


def test_a_step_that_tolerates_errors_does_not_hide_the_limit() -> None:
    it = Chain(name="c", steps=[step("a"), step("b", on_error="none")])
    with fake_engine("e") as engine:
        run = it.run([ROW], max_requests_per_row=1)
    assert (len(engine.requests), run.results[0].state) == (1, "failed")
