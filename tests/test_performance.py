"""How much is done for a row, in function calls: a count that no busy machine changes much."""

from __future__ import annotations

import sys
from pathlib import Path

from chainette import Chain, Step, register_engine
from chainette.testing.servers import FakeVLLM
from pydantic import BaseModel

MOST_CALLS = 720
"""For one row of a one-step chain that is run to disk; it was 600 to 670 in Python 3.10 to 3.13."""


class Row(BaseModel):
    text: str


class Answer(BaseModel):
    label: str
    score: int


def calls(chain: Chain, rows: int, folder: Path) -> int:
    """Function calls of a run, those of this thread alone: the server has its own.

    `cProfile` counts those of all threads from Python 3.12 on.
    """
    count = 0

    def counted(frame: object, event: str, argument: object) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    sys.setprofile(counted)
    try:
        run = chain.run([{"text": f"row {n}"} for n in range(rows)], output_dir=folder)
    finally:
        sys.setprofile(None)
    assert run.counts.ok == rows
    return count


def test_a_row_costs_a_bounded_number_of_function_calls(tmp_path: Path) -> None:
    with FakeVLLM(lambda _: '{"label": "x", "score": 1}') as server:
        register_engine("fast", backend="vllm_api", model="m", endpoint=server.endpoint)
        step = Step(
            id="label",
            input_model=Row,
            output_model=Answer,
            engine_name="fast",
            user_prompt="Which label fits? {{ text }}",
        )
        chain = Chain(name="labels", steps=[step])
        calls(chain, 100, tmp_path / "warm")  # imports, and what is computed once
        few = calls(chain, 200, tmp_path / "few")
        many = calls(chain, 600, tmp_path / "many")
    assert (many - few) / 400 < MOST_CALLS
