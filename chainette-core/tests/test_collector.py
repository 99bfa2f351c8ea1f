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
def usual() -> Iterator[None]:
    before = gc.get_threshold()
    gc.set_threshold(700, 10, 10)
    yield
    gc.set_threshold(*before)


def threshold() -> int:
    return gc.get_threshold()[0]


def test_the_collector_looks_less_often_while_rows_run_and_as_before_afterwards() -> None:
    def look(row: Row) -> Row:
        return Row(threshold=threshold())

    run = Chain(name="c", steps=[apply(look, id="look")]).run([{}])
    assert run.results[0].unwrap() == Row(threshold=OBJECTS)
    assert gc.get_threshold() == (700, 10, 10)


def test_the_last_of_several_runs_puts_back_what_was_set() -> None:
    with relaxed():
        with relaxed():
            assert threshold() == OBJECTS
        assert threshold() == OBJECTS
    assert threshold() == 700


@pytest.mark.parametrize("own", [0, OBJECTS + 1])
def test_a_collector_that_is_off_or_slower_is_left_alone(own: int) -> None:
    gc.set_threshold(own)
    with relaxed():
        assert threshold() == own
    assert threshold() == own


def test_a_change_of_somebody_else_is_left_alone() -> None:
    with relaxed():
        gc.set_threshold(5)
    assert threshold() == 5
