"""Runs, results and errors that are pickled, as `multiprocessing` and `joblib` do it."""

from __future__ import annotations

import copy
import pickle
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from chainette import Chain, Group, Run, Step, apply, errors, reduce
from chainette.errors import ChainetteError, EngineError, FailedRowError
from chainette.testing import fake_engine
from pydantic import BaseModel


class Text(BaseModel):
    text: str


class Label(BaseModel):
    label: str
    stars: int


class Size(BaseModel):
    size: int


def sized(group: Group[Label]) -> Size:
    return Size(size=len(group.items))


def words(row: Text) -> list[Text]:
    return [Text(text=it) for it in row.text.split()]


def asked(row: Text) -> str:
    return row.text


STEP = Step(
    id="label",
    input_model=Text,
    output_model=Label,
    engine_name="e",
    user_prompt="{{ text }}",
    keep_reasoning=True,
)
FRAME = pd.DataFrame({"text": ["a", "bad", "c d"], "day": pd.Timestamp("2024-01-02")}, [5, 6, 7])


@pytest.fixture(params=["disk", "memory"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> dict[str, Any]:
    return {"output_dir": tmp_path / "run"} if request.param == "disk" else {}


def run_of(place: dict[str, Any], keep: Any = "all") -> Run[Any]:
    chain = Chain(name="c", steps=[apply(words), STEP, reduce(apply(sized), by="stars")])
    answer = {"label": "x", "stars": 5}
    script: Any = {"bad": EngineError("no", status=418), "a": answer, "c": answer, "d": answer}
    with fake_engine("e", script):
        return chain.run(FRAME, keep=keep, **place)


@pytest.mark.parametrize("keep", ["all", "none"])
@pytest.mark.parametrize("again", [lambda it: pickle.loads(pickle.dumps(it)), copy.deepcopy])
def test_a_run_is_the_same(again: Any, keep: str, place: dict[str, Any]) -> None:
    run = run_of(place, keep)
    found = again(run)
    assert repr(found) == repr(run)
    assert found.counts == run.counts
    assert (found.costs, found.usage, found.path) == (run.costs, run.usage, run.path)
    assert [*map(repr, found.results)] == [*map(repr, run.results)]
    assert [it.inputs for it in found.results] == [it.inputs for it in run.results]
    assert [it.state for it in found.results[2].items] == ["ok", "ok"]
    assert found.results[2]["label"] == [Label(label="x", stars=5)] * 2
    assert [*found.lines()] == [*run.lines()]
    assert found.to_arrow().schema == run.to_arrow().schema
    pd.testing.assert_frame_equal(found.to_pandas(), run.to_pandas())
    pd.testing.assert_frame_equal(found.to_pandas(inputs=True), run.to_pandas(inputs=True))
    assert [it.value for it in found.groups("sized")] == [Size(size=3)]
    assert again(found).counts == run.counts


def test_the_rows_of_a_folder_that_is_gone_are_in_it(tmp_path: Path) -> None:
    run = run_of({"output_dir": tmp_path / "run"})
    packed = pickle.dumps((run, run.results))
    (tmp_path / "run").rename(tmp_path / "other")
    found, results = pickle.loads(packed)
    assert [it.state for it in found.results] == [it.state for it in results]
    assert results[0].value == [Label(label="x", stars=5)]


@pytest.mark.parametrize("number", range(3))
def test_a_result_is_the_same(number: int, place: dict[str, Any]) -> None:
    result = run_of(place, keep=["day"]).results[number]
    found = pickle.loads(pickle.dumps(result))
    assert repr(found) == repr(result)
    assert (found.outputs, found.inputs) == (result.outputs, result.inputs)
    assert found.items[0].state == result.items[0].state
    assert str(found.error) == str(result.error)


def test_every_error_is_the_same() -> None:
    kinds = {it for it in vars(errors).values() if isinstance(it, type)}
    for kind in (it for it in kinds if issubclass(it, ChainetteError)):
        named: dict[str, Any] = {"type": "X"} if kind is FailedRowError else {}
        named |= {"rounds": 2} if kind.__name__ == "RepeatError" else {}
        error = kind("what", **named)
        error.__dict__["usage"] = 3
        found = pickle.loads(pickle.dumps(error))
        assert type(found) is kind
        assert (str(found), vars(found)) == (str(error), vars(error))
