"""Errors that a server reports, sorted by what they say: an HTTP status alone is too coarse."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from chainette.engine.client.retry import duration, retry_after
from chainette.engine.context.overflow import context_error
from chainette.errors import (
    AuthenticationError,
    EngineError,
    NotFoundError,
    QuotaError,
    RateLimitError,
    RefusalError,
    RequestError,
    ServerError,
    StructuredOutputError,
)
from chainette.text import excerpt, shortened

_QUOTA_CODES = frozenset(
    (
        "insufficient_quota",  # OpenAI docs, "Error codes"; many other servers
        "billing_hard_limit_reached",  # OpenAI
        "billing_not_active",  # OpenAI
        "billing_error",  # Anthropic docs, "Errors"
        "exceeded_current_quota_error",  # Moonshot docs, "Error description"
        "insufficient_balance",  # DeepSeek's compatible hosts
        "insufficient_credits",
        "insufficient_funds",
        "arrearage",  # Alibaba Model Studio docs, "Error codes"
        "payment_required",
        "insufficient_user_quota",  # New API and One API, gateways that people host themselves
        "pre_consume_token_quota_failed",
        "budget_exceeded",  # LiteLLM docs, "Budgets"
        "insufficient_balance_error",  # MiniMax docs, "Error Codes"
        "1113",  # Z.ai docs, "Errors"
        "accountoverdueerror",  # Volcengine docs, "Error codes"
        "per_day",  # a `quotaId` of Gemini
    )
)
"""Codes and types of errors of an account that has nothing left to spend."""
_QUOTA_WORDS = re.compile(
    r"credit balance is too low"  # Anthropic, with status 400
    r"|key limit exceeded"  # OpenRouter, with status 403
    r"|check your plan and billing"  # OpenAI and Gemini, with status 429
    r"|insufficient (account )?(balance|credits?|funds)|(out of|requires more|not enough) credits"
    r"|balance is insufficient|overdue balance|used all available credits|n[o']t have any credits"
    r"|billing hard limit|account (\S{1,80} )?(is )?(suspended|in arrears|overdue)"
    r"|exceeded .{0,40}spend|monthly spending limit"
    r"|specified api usage limits"  # Anthropic, with status 400
    r"|(daily|weekly|monthly|hourly|session) usage limit"  # Ollama's cloud
    r"|budget (has been|limit|is)? ?exceeded|exceeded ?budget|(over|crossed) budget",  # LiteLLM
    re.IGNORECASE,
)
_LONG_LIMIT = re.compile(
    r"per[ _-](day|month)|by(day|month)\b|(calls|requests|tokens) ?/ ?(day|month)\b"
    r"|(daily|monthly) .{0,20}limit",
    re.IGNORECASE,
)
"""Words of a 429 about a limit that no wait of minutes lifts: Bedrock, Cerebras, Cohere's trial
keys, OpenRouter's free models."""
_UNIT = r"(?:milliseconds?|ms|minutes?|mins?|m|seconds?|secs?|s|hours?|h|days?|d)(?![a-z])"
_LATER = re.compile(
    rf"(?:retry|try again|wait)(?: in| after| for)? ((?:\d+(?:\.\d+)? ?{_UNIT} ?)+)", re.IGNORECASE
)
"""The wait that a message asks for: OpenAI and Groq ("try again in 9m38.016s"), Azure ("retry
after 27 seconds"), GitHub ("wait 51000 seconds"). Gemini writes the words about billing for limits
per minute too, and then says when to return."""
_PLAIN_HTTP = re.compile(r"HTTP request (was )?(sent )?to (an )?HTTPS (server|port)", re.IGNORECASE)
"""Go's servers and nginx, where they are asked without encryption."""
_LOADING = re.compile(r"\bloading\b|\bwarming up\b|\bcold start", re.IGNORECASE)
"""A model that is not in memory yet: llama.cpp ("Loading model"), Hugging Face ("is currently
loading"). Loading takes minutes."""
_FULL = re.compile(
    r"\bserver (is )?busy\b|pending requests|\boverloaded\b|queue is full|at capacity|slow down"
    r"|too many (concurrent )?requests",
    re.IGNORECASE,
)
"""A 503 that asks for fewer requests: Ollama (docs, "FAQ", `OLLAMA_MAX_QUEUE`), OpenAI (docs,
"Error codes": "overloaded", "Slow Down")."""
ENDPOINT_HINT = "endpoint (most end in /v1; `chainette engines check` tries others)"
"""The advice where a server does not have the API."""
LONGEST_QUOTE = 600
"""A longer message may quote the prompt, whose words say nothing about the account."""
_FILTER_CODES = frozenset(
    (
        "content_filter",  # Azure OpenAI docs, "Content filtering"
        "responsibleaipolicyviolation",  # its inner error
        "content_policy_violation",  # OpenAI
        "data_inspection_failed",  # Alibaba Model Studio docs, "Error codes"
        "datainspectionfailed",
        "1301",  # Z.ai docs, "Errors"
        "bio_policy",  # OpenAI API reference, "The response object", `error`
        "misalignment_policy_violation",
    )
)
"""Codes of errors of a content filter that refuses one prompt."""
_FILTER_WORDS = re.compile(
    r"content management policy|your input was flagged|considered high risk|content exists risk"
    r"|requires moderation|violat\w+ our (usage )?polic",
    re.IGNORECASE,
)
_KEY_CODES = frozenset(("invalid_api_key", "api_key_invalid", "invalid_authentication_error"))
_KEY_WORDS = re.compile(
    r"api[ _]key (is |was )?(not valid|invalid|expired|not found|revoked)|incorrect api key"
    r"|invalid api[ _]key|pass a valid api key|organization has been disabled",
    re.IGNORECASE,
)
"""Ways to say that the key is wrong; Gemini says so with status 400 (Gemini docs, "API errors")."""
_MODEL_CODES = frozenset(("model_not_found", "invalid_model"))
"""Codes of a model that the server does not have, with status 400 at Mistral and 422 at Scaleway
(Scaleway docs, "Understanding common errors with Generative APIs")."""
_PATH_WORDS = re.compile(r"^unexpected endpoint or method", re.IGNORECASE)
"""The words of LM Studio, which answers 200 at paths that it does not have
(https://github.com/lmstudio-ai/lmstudio-bug-tracker/issues/618)."""
_CONVERTER = re.compile(
    r"json schema conversion failed|failed to parse grammar|invalid json schema in format"
    r"|error resolving ref|unrecognized schema|unsupported grammar|empty grammar stack",
    re.IGNORECASE,
)
"""Words of llama.cpp's converter of schemas about one that it does not take, with status 400 or 500
(llama.cpp's server, and Ollama 0.25 and 0.33 in front of it)."""
_FAILED_JSON = frozenset(("json_validate_failed",))
"""Codes of an answer that the server itself found not to be the JSON that was asked for (Groq
docs, "Structured Outputs", error handling)."""
_STATUS_OF = {
    "invalid_api_key": 401, "authentication_error": 401, "unauthenticated": 401,
    "unauthorized": 401, "permission_error": 403, "permission_denied": 403,
    "not_found_error": 404, "model_not_found": 404, "not_found": 404, "notfounderror": 404,
    "rate_limit_exceeded": 429, "rate_limit_error": 429, "resource_exhausted": 429,
    "too_many_requests": 429, "invalid_request_error": 400, "invalid_argument": 400,
    "badrequesterror": 400, "request_too_large": 413, "content_filter": 400,
    "insufficient_balance": 402, "invalid_prompt": 400, "bio_policy": 400,
    "misalignment_policy_violation": 400, "data_residency_mismatch": 400,
}  # fmt: skip
"""Statuses that belong to codes and types of errors, for servers that answer 200."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """An error as a server describes it.

    Attributes:
        message: The server's message, for people; not scrubbed.
        codes: Its codes, types and inner codes, in lower case.
        status: The status that the body names, or `None`.
        param: The parameter that it is about, or `None`.
        draft: The model's text that the server found wrong, or `None`.
        asked: Seconds to wait that the body has in a field of its own, or `None`.
        is_page: Whether it is a web page, as firewalls and proxies send it.
    """

    message: str
    codes: frozenset[str] = frozenset()
    status: int | None = None
    param: str | None = None
    draft: str | None = None
    asked: float | None = None
    is_page: bool = False

    @property
    def is_quota(self) -> bool:
        """Whether the account has nothing left to spend."""
        return bool(self.codes & _QUOTA_CODES)

    @property
    def sounds_like_quota(self) -> bool:
        """Whether the message says so, and does not say when to return."""
        return self._says_without_wait(_QUOTA_WORDS)

    @property
    def is_filter(self) -> bool:
        """Whether a content filter refuses the prompt."""
        short = self.message[:LONGEST_QUOTE]
        return bool(self.codes & _FILTER_CODES or _FILTER_WORDS.search(short))

    @property
    def is_about_key(self) -> bool:
        """Whether the key is wrong, whatever the status."""
        short = self.message[:LONGEST_QUOTE]
        return bool(self.codes & _KEY_CODES or _KEY_WORDS.search(short))

    @property
    def wait(self) -> float | None:
        """Seconds that the body asks to wait, in a field or in words, or `None`."""
        if self.asked is not None:
            return self.asked
        found = _LATER.search(self.message)
        return _seconds(found[1]) if found else None

    @property
    def is_long_limit(self) -> bool:
        """Whether a limit per day or month is reached, and the body does not say until when."""
        return self._says_without_wait(_LONG_LIMIT)

    def _says_without_wait(self, words: re.Pattern[str]) -> bool:
        """Whether the message, if it is not a long quote, has these words and no time to return."""
        short = self.message[: LONGEST_QUOTE + 1]
        is_quote = len(short) > LONGEST_QUOTE
        return not is_quote and bool(words.search(short)) and not self.wait

    @property
    def is_loading(self) -> bool:
        """Whether the server is still loading the model."""
        return bool(_LOADING.search(self.message[:LONGEST_QUOTE]))


def read_refusal(body: str) -> Refusal:
    """Read the body of an error, from the forms that servers use."""
    try:
        answer = json.loads(body)
    except (ValueError, RecursionError):
        return Refusal(excerpt(body), is_page=body.lstrip().startswith("<"))
    if isinstance(answer, list) and len(answer) == 1:  # Gemini's compatible endpoint
        answer = answer[0]
    levels, found = [answer], answer
    for key in ("error", "base_resp", "message", "detail", "status_msg", "msg"):
        if isinstance(found, dict) and key in found:
            found = found[key]
            levels.append(found)
    if isinstance(found, str) and found.startswith('{"error"'):  # Ollama, of llama-server's
        return read_refusal(found)
    message = found if isinstance(found, str) else json.dumps(found)
    if isinstance(answer, dict) and found is answer.get("error"):  # Scaleway: a code, and a message
        message = ": ".join(filter(None, (message, _first_text([answer], "message"))))
    objects = _objects(levels)
    # OpenRouter: "Provider returned error", and the provider's words (OpenRouter docs, "Errors").
    metadata = _objects([each.get("metadata") for each in objects])
    if raw := _first_text(metadata, "raw"):
        message = f"{message}: {raw}"
    inner = [value for each in objects for key, value in each.items() if key in _INNER]
    codes = [each.get(key) for each in (*objects, *_objects(inner)) for key in _CODES]
    draft = _first_text(objects, "failed_generation")
    codes += [found]
    codes += [_BASE_RESP.get(each.get("status_code", 0)) for each in objects[1:]]
    details = [detail for each in objects for detail in _objects(each.get("details"))]
    codes += ["per_day" for detail in details if _PER_DAY.search(json.dumps(detail))]
    names = frozenset(str(code).lower() for code in codes if isinstance(code, str | int))
    status = next(filter(None, map(_status, codes)), None)
    param = _first_text(objects, "param")
    asked = _asked([*objects, *details, *metadata])
    return Refusal(shortened(message, limit=1000), names, status, param, draft, asked)


_INNER = ("innererror", "inner_error")
_CODES = ("code", "status", "status_code", "type")


_BASE_RESP = {
    1002: "rate_limit_exceeded", 1004: "invalid_api_key", 2049: "invalid_api_key",
    1008: "insufficient_balance", 1026: "content_filter", 1027: "content_filter",
    2013: "invalid_request_error",
}  # fmt: skip
"""MiniMax's codes, in `base_resp` of a success (MiniMax docs, "Error Codes")."""
_PER_DAY = re.compile(r'"quotaId": "\w*PerDay')
"""Gemini asks to wait for seconds where the limit of a day is reached, too (Gemini docs, "Rate
limits"; google.rpc.QuotaFailure)."""
_WAITS = ("retryDelay", "estimated_time", "retry_after", "retry_after_seconds")
"""Fields with a wait: Gemini's RetryInfo ("26s"), Hugging Face's loading models, gateways."""


def _objects(values: Any) -> list[dict[str, Any]]:
    values = values if isinstance(values, list) else []
    return [value for value in values if isinstance(value, dict)]


def _asked(objects: list[dict[str, Any]]) -> float | None:
    """The seconds to wait in the fields of an error; OpenRouter repeats its headers there."""
    for each in objects:
        found = next((each[key] for key in _WAITS if key in each), None)
        if isinstance(found, int | float | str) and not isinstance(found, bool):
            return duration(str(found))
        headers = each.get("headers")
        if isinstance(headers, dict) and "X-RateLimit-Reset" in headers:
            return duration(str(headers["X-RateLimit-Reset"]))
    return None


def _seconds(words: str) -> float:
    """Seconds from a duration in words, such as `9m38.016s` or `2 minutes`."""
    parts = re.findall(r"([\d.]+) ?(ms|milli|[smhd])", words.lower())
    return sum(float(number) * _LENGTHS[unit[:2]] for number, unit in parts)


_LENGTHS = {"ms": 0.001, "mi": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


def _first_text(objects: list[dict[str, Any]], key: str) -> str | None:
    return next((each[key] for each in objects if isinstance(each.get(key), str)), None)


def _status(code: Any) -> int | None:
    """The HTTP status that a code is, or that belongs to it."""
    if isinstance(code, str) and not code.isdecimal():
        return _STATUS_OF.get(code.lower())
    if isinstance(code, bool) or not isinstance(code, int | str):
        return None
    return int(code) if len(str(code)) == 3 and 400 <= int(code) < 600 else None


def reported_error(answer: Any) -> int | None:
    """The status of an error that is the body of a success, or `None` if it is not one.

    OpenRouter answers 200 where it had begun to wait for the model (OpenRouter docs, "Errors");
    older versions of vLLM have the error at the top (`object: error`), gateways a `code` and a
    `msg`, and MiniMax a `base_resp` (MiniMax docs, "Error Codes").

    Args:
        answer: The body, decoded.

    Returns:
        The status of the error: its code, what belongs to its code, or else 502.
    """
    if not isinstance(answer, dict):
        return None
    base = answer.get("base_resp")
    is_error = answer.get("error") or answer.get("object") == "error"
    is_error = is_error or (isinstance(base, dict) and base.get("status_code"))
    is_plain = not is_error and "code" in answer and not answer.get("choices")
    if not is_error and not is_plain:
        return None
    refusal = read_refusal(json.dumps(answer))
    if _PATH_WORDS.match(refusal.message):
        return 404
    return refusal.status or (None if is_plain else 502)


def refusal_error(
    status: int, refusal: Refusal, said: str, headers: Mapping[str, str]
) -> EngineError:
    """The exception for an error of a server.

    Args:
        status: The HTTP status, or that of an error in the body of a success.
        refusal: The error.
        said: The beginning of the message: where it comes from, and the server's words.
        headers: The answer's headers; their names in lower case.

    Returns:
        An exception; its `transient` decides whether the request is sent again.
    """
    error = _final_error(status, refusal, said) or _passing_error(status, refusal, said)
    error.is_loading = status >= 500 and refusal.is_loading
    error.status = status
    # OpenAI's SDKs obey this header before anything else.
    asked = headers.get("x-should-retry")
    if asked in ("true", "false") and not error.final:
        error.transient = asked == "true"
    if error.transient:
        wait = retry_after(headers)
        error.retry_after = refusal.wait if wait is None and status in (429, 503) else wait
    return error


def _final_error(status: int, refusal: Refusal, said: str) -> EngineError | None:
    """The exception for an error that the same request has again."""
    is_known = status in (400, 401, 403, 412, 429) or status >= 500
    is_quota = refusal.is_quota or (is_known and refusal.sounds_like_quota)
    if status == 402 or is_quota or (status == 429 and refusal.is_long_limit):
        return QuotaError(f"{said}; look at the plan and billing")
    if status in (400, 403) and refusal.is_filter:
        return RefusalError(f"no answer (content_filter): {said}")
    if status == 400 and refusal.codes & _FAILED_JSON:
        return StructuredOutputError(said, raw_text=refusal.draft)
    if status in (401, 403) or (status == 400 and refusal.is_about_key):
        error = AuthenticationError(f"{said}; check the engine's API key (api_key_env)")
        error.is_about_key = status != 403 or not refusal.is_page
        return error
    if status >= 500 and _CONVERTER.search(refusal.message[:LONGEST_QUOTE]):
        return RequestError(said)
    if status == 400 and _PLAIN_HTTP.search(refusal.message):
        return NotFoundError(f"{said}; write https:// in the endpoint")
    if status == 404 or (status in (400, 422) and refusal.codes & _MODEL_CODES):
        return NotFoundError(f"{said}; check the engine's model and {ENDPOINT_HINT}")
    return None


def _passing_error(status: int, refusal: Refusal, said: str) -> EngineError:
    is_full = status == 503 and _FULL.search(refusal.message[:LONGEST_QUOTE])
    if status == 429 or is_full:
        return RateLimitError(said)
    if status >= 500 or status == 408:
        return ServerError(said)
    is_about_body = status in (400, 413, 422)
    too_long = is_about_body and context_error(refusal.codes, refusal.message, said)
    if too_long:
        return too_long
    error = RequestError(said)
    if status == 405:
        error.args = (f"{said}; check the engine's {ENDPOINT_HINT}",)
    error.transient = status in (409, 425)
    return error
