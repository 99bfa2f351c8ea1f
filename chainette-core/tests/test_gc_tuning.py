from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest
from chainette import Chain, apply
from chainette.run.schedule.gc_tuning import OBJECTS, relaxed
from pydantic import BaseModel


class Row(BaseModel):
    threshold: int = 0


@pytest.fixture(autouse=True)
def default_thresholds() -> Iterator[None]:
    before = gc.get_threshold()
    gc.set_threshold(700, 10, 10)
    yield
    gc.set_threshold(*before)


def threshold() -> int:
    return gc.get_threshold()[0]


def test_the_threshold_is_raised_during_a_run_and_restored_afterwards() -> None:
    def look(row: Row) -> Row:
        return Row(threshold=threshold())

    run = Chain(name="c", steps=[apply(look, id="look")]).run([{}])
    assert run.results[0].unwrap() == Row(threshold=OBJECTS)
    assert gc.get_threshold() == (700, 10, 10)


def test_the_last_of_several_runs_restores_the_threshold() -> None:
    with relaxed():
        with relaxed():
            assert threshold() == OBJECTS
        assert threshold() == OBJECTS
    assert threshold() == 700


@pytest.mark.parametrize("value", [0, OBJECTS + 1])
def test_a_disabled_or_slower_collector_is_not_changed(value: int) -> None:
    gc.set_threshold(value)
    with relaxed():
        assert threshold() == value
    assert threshold() == value


def test_a_threshold_changed_by_other_code_is_kept() -> None:
    with relaxed():
        gc.set_threshold(5)
    assert threshold() == 5
