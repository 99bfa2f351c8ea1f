"""Running a chain over a dataset, and what that leaves on disk."""

from chainette.run.executor import Executor
from chainette.run.results import Counts, Run
from chainette.run.stream import stream
from chainette.run.whole import arun_chain, run_chain, run_until_interrupted

__all__ = [
    "Counts",
    "Executor",
    "Run",
    "arun_chain",
    "run_chain",
    "run_until_interrupted",
    "stream",
]
