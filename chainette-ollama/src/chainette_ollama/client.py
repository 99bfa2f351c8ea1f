"""Client of the backend `ollama_api`."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from time import monotonic
from typing import Any
from urllib.parse import urlsplit

from chainette.backend import (
    BaseHTTPClient,
    Capabilities,
    ContextLengthError,
    EngineConnectionError,
    EngineError,
    EngineTimeoutError,
    IdentityCache,
    LLMOutput,
    Message,
    NotFoundError,
    Request,
    RequestError,
    ServerError,
    SharedStart,
    encode_prompt,
    load,
    unreadable,
    with_instruction,
)

from chainette_ollama.answers import read_chat
from chainette_ollama.config import OllamaConfig
from chainette_ollama.names import LOADED_WITH, OPTIONS
from chainette_ollama.refusals import explained
from chainette_ollama.server import Model, names_in

IDLE = 60.0
"""Seconds without an answer after which the model may have been unloaded; Ollama's own default is
five minutes (Ollama documentation, "FAQ", `keep_alive`)."""


class OllamaClient(BaseHTTPClient):
    """A client of Ollama's `POST /api/chat` (https://docs.ollama.com/api/chat)."""

    config: OllamaConfig
    start_hint: str = "is `ollama serve` running?"
    pasted_paths: tuple[str, ...] = (
        *("/v1/chat/completions", "/api/chat", "/api/generate", "/v1", "/api"),
    )

    def __init__(self, config: OllamaConfig, capabilities: Capabilities | None = None) -> None:
        self.default_endpoint: str = config.address
        if urlsplit(self.default_endpoint).hostname == "ollama.com":
            self.api_key_envs: tuple[str, ...] = ("OLLAMA_API_KEY",)
        super().__init__(config, capabilities)
        self._constants: IdentityCache[bytes] = IdentityCache()
        self._loaded = SharedStart(self.load_model)
        self._found: Model | None = None
        self._facts, self._loaded_at = Model(), 0.0

    @property
    def is_free(self) -> bool:
        """Whether answers cost nothing: models of Ollama's cloud have prices of their own."""
        is_theirs = urlsplit(self.base_url).hostname == "ollama.com"
        return not (is_theirs or self.config.model.endswith(("-cloud", ":cloud")))

    def residence(self) -> tuple[str, str] | None:
        """The model in the server's memory, and the options that it is loaded with."""
        options = self.config.sent_options()
        words = ", ".join(f"{name} {options[name]}" for name in LOADED_WITH if name in options)
        name = self.config.model.removesuffix(":latest").removeprefix("library/")
        return f"{self.base_url} {name}", words or "num_ctx by default"

    async def start(self) -> None:
        """Load the model, unless it has answered a short time ago."""
        used_at = max(self._loaded_at, self.limits.answered_at or 0.0)
        if not self._loaded.is_done or monotonic() - used_at > IDLE:
            await self._loaded.wait()

    async def list_models(self) -> list[str] | None:
        """Names of the models that the server has."""
        return names_in(await self.send("GET", "/api/tags"))

    async def load_model(self) -> None:
        """Find out what the model can do, and load it; see `SharedStart`."""
        name, options = self.config.model, self.config.sent_options()
        if self._found is None:
            self._found = self._facts = await self._model()
        if not self.is_free:
            return  # it is loaded elsewhere
        body = {"model": name, "messages": [], "stream": False, "options": options}
        if self.config.keep_alive:  # 0 would unload it
            body["keep_alive"] = self.config.keep_alive
        limit = self.config.load_timeout
        await load(self.send("POST", "/api/chat", body, timeout=limit), name, limit)
        self._loaded_at = monotonic()

    async def _model(self) -> Model:
        """What `/api/show` says; nothing where the server does not have it."""
        try:
            answer = await self.send("POST", "/api/show", {"model": self.config.model})
        except (RequestError, NotFoundError) as error:
            if "ollama pull" in str(error):
                raise
            answer = None
        model = Model.read(answer, self.config)
        if model.lacks_thinking:
            self._warn_of_thinking()
        return model

    def _warn_of_thinking(self) -> None:
        self.warn_once("think", "%s does not think; reasoning is switched off", self.config.model)

    async def _chat(self, request: Request) -> LLMOutput:
        is_cut = False
        try:
            answer = await self.send("POST", "/api/chat", self._body(request))
        except RequestError as refusal:
            is_too_long = isinstance(refusal, ContextLengthError)
            is_cut = is_too_long and self.config.context_overflow == "cut"
            if not (is_cut or self._learns(refusal)):
                raise
            answer = await self.send("POST", "/api/chat", self._body(request, cut=is_cut))
        except (EngineConnectionError, EngineTimeoutError, ServerError, asyncio.CancelledError):
            self._loaded.is_done = False  # what takes long may be the loading
            raise
        try:
            output = read_chat(answer, request, self._facts)
        except (KeyError, TypeError, ValueError, AttributeError):
            raise self.error_in(answer) or unreadable("chat", answer) from None
        output.prompt_cut = is_cut
        return output

    def _learns(self, refusal: RequestError) -> bool:
        """Whether a refusal is that of thinking, which is switched off then."""
        if self._facts.think is None or "does not support thinking" not in str(refusal):
            return False
        self._facts = replace(self._facts, think=None)
        self._warn_of_thinking()
        return True

    def _body(self, request: Request, *, cut: bool = False) -> bytes:
        """The body of a request; only the conversation is encoded for every row."""
        same = (request.sampling, request.output, request.mode, self._facts, cut)
        end = self._constants.get(same, lambda: encode_prompt(self._fields(request, cut))[1:])
        return b'{"messages":%b,%b' % (encode_prompt(self._messages(request)), end)

    def _messages(self, request: Request) -> list[Message]:
        """The conversation; a grammar begins after the thoughts, so words say the schema, too."""
        is_enforced = request.mode == "json_schema" and not self._facts.think
        if request.output is None or is_enforced:
            return request.messages
        return with_instruction(request.messages, request.output.instruction)

    def _fields(self, request: Request, cut: bool) -> dict[str, Any]:
        params = request.sampling.model_dump(exclude_none=True, include=set(OPTIONS))
        options = {OPTIONS[name]: value for name, value in params.items()}
        fields = {
            "model": self.config.model,
            "stream": False,
            "truncate": cut,
            "shift": cut,
            "options": self.config.sent_options() | options,
            "think": self._facts.think,
            "keep_alive": self.config.keep_alive,
        }
        if request.output is not None:
            formats = {"json_schema": self.schema_of(request), "json_object": "json"}
            fields["format"] = formats.get(request.mode)
        known = {name: value for name, value in fields.items() if value is not None}
        return known | self.config.extra_body

    def status_error(
        self, status: int, body: bytes, url: str, headers: Mapping[str, str]
    ) -> EngineError:
        """The exception for a status other than 200, in terms of Ollama."""
        error = super().status_error(status, body, url, headers)
        return explained(error, body, self.config, self._facts)
