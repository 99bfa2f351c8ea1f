"""The server: what it says about its models, its start on this machine, and pulls."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import dataclass
from typing import Any

from chainette.backend import (
    NO_PROXY,
    BaseHTTPClient,
    EngineStartError,
    ServerProcess,
    announce,
    server_process,
)

from chainette_ollama.config import LocalOllamaConfig, OllamaConfig

_CONTROL = re.compile(r"[<\[].*[>\]]|</?\w.*")
"""Stop words that end a turn of the model's own template, such as `<|im_end|>`."""


@dataclass(frozen=True)
class Model:
    """A model as the server describes it, and its limits.

    The source is https://docs.ollama.com/api-reference/show-model-details.

    Attributes:
        think: The value of `think` in requests; `None` leaves it out.
        lacks_thinking: Whether thinking is asked for, and the model has none.
        limit: The limit of answers that have none in their request, in words; `None` for none.
        stops: The stop words that may be a part of an answer, in words; empty for none.
        num_ctx: Tokens of context, where they are known.
        context: Where they come from, in words.
    """

    think: bool | str | None = None
    lacks_thinking: bool = False
    limit: str | None = None
    stops: str = ""
    num_ctx: int | None = None
    context: str = "num_ctx is Ollama's default"

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
        can = "thinking" in (shown.get("capabilities") or ())
        wanted = config.reasoning_effort or config.enable_reasoning or None
        is_known = "capabilities" in shown
        return cls(
            think=(wanted or False) if can else None if is_known else wanted,
            lacks_thinking=is_known and bool(wanted) and not can,
            limit=f"num_predict {limit} {places['num_predict']}: set max_tokens" if limit else None,
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


async def pull(client: BaseHTTPClient, model: str) -> None:
    """Pull a model, and announce the progress.

    Args:
        client: The client whose server pulls it.
        model: Name of the model.

    Raises:
        EngineError: It cannot be pulled.
    """
    import httpx
    import ollama  # it reads the environment, and fails at some of it

    config, task = client.config, f"pulling {model}"
    timeout = httpx.Timeout(config.timeout, connect=config.connect_timeout)
    package = ollama.AsyncClient(client.base_url, timeout=timeout, mounts=NO_PROXY)
    try:
        async for state in await package.pull(model, stream=True):
            share = (state.completed or 0) / state.total if state.total else None
            announce(task, state.status or "", share)
    except ollama.ResponseError as error:
        words = error.error.encode()
        raise client.status_error(error.status_code, words, client.base_url, {}) from None
    except (ConnectionError, httpx.HTTPError) as error:
        raise client.connection_error(error, client.base_url) from None
    finally:
        announce(task, over=True)
        await package.close()  # type: ignore[no-untyped-call]


def server_of(config: LocalOllamaConfig) -> ServerProcess:
    """`ollama serve`, running or not.

    Raises:
        EngineStartError: The program is not installed.
    """
    program = shutil.which("ollama")
    if program is None:
        raise EngineStartError("there is no program `ollama`: install it from ollama.com")
    return server_process(
        [program, "serve"],
        name="ollama",
        env={"OLLAMA_HOST": f"127.0.0.1:{config.port}"},
        health_path="/api/version",
        port=config.port,
        startup_timeout=config.startup_timeout,
    )
