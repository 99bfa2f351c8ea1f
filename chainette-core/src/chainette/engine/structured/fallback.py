"""Output modes, the ways to ask for a typed answer, and the fallback to a weaker one."""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from chainette.capabilities import Dialect
from chainette.engine.client.per_loop import PerLoop
from chainette.engine.config import EngineConfig
from chainette.engine.structured.schema import OutputSchema
from chainette.errors import (
    ContextLengthError,
    EngineConnectionError,
    EngineError,
    EngineUnreachableError,
    RequestError,
    ServerError,
)

_logger = logging.getLogger(__name__)

MODES = ("json_schema", "json_object", "prompt")
"""The output modes, strongest first: the schema, any JSON, and a prompt that asks for JSON."""
_PARAMETER = re.compile(
    r"response[ _.]?(format|schema|mime)|schema|json[ _]?(object|mode)|structured|guided|grammar"
    r"|text\.format|output[ _]?(format|config)|['\"`]format",
    re.IGNORECASE,
)
"""The fields that ask for an output mode, under the names that servers have for them (the API
references of OpenAI, vLLM, llama.cpp, Ollama, Gemini and Anthropic)."""
_CRASHED = re.compile(
    r"runner (process )?(has )?(unexpectedly stopped|terminated|no longer running)", re.IGNORECASE
)
"""Ollama's words when the process that runs the model has ended (Ollama 0.25 and 0.33)."""
_BROKEN_OUT = re.compile(r"does not match the expected \S+ format", re.IGNORECASE)
"""llama.cpp's words for an answer that has left its JSON, which a pattern can let it do."""
_STRIKES = 2
"""Crashes after which a schema counts as their reason."""


class Form(NamedTuple):
    """The way to ask for a type.

    Attributes:
        output: The type, with its whole schema or its shape.
        mode: The output mode.
    """

    output: OutputSchema
    mode: str


class SchemaSuspectedError(RequestError):
    """A request is not sent again as it was, since its schema makes the server crash."""


@dataclass(slots=True)
class _Suspicion:
    """What speaks against a schema that has had no answer yet.

    Attributes:
        strikes: Crashes while a request with it was in flight.
        broken_out: Answers that have left their JSON.
    """

    strikes: int = 0
    broken_out: int = 0


class Turn(NamedTuple):
    """The turn of a request with a suspected schema.

    Attributes:
        strikes: What spoke against the schema when it was sent.
        release: Ends the turn.
    """

    strikes: int
    release: Callable[[], None]


class OutputModeFallback:
    """The output mode that an engine accepts, remembered for each output type.

    A refusal counts for the schema that was refused. A schema with which the server ended twice is
    sent as its shape, and if that ends it, too, not at all; a schema that has had an answer is not
    to blame. While a schema is suspected, one request at a time has one of those, so that the next
    crash has one reason.

    Args:
        config: The engine's configuration.
        dialect: The dialect of its schemas.

    Attributes:
        suspects: The schemas that are suspected, by their types.
        watches: Whether a schema was ever suspected; only then, requests take turns.
    """

    def __init__(self, config: EngineConfig, dialect: Dialect) -> None:
        self._name = config.name
        self._dialect = dialect
        self._is_automatic = config.structured_output == "auto"
        self._mode = MODES[0] if self._is_automatic else config.structured_output
        self._proven: set[OutputSchema] = set()
        self._usual: dict[OutputSchema, Form] = {}
        self._forms: dict[OutputSchema, Form] = {}
        self._warned: set[Form] = set()
        self.suspects: dict[OutputSchema, _Suspicion] = {}
        self.watches: bool = False
        self._locks = PerLoop(asyncio.Lock, _leave)

    def form(self, output: OutputSchema) -> Form:
        """The way to ask for a type."""
        whole = output.whole
        form = self._forms.get(whole) or self._usual.get(whole)
        if form is None:
            form = self._usual[whole] = Form(whole, self._mode)
        return form

    def lower(self, form: Form, refusal: RequestError) -> Form | None:
        """The next weaker way, if this one may be the reason for a refusal.

        Args:
            form: The way of the refused request.
            refusal: The refusal; it counts where it names the field that asks for the mode.

        Returns:
            The way, or `None` if the present one is the last or cannot be the reason.
        """
        if isinstance(refusal, SchemaSuspectedError):
            return self.form(form.output)
        status = refusal.status or 0
        if form.output.whole in self._proven or not (status in (400, 422) or status >= 500):
            return None
        if isinstance(refusal, ContextLengthError):
            return None
        if not _PARAMETER.search(f"{refusal.param} {refusal}"):
            return None
        return self._weaker(form)

    def _weaker(self, form: Form, *, after_crash: bool = False) -> Form | None:
        output, mode = form
        if mode == MODES[0] and output is output.whole and output.has_simpler(self._dialect):
            return Form(output.shape, mode)
        weaker = MODES[MODES.index(mode) + 1 :]
        if not weaker or not self._is_automatic:
            return None
        return Form(output.whole, weaker[-1] if after_crash else weaker[0])

    def accepted(self, output: OutputSchema, mode: str) -> None:
        """Remember that the server accepted a request for a type in a mode."""
        whole = output.whole
        if whole in self._proven:
            return
        form = Form(output, mode)
        self._proven.add(whole)
        self.suspects.pop(whole, None)
        if form != Form(whole, self._mode):
            self._remember(form, f"the server refuses the schema of {whole.name}")

    def _remember(self, form: Form, reason: str) -> None:
        self._forms[form.output.whole] = form
        if form in self._warned:
            return
        self._warned.add(form)
        way = f"asking by {form.mode}" if form.mode != MODES[0] else "sending its shape alone"
        message = "engine %r: %s; %s from now on, and every answer is validated"
        _logger.warning(message, self._name, reason, way)

    async def turn(self, form: Form) -> Turn | None:
        """Wait until a request with a suspected schema may be sent; `None` for any other.

        Args:
            form: The way of the request.

        Raises:
            SchemaSuspectedError: There is a weaker way to ask by now.
        """
        whole = form.output.whole
        self._check(form)
        if form.mode != MODES[0] or whole not in self.suspects:
            return None
        lock = self._locks.get()
        await lock.acquire()
        try:
            self._check(form)
        except SchemaSuspectedError:
            lock.release()
            raise
        suspicion = self.suspects.get(whole)
        return Turn(suspicion.strikes if suspicion else 0, lock.release)

    def _check(self, form: Form) -> None:
        if form.output.whole in self._forms and self.form(form.output) != form:
            name = form.output.whole.name
            raise SchemaSuspectedError(f"the schema of {name} makes the server crash")

    def blamed(self, form: Form, error: EngineError, turn: Turn | None) -> EngineError:
        """Count a failure; the error itself, or the one that has the schema sent in a weaker way.

        Args:
            form: The way of the request.
            error: Its failure.
            turn: Its turn, if it had one.
        """
        if form.mode != MODES[0] or self._dialect == "openai_strict":
            return error
        weaker = None
        whole = form.output.whole
        if isinstance(error, ServerError) and _BROKEN_OUT.search(str(error)):
            if self.form(whole) == form:
                weaker = self._after_breaking_out(form)
            reason = f"answers by the schema of {whole.name} leave their JSON"
        elif _is_crash(error) and whole not in self._proven:
            if self.form(whole) == form:
                weaker = self._after_crash(form, turn.strikes if turn else 0)
            reason = f"the server crashed {_STRIKES} times on the schema of {whole.name}"
        else:
            return error
        if weaker is not None:
            self.suspects.pop(whole, None)
            self._remember(weaker, reason)
        return error if self.form(whole) == form else SchemaSuspectedError(str(error))

    def _after_breaking_out(self, form: Form) -> Form | None:
        suspicion = self._suspicion(form)
        suspicion.broken_out += 1
        weaker = self._weaker(form) if suspicion.broken_out >= _STRIKES else None
        return weaker if weaker is not None and weaker.mode == form.mode else None

    def _after_crash(self, form: Form, strikes: int) -> Form | None:
        suspicion = self._suspicion(form)
        if suspicion.strikes == strikes:  # else a request beside this one has counted the crash
            suspicion.strikes += 1
        return self._weaker(form, after_crash=True) if suspicion.strikes >= _STRIKES else None

    def _suspicion(self, form: Form) -> _Suspicion:
        self.watches = True
        return self.suspects.setdefault(form.output.whole, _Suspicion())


async def _leave(_: asyncio.Lock) -> None:
    """A lock has nothing to close."""


def _is_crash(error: EngineError) -> bool:
    """Whether a server, or the process behind it, ended while it had the request."""
    if isinstance(error, EngineConnectionError):
        return not isinstance(error, EngineUnreachableError)
    return isinstance(error, ServerError) and bool(_CRASHED.search(str(error)))
