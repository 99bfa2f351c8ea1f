"""The engines that a function of a chain calls."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Generic, TypeAlias, TypeVar, overload

from chainette.engine.structured.schema import output_schema
from chainette.engine.structured.text import fence_of, is_text
from chainette.types import Message, Prompt, SamplingParams

if TYPE_CHECKING:
    from typing_extensions import TypeForm

Parsed = TypeVar("Parsed")
EngineT = TypeVar("EngineT")
Sampling: TypeAlias = SamplingParams | Mapping[str, Any] | None
"""Sampling parameters, or a mapping of them."""
_ROLES = ("system", "user", "assistant")


@dataclass(frozen=True)
class Question:
    """A request that a function makes.

    Attributes:
        engine: Name of the engine.
        messages: The conversation.
        sampling: The sampling parameters.
        output_model: The type of the answer.
    """

    engine: str
    messages: list[Message]
    sampling: SamplingParams
    output_model: Any

    @cached_property
    def digest(self) -> str:
        """A digest of all that shapes the answer."""
        shaping = {
            "engine": self.engine,
            "messages": self.messages,
            "sampling": self.sampling.model_dump(mode="json", exclude_none=True),
            "answer": _form(self.output_model),
        }
        text = json.dumps(shaping, sort_keys=True, default=str)
        return hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()[:32]


class _Named:
    """An engine that a function may call.

    Attributes:
        name: Its name.
    """

    def __init__(self, name: str, ask: Callable[[Question], Any]) -> None:
        self.name: str = name
        self._ask = ask

    def __repr__(self) -> str:
        """The name."""
        return f"{type(self).__name__}({self.name!r})"


class CalledEngine(_Named):
    """An engine, for a coroutine function."""

    @overload
    async def ask(
        self, prompt: Prompt, *, output_model: None = None, sampling: Sampling = None
    ) -> str: ...
    @overload
    async def ask(
        self, prompt: Prompt, *, output_model: TypeForm[Parsed], sampling: Sampling = None
    ) -> Parsed: ...
    async def ask(
        self, prompt: Prompt, *, output_model: Any = None, sampling: Sampling = None
    ) -> Any:
        """Ask the engine, as a step would, and wait for its answer.

        A call that has an answer is not made again when the run is resumed.

        Args:
            prompt: A user's text, or a list of messages.
            output_model: The type of the answer, any that Pydantic validates; `None` is text.
            sampling: The sampling parameters, or a mapping of them.

        Returns:
            An instance of `output_model`, or the text.

        Raises:
            EngineError: There is no usable answer.
            ChainError: The prompt is too long.
            TypeError: An argument is of another type.
        """
        return await self._ask(_question(self.name, prompt, output_model, sampling))


class SyncCalledEngine(_Named):
    """An engine, for a function that runs in a thread."""

    @overload
    def ask(
        self, prompt: Prompt, *, output_model: None = None, sampling: Sampling = None
    ) -> str: ...
    @overload
    def ask(
        self, prompt: Prompt, *, output_model: TypeForm[Parsed], sampling: Sampling = None
    ) -> Parsed: ...
    def ask(self, prompt: Prompt, *, output_model: Any = None, sampling: Sampling = None) -> Any:
        """Ask the engine, and block until its answer is there; see `CalledEngine.ask`."""
        return self._ask(_question(self.name, prompt, output_model, sampling))


class _Engines(Mapping[str, EngineT], Generic[EngineT]):
    """Engines by name.

    Args:
        owner: The function, for messages.
        engines: The engines.
    """

    def __init__(self, owner: str, engines: Mapping[str, EngineT]) -> None:
        self._owner = owner
        self._engines = engines

    def __getitem__(self, name: str) -> EngineT:
        """The engine of a name.

        Raises:
            KeyError: The function does not have it.
        """
        try:
            return self._engines[name]
        except KeyError:
            known = ", ".join(self._engines)
            message = f"{self._owner} has no engine {name!r} in engines=; it has: {known}"
            raise KeyError(message) from None

    def __iter__(self) -> Iterator[str]:
        """The names."""
        return iter(self._engines)

    def __len__(self) -> int:
        """The number of engines."""
        return len(self._engines)


class Calls(_Engines[CalledEngine]):
    """The engines that a coroutine function may call, by name.

    `apply(fn, engines=["judge"])` gives them to the function's parameter `calls`.

    Args:
        owner: The function, for messages.
        names: Names of the engines.
        ask: Asks one of them.
    """

    def __init__(
        self, owner: str, names: Sequence[str], ask: Callable[[Question], Awaitable[Any]]
    ) -> None:
        super().__init__(owner, {name: CalledEngine(name, ask) for name in names})


class SyncCalls(_Engines[SyncCalledEngine]):
    """The engines that a function with `threaded=True` may call, by name.

    Args:
        owner: The function, for messages.
        names: Names of the engines.
        ask: Asks one of them, and blocks.
    """

    def __init__(self, owner: str, names: Sequence[str], ask: Callable[[Question], Any]) -> None:
        super().__init__(owner, {name: SyncCalledEngine(name, ask) for name in names})


def _question(engine: str, prompt: Any, output_model: Any, sampling: Any) -> Question:
    """The request for some arguments, which may be changed afterwards.

    Raises:
        TypeError: An argument is of another type.
        ConfigError: A sampling parameter is unknown or out of range.
    """
    where = f"calls[{engine!r}].ask"
    if isinstance(sampling, Mapping):
        sampling = SamplingParams(**{str(name): value for name, value in sampling.items()})
    sampling = SamplingParams() if sampling is None else sampling
    if not isinstance(sampling, SamplingParams):
        raise TypeError(f"{where}: sampling is a {type(sampling).__name__}, not SamplingParams")
    if sampling.n > 1:
        raise TypeError(f"{where}: n={sampling.n} gives one answer; ask {sampling.n} times")
    return Question(engine, _messages(where, prompt), sampling, output_model or str)


def _form(output_model: Any) -> Any:
    """The form of an answer: a schema, or the kind of text."""
    if is_text(output_model):
        return ["text", repr(fence_of(output_model))]
    return output_schema(output_model).schema


def _messages(where: str, prompt: Any) -> list[Message]:
    """The conversation of a prompt, as a copy.

    Raises:
        TypeError: It is something else.
    """
    if isinstance(prompt, str):
        return [{"role": "user", "content": prompt}]
    if not isinstance(prompt, list | tuple) or not prompt:
        kind = "an empty list" if prompt in ([], ()) else f"a {type(prompt).__name__}"
        raise TypeError(f"{where}: the prompt is {kind}; give a text, or a list of messages")
    messages: list[Message] = []
    for message in prompt:
        is_message = isinstance(message, Mapping) and {*message} == {"role", "content"}
        if not (is_message and message["role"] in _ROLES and isinstance(message["content"], str)):
            raise TypeError(
                f"{where}: a message is a dict of a role ({', '.join(_ROLES)}) and a text as its "
                f"content, not {message!r:.100}"
            )
        messages.append({"role": message["role"], "content": message["content"]})
    return messages
