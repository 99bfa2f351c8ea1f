"""Plugins that receive the events of runs."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import pytest
from chainette import Chain, Step
from chainette.errors import RequestError
from chainette.events import NodeFailed
from chainette.testing import fake_engine
from pydantic import BaseModel

Make = Callable[..., str]
GROUP = "chainette.listeners"
LISTENER = """
from chainette import hookimpl

events = []

@hookimpl
def chainette_event(event):
    events.append(event)
"""


class Row(BaseModel):
    n: int


def run() -> Any:
    step = Step(id="a", input_model=Row, output_model=Row, engine_name="e", user_prompt="{{ n }}")
    answers = ["no JSON", '{"n": 1}', RequestError("no")]
    with fake_engine("e", answers, max_concurrency=1):
        return Chain(name="c", steps=[step]).run([{"n": 1}, {"n": 2}])


def test_a_listener_receives_all_events(make_plugin: Make) -> None:
    module = make_plugin(LISTENER, "ear", group=GROUP)
    run()
    events = sys.modules[module].events
    assert [type(event).__name__ for event in events] == [
        "RunStarted",
        "RowStarted",
        "NodeStarted",
        "NodeRetried",
        "NodeFinished",
        "RowFinished",
        "RowStarted",
        "NodeStarted",
        "NodeFailed",
        "RowFinished",
        "RunClosed",
    ]
    failed = next(event for event in events if isinstance(event, NodeFailed))
    assert failed.row_id == 1
    assert isinstance(failed.error, RequestError)


def test_a_failing_listener_does_not_affect_the_run_or_other_listeners(
    make_plugin: Make, caplog: pytest.LogCaptureFixture
) -> None:
    make_plugin(
        LISTENER.replace("events.append(event)", "raise OSError('deaf')"), "deaf", group=GROUP
    )
    make_plugin("raise ImportError('gone')", "gone", group=GROUP)
    module = make_plugin(LISTENER, "ear", group=GROUP)
    assert run().counts.ok == 1
    assert len(sys.modules[module].events) == 11
    assert caplog.text.count("listener 'deaf' failed") == 1
    assert caplog.text.count("listener 'gone' is broken") == 1


def test_a_run_works_without_listeners() -> None:
    assert run().counts.rows == 2
