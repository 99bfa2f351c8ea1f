"""The public `Chain`: a pipeline that can run."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterable, Iterable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Protocol, TypeAlias, overload

from chainette.pipeline.bounds import MAX_PROMPT
from chainette.pipeline.nodes.flow import I_, O_, Flow, Grouped, In, Out, Parallel, Split
from chainette.pipeline.pipeline import Pipeline
from chainette.run.options import Help, RunOptions, known, takes
from chainette.run.progress.displays import Progress
from chainette.text import names_keywords

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from chainette.reports.result import Result
    from chainette.reports.run import Run
    from chainette.run.estimate.api import EstimateOptions
    from chainette.run.estimate.result import Estimate
    from chainette.run.schedule.single import SingleRows


class ArrowStream(Protocol):
    """A data frame of any library that speaks Arrow."""

    def __arrow_c_stream__(self, requested_schema: Any = None) -> Any:
        """The data, as Arrow passes it from library to library."""


class LazyFrame(Protocol):
    """A data frame that is computed once it is needed."""

    def collect(self) -> Any:
        """The data frame."""


Inputs: TypeAlias = Iterable[Any] | AsyncIterable[Any] | ArrowStream | LazyFrame | str | Path
"""Models or dicts, a data frame, or the path of a file."""
Cache: TypeAlias = str | Path | None
"""Folder of earlier answers, or `None`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ShownOptions(RunOptions):
    """The options of a run that a program begins, which can show how far it is."""

    progress: Annotated[
        Progress,
        Help(
            "Show how far the run is: in a notebook, or on a terminal.",
            "With True, as lines on standard error where there is neither; with False, never.",
        ),
    ] = "auto"


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamOptions(ShownOptions):
    """The options of a run whose results are streamed."""

    in_order: Annotated[
        bool, Help("Yield results in the order of the inputs, not in that of completion.")
    ] = False


@names_keywords
class Chain(Pipeline[In, Out]):
    """Nodes that every input row passes through in turn.

    Args:
        name: Name of the chain.
        steps: Steps, functions in `apply(…)`, branches, pipes, chains, and lists of them.
        emoji: Shown in front of the name.

    Raises:
        ChainError: The steps do not fit together.
    """

    @overload
    def __init__(
        self: Chain[I_, list[O_]], *, name: str, steps: Split[I_, O_], emoji: str = ""
    ) -> None: ...
    @overload
    def __init__(
        self: Chain[I_, O_], *, name: str, steps: Flow[I_, O_], emoji: str = ""
    ) -> None: ...
    @overload
    def __init__(
        self: Chain[I_, O_], *, name: str, steps: Grouped[I_, O_, Any], emoji: str = ""
    ) -> None: ...
    @overload
    def __init__(
        self: Chain[Any, Any],
        *,
        name: str,
        steps: Parallel[Any] | Sequence[Any],
        emoji: str = "",
    ) -> None: ...
    def __init__(self, *, name: str, steps: Any, emoji: str = "") -> None:
        super().__init__(name=name, steps=steps, emoji=emoji)

    def _repr_html_(self) -> str:
        from chainette.pipeline.drawing.svg import drawing_of

        return drawing_of(self)

    @takes(ShownOptions)
    def run(self, inputs: Inputs, **options: Any) -> Run[Out]:
        """Run the chain over all inputs.

        Args:
            inputs: Models or dicts (any iterable or async iterable), a data frame, or the path of
                a file, or its address: JSONL, JSON, CSV, TSV or Parquet; a pattern or a folder for
                several.
            **options: The fields of `RunOptions`, and `progress`.

        Returns:
            The finished run. Rows that failed are in it.

        Raises:
            ChainetteError: Nothing could start; see `arun`.
            KeyboardInterrupt: After Ctrl-C, when the rows in flight are done and written.
        """
        from chainette.run import api

        return api.run(self, inputs, **known(options, ShownOptions))

    @takes(ShownOptions)
    async def arun(self, inputs: Inputs, **options: Any) -> Run[Out]:
        """Run the chain over all inputs in a running event loop.

        Args:
            inputs: As in `run`.
            **options: The fields of `RunOptions`, and `progress`.

        Returns:
            The finished run. Rows that failed are in it.

        Raises:
            ConfigError: An engine is unknown or wrongly configured.
            PluginError: An engine's backend cannot be used.
            InputError: The input file cannot be read, or what is given is not rows that fit.
            OutputDirError: The output directory cannot be used.
            EngineError: An engine is unusable from the start: unreachable, key refused, no such
                model.
        """
        from chainette.run import api

        return await api.arun(self, inputs, **known(options, ShownOptions))

    @overload
    def estimate(
        self,
        inputs: Inputs,
        *,
        sample: int = 50,
        engines: None = None,
        **options: Unpack[EstimateOptions],
    ) -> Estimate: ...
    @overload
    def estimate(
        self,
        inputs: Inputs,
        *,
        sample: int = 50,
        engines: Sequence[str],
        **options: Unpack[EstimateOptions],
    ) -> list[Estimate]: ...
    def estimate(
        self,
        inputs: Inputs,
        *,
        sample: int = 50,
        engines: Sequence[str] | None = None,
        **options: Unpack[EstimateOptions],
    ) -> Estimate | list[Estimate]:
        """Estimate the tokens, dollars and time of a run: run a random sample of its rows.

        With `output_dir`, the answers are kept, and a run in the same folder uses them. Nodes that
        see more than their row are not estimated.

        Args:
            inputs: As in `run`; they are read twice, so an iterator is refused.
            sample: Number of rows to run.
            engines: Engines to estimate, each in the place of the one that all steps share; where
                steps have several, `old=new`, with commas between several of these. Functions keep
                theirs. By default the chain's own engines.
            **options: `output_dir`, `limit`, `columns`, `encoding`, `delimiter`, `overwrite`,
                `max_cost`, `max_errors`, `max_requests_per_row`, `max_cost_per_row` and
                `max_prompt_chars`, as in `run`.

        Returns:
            The estimate; a list of them if engines are given.

        Raises:
            ChainetteError: Nothing could start, or the sample was stopped; see `arun`.
            KeyboardInterrupt: After Ctrl-C; the answers so far are kept.
        """
        from chainette.run.estimate.api import estimate

        found = estimate(self, inputs, sample=sample, engines=engines or (), **options)
        return found if engines else found[0]

    @overload
    def run_one(
        self,
        row: In | Mapping[str, Any],
        *,
        full: Literal[False] = False,
        cache: Cache = None,
        max_prompt_chars: int = MAX_PROMPT,
    ) -> Out: ...
    @overload
    def run_one(
        self,
        row: In | Mapping[str, Any],
        *,
        full: Literal[True],
        cache: Cache = None,
        max_prompt_chars: int = MAX_PROMPT,
    ) -> Result[Out]: ...
    def run_one(
        self,
        row: Any,
        *,
        full: bool = False,
        cache: Cache = None,
        max_prompt_chars: int = MAX_PROMPT,
    ) -> Any:
        """Run the chain on one row, without files.

        Args:
            row: A model, or a mapping of its fields.
            full: Return the `Result`, and do not raise the row's error.
            cache: Folder of earlier answers to use again.
            max_prompt_chars: Maximum number of characters of a rendered prompt.

        Returns:
            The value of the row.

        Raises:
            ChainetteError: The row failed, or an engine cannot be used.
            DroppedRowError: A function dropped the row.
        """
        from chainette.run import api

        return api.run_one(self._single_rows, row, full, cache, max_prompt_chars)

    @overload
    async def arun_one(
        self,
        row: In | Mapping[str, Any],
        *,
        full: Literal[False] = False,
        cache: Cache = None,
        max_prompt_chars: int = MAX_PROMPT,
    ) -> Out: ...
    @overload
    async def arun_one(
        self,
        row: In | Mapping[str, Any],
        *,
        full: Literal[True],
        cache: Cache = None,
        max_prompt_chars: int = MAX_PROMPT,
    ) -> Result[Out]: ...
    async def arun_one(
        self,
        row: Any,
        *,
        full: bool = False,
        cache: Cache = None,
        max_prompt_chars: int = MAX_PROMPT,
    ) -> Any:
        """Run the chain on one row in a running event loop; see `run_one`.

        Calls in the same event loop share the connections and limits of the engines, which stay
        open until `aclose`.
        """
        if full:
            return await self._single_rows.full_result(row, cache, max_prompt_chars)
        return (await self._single_rows.result(row, cache, max_prompt_chars)).unwrap()

    async def aclose(self) -> None:
        """Close the engines that `arun_one` keeps open in the running event loop."""
        await self._single_rows.aclose()

    @cached_property
    def _single_rows(self) -> SingleRows:
        from chainette.run.schedule.single import SingleRows

        return SingleRows(self)

    @takes(StreamOptions)
    async def stream(self, inputs: Inputs, **options: Any) -> AsyncGenerator[Result[Out], None]:
        """Run the chain and yield each row's result as soon as it is there.

        The run goes no further ahead than a few hundred results. It ends when the generator is
        closed.

        Args:
            inputs: As in `run`.
            **options: The fields of `StreamOptions`.

        Yields:
            One result for each input row.

        Raises:
            ChainetteError: Nothing could start; see `arun`.
        """
        from chainette.run import api

        options = {"in_order": False} | known(options, StreamOptions)
        async with aclosing(api.stream(self, inputs, **options)) as results:
            async for result in results:
                yield result
