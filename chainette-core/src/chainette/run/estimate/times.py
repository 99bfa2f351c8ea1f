"""The time that a run takes, from the times of the answers of a sample."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping

from chainette.engine.client.base import BaseClient
from chainette.messages.numbers import plural
from chainette.pipeline.pipeline import Pipeline
from chainette.run.estimate.figures import Sample
from chainette.run.estimate.intervals import Amount, Lengths, total


def run_time(
    chain: Pipeline,
    clients: Mapping[str, BaseClient],
    sample: Sample,
    lengths: Lengths,
    seconds: float | None,
) -> tuple[Amount, list[str]]:
    """The duration of a run over all rows, in seconds, and what it does not take into account.

    The lower bound is the time of the slowest engine if it answers with `max_concurrency` requests
    in flight as fast as it did in the sample, and within its own rate limits. The upper bound is
    the sample's time, row by row: the server was as busy then as it can be. The number between
    them is their geometric mean. Engines work at the same time, so the slowest one counts.

    Args:
        chain: The chain.
        clients: Its engines by name.
        sample: What the rows of the sample took.
        lengths: The lengths of the inputs.
        seconds: The duration of the sample; `None` where it is not known.
    """
    count, rows = len(sample.row_ids), lengths.rows
    notes = [*_notes(clients, count, rows)]
    needed = [_of_engine(chain, name, it, sample, lengths) for name, it in clients.items()]
    elastic = max(needed, key=lambda it: it.value, default=Amount(0, 0, 0))
    if seconds is None:
        return elastic, [*notes, "time: the sample was run in parts, so its own time is not known"]
    if count >= rows:
        return Amount(seconds, seconds, seconds), notes
    through = seconds / count * rows if count else 0.0
    through = max(through, elastic.value)  # a few requests pass before limits are felt
    spread = elastic.high / elastic.value if elastic.value else 1.0
    value = math.sqrt(elastic.value * through)
    return Amount(value, elastic.low, max(elastic.high, through * spread)), notes


def _notes(clients: Mapping[str, BaseClient], count: int, rows: int) -> Iterator[str]:
    """The engines that a sample is too small for, to say how they answer when they are busy."""
    for name, client in clients.items():
        flight = client.max_concurrency
        if count < 4 * flight and count < rows:
            yield (
                f"time: {plural(count, 'row')} cannot keep {flight} requests in flight for long "
                f"(engine {name!r}); a sample of {4 * flight} rows says more"
            )


def _of_engine(
    chain: Pipeline, name: str, client: BaseClient, sample: Sample, lengths: Lengths
) -> Amount:
    """The time of one engine, within its limits."""
    steps = [step for id, step in sample.steps.items() if name in chain.nodes[id].engines]
    zeros = [0.0] * len(sample.row_ids)

    def amount(*names: str) -> Amount:
        columns = [step.amounts[it] for step in steps for it in names]
        return total([sum(row) for row in zip(*columns, strict=True)] or zeros, lengths)

    config = client.config
    times = [amount("seconds").scaled(1 / client.max_concurrency)]
    if config.requests_per_minute:
        times.append(amount("requests").scaled(60 / config.requests_per_minute))
    if config.tokens_per_minute:
        tokens = amount("prompt_tokens", "completion_tokens")
        times.append(tokens.scaled(60 / config.tokens_per_minute))
    return max(times, key=lambda it: it.value)
