"""A chain of steps."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from chainette.errors import ChainError
from chainette.pipeline.step import Step, type_name

if TYPE_CHECKING:
    from chainette.run import Run

Inputs: TypeAlias = Iterable[Any] | AsyncIterable[Any] | str | Path
"""Models or dicts, or the path of a file of them."""


class Chain:
    """Steps that every input row goes through in turn.

    Args:
        name: Name of the chain.
        steps: The steps.
        emoji: Shown in front of the name.

    Raises:
        ChainError: The steps do not fit together.
    """

    def __init__(self, *, name: str, steps: Sequence[Step], emoji: str = "") -> None:
        self.name = name
        self.steps = list(steps)
        self.emoji = emoji
        self._check()

    def _check(self) -> None:
        if not self.steps:
            raise ChainError(f"chain {self.name!r} has no steps")
        for id, count in Counter(step.id for step in self.steps).items():
            if count > 1:
                raise ChainError(f"chain {self.name!r}: {count} steps have the id {id!r}")
        if not any(step.yield_output for step in self.steps):
            raise ChainError(f"chain {self.name!r}: no step has yield_output=True")
        types: dict[str, Any] = {"chain_input": self.input_model}
        previous: Step | None = None
        for step in self.steps:
            if previous is not None and not _fits(previous.output_model, step.input_model):
                raise ChainError(
                    f"chain {self.name!r}: step {step.id!r} takes {type_name(step.input_model)}, "
                    f"but step {previous.id!r} gives {type_name(previous.output_model)}"
                )
            step.check_prompts(types)
            types[step.id] = step.output_model
            previous = step

    @property
    def input_model(self) -> Any:
        """Type of the input rows."""
        return self.steps[0].input_model

    @property
    def engine_names(self) -> list[str]:
        """Names of the engines that the steps use, each once."""
        return list(dict.fromkeys(step.engine_name for step in self.steps))

    def run(self, inputs: Inputs, **options: Any) -> Run:
        """Run the chain over all inputs.

        Args:
            inputs: Models or dicts (any iterable or async iterable), or the path of a file of
                them: JSONL, JSON or CSV.
            **options: See `arun`.

        Returns:
            The finished run. Rows that failed are in it.

        Raises:
            ChainetteError: Nothing could start; see `arun`.
            KeyboardInterrupt: After Ctrl-C, when the rows in flight are done and written.
        """
        from chainette.run import run_chain

        return run_chain(self, inputs, **options)

    async def arun(
        self,
        inputs: Inputs,
        *,
        output_dir: str | Path | None = None,
        limit: int | None = None,
        overwrite: bool = False,
        max_lines_per_file: int = 100_000,
    ) -> Run:
        """Run the chain over all inputs.

        Args:
            inputs: As in `run`.
            output_dir: Folder for the run's files; without one, results stay in memory.
            limit: Most input rows to take.
            overwrite: Replace an earlier run in `output_dir`.
            max_lines_per_file: Lines of a step's or flattened file before a new one begins.

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
        from chainette.run import arun_chain

        return await arun_chain(
            self,
            inputs,
            output_dir=output_dir,
            limit=limit,
            overwrite=overwrite,
            max_lines_per_file=max_lines_per_file,
        )

    def __repr__(self) -> str:
        """The name and the steps' ids."""
        return f"Chain({self.name!r}, {' >> '.join(step.id for step in self.steps)})"


def _fits(given: Any, wanted: Any) -> bool:
    """Whether a value of one type can be the input of a step that takes another."""
    if given == wanted or wanted is Any:
        return True
    return isinstance(given, type) and isinstance(wanted, type) and issubclass(given, wanted)
