"""Estimates: the sample is run, and what it took is projected onto all rows."""

from __future__ import annotations

import json
import math
import signal
from array import array
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeAlias

from chainette.engine.client.base import BaseClient
from chainette.errors import ChainetteError, ConfigError, OutputDirError
from chainette.events import Listener
from chainette.folder.files import ESTIMATE, MANIFEST, check_place, has_rows
from chainette.folder.manifest import ChangedRunError
from chainette.pipeline.pipeline import Pipeline
from chainette.registry.engines import client_for, get_engine_config
from chainette.reports.run import Run
from chainette.run.cost import engines_by_node
from chainette.run.estimate.engines import Plan, plans
from chainette.run.estimate.figures import Sample, StepSample, sample_in
from chainette.run.estimate.intervals import Amount, Lengths, total
from chainette.run.estimate.lengths import check_countable, lengths_of
from chainette.run.estimate.result import Estimate, StepEstimate
from chainette.run.estimate.steps import OneRowSteps, not_estimated
from chainette.run.estimate.takeover import READING, reading
from chainette.run.estimate.times import run_time
from chainette.run.executor import Executor, source_of
from chainette.run.options import RunOptions

FEW = 30
"""Rows of a sample below which its intervals can be much too narrow."""
Listeners: TypeAlias = Callable[[str], Sequence[Listener]]


class InterruptedSampleError(ChainetteError):
    """A signal ended the sample; the answers so far are in its folder, if there is one.

    Args:
        number: The number of the signal.
    """

    def __init__(self, number: int | None) -> None:
        super().__init__("the sample was interrupted")
        self.number: int = number or signal.SIGINT


@dataclass(frozen=True, slots=True)
class Inputs:
    """The inputs of an estimate.

    Attributes:
        given: The inputs themselves.
        lengths: The lengths of all rows that a run would take.
    """

    given: Any
    lengths: array[float]

    def of(self, sample: Sample) -> Lengths:
        """The lengths of the rows of a sample, and what is known of all."""
        rows = len(self.lengths)
        sampled = [self.lengths[row_id] for row_id in sample.row_ids]
        return Lengths(sampled, math.fsum(self.lengths) / rows, rows)


async def estimate(
    chain: Pipeline,
    inputs: Any,
    *,
    sample: int,
    engines: Sequence[str] = (),
    listeners: Listeners = lambda name: (),
    run: Callable[[Executor], Awaitable[Run]] = Executor.run,
    **options: Any,
) -> list[Estimate]:
    """Estimate what a chain takes for all inputs; see `Chain.estimate`.

    Args:
        chain: The chain.
        inputs: The inputs.
        sample: Number of rows to run.
        engines: Engines to compare; see `plans`.
        listeners: Functions that receive the events of each sample, by the estimate's name.
        run: Runs an executor; by default signals are not handled.
        **options: Of `RunOptions`.
    """
    settings = RunOptions(sample=sample, **options)
    if not sample:
        raise ConfigError("sample=0: an estimate needs a row at least")
    wanted = plans(chain, engines)
    check_countable(inputs)
    if settings.output_dir is not None:
        _check_folder(Path(settings.output_dir))
    every_row = source_of(chain, inputs, replace(settings, sample=None))
    found = Inputs(inputs, await lengths_of(every_row))
    with TemporaryDirectory(prefix="chainette-") as temporary:
        root = Path(settings.output_dir or temporary) / ESTIMATE
        estimates = []
        for plan in wanted:
            folder = root / plan.folder
            executor = _executor(plan, found, settings, folder, listeners(plan.name))
            is_first = _begin(folder, settings)
            finished = await run(executor)
            estimates.append(_estimated(plan, found, finished, settings, is_first=is_first))
    return estimates


def _check_folder(path: Path) -> None:
    """Refuse a folder with a run, which would not take the answers over."""
    check_place(path)
    if has_rows(path):
        raise OutputDirError(
            f"{path}: already holds a run, which the answers of an estimate could not become part "
            "of; choose another folder"
        )


def _executor(
    plan: Plan, inputs: Inputs, options: RunOptions, path: Path, listeners: Sequence[Listener]
) -> Executor:
    """The run of the sample, which goes on with an earlier one of the same chain."""
    names = [it for it in RunOptions.__slots__ if it not in _OWN]
    shared = {name: getattr(options, name) for name in names}
    shared["retry_errors"] = not options.overwrite and (path / MANIFEST).exists()
    try:
        return Executor(
            plan.chain,
            inputs.given,
            listeners=listeners,
            prompted=OneRowSteps,
            output_dir=path,
            **shared,
        )
    except ChangedRunError as error:
        raise OutputDirError(
            f"{path}: holds an estimate of something else: changed since: {error.changes}; choose "
            "another folder, or replace it (overwrite=True)"
        ) from None


_OWN = ("output_dir", "retry_errors", "resume", "cache", "fmt", "redo", "force")
"""Options that the run of a sample has of its own, or not at all."""


def _estimated(
    plan: Plan, inputs: Inputs, run: Run, options: RunOptions, *, is_first: bool
) -> Estimate:
    """The estimate, from the run of the sample."""
    path = _finished(plan, run)
    seconds = _kept_seconds(run, options, is_first=is_first)
    missing = not_estimated(plan.chain)
    engines = engines_by_node(plan.chain)
    sample = sample_in(path, {id: it for id, it in engines.items() if id not in missing})
    clients = {it: client_for(get_engine_config(it)) for it in plan.chain.engine_names}
    lengths = inputs.of(sample)
    seen = {id: step for id, step in sample.steps.items() if step.reached}
    time, notes = run_time(plan.chain, clients, sample, lengths, seconds)
    return Estimate(
        name=plan.name,
        replaced=plan.replaced,
        rows=lengths.rows,
        sampled=len(sample.row_ids),
        failed=sample.failed,
        **_totals(seen, lengths),
        seconds=time,
        steps={id: _step(step, lengths) for id, step in seen.items()},
        not_estimated=missing,
        unseen=tuple(id for id in sample.steps if id not in seen),
        notes=(*_problems(seen, clients, plan.chain), *_few(lengths), *notes),
        path=path if options.output_dir is not None else None,
    )


def _begin(folder: Path, options: RunOptions) -> bool:
    """Write down how a sample is read, so that a run can use its answers however it ends.

    Returns:
        Whether no part of it was run before.
    """
    if not options.overwrite and (folder / READING).exists():
        return False
    _keep(folder, reading=reading(options))
    return True


def _finished(plan: Plan, run: Run) -> Path:
    """The folder of a sample that was run to its end; what one that was not has can be used.

    Raises:
        InterruptedSampleError: A signal ended it.
        ConfigError: It was stopped.
    """
    assert run.path is not None
    if run.interrupted:
        raise InterruptedSampleError(run.signal)
    if run.stopped is not None:
        raise ConfigError(
            f"estimate of {plan.name!r}: the sample was stopped before its end, and the rows that "
            f"were fastest do not stand for all: {run.stopped}"
        )
    return run.path


def _totals(steps: dict[str, StepSample], lengths: Lengths) -> dict[str, Any]:
    """The totals of everything but time."""
    names = ("requests", "prompt_tokens", "completion_tokens", "cost")
    return {name: _whole(steps, lengths, name) for name in names}


def _step(step: StepSample, lengths: Lengths) -> StepEstimate:
    return StepEstimate(
        engine=step.engine,
        reached=len(step.reached),
        **_totals({"": step}, lengths),
        seconds=total(step.amounts["seconds"], lengths),
    )


def _whole(steps: dict[str, StepSample], lengths: Lengths, name: str) -> Amount | None:
    """The total of something over all rows and steps; `None` where it is not known of an answer."""
    if name == "cost" and any(step.unpriced for step in steps.values()):
        return None
    if name.endswith("tokens") and any(step.uncounted for step in steps.values()):
        return None
    columns = [step.amounts[name] for step in steps.values()]
    values = [math.fsum(row) for row in zip(*columns, strict=True)] or [0.0] * len(lengths.sampled)
    return total(values, lengths)


def _problems(
    steps: dict[str, StepSample], clients: dict[str, BaseClient], chain: Pipeline
) -> Iterator[str]:
    """The reasons why numbers are unknown."""
    for id, step in steps.items():
        if step.unpriced:
            names = chain.nodes[id].engines
            reasons = [clients[it].pricer.problem for it in names if clients[it].pricer.problem]
            reason = f" ({reasons[0]})" if reasons else ""
            yield (
                f"the cost is unknown, since {step.unpriced} of {step.answers} answers of {id!r} "
                f"have no price{reason}; give the engine a price"
            )
        if step.uncounted:
            yield (
                f"tokens are unknown, since the server of {step.engine!r} does not report them for "
                f"{step.uncounted} of {step.answers} answers of {id!r}"
            )


def _few(lengths: Lengths) -> Iterator[str]:
    """What there is to say about intervals from a few rows, which may all be alike by chance."""
    count = len(lengths.sampled)
    if 1 < count < min(FEW, lengths.rows):
        yield f"intervals from {count} rows can be too narrow; a sample of {FEW} or more is safer"


def _kept_seconds(run: Run, options: RunOptions, *, is_first: bool) -> float | None:
    """The time that the sample took, which is kept for when it is not run again.

    `None` where only a part of the sample was run now, and the time of the other part is not known.
    """
    assert run.path is not None
    path = run.path / READING
    seconds: float | None = run.seconds
    if not is_first:
        earlier = json.loads(path.read_text(encoding="utf-8"))
        seconds = earlier.get("seconds") if earlier.get("rows") == run.counts.rows else None
    _keep(run.path, reading=reading(options), rows=run.counts.rows, seconds=seconds)
    return seconds


def _keep(folder: Path, **content: Any) -> None:
    """Write down what is known of a sample beside its run."""
    text = json.dumps(content, ensure_ascii=False) + "\n"
    (folder / READING).write_text(text, encoding="utf-8")
