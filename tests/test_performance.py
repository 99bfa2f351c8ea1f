"""Function calls for each row, a count that hardly depends on the load of the machine."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from chainette import Chain, Step, register_engine
from chainette.testing.servers import FakeOllama, FakeOpenAI, FakeVLLM
from pydantic import BaseModel

MAX_CALLS = 850
"""For one row of a one-step chain run to disk; measured: 785 in Python 3.11."""
MOST_OF_VLLM = 1.15
"""Calls of a row through `ollama_api`, as a share of those through `vllm_api`."""


class Row(BaseModel):
    text: str


class Answer(BaseModel):
    label: str
    score: int


def calls(
    chain: Chain, rows: int, folder: Path, make: Callable[[Any], Any] = list, **options: Any
) -> int:
    """Function calls of a run in this thread only, because the server runs in another one.

    `cProfile` counts the calls of all threads from Python 3.12 on.
    """
    count = 0
    given = make([{"text": f"row {n}", "id": n, "share": n / 7} for n in range(rows)])

    def count_call(frame: object, event: str, argument: object) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    sys.setprofile(count_call)
    try:
        run = chain.run(given, output_dir=folder, **options)
    finally:
        sys.setprofile(None)
    assert run.counts.ok == rows
    return count


def labels(engine: str) -> Chain[Row, Answer]:
    step = Step(
        id="label",
        input_model=Row,
        output_model=Answer,
        engine_name=engine,
        user_prompt="Which label fits? {{ text }}",
    )
    return Chain(name="labels", steps=[step])


def calls_for_a_row(chain: Chain[Row, Answer], folder: Path, *make: Any, **options: Any) -> float:
    calls(chain, 100, folder / "warm", *make, **options)  # imports and other one-time work
    few = calls(chain, 200, folder / "few", *make, **options)
    many = calls(chain, 600, folder / "many", *make, **options)
    return (many - few) / 400


def test_a_row_of_ollama_costs_no_more_than_one_of_vllm(tmp_path: Path) -> None:
    def answer(messages: object) -> str:
        return '{"label": "x", "score": 1}'

    with FakeVLLM(answer) as vllm, FakeOllama(answer) as ollama:
        register_engine("plain", backend="vllm_api", model="m", endpoint=vllm.endpoint)
        register_engine("own", backend="ollama_api", model="m", endpoint=ollama.endpoint)
        plain = calls_for_a_row(labels("plain"), tmp_path / "vllm")
        own = calls_for_a_row(labels("own"), tmp_path / "ollama")
    assert own / plain <= MOST_OF_VLLM, (plain, own)


def test_a_row_costs_a_bounded_number_of_function_calls(tmp_path: Path) -> None:
    with FakeVLLM(lambda _: '{"label": "x", "score": 1}') as server:
        register_engine("fast", backend="vllm_api", model="m", endpoint=server.endpoint)
        assert calls_for_a_row(labels("fast"), tmp_path) < MAX_CALLS


def test_a_row_of_the_responses_api_costs_as_much_as_one_of_chat(tmp_path: Path) -> None:
    """Measured: 1.05 times the calls; through OpenAI's SDK it is 13.6 times."""
    found = {}
    with FakeOpenAI(lambda _: '{"label": "x", "score": 1}') as server:
        for api in ("chat", "responses"):
            register_engine(api, backend="openai", model="m", endpoint=server.endpoint, api=api)
            found[api] = calls_for_a_row(labels(api), tmp_path / api)
    assert found["responses"] < 1.2 * found["chat"]


@pytest.mark.exhaustive
def test_rows_of_frames_and_what_is_kept_of_them_cost_little(tmp_path: Path) -> None:
    """Measured: 9 calls to keep three columns, 11 more of pandas, 15 of Polars, 6 of Arrow."""
    with FakeVLLM(lambda _: '{"label": "x", "score": 1}') as server:
        register_engine("fast", backend="vllm_api", model="m", endpoint=server.endpoint)
        chain = labels("fast")
        none = calls_for_a_row(chain, tmp_path / "none", keep="none")
        kept = calls_for_a_row(chain, tmp_path / "kept")
        assert kept - none < 20, (none, kept)
        makers: list[Any] = [pd.DataFrame, pl.DataFrame, pa.Table.from_pylist]
        for number, make in enumerate(makers):
            found = calls_for_a_row(chain, tmp_path / f"{number}", make)
            assert found < 1.05 * kept, (make, found, kept)
