"""The public `Chain`: a pipeline that can run."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterable, Iterable
from contextlib import aclosing
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from chainette.pipeline.pipeline import Pipeline

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from chainette.reports.result import Result
    from chainette.reports.run import Run
    from chainette.run.options import RunKeywords

Inputs: TypeAlias = Iterable[Any] | AsyncIterable[Any] | str | Path
"""Models or dicts, or the path of a file of them."""


class Chain(Pipeline):
    """Nodes that every input row passes through in turn.

    Args:
        name: Name of the chain.
        steps: Steps, functions in `apply(…)`, branches, pipes, chains, and lists of them.
        emoji: Shown in front of the name.

    Raises:
        ChainError: The steps do not fit together.
    """

    def run(self, inputs: Inputs, **options: Unpack[RunKeywords]) -> Run:
        """Run the chain over all inputs.

        Args:
            inputs: Models or dicts (any iterable or async iterable), or the path of a file of
                them: JSONL, JSON, CSV or Parquet.
            **options: See `arun`.

        Returns:
            The finished run. Rows that failed are in it.

        Raises:
            ChainetteError: Nothing could start; see `arun`.
            KeyboardInterrupt: After Ctrl-C, when the rows in flight are done and written.
        """
        from chainette.run import api

        return api.run(self, inputs, **options)

    async def arun(self, inputs: Inputs, **options: Unpack[RunKeywords]) -> Run:
        """Run the chain over all inputs.

        Args:
            inputs: As in `run`.
            **options: Any of these. `output_dir`: folder for the run's files; without one, results
                stay in memory. `limit`: most input rows to take. `sample`: rows to take at random,
                always the same ones. `columns`: columns of the input by the field that each
                becomes. `overwrite`: replace an earlier run in `output_dir`. `resume`: go on with
                it, if there is one: what finished is not done again. `retry_errors`: resume, and
                try again what failed. `force`: resume although chain, engines or inputs changed
                since. `fmt`: `"parquet"` adds the tables as Parquet files when the run ends.
                `cache`: folder of answers that were given before, which runs share.
                `max_cost`: US dollars after which the run is stopped, as far as prices are known.
                `max_errors`: failed rows after which it is stopped; below 1 their share.
                `max_lines_per_file`: lines of a file before a new one begins.

        Returns:
            The finished run. Rows that failed are in it.

        Raises:
            ConfigError: An engine is unknown or wrongly configured.
            PluginError: An engine's backend cannot be used.
            InputError: The input file cannot be read.
            OutputDirError: The output directory cannot be used.
            EngineError: An engine is unusable from the start: unreachable, key refused, no such
                model.
        """
        from chainette.run import api

        return await api.arun(self, inputs, **options)

    async def stream(
        self, inputs: Inputs, *, in_order: bool = False, **options: Unpack[RunKeywords]
    ) -> AsyncGenerator[Result[Any], None]:
        """Run the chain and yield each row's result as soon as it is there.

        The run goes no further ahead than a few hundred results. It ends when the generator is
        closed.

        Args:
            inputs: As in `run`.
            in_order: Yield in the order of the inputs, not in that of completion.
            **options: See `arun`.

        Yields:
            One result for each input row.

        Raises:
            ChainetteError: Nothing could start; see `arun`.
        """
        from chainette.run import api

        async with aclosing(api.stream(self, inputs, in_order=in_order, **options)) as results:
            async for result in results:
                yield result
