"""What the rows of a sample took, read from its folder."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from chainette.folder.files import CALLS, ERRORS, FLATTENED, STEPS
from chainette.folder.lines import read_file, read_lines
from chainette.reports.stored.names import has_error

AMOUNTS = ("prompt_tokens", "completion_tokens", "cost", "requests", "seconds")


@dataclass(slots=True)
class StepSample:
    """What the rows of a sample took in one step, or in one function that calls engines.

    Attributes:
        engine: The name of its engine; of a function, of those that it calls.
        amounts: By what they are, the numbers of each row; of a row that did not reach it, 0.
        reached: Rows that reached it.
        answers: Answers, those of functions' calls included.
        unpriced: Answers whose cost is unknown.
        uncounted: Answers without a number of tokens.
    """

    engine: str
    amounts: dict[str, list[float]]
    reached: set[int] = field(default_factory=set)
    answers: int = 0
    unpriced: int = 0
    uncounted: int = 0


@dataclass(slots=True)
class Sample:
    """The rows of a sample.

    Attributes:
        row_ids: The rows, in the order of the inputs.
        failed: Rows of which something failed.
        steps: What they took in each step, by id.
    """

    row_ids: list[int]
    failed: int
    steps: dict[str, StepSample]


def sample_in(path: Path, engines: Mapping[str, Sequence[str]]) -> Sample:
    """The rows of a sample.

    Args:
        path: The folder of its run.
        engines: Names of the engines by the id of each step or function that has some.
    """
    failed: set[int] = set()
    places: dict[int, int] = {}
    for line in read_lines(path / FLATTENED):
        places.setdefault(line["row_id"], len(places))
        if has_error(line):
            failed.add(line["row_id"])
    steps = {
        id: StepSample(", ".join(names), {name: [0.0] * len(places) for name in AMOUNTS})
        for id, names in engines.items()
    }
    for id, step in steps.items():
        for line in _lines(path, id):
            if line.get("row_id") in places and line.get("kind") != "skipped":
                _add(step, line, places[line["row_id"]])
    return Sample([*places], len(failed), steps)


def _lines(path: Path, id: str) -> Iterator[dict[str, Any]]:
    """The lines of a step, of a function's calls, and of its errors."""
    for folder in (id, f"{id}{CALLS}"):
        yield from read_lines(path / STEPS / folder, lambda place: None)
    if (path / ERRORS).exists():
        errors = read_file(path / ERRORS, lambda place: None)
        yield from (line for line in errors if line.get("node_id") == id)


def _add(step: StepSample, line: Mapping[str, Any], place: int) -> None:
    step.reached.add(line["row_id"])
    has_own_lines = "calls" in line  # of a function: each call has a line of its own
    if has_own_lines or not ("usage" in line or "cost" in line):
        return
    usage, cost, amounts = line.get("usage"), line.get("cost"), step.amounts
    step.answers += 1
    step.unpriced += cost is None
    step.uncounted += usage is None
    for name in ("prompt_tokens", "completion_tokens"):
        amounts[name][place] += (usage or {}).get(name) or 0
    amounts["cost"][place] += float(cost or 0)
    amounts["requests"][place] += line.get("requests", 1)
    amounts["seconds"][place] += line.get("latency") or 0
