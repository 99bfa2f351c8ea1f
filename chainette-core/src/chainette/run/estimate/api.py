"""Estimates for callers without an event loop."""

from __future__ import annotations

import signal
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from typing_extensions import TypedDict

from chainette.engine.client.sync import run_sync
from chainette.pipeline.pipeline import Pipeline
from chainette.run.api import run_until_interrupted
from chainette.run.estimate import sampling
from chainette.run.estimate.result import Estimate
from chainette.text import did_you_mean

if TYPE_CHECKING:
    from typing_extensions import Unpack


class EstimateOptions(TypedDict, total=False):
    """Those options of a run that an estimate has, too; see `RunOptions`."""

    output_dir: str | Path | None
    limit: int | None
    columns: Mapping[str, str] | None
    encoding: str | None
    delimiter: str | None
    overwrite: bool
    max_cost: float | None
    max_errors: float | None
    max_requests_per_row: int | None
    max_cost_per_row: float | None
    max_prompt_chars: int


NAMES: tuple[str, ...] = tuple(EstimateOptions.__annotations__)


def estimate(
    chain: Pipeline,
    inputs: Any,
    *,
    sample: int,
    engines: Sequence[str],
    **options: Unpack[EstimateOptions],
) -> list[Estimate]:
    """Estimate what a chain takes for all inputs; see `Chain.estimate`."""
    for name in options:
        if name not in NAMES:
            hint = did_you_mean(name, NAMES)
            raise TypeError(f"unknown option {name!r}{hint}; options: {', '.join(NAMES)}")
    if isinstance(engines, str):
        engines = [engines]
    try:
        return run_sync(
            lambda: sampling.estimate(
                chain,
                inputs,
                sample=sample,
                engines=engines,
                run=run_until_interrupted,
                **options,
            )
        )
    except sampling.InterruptedSampleError as error:
        if error.number == signal.SIGINT:
            raise KeyboardInterrupt from None
        raise SystemExit(128 + error.number) from None
