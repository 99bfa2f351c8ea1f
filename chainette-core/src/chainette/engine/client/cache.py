"""A cache of answers on disk; needs the extra `chainette[cache]`."""

from __future__ import annotations

import hashlib
import json
from copy import copy
from pathlib import Path
from typing import TYPE_CHECKING, Any

from chainette.engine.config import EngineConfig
from chainette.errors import ConfigError
from chainette.types import Completion, LLMOutput
from chainette.usage import FREE, Usage

if TYPE_CHECKING:
    from chainette.engine.client.request import Request


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
        import sqlite3

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
        self._is_read = True

    def unread(self) -> ResponseCache:
        """The same cache for requests that are to be sent: it only takes their answers."""
        other = copy(self)
        other._is_read = False
        return other

    @staticmethod
    def key(config: EngineConfig, request: Request) -> str:
        """A digest of the engine, the conversation, the sampling and the type of the answer."""
        shaping = {
            "engine": config.answering(),
            "messages": request.messages,
            "sampling": request.sampling.model_dump(mode="json", exclude_none=True),
            "schema": request.output.schema if request.output else None,
        }
        text = json.dumps(shaping, sort_keys=True, default=str)
        return hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()

    def get(self, key: str) -> LLMOutput | None:
        """The answer to a request, not yet validated; reading it again takes no tokens."""
        entry: Any = self._cache.get(key) if self._is_read else None
        if entry is None:
            self.misses += 1
            return None
        self.hits += 1
        completions = [Completion(**fields) for fields in entry["outputs"]]
        return LLMOutput(completions, usage=Usage(), cost=FREE)

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
        self._cache.set(key, {"outputs": completions})

    def close(self) -> None:
        """Close the files."""
        self._cache.close()
