"""The engines that a function of a chain calls."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Generic, TypeVar, overload

from chainette.engine.sampling import Sampling
from chainette.pipeline.functions.questions import Question, question
from chainette.text import checked_keywords
from chainette.types import Prompt

if TYPE_CHECKING:
    from typing_extensions import TypeForm

Parsed = TypeVar("Parsed")
EngineT = TypeVar("EngineT")


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
        self,
        prompt: Prompt,
        *,
        output_model: None = None,
        sampling: Sampling | None = None,
        reasks: int = 1,
        prefill: str = "",
    ) -> str: ...
    @overload
    async def ask(
        self,
        prompt: Prompt,
        *,
        output_model: TypeForm[Parsed],
        sampling: Sampling | None = None,
        reasks: int = 1,
        prefill: str = "",
    ) -> Parsed: ...
    @checked_keywords
    async def ask(
        self,
        prompt: Prompt,
        *,
        output_model: Any = None,
        sampling: Sampling | None = None,
        reasks: int = 1,
        prefill: str = "",
    ) -> Any:
        """Ask the engine, as a step would, and wait for its answer.

        A call that has an answer is not made again when the run is resumed.

        Args:
            prompt: A user's text, or a list of messages that ends with the user's turn.
            output_model: The type of the answer, any that Pydantic validates; `None` is text.
            sampling: The sampling parameters, or a mapping of them; as in a step, a list in the
                mapping has a value for each attempt, and so does a list of parameters.
            reasks: Number of times that an invalid answer is put back to the model; 0 for never.
            prefill: The start of the answer, which the model continues; only for backends that can
                do so.

        Returns:
            An instance of `output_model`, or the text.

        Raises:
            EngineError: There is no usable answer.
            ChainError: The prompt is too long, the conversation cannot be sent, or the sampling or
                `reasks` is wrong.
            TypeError: The prompt or `prefill` is of another type, or a keyword is unknown.
        """
        return await self._ask(question(self.name, prompt, output_model, sampling, reasks, prefill))


class SyncCalledEngine(_Named):
    """An engine, for a function that runs in a thread."""

    @overload
    def ask(
        self,
        prompt: Prompt,
        *,
        output_model: None = None,
        sampling: Sampling | None = None,
        reasks: int = 1,
        prefill: str = "",
    ) -> str: ...
    @overload
    def ask(
        self,
        prompt: Prompt,
        *,
        output_model: TypeForm[Parsed],
        sampling: Sampling | None = None,
        reasks: int = 1,
        prefill: str = "",
    ) -> Parsed: ...
    @checked_keywords
    def ask(
        self,
        prompt: Prompt,
        *,
        output_model: Any = None,
        sampling: Sampling | None = None,
        reasks: int = 1,
        prefill: str = "",
    ) -> Any:
        """Ask the engine, and block until its answer is there; see `CalledEngine.ask`."""
        return self._ask(question(self.name, prompt, output_model, sampling, reasks, prefill))


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
