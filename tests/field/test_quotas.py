"""Limits of accounts in the words of more providers, and tokens that other places report."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from chainette import Chain
from chainette.engine.http.completions import read_billing
from chainette.errors import AuthenticationError, EngineDownError, QuotaError, RateLimitError
from chainette.testing.script import Reply
from chainette.usage import Usage

OSLO = {"name": "Oslo", "inhabitants": 700000}
ROWS = [{"number": number} for number in range(6)]


def refused(status: int, body: Any) -> Reply:
    return Reply(status=status, body=json.dumps(body).encode())


def google(message: str, quota: str, delay: str) -> dict[str, Any]:
    """An error of Gemini with its details (google.rpc.QuotaFailure and RetryInfo)."""
    details = [
        {"@type": "type.googleapis.com/google.rpc.QuotaFailure", "violations": [quota]},
        {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": delay},
    ]
    details[0]["violations"] = [{"quotaMetric": "m", "quotaId": quota}]
    error = {"code": 429, "message": message, "status": "RESOURCE_EXHAUSTED", "details": details}
    return {"error": error}


BILLING = "You exceeded your current quota, please check your plan and billing details."
NOTHING_LEFT = {
    "Anthropic's own limit": (
        400,
        {
            "type": "error",
            "error": {
                "type": "invalid_request_error",
                "message": "You have reached your specified API usage limits. You will regain "
                "access on 2026-04-01 at 00:00 UTC.",
            },
        },
    ),
    "LiteLLM's budget": (
        400,
        {
            "error": {
                "message": "Budget has been exceeded! Current cost: 10.1, Max budget: 10.0",
                "type": "auth_error",
                "code": 400,
            }
        },
    ),
    "LiteLLM's budget by its type": (
        429,
        {"error": {"message": "LiteLLM User: engineer-1 is done", "type": "budget_exceeded"}},
    ),
    "LiteLLM's budget of a user": (
        429,
        {"error": {"message": "ExceededBudget: User=x over budget. Spend=10, Budget=10"}},
    ),
    "Fireworks": (
        412,
        {
            "error": {
                "message": "Account pollen is suspended, possibly due to reaching the monthly "
                "spending limit or failure to pay past invoices.",
                "code": "PRECONDITION_FAILED",
            }
        },
    ),
    "xAI": (
        429,
        {
            "code": "Some resource has been exhausted",
            "error": "Your team has either used all available credits or reached its monthly "
            "spending limit.",
        },
    ),
    "xAI's new teams": (
        403,
        {"code": "no permission", "error": "Your newly created team doesn't have any credits yet."},
    ),
    "MiniMax": (500, {"type": "error", "error": {"message": "insufficient balance (1008)"}}),
    "MiniMax in a success": (
        200,
        {"choices": None, "base_resp": {"status_code": 1008, "status_msg": "no balance"}},
    ),
    "Z.ai's code": (429, {"error": {"code": "1113", "message": "余额不足或无可用资源包,请充值。"}}),
    "Volcengine's code": (403, {"error": {"code": "AccountOverdueError", "message": "No"}}),
    "SiliconFlow": (403, {"code": 30001, "message": "Sorry, your account balance is insufficient"}),
    "Ollama's cloud": (429, {"error": "you've reached your weekly usage limit, please upgrade"}),
    "Bedrock's day": (429, {"message": "Too many tokens per day, please wait."}),
    "Cohere's trial keys": (
        429,
        {"message": "You are using a Trial key, which is limited to 1000 API calls / month."},
    ),
    "OpenRouter's free models": (
        429,
        {"error": {"message": "Rate limit exceeded: free-models-per-day.", "code": 429}},
    ),
    "Gemini's day, which asks to wait for a moment": (
        429,
        google(f"{BILLING} Please retry in 0.01s.", "GenerateRequestsPerDayPerProject", "0.01s"),
    ),
}  # fmt: skip


@pytest.mark.parametrize(("status", "body"), NOTHING_LEFT.values(), ids=NOTHING_LEFT)
def test_an_account_with_nothing_left_stops_the_run_and_fails_no_row(
    status: int, body: Any, server: Any, make_engine: Any, chain: Chain[Any, Any], tmp_path: Path
) -> None:
    make_engine(max_concurrency=1)
    server.set_answers([OSLO, OSLO, refused(status, body), *[OSLO] * 9])
    run = chain.run(ROWS, output_dir=tmp_path / "out")
    assert isinstance(run.stopped, QuotaError)
    assert run.counts.failed == 0
    run = chain.run(ROWS, output_dir=tmp_path / "out", resume=True)
    assert (run.stopped, run.counts.ok, run.counts.failed) == (None, 6, 0)


def test_an_organization_that_is_disabled_stops_the_run(server: Any, make_engine: Any) -> None:
    body = {"error": {"message": "This organization has been disabled."}}
    server.set_answers([refused(400, body)])
    assert isinstance(make_engine().generate(["hi"])[0].error, AuthenticationError)


LONG_WAITS = {
    "Groq": (429, {"error": {"message": "on tokens per day (TPD): Limit 100000, Used 97050. Please "
                             "try again in 9m38.016s. Need more tokens?"}}, 578.016),
    "Azure": (429, {"error": {"message": "Please retry after 86400 seconds."}}, 86400),
    "GitHub": (429, {"error": {"message": "Rate limit of 150 per 86400s exceeded for "
                               "UserByModelByDay. Please wait 51000 seconds before retrying."}},
               51000),
    "hours": (429, {"error": {"message": "Please try again in 2h 5m."}}, 7500),
    "Hugging Face": (503, {"error": "X is currently loading", "estimated_time": 900.5}, 900.5),
    "Gemini": (429, google(BILLING, "GenerateTokensPerModelPerMinute", "900s"), 900),
}  # fmt: skip


@pytest.mark.parametrize(("status", "body", "seconds"), LONG_WAITS.values(), ids=LONG_WAITS)
def test_a_wait_in_the_body_is_understood_wherever_it_is(
    status: int, body: Any, seconds: float, server: Any, make_engine: Any
) -> None:
    server.set_answers([refused(status, body)])
    error = make_engine().generate(["hi"])[0].error
    assert isinstance(error, EngineDownError)
    assert f"asks to wait {seconds:g} s" in str(error)
    assert "resume after 20" in str(error)
    assert len(server.requests) == 1


def test_a_wait_until_a_time_in_repeated_headers_is_understood(
    server: Any, make_engine: Any
) -> None:
    headers = {"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "4102444800000"}
    body = {"error": {"message": "free-models-per-day", "metadata": {"headers": headers}}}
    server.set_answers([refused(429, body)])
    assert "resume after 2100-01-01" in str(make_engine().generate(["hi"])[0].error)


def test_a_limit_per_minute_that_speaks_of_billing_is_waited_for(
    server: Any, make_engine: Any
) -> None:
    """Gemini had the wait in its details alone."""
    server.set_answers([refused(429, google(BILLING, "TokensPerMinute-FreeTier", "0.02s")), "fine"])
    assert make_engine().generate(["hi"])[0].outputs[0].text == "fine"


@pytest.mark.parametrize(
    "message", ["Rate limit reached. Upgrade for $20/month.", "Requests rate limit exceeded"]
)
def test_other_limits_are_waited_for(message: str, server: Any, make_engine: Any) -> None:
    server.set_answers([refused(429, {"message": message})])
    error = make_engine(max_retries=0).generate(["hi"])[0].error
    assert type(error) is RateLimitError


LOADING = {
    "llama.cpp": {"error": {"code": 503, "message": "Loading model", "type": "unavailable_error"}},
    "Hugging Face": {"error": "Model X is currently loading", "estimated_time": 0.01},
}


@pytest.mark.parametrize("body", LOADING.values(), ids=LOADING)
def test_a_model_that_is_being_loaded_is_waited_for(
    body: Any, server: Any, make_engine: Any
) -> None:
    server.set_answers([*[refused(503, body)] * 9, "fine"])
    assert make_engine(max_retries=2).generate(["hi"])[0].outputs[0].text == "fine"
    server.set_answers(lambda _: refused(503, body))
    error = make_engine(give_up_after=0.05).generate(["hi"])[0].error
    assert isinstance(error, EngineDownError)
    assert "oading" in str(error)


# --- tokens


@pytest.mark.parametrize(
    ("reported", "read"),
    [
        # xAI: the thoughts are beside the completion.
        (
            {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 45,
             "completion_tokens_details": {"reasoning_tokens": 30}},
            Usage(10, 35, 30),
        ),
        # Gemini: they are in the total alone.
        (
            {"prompt_tokens": 9, "completion_tokens": 664, "total_tokens": 1994,
             "completion_tokens_details": {"reasoning_tokens": 0}},
            Usage(9, 1985, 1321),
        ),
        # OpenAI: they are in the completion.
        (
            {"prompt_tokens": 10, "completion_tokens": 35, "total_tokens": 45,
             "completion_tokens_details": {"reasoning_tokens": 30}},
            Usage(10, 35, 30),
        ),
        # Cached tokens are beside the prompt.
        (
            {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 115,
             "prompt_tokens_details": {"cached_tokens": 100}},
            Usage(110, 5, 0, 100),
        ),
        ({"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 3}, Usage(10, 5)),
    ],
)  # fmt: skip
def test_thoughts_are_tokens_of_the_completion(reported: Any, read: Usage) -> None:
    assert read_billing({"usage": reported}, []).usage == read


PAID = {"prompt_tokens": 100, "completion_tokens": 20}
UNUSABLE = {
    "no choices": {"choices": [], "usage": PAID},
    "broken off": {
        "choices": [{"message": {"content": "Os"}, "finish_reason": "error"}], "usage": PAID
    },
}  # fmt: skip


@pytest.mark.parametrize("body", UNUSABLE.values(), ids=UNUSABLE)
def test_the_tokens_of_an_answer_that_is_asked_for_again_are_counted(
    body: Any, server: Any, make_engine: Any
) -> None:
    again = {"choices": [{"message": {"content": "fine"}}], "usage": PAID}
    server.set_answers([refused(200, body), refused(200, again)])
    assert make_engine().generate(["hi"])[0].usage == Usage(200, 40)
    server.set_answers(lambda _: refused(200, body))
    output = make_engine(max_retries=2).generate(["hi"])[0]
    assert output.error is not None
    assert output.usage == Usage(300, 60)
