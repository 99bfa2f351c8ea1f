"""The server: what it says about its models, its start on this machine, and pulls."""

from __future__ import annotations

import json
import os
import re
import shutil
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import anyio.to_thread
from chainette.backend import (
    BaseHTTPClient,
    Download,
    EngineError,
    EngineStartError,
    EngineUnreachableError,
    ServerError,
    ServerProcess,
    Usage,
    listener,
    post_for_lines,
    server_process,
)

from chainette_ollama.config import LocalOllamaConfig, OllamaConfig

_CONTROL = re.compile(r"[<\[].*[>\]]|</?\w.*")
"""Stop words that end a turn of the model's own template, such as `<|im_end|>`."""
_SOON = 10.0
"""Seconds in which Ollama says its version, whatever else it does."""
_OFFLINE = "the name of the registry is not known here: is this machine online?"
_CAUSES = {
    "free some space there, or set OLLAMA_MODELS to a folder on another disk": re.compile(
        "no space left|not enough space|disk quota|file too large", re.IGNORECASE
    ),
    "the server may not write there; set OLLAMA_MODELS to a folder of its own": re.compile(
        "permission denied|access is denied|read-only file|not permitted", re.IGNORECASE
    ),
    "there is no such model; see https://ollama.com/library for names and tags": re.compile(
        "file does not exist|not found|invalid model name|name unknown", re.IGNORECASE
    ),
    "update Ollama": re.compile("newer version", re.IGNORECASE),
    "the registry refuses it without a login; see `ollama signin`": re.compile(
        r"unauthorized|forbidden|[: ]40[13](:|$)", re.IGNORECASE
    ),
    "the server does not trust the certificate; a proxy may have one of its own": re.compile(
        "x509|certificate", re.IGNORECASE
    ),
    _OFFLINE: re.compile("no such host", re.IGNORECASE),
}
"""What to do about errors that do not pass by themselves, as people have reported them at
https://github.com/ollama/ollama/issues."""
_QUERY = re.compile(r"\?[^\s\"]*")
"""The queries of addresses, which have signatures."""
_PASSING = re.compile(
    r"max retries exceeded|time-?out|timed out|deadline|reset|refused|broken pipe|closed|\bEOF\b"
    r"|stall|temporar|misbehaving|unreachable|no route|no such host|stream error|GOAWAY"
    r"|context canceled|digest mismatch|too many requests|[: ](408|425|429|5\d\d)(:|$)",
    re.IGNORECASE,
)
"""Errors of the network and the registry (`server/download.go` and `server/images.go` of Ollama)
after which a pull goes on where it was."""


@dataclass(frozen=True)
class Model:
    """A model as the server describes it, and its limits.

    The source is https://docs.ollama.com/api-reference/show-model-details.

    Attributes:
        think: The value of `think` in requests; `None` leaves it out.
        lacks_thinking: Whether thinking is asked for, and the model has none.
        limit: Maximum tokens of answers that have no limit in their request; `None` for any.
        limit_place: Where that comes from, in words.
        stops: The stop words that may be a part of an answer, in words; empty for none.
        num_ctx: Tokens of context, where they are known.
        context: Where they come from, in words.
    """

    think: bool | str | None = None
    lacks_thinking: bool = False
    limit: int | None = None
    limit_place: str = ""
    stops: str = ""
    num_ctx: int | None = None
    context: str = "num_ctx is Ollama's default"

    def cut_by(self, max_tokens: int | None, usage: Usage | None) -> str | None:
        """What has cut an answer, in words; `None` for `max_tokens`.

        Args:
            max_tokens: The limit in the request.
            usage: The tokens, if they are known.
        """
        limit = max_tokens or self.limit
        if usage and self.num_ctx and (limit is None or usage.completion_tokens < limit):
            read, written = usage.prompt_tokens, usage.completion_tokens
            if read + written >= self.num_ctx - 1:
                tokens = f"{read} tokens of the prompt and {written} of the answer"
                return f"the end of the context ({tokens}; {self.context}): raise num_ctx"
        if max_tokens is None and self.limit:
            return f"num_predict {self.limit} {self.limit_place}: set max_tokens"
        return None

    @classmethod
    def read(cls, answer: Any, config: OllamaConfig) -> Model:
        """Read the answer of `/api/show`.

        Args:
            answer: The answer, decoded; `None` where there is none.
            config: The engine's configuration.
        """
        shown = answer if isinstance(answer, dict) else {}
        own, options = _parameters(str(shown.get("parameters") or "")), config.sent_options()
        places = dict.fromkeys(own, "in the model's own parameters")
        places |= dict.fromkeys(options, "in the engine's configuration")
        known = {name: values[-1] for name, values in own.items()} | options
        words = options["stop"] if "stop" in options else own.get("stop", [])
        stops = [json.dumps(word) for word in words if not _CONTROL.fullmatch(str(word))]
        limit, num_ctx = known.get("num_predict"), known.get("num_ctx")
        has_limit = isinstance(limit, int) and limit > 0  # -1 and -2 are none
        can = "thinking" in (shown.get("capabilities") or ())
        wanted = config.reasoning_effort or config.enable_reasoning or None
        is_known = "capabilities" in shown
        return cls(
            think=(wanted or False) if can else None if is_known else wanted,
            lacks_thinking=is_known and bool(wanted) and not can,
            limit=limit if has_limit else None,
            limit_place=places.get("num_predict", ""),
            stops=f"a stop word {places['stop']} ({', '.join(stops)}): set stop" if stops else "",
            num_ctx=num_ctx if isinstance(num_ctx, int) else None,
            context=f"num_ctx {num_ctx} {places['num_ctx']}" if num_ctx else cls.context,
        )


def _parameters(text: str) -> dict[str, list[Any]]:
    """The lines of a Modelfile's parameters: a name, blanks, and a value as Go writes it."""
    found: dict[str, list[Any]] = {}
    for line in text.splitlines():
        name, _, value = line.partition(" ")
        try:
            found.setdefault(name, []).append(json.loads(value))
        except ValueError:
            found.setdefault(name, []).append(value.strip())
    return found


async def ensure_up(client: BaseHTTPClient, config: LocalOllamaConfig) -> None:
    """Start Ollama, unless it answers.

    Args:
        client: The client of that server.
        config: The engine's configuration.

    Raises:
        EngineStartError: It did not start, or another program has its port.
        EngineUnreachableError: Nothing answers at the engine's `endpoint`.
    """
    try:
        answer = await client.send("GET", "/api/version", timeout=_SOON)
    except EngineUnreachableError:
        if config.endpoint is not None:
            raise
        await anyio.to_thread.run_sync(client.server_address)
        return
    except EngineError as error:
        was_there = client.limits.answered_at is not None and error.transient
        if was_there or config.endpoint is not None:
            raise
        said = str(error).partition("; ")[0]
    else:
        if isinstance(answer, dict) and isinstance(answer.get("version"), str):
            return
        said = f"/api/version answered {json.dumps(answer)[:100]}"
    found = "" if config.endpoint else listener(config.port)
    raise EngineStartError(
        f"{urlsplit(client.base_url).netloc} is in use by another program"
        f"{f' ({found})' if found else ''} that is not Ollama: {said}; "
        "end it, or set another `port` for the engine"
    )


def names_in(answer: Any) -> list[str] | None:
    """The names in an answer of `/api/tags`; proxies and older servers have no `model`.

    Args:
        answer: The answer, decoded.

    Returns:
        The names; `None` where it is no list of models.
    """
    try:
        return [str(model.get("model") or model["name"]) for model in answer["models"]]
    except (KeyError, TypeError, AttributeError):
        return None


def lacks(models: list[str] | None, model: str) -> bool:
    """Whether a model is missing in a list of names.

    Args:
        models: The names, as `/api/tags` has them; `None` where there is no list.
        model: Its name, as people write it.
    """
    return whole_name(model) not in map(whole_name, models or ())


def whole_name(model: str) -> str:
    """The name of a model with its host, namespace and tag.

    Those that are left out are Ollama's own, and case does not count
    (https://github.com/ollama/ollama/blob/main/types/model/name.go).

    Args:
        model: Its name, as people write it.
    """
    *places, last = model.lower().split("/")
    places = [*("registry.ollama.ai", "library")[: 2 - len(places)], *places]
    return "/".join([*places, last if ":" in last else f"{last}:latest"])


def store(config: LocalOllamaConfig) -> str:
    """The place of the server's models, in words.

    It is known for a server that was started here: `OLLAMA_MODELS`, or else a folder in the home
    folder (https://docs.ollama.com/faq, "Where are models stored?").

    Args:
        config: The engine's configuration.
    """
    with suppress(EngineStartError):
        if server_of(config).running:
            named = os.environ.get("OLLAMA_MODELS", "").strip().strip("\"'")
            default = f"{Path.home() / '.ollama/models'} (the default: OLLAMA_MODELS is not set)"
            return f"{named} (OLLAMA_MODELS)" if named else default
    return "the store of the server that runs (OLLAMA_MODELS in its own environment)"


async def pull(client: BaseHTTPClient, config: LocalOllamaConfig) -> None:
    """Pull the engine's model, and announce the progress.

    Ollama keeps what has come when a pull ends early, and goes on from there
    (https://docs.ollama.com/api/pull).

    Args:
        client: The client whose server pulls it.
        config: The engine's configuration.

    Raises:
        EngineStartError: It cannot be pulled.
    """
    download = Download(f"pulling {config.model}")

    async def attempt() -> None:
        states: list[str] = []

        def on_line(state: Any) -> None:
            fields = state if isinstance(state, dict) else {}
            if error := fields.get("error"):
                raise _failed(str(error), has_begun=download.furthest > 0)
            states[:] = [str(fields.get("status", ""))]
            done, total = fields.get("completed", 0), fields.get("total")
            if isinstance(total, int) and isinstance(done, int):
                download.at(str(fields.get("digest")), done, total)
            else:
                download.say(states[0])

        await ensure_up(client, config)
        body, limit = {"model": config.model}, config.load_timeout
        await post_for_lines(client, "/api/pull", body, on_line, timeout=limit)
        if states != ["success"]:
            raise ServerError(f"the server broke off at: {''.join(states) or 'the start'}")

    try:
        await download.run(attempt, config.max_retries)
    except EngineError as error:
        kept = "; what has come is kept, and the next pull goes on from there"
        message = f"cannot pull {config.model}: {error}{kept if download.furthest else ''}"
        raise EngineStartError(message) from None


def _failed(words: str, *, has_begun: bool) -> ServerError:
    """The exception for an error in a pull.

    Args:
        words: What Ollama says.
        has_begun: Whether something has come before.
    """
    words = _QUERY.sub("", " ".join(words.split()))
    advice = next((text for text, cause in _CAUSES.items() if cause.search(words)), "")
    error = ServerError(f"{words}; {advice}" if advice else words)
    is_offline = advice == _OFFLINE and not has_begun
    error.transient = bool(_PASSING.search(words)) and (advice in ("", _OFFLINE)) and not is_offline
    return error


def server_of(config: LocalOllamaConfig) -> ServerProcess:
    """`ollama serve`, running or not.

    It keeps the beginnings of models when it starts, which Ollama removes by default, so that a
    pull that was broken off goes on (`PruneLayers` in
    https://github.com/ollama/ollama/blob/main/server/images.go).

    Raises:
        EngineStartError: The program is not installed.
    """
    program = shutil.which("ollama")
    if program is None:
        raise EngineStartError("there is no program `ollama`: install it from ollama.com")
    return server_process(
        [program, "serve"],
        name="ollama",
        env={
            "OLLAMA_HOST": f"127.0.0.1:{config.port}",
            "OLLAMA_NOPRUNE": os.environ.get("OLLAMA_NOPRUNE", "1"),
        },
        health_path="/api/version",
        port=config.port,
        startup_timeout=config.startup_timeout,
        shared=True,
    )
