"""The cost of runs, and limits of it that are kept or refused."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from chainette import EngineConfig
from chainette.engine.client.base import BaseClient
from chainette.errors import BudgetError, ConfigError, QuotaError
from chainette.registry.engines import replaced
from chainette.testing import fake_engine
from chainette.testing.fake_engine import FakeClient
from chainette.types import Completion, LLMOutput
from chainette.usage import Usage

CITY = {"name": "Oslo", "inhabitants": 700000}
TEXT = json.dumps(CITY)
OPENAI = "https://api.openai.com/v1"
ANTHROPIC = "https://api.anthropic.com/v1"
GOOGLE = "https://generativelanguage.googleapis.com/v1beta/openai"


def rows(count: int) -> list[dict[str, int]]:
    return [{"number": number} for number in range(count)]


def lines(path: Path) -> list[Any]:
    return [json.loads(line) for line in path.read_text().splitlines()]


class Hosted(FakeClient):
    """A fake that looks like the client of a hosted server.

    Its answers have 1,000 tokens in and 200 out.
    """

    offline = False

    def __init__(self, config: EngineConfig, **answer: Any) -> None:
        super().__init__(config, lambda _: self.answer())
        self.base_url = config.endpoint or "https://llm.example.com/v1"
        self.model = config.model or "our-model"
        self.answer_fields: dict[str, Any] = {"usage": Usage(1000, 200), **answer}

    def answer(self) -> LLMOutput:
        return LLMOutput([Completion(TEXT, finish_reason="stop")], **self.answer_fields)


def hosted(address: str | None = None, model: str | None = None, **fields: Any) -> Hosted:
    answer = fields.pop("answer", {})
    config = EngineConfig(name="e", backend="fake", endpoint=address, model=model, **fields)
    return Hosted(config, **answer)


@pytest.fixture
def at(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Prices the answers of a loopback server as if it were a provider's."""

    def place(address: str) -> None:
        monkeypatch.setattr(
            BaseClient,
            "cost_of",
            lambda self, output: self.pricer.cost(output, address, self.model or ""),
        )

    return place


def body(usage: Any, text: str = TEXT, finish_reason: str = "stop", **fields: Any) -> Any:
    choice = {"message": {"content": text}, "finish_reason": finish_reason}
    return {"choices": [choice], "usage": usage, **fields}


USED = {"prompt_tokens": 1000, "completion_tokens": 200}


@pytest.mark.parametrize(
    ("address", "model", "dollars"),
    [
        (OPENAI, "gpt-5.6", "8.00"),
        (ANTHROPIC, "claude-sonnet-4-5", "6.00"),
        (GOOGLE, "gemini-2.5-pro", "3.25"),
    ],
)
def test_a_thousand_small_requests_are_not_priced_as_a_large_one(
    chain: Any, address: str, model: str, dollars: str
) -> None:
    with replaced(hosted(address, model)):
        run = chain.run(rows(1000), max_cost=float(dollars))
    assert run.cost == Decimal(dollars)
    assert run.stopped is None
    assert run.counts.ok == 1000


def test_a_limit_is_kept_to_the_request(chain: Any) -> None:
    with replaced(hosted(OPENAI, "gpt-5.6", max_concurrency=1)):
        run = chain.run(rows(100), max_cost=0.1)
    assert isinstance(run.stopped, BudgetError)
    assert run.cost is not None
    assert Decimal("0.1") < run.cost <= Decimal("0.12")  # a row or two begin beside the last one


@pytest.mark.parametrize(
    ("answer", "cost"),
    [
        ({}, "0.008"),
        ({"model": "gpt-5.6-sol"}, "0.008"),
        ({"model": "gpt-5.6-sol-2026-07-01", "service_tier": "default"}, "0.008"),
        ({"model": "gpt-5.6-luna"}, "0.00044"),
        ({"model": "gpt-4.1-mini-2025-04-14"}, "0.00072"),
        ({"model": "gpt-5.6", "service_tier": "flex"}, "0.004"),
        ({"model": "gpt-5.6", "service_tier": "priority"}, "0.016"),
        ({"model": "gpt-5.6", "service_tier": None}, "0.008"),
        ({"model": None, "service_tier": 7}, "0.008"),
        ({"model": "gpt-5.6", "service_tier": "scale"}, None),
        ({"model": "no-such-model"}, None),
        ({"model": "gpt-5.6-20990101"}, "0.008"),  # a snapshot that is not in the lists
        ({"model": "no-such-model", "usage": USED | {"cost": 0.5}}, "0.5"),
    ],
    ids=str,
)
def test_an_answer_is_priced_by_the_model_and_the_tier_that_it_names(
    chain: Any, server: Any, make_engine: Any, reply: Any, at: Any, answer: Any, cost: Any
) -> None:
    at(OPENAI)
    make_engine(model="gpt-5.6")
    server.set_answers([reply(body(USED) | answer)])
    assert chain.run(rows(1)).cost == (None if cost is None else Decimal(cost))


def test_a_tier_that_was_asked_for_and_not_confirmed_has_no_certain_price(chain: Any) -> None:
    flex = {"extra_body": {"service_tier": "flex"}}
    with replaced(hosted(OPENAI, "gpt-5.6", **flex)):
        assert chain.run(rows(1)).cost is None
    with replaced(hosted(OPENAI, "gpt-5.6", **flex, answer={"service_tier": "flex"})):
        assert chain.run(rows(1), max_cost=1).cost == Decimal("0.004")


SONNET = {
    "prompt_tokens": 10_000,
    "completion_tokens": 100,
}  # $3 in, $15 out; reads 0.3, writes 3.75
TOKENS = {
    "no cache": (SONNET, "0.0315"),
    "OpenAI": (SONNET | {"prompt_tokens_details": {"cached_tokens": 8000}}, "0.0099"),
    "OpenRouter": (
        SONNET | {"prompt_tokens_details": {"cached_tokens": 4000, "cache_write_tokens": 4000}},
        "0.0237",
    ),
    "LiteLLM": (
        SONNET
        | {
            "prompt_tokens_details": {"cached_tokens": 4000},
            "cache_read_input_tokens": 4000,
            "cache_creation_input_tokens": 4000,
        },
        "0.0237",
    ),
    "LiteLLM, for an hour": (
        SONNET
        | {
            "cache_creation_input_tokens": 4000,
            "cache_creation": {"ephemeral_5m_input_tokens": 0, "ephemeral_1h_input_tokens": 4000},
        },
        "0.0435",
    ),
    "Anthropic's names": (
        {
            "input_tokens": 2000,
            "output_tokens": 100,
            "cache_read_input_tokens": 4000,
            "cache_creation_input_tokens": 4000,
        },
        "0.0237",
    ),
    "beside the prompt": (
        {"prompt_tokens": 2000, "completion_tokens": 100, "cache_read_input_tokens": 8000},
        "0.0099",
    ),
    "DeepSeek": (
        SONNET | {"prompt_cache_hit_tokens": 8000, "prompt_cache_miss_tokens": 2000},
        "0.0099",
    ),
    "Moonshot": (SONNET | {"cached_tokens": 8000}, "0.0099"),
    "the Responses API's names": (
        {
            "input_tokens": 10_000,
            "output_tokens": 100,
            "input_tokens_details": {"cached_tokens": 8000},
        },
        "0.0099",
    ),
    "xAI's reasoning": (
        SONNET | {"total_tokens": 10_150, "completion_tokens_details": {"reasoning_tokens": 50}},
        "0.03225",
    ),
    "Gemini's reasoning": (SONNET | {"total_tokens": 10_150}, "0.03225"),
    "OpenAI's reasoning": (
        SONNET | {"total_tokens": 10_100, "completion_tokens_details": {"reasoning_tokens": 50}},
        "0.0315",
    ),
    "none": (None, None),
    "no numbers": ({"prompt_tokens": None, "completion_tokens": None}, None),
    "broken": ({"prompt_tokens": "many", "completion_tokens": 1}, None),
    "broken details": (SONNET | {"prompt_tokens_details": "x"}, None),
    "contradiction": (SONNET | {"completion_tokens_details": {"reasoning_tokens": 101}}, None),
}


@pytest.mark.parametrize(("usage", "cost"), TOKENS.values(), ids=TOKENS)
def test_every_kind_of_token_has_its_price(
    chain: Any, server: Any, make_engine: Any, reply: Any, at: Any, usage: Any, cost: Any
) -> None:
    at(ANTHROPIC)
    make_engine(model="claude-sonnet-4-5")
    server.set_answers([reply(body(usage))])
    run = chain.run(rows(1))
    assert run.counts.ok == 1
    assert run.cost == (None if cost is None else Decimal(cost))


PRICE = {"input": 1, "output": 10}  # $0.003 for what was used
LITELLM = "x_litellm_response_cost"
REPORTS = {
    "nothing": (body(USED), {}, "0.003"),
    "OpenRouter": (body(USED | {"cost": 0.0142}), {}, "0.0142"),
    "OpenRouter, a free model": (body(USED | {"cost": 0}), {}, "0"),
    "OpenRouter, the user's own key": (
        body(
            USED
            | {
                "cost": 0.001,
                "is_byok": True,
                "cost_details": {"upstream_inference_cost": 0.02},
            }
        ),
        {},
        "0.021",
    ),
    "LiteLLM": (body(USED), {LITELLM: "0.00123"}, "0.00123"),
    "LiteLLM knows no price": (body(USED), {LITELLM: "0.0"}, "0.003"),
    "LiteLLM before OpenRouter": (body(USED | {"cost": 0.01}), {LITELLM: "0.011"}, "0.011"),
    "LiteLLM without tokens": (body(None), {LITELLM: "2.5e-05"}, "0.000025"),
    "Perplexity": (body(USED | {"cost": {"total_cost": 0.0082}}), {}, "0.0082"),
    "xAI": (body(USED | {"cost_in_usd_ticks": 37_756_000}), {}, "0.0037756"),
    "DeepInfra": (body(USED | {"estimated_cost": 0.0000268}), {}, "0.0000268"),
    "not a cost": (body(USED | {"cost": "soon", "cost_details": "x"}), {}, "0.003"),
}


@pytest.mark.parametrize(("answer", "headers", "cost"), REPORTS.values(), ids=REPORTS)
def test_a_cost_that_the_answer_reports_wins_over_prices(
    chain: Any, server: Any, make_engine: Any, reply: Any, answer: Any, headers: Any, cost: str
) -> None:
    make_engine(price=PRICE)
    server.set_answers([reply(answer, **headers), reply(body(USED))])
    run = chain.run(rows(2), max_cost=1)
    assert run.cost == Decimal(cost) + Decimal("0.003")


@pytest.mark.parametrize(
    ("usage", "headers", "cost"),
    [
        ({}, {}, "0.003"),
        ({"cost": 0.5}, {}, "0.5"),
        ({"cost": {"total_cost": 0.25, "currency": "USD"}}, {}, "0.25"),
        ({}, {LITELLM: "0.00123"}, "0.00123"),
    ],
    ids=str,
)
def test_the_responses_api_reports_costs_likewise(
    chain: Any, server: Any, make_engine: Any, reply: Any, usage: Any, headers: Any, cost: str
) -> None:
    make_engine(price=PRICE, api="responses")
    message = {
        "id": "m", "type": "message", "role": "assistant", "status": "completed",
        "content": [{"type": "output_text", "text": TEXT, "annotations": []}],
    }  # fmt: skip
    tokens = {"input_tokens": 1000, "output_tokens": 200, "total_tokens": 1200}
    response = {
        "id": "r", "object": "response", "created_at": 1, "model": "m", "status": "completed",
        "output": [message], "parallel_tool_calls": False, "tool_choice": "none", "tools": [],
        "usage": tokens | usage,
    }  # fmt: skip
    server.set_answers([reply(response, **headers)])
    assert chain.run(rows(1)).cost == Decimal(cost)


def prompt_of(messages: Any) -> str:
    """The prompt of the row, also where its answer was not valid."""
    return next(message["content"] for message in messages if message["role"] == "user")


def test_every_attempt_that_was_answered_is_counted(
    chain: Any, server: Any, make_engine: Any, reply: Any, tmp_path: Path
) -> None:
    make_engine(price=PRICE)
    bad, good = reply(body(USED, "no JSON")), reply(body(USED))
    unfinished = reply(body(USED, "", "error"))
    busy = reply({"error": {"message": "busy"}}, 503)
    answers = {
        "City 0": iter([bad, good]),
        "City 1": iter([unfinished, busy, good]),
        "City 2": iter([bad, bad]),
    }
    server.set_answers(lambda messages: next(answers[prompt_of(messages)]))
    run = chain.run(rows(3), output_dir=tmp_path / "run")
    assert (run.counts.ok, run.counts.failed) == (2, 1)
    assert run.cost == Decimal("0.018")
    assert run.usage["city"] == Usage(6000, 1200)
    steps = lines(tmp_path / "run/steps/city/000000.jsonl")
    assert [line["cost"] for line in steps] == [0.006, 0.006]
    errors = lines(tmp_path / "run/errors.jsonl")
    assert [line["cost"] for line in errors] == [0.006]


def test_an_attempt_before_the_one_that_stops_the_run_is_counted(
    chain: Any, server: Any, make_engine: Any, reply: Any
) -> None:
    make_engine(price=PRICE, max_concurrency=1)
    empty = reply({"error": {"message": "no", "code": "insufficient_quota"}}, 429)
    server.set_answers([reply(body(USED)), reply(body(USED, "no JSON")), empty])
    run = chain.run(rows(2))
    assert isinstance(run.stopped, QuotaError)
    assert run.cost == Decimal("0.006")
    assert run.usage["city"] == Usage(2000, 400)


def test_a_request_that_was_not_answered_costs_nothing(
    chain: Any, server: Any, make_engine: Any, reply: Any, tmp_path: Path
) -> None:
    make_engine(price=PRICE)
    server.set_answers([reply({"error": {"message": "no such field"}}, 400), reply(body(USED))])
    run = chain.run(rows(2), output_dir=tmp_path / "run", max_cost=1)
    assert run.cost == Decimal("0.003")
    assert "cost" not in lines(tmp_path / "run/errors.jsonl")[0]


def test_a_resumed_run_adds_up_the_same_cost(
    chain: Any, server: Any, make_engine: Any, reply: Any, tmp_path: Path
) -> None:
    make_engine(price=PRICE, max_concurrency=1)
    costs = [0.1, 0.2, 0.0000000003, 0.7]
    bad = reply(body(USED | {"cost": 0.05}, "no JSON"))
    answers = [reply(body(USED | {"cost": cost})) for cost in costs]
    server.set_answers([*answers[:2], bad, bad, *answers[2:]])
    folder = tmp_path / "run"
    first = chain.run(rows(5), output_dir=folder, limit=4)
    again = chain.run(rows(5), output_dir=folder, resume=True)
    assert first.cost == Decimal("0.4000000003")
    assert again.cost == Decimal("1.1000000003")
    assert again.usage["city"] == Usage(6000, 1200)
    manifest = json.loads((folder / "run.json").read_text())
    assert manifest["cost_usd"] == 1.1000000003
    assert chain.run(rows(5), output_dir=folder, resume=True).cost == again.cost


def test_what_an_earlier_run_has_spent_counts_before_the_first_request(
    chain: Any, tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    with replaced(client := hosted(price=PRICE, max_concurrency=1)):
        first = chain.run(rows(50), output_dir=folder, max_cost=0.02)
        sent = len(client.requests)
        again = chain.run(rows(50), output_dir=folder, max_cost=0.02, resume=True, limit=40)
        assert again.cost == first.cost == Decimal("0.003") * sent
        assert isinstance(again.stopped, BudgetError)
        assert len(client.requests) == sent
        part = chain.run(rows(50), output_dir=folder, resume=True, limit=2)
        assert part.cost == first.cost


def test_errors_that_are_tried_again_stay_in_the_cost(
    chain: Any, server: Any, make_engine: Any, reply: Any, tmp_path: Path
) -> None:
    make_engine(price=PRICE, max_concurrency=1)
    bad, good = reply(body(USED, "no JSON")), reply(body(USED))
    server.set_answers([good, bad, bad, bad, bad, good])
    folder = tmp_path / "run"
    costs = [chain.run(rows(2), output_dir=folder).cost]
    costs += [chain.run(rows(2), output_dir=folder, retry_errors=True).cost for _ in range(2)]
    assert costs == [Decimal("0.009"), Decimal("0.015"), Decimal("0.018")]
    assert not lines(folder / "errors.jsonl")
    assert chain.run(rows(3)[:2], output_dir=folder, resume=True, force=True).cost == costs[-1]
    server.set_answers([good, good])
    assert chain.run(rows(2), output_dir=folder, overwrite=True).cost == Decimal("0.006")


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ({"model": "other-model"}, "the answers name the model other-model"),
        ({"service_tier": "scale"}, "gpt-5.6 in the service tier 'scale'"),
        ({"usage": None}, "without the number of its tokens"),
        ({"usage": Usage(1, 1, 2)}, "contradict"),
    ],
    ids=str,
)
def test_a_limit_that_can_no_longer_be_kept_stops_the_run(
    chain: Any, answer: Any, words: str
) -> None:
    client = hosted(OPENAI, "gpt-5.6", max_concurrency=1, answer=answer)
    with replaced(client):
        run = chain.run(rows(50), max_cost=5)
    assert isinstance(run.stopped, BudgetError)
    message = str(run.stopped)
    assert words in message
    assert "engine 'e', step 'city'" in message
    assert "price: {input:" in message
    assert "leave out max_cost" in message
    assert run.cost is None
    assert len(client.requests) < 5


def test_a_price_that_is_given_later_counts_for_what_was_spent_before(
    chain: Any, tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    other = {"max_concurrency": 1, "answer": {"model": "other-model"}}
    with replaced(hosted(OPENAI, "gpt-5.6", **other)):
        run = chain.run(rows(50), max_cost=5, output_dir=folder)
        again = chain.run(rows(50), max_cost=5, output_dir=folder, resume=True)
    for stopped in (run, again):
        assert isinstance(stopped.stopped, BudgetError)
        assert stopped.counts.rows < 50
    with replaced(hosted(OPENAI, "gpt-5.6", price=PRICE)):
        finished = chain.run(rows(50), max_cost=5, output_dir=folder, resume=True)
    assert finished.stopped is None
    assert finished.cost == Decimal("0.15")


def test_an_unknown_cost_is_not_a_cost_of_zero(
    chain: Any, server: Any, make_engine: Any, reply: Any, tmp_path: Path
) -> None:
    make_engine()  # on loopback, with no price
    server.set_answers([reply(body(USED | {"cost": 0.5})), reply(body(USED))])
    run = chain.run(rows(2), output_dir=tmp_path / "run")
    assert run.cost is None
    assert run.costs == {"city": None}
    assert {line["cost"] for line in lines(tmp_path / "run/steps/city/000000.jsonl")} == {0.5, None}


@pytest.mark.parametrize(
    ("price", "cost"),
    [
        ({"input": 2, "output": 8}, "2.88"),
        ({"input": 2, "output": 8, "cached_input": 0.5}, "2.58"),
        ({"input": "0.1", "output": 0}, "0.064"),
        ({"input": 0, "output": 0}, "0"),
        ({"input": 0, "output": 0, "request": 0.005}, "0.005"),
        ({"input": 2, "output": 8, "request": "0.02"}, "2.9"),
    ],
)
def test_the_price_of_an_engine_wins_over_the_lists(chain: Any, price: Any, cost: str) -> None:
    usage = Usage(prompt_tokens=640_000, completion_tokens=200_000, cached_tokens=200_000)
    with replaced(hosted(OPENAI, "gpt-5.6", price=price, answer={"usage": usage})):
        assert chain.run(rows(1)).cost == Decimal(cost)
        assert chain.run(rows(3)).cost == 3 * Decimal(cost)


def test_a_price_for_a_request_needs_no_tokens(chain: Any) -> None:
    price = {"input": 0, "output": 0, "request": 0.005}
    with replaced(hosted(price=price, answer={"usage": None})):
        assert chain.run(rows(2), max_cost=1).cost == Decimal("0.01")


@pytest.mark.parametrize(
    "price",
    [
        {"input": 1},
        {"input": -1, "output": 1},
        {"input": 1, "output": 1, "cached": 1},
        {"input": 1, "output": 1, "request": -1},
        2,
    ],
)
def test_a_price_that_is_not_understood_is_refused(price: Any) -> None:
    with pytest.raises(ConfigError, match="price"):
        EngineConfig(name="e", backend="fake", price=price)


@pytest.mark.parametrize("tier", [None, "flex"])
def test_a_limit_on_the_cost_of_a_model_of_unknown_price_is_refused(
    chain: Any, tmp_path: Path, tier: str | None
) -> None:
    fields = {"extra_body": {"service_tier": tier}} if tier else {}
    address, model = (OPENAI, "gpt-4") if tier else (None, "our-model")
    with (
        replaced(client := hosted(address, model, **fields)),
        pytest.raises(ConfigError) as caught,
    ):
        chain.run(rows(1), max_cost=1, output_dir=tmp_path / "out")
    message = str(caught.value)
    assert "'e'" in message
    assert model in message
    assert (tier or "") in message
    assert "price: {input:" in message
    assert "leave out max_cost" in message
    assert not client.requests
    assert not (tmp_path / "out").exists()


def test_a_host_that_reports_costs_needs_no_price(chain: Any) -> None:
    client = hosted(
        "https://openrouter.ai/api/v1", "new/model", answer={"reported_cost": Decimal("0.5")}
    )
    with replaced(client):
        assert chain.run(rows(1), max_cost=1).cost == Decimal("0.5")


def test_models_on_this_machine_need_no_price(chain: Any) -> None:
    with fake_engine("e"):
        run = chain.run(rows(1), max_cost=0.001)
    assert run.cost == 0


def test_a_run_can_be_resumed_with_another_price(chain: Any, tmp_path: Path) -> None:
    for price in (None, {"input": 1, "output": 1}):
        with replaced(hosted(price=price)):
            run = chain.run(rows(1), output_dir=tmp_path / "out", resume=price is not None)
        assert run.counts.ok == 1


@contextmanager
def without(*modules: str) -> Iterator[None]:
    kept = {
        name: sys.modules.pop(name) for name in list(sys.modules) if name.split(".")[0] in modules
    }
    try:
        yield
    finally:
        sys.modules.update(kept)


@pytest.mark.parametrize("fields", [{"price": PRICE}, {}], ids=["priced", "loopback"])
def test_the_price_lists_are_read_only_where_they_are_needed(
    chain: Any, server: Any, make_engine: Any, reply: Any, fields: Any
) -> None:
    make_engine(**fields)
    server.set_answers([reply(body(USED))])
    with without("genai_prices"):
        assert chain.run(rows(1)).counts.ok == 1
        assert "genai_prices" not in sys.modules


def test_importing_chainette_imports_no_price_lists() -> None:
    program = "import chainette.run.executor, sys; sys.exit('genai_prices' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
