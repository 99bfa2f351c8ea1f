"""A cache of answers on disk; needs the extra `chainette[cache]`."""

from __future__ import annotations

import asyncio
import hashlib
import json
import sqlite3
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from chainette.engine.config import EngineConfig
from chainette.errors import ConfigError, EngineError
from chainette.types import Completion, LLMOutput, SamplingParams
from chainette.usage import FREE, Usage

if TYPE_CHECKING:
    from chainette.engine.client.request import Request

Ask: TypeAlias = Callable[[], Awaitable[LLMOutput]]
"""Sends the request."""
Parse: TypeAlias = Callable[[LLMOutput], EngineError | None]
"""Validates an answer from the cache, and returns the reason where it cannot be used."""


class ResponseCache:
    """Usable answers by everything that shapes them; runs and processes may share the cache.

    Args:
        folder: The folder of the cache.

    Attributes:
        hits: Requests that were answered from the cache.
        misses: Requests that were not.

    Raises:
        ConfigError: The extra is not installed, or the folder cannot be used.
    """

    def __init__(self, folder: str | Path) -> None:
        try:
            import diskcache
        except ImportError:
            raise ConfigError(
                'the response cache needs an extra: pip install "chainette[cache]"'
            ) from None
        try:
            # As JSON, not pickled: a writer to the folder must not be able to run code.
            self._cache = diskcache.Cache(
                str(folder), disk=diskcache.JSONDisk, eviction_policy="none"
            )
        except (OSError, sqlite3.Error) as error:
            raise ConfigError(f"{folder}: not usable as a cache: {error}") from None
        self.hits: int = 0
        self.misses: int = 0

    @staticmethod
    def key(config: EngineConfig, request: Request, later: Sequence[SamplingParams] = ()) -> str:
        """A digest of the engine, the conversation, the sampling and the type of the answer.

        Args:
            config: The engine.
            request: The request.
            later: The sampling of further attempts, where an invalid answer is asked for again
                with another one.
        """
        shaping: dict[str, Any] = {
            "engine": config.answering(),
            "messages": request.messages,
            "sampling": request.sampling.model_dump(mode="json", exclude_none=True),
            "schema": request.output.whole.schema if request.output else None,
        }
        if later:
            shaping["later"] = [it.model_dump(mode="json", exclude_none=True) for it in later]
        text = json.dumps(shaping, sort_keys=True, default=str)
        return hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()

    def get(self, key: str) -> LLMOutput | None:
        """The answer to a request, not yet validated; reading it again takes no tokens."""
        entry: Any = self._cache.get(key)
        if entry is None:
            self.misses += 1
            return None
        self.hits += 1
        completions = [Completion(**fields) for fields in entry["outputs"]]
        requests = entry.get("requests", 1)
        output: LLMOutput = LLMOutput(completions, Usage(), cost=FREE, requests=requests)
        output.cached, output.prompt_cut = True, bool(entry.get("prompt_cut"))
        return output

    def put(self, key: str, output: LLMOutput) -> None:
        """Store a valid answer."""
        completions = [
            {
                "text": completion.text,
                "reasoning_content": completion.reasoning_content,
                "finish_reason": completion.finish_reason,
            }
            for completion in output.outputs
        ]
        entry: dict[str, Any] = {"outputs": completions}
        if output.requests != 1:
            entry["requests"] = output.requests
        if output.prompt_cut:
            entry["prompt_cut"] = True
        self._cache.set(key, entry)

    def close(self) -> None:
        """Close the files."""
        self._cache.close()


class RunCache:
    """The cache as one run uses it, which asks for as many answers as it has equal requests.

    A request is answered by its own text and by how many equal ones the run has made before, so
    that samples of one prompt stay different, and a second run gets the same ones. Where equal
    requests have equal answers, at temperature 0 or with a seed, one serves all.

    Args:
        cache: The answers.
    """

    def __init__(self, cache: ResponseCache) -> None:
        self._cache = cache
        self._ordinals = _Ordinals()
        self._asked: dict[str, asyncio.Event] = {}

    def count(self, line: Mapping[str, Any]) -> None:
        """Count the request of a step's line that an earlier run of the folder has written."""
        if line.get("request") is not None and line.get("ordinal") is not None:
            self._ordinals.add(line["request"], line["ordinal"])

    def uncount(self, line: Mapping[str, Any]) -> None:
        """Take back that a request was counted, since its line is out of date."""
        if line.get("request") is not None and line.get("ordinal") is not None:
            self._ordinals.remove(line["request"], line["ordinal"])

    def turn(self, *, reads: bool = True) -> CacheTurn:
        """The turn of one more request.

        Args:
            reads: Whether an earlier answer will do, or the cache only takes the new one.
        """
        return CacheTurn(self, reads)

    def next_ordinal(self, request: str) -> int:
        """The number of equal requests before this one; see `_Ordinals.take`."""
        return self._ordinals.take(request)

    async def answer(self, key: str, ask: Ask, parse: Parse, *, reads: bool) -> LLMOutput:
        """The answer under a key; it is asked for and stored where there is none that can be used.

        Args:
            key: The key.
            ask: Sends the request.
            parse: Validates an answer from the cache.
            reads: Whether an earlier answer will do.
        """
        output = self._cache.get(key) if reads else None
        if output is not None:
            output.error = parse(output)
        if output is None or output.error is not None:
            output = await ask()
            if output.error is None:
                self._cache.put(key, output)
        return output

    async def answer_all(self, key: str, ask: Ask, parse: Parse, *, reads: bool) -> LLMOutput:
        """The one answer to equal requests; those that come while it is asked for wait for it."""
        if (asked := self._asked.get(key)) is not None:
            await asked.wait()
            return await self.answer(key, ask, parse, reads=True)
        asked = self._asked[key] = asyncio.Event()
        try:
            return await self.answer(key, ask, parse, reads=reads)
        finally:
            del self._asked[key]
            asked.set()

    def close(self) -> None:
        """Forget the numbers; the cache stays open."""
        self._ordinals.close()


class CacheTurn:
    """One request on its way through the cache.

    Args:
        cache: The cache of the run.
        reads: Whether an earlier answer will do.

    Attributes:
        fields: What a step's line says about it: a digest of the request, and its ordinal, the
            number of equal requests before it; empty where one answer serves all.
    """

    def __init__(self, cache: RunCache, reads: bool) -> None:
        self._cache = cache
        self._reads = reads
        self.fields: dict[str, Any] = {}

    async def answer(
        self,
        config: EngineConfig,
        request: Request,
        ask: Ask,
        parse: Parse,
        later: Sequence[SamplingParams] = (),
    ) -> LLMOutput:
        """The answer to the request, from the cache or asked for; see `ResponseCache.key`."""
        digest = ResponseCache.key(config, request, later)
        if not any(_is_sampled(config, it) for it in (request.sampling, *later)):
            return await self._cache.answer_all(digest, ask, parse, reads=self._reads)
        ordinal = self._cache.next_ordinal(digest)
        self.fields = {"request": digest, "ordinal": ordinal}
        key = f"{digest}:{ordinal}" if ordinal else digest
        return await self._cache.answer(key, ask, parse, reads=self._reads)


def _is_sampled(config: EngineConfig, sampling: SamplingParams) -> bool:
    """Whether equal requests may have different answers; the `extra_body` of an engine wins."""
    body = config.extra_body
    seed, temperature = body.get("seed", sampling.seed), sampling.temperature
    return seed is None and body.get("temperature", temperature) != 0


class _Ordinals:
    """The number of equal requests so far, by request; a temporary database holds them."""

    def __init__(self) -> None:
        self._open: sqlite3.Connection | None = None
        self._has_earlier = False

    @property
    def _db(self) -> sqlite3.Connection:
        if self._open is None:
            self._open = sqlite3.connect("", check_same_thread=False)  # a temporary file
            self._open.execute("PRAGMA journal_mode=OFF")
            self._open.execute(
                "CREATE TABLE earlier (request TEXT, ordinal INTEGER, "
                "PRIMARY KEY (request, ordinal)) WITHOUT ROWID"
            )
            self._open.execute(
                "CREATE TABLE next (request TEXT PRIMARY KEY, ordinal INTEGER) WITHOUT ROWID"
            )
        return self._open

    def add(self, request: str, ordinal: int) -> None:
        """Note an ordinal that an earlier run has used."""
        self._has_earlier = True
        self._db.execute("INSERT OR IGNORE INTO earlier VALUES (?, ?)", (request, ordinal))

    def remove(self, request: str, ordinal: int) -> None:
        """Forget an ordinal that an earlier run has used: it can be taken again."""
        where = (request, ordinal)
        self._db.execute("DELETE FROM earlier WHERE request = ? AND ordinal = ?", where)

    def take(self, request: str) -> int:
        """The first ordinal of a request that was not used yet.

        One that a run has lost, since it ended before its line was written, is used again: its
        answer may be in the cache.
        """
        found = self._db.execute("SELECT ordinal FROM next WHERE request = ?", (request,))
        (ordinal,) = found.fetchone() or (0,)
        while self._has_earlier and self._is_earlier(request, ordinal):
            ordinal += 1
        self._db.execute("INSERT OR REPLACE INTO next VALUES (?, ?)", (request, ordinal + 1))
        return int(ordinal)

    def _is_earlier(self, request: str, ordinal: int) -> bool:
        query = "SELECT 1 FROM earlier WHERE request = ? AND ordinal = ?"
        return self._db.execute(query, (request, ordinal)).fetchone() is not None

    def close(self) -> None:
        """Forget everything."""
        if self._open is not None:
            self._open.close()
