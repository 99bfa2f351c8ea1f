"""How often the interval of `chainette estimate` holds the true cost, and how wide it is.

Data sets are simulated: the lengths of prompts and answers are lognormal. Numbers are printed for
each way in which the two can depend on each other.
"""

from __future__ import annotations

import argparse
import math
import random
import statistics
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from chainette.run.estimate.intervals import Lengths, total

Row = tuple[float, float]
"""The length of an input, and what its row costs."""


def lognormal(source: random.Random, sigma: float) -> float:
    """A length; 1 on average."""
    return source.lognormvariate(-sigma * sigma / 2, sigma)


def fixed_answers(source: random.Random, sigma: float) -> Row:
    """Answers of one length, as labels are: the prompt decides."""
    length = lognormal(source, sigma)
    return 400 * length, 1.0 * (120 + 100 * length) + 4.0 * 12


def free_answers(source: random.Random, sigma: float) -> Row:
    """Answers as long as they are, whatever the prompt."""
    length = lognormal(source, sigma)
    return 400 * length, 1.0 * (120 + 100 * length) + 4.0 * 100 * lognormal(source, sigma)


def answers_alone(source: random.Random, sigma: float) -> Row:
    """Answers that cost everything, whatever the prompt."""
    return 400 * lognormal(source, sigma), 400 * lognormal(source, sigma)


def summaries(source: random.Random, sigma: float) -> Row:
    """Answers about a tenth of the prompt."""
    length = lognormal(source, sigma)
    answer = 10 * length * lognormal(source, sigma / 4)
    return 400 * length, 1.0 * (120 + 100 * length) + 4.0 * answer


def rare_steps(source: random.Random, sigma: float) -> Row:
    """Every tenth row goes through another, dearer step."""
    length, cost = free_answers(source, sigma)
    return length, cost + (2000 if source.random() < 0.1 else 0)


KINDS: dict[str, Callable[[random.Random, float], Row]] = {
    it.__name__: it for it in (fixed_answers, free_answers, answers_alone, summaries, rare_steps)
}


@dataclass(frozen=True)
class Coverage:
    """What was counted.

    Attributes:
        share: Of the data sets, those whose cost is in the interval.
        width: The mean width of the interval, by the cost.
        bias: The mean error of the estimate, by the cost.
    """

    share: float
    width: float
    bias: float


def coverage(kind: str, sigma: float, sets: int, rows: int, sample: int) -> Coverage:
    """Estimate the cost of simulated data sets, each from a sample of its rows."""
    source = random.Random(f"{kind} {sigma} {rows} {sample}")
    held, widths, errors = 0, [], []
    for _ in range(sets):
        found = [KINDS[kind](source, sigma) for _ in range(rows)]
        lengths = [length for length, _ in found]
        chosen = source.sample(range(rows), sample)
        known = Lengths([lengths[it] for it in chosen], math.fsum(lengths) / rows, rows)
        amount = total([found[it][1] for it in chosen], known)
        cost = math.fsum(it for _, it in found)
        held += amount.low <= cost <= amount.high
        widths.append((amount.high - amount.low) / cost)
        errors.append(amount.value / cost - 1)
    return Coverage(held / sets, statistics.fmean(widths), statistics.fmean(errors))


def results(sets: int, rows: int, sample: int) -> Iterator[tuple[str, float, Coverage]]:
    """The coverage for every kind of data set."""
    for kind in KINDS:
        for sigma in (0.25, 0.5, 1.0):
            yield kind, sigma, coverage(kind, sigma, sets, rows, sample)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sets", type=int, default=2000)
    parser.add_argument("--rows", type=int, default=2000)
    parser.add_argument("--sample", type=int, default=200)
    options = parser.parse_args()
    print(f"{options.sets} data sets of {options.rows} rows, samples of {options.sample}")
    print(f"{'data':16} {'sigma':>5} {'held':>7} {'width':>7} {'bias':>7}")
    for kind, sigma, it in results(options.sets, options.rows, options.sample):
        print(f"{kind:16} {sigma:5.2f} {it.share:7.1%} {it.width:7.1%} {it.bias:+7.2%}")


if __name__ == "__main__":
    main()
