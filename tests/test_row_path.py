"""The path of one row through a real run, compared with the table in docs/architecture.md."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
from chainette import Chain, Step, register_engine
from chainette.testing.servers import FakeOpenAI
from pydantic import BaseModel

ROOT = Path(__file__).parent.parent
CORE = ROOT / "chainette-core/src/chainette"
ROW = re.compile(r"^\| (\w+) \| `([\w/]+\.py):([\w.]+)` \|", re.MULTILINE)
DOORS = {
    room: (module, function)
    for room, module, function in ROW.findall((ROOT / "docs/architecture.md").read_text())
}
INNER = ["row", "step", "client", "transport"]
"""Rooms that are entered from one another, and left in the opposite order."""


class Row(BaseModel):
    n: int


class Tracer:
    """Records when doors are entered and left, and calls from one module into another.

    A coroutine is called and left many times; its first call is its entry, its last return its
    exit.
    """

    def __init__(self) -> None:
        self.clock = 0
        self.frames: dict[int, FrameType] = {}  # kept, so that no two have the same id
        self.entries: dict[str, list[int]] = {room: [] for room in DOORS}
        self.exits: dict[str, int] = {}
        self.calls: list[tuple[int, str, str]] = []
        self._rooms = {str(CORE / module): room for room, (module, _) in DOORS.items()}

    def __call__(self, frame: FrameType, event: str, _argument: Any) -> None:
        room = self._rooms.get(frame.f_code.co_filename)
        if room is None or event not in ("call", "return"):
            return
        self.clock += 1
        is_door = _name(frame) == DOORS[room][1]
        if event == "return":
            if is_door:
                self.exits[room] = self.clock
            return
        if id(frame) in self.frames:
            return
        self.frames[id(frame)] = frame
        if is_door:
            self.entries[room].append(self.clock)
        caller = frame.f_back
        if caller is None or caller.f_code.co_filename != frame.f_code.co_filename:
            self.calls.append((self.clock, room, _name(frame)))

    def public_calls(self, room: str) -> set[str]:
        """Functions of a room that other modules called while the row was on its way."""
        first, last = self.entries["row"][0], self.exits["row"]
        return {
            name
            for clock, owner, name in self.calls
            if owner == room and first <= clock <= last and not _is_private(name)
        }


def _name(frame: FrameType) -> str:
    """`Class.function` of a frame, also before Python 3.11 had qualified names."""
    code = frame.f_code
    owner = frame.f_locals.get("self")
    for cls in type(owner).__mro__ if owner is not None else ():
        function = vars(cls).get(code.co_name)
        if getattr(function, "__code__", None) is code:
            return f"{cls.__name__}.{code.co_name}"
    return code.co_name


def _is_private(name: str) -> bool:
    """Whether a function is a callback that its own room has passed on."""
    return name.rpartition(".")[2].startswith(("_", "<"))


@contextmanager
def traced() -> Iterator[Tracer]:
    tracer = Tracer()
    sys.setprofile(tracer)
    try:
        yield tracer
    finally:
        sys.setprofile(None)


@pytest.fixture(scope="module")
def tracer(tmp_path_factory: pytest.TempPathFactory) -> Tracer:
    with FakeOpenAI() as server:
        register_engine("path", backend="openai", model="m", endpoint=server.endpoint)
        step = Step(
            id="a", input_model=Row, output_model=Row, engine_name="path", user_prompt="{{ n }}"
        )
        chain = Chain(name="path", steps=[step])
        chain.run([{"n": 1}])  # imports and caches
        with traced() as tracer:
            run = chain.run([{"n": 1}], output_dir=tmp_path_factory.mktemp("path"))
    assert run.counts.ok == 1
    return tracer


def test_the_table_names_every_room_and_existing_doors() -> None:
    assert list(DOORS) == [
        "inputs",
        "schedule",
        "row",
        "step",
        "client",
        "transport",
        "structured",
        "output",
    ]
    for module, function in DOORS.values():
        name = function.rpartition(".")[2]
        assert re.search(rf"def {name}\(", (CORE / module).read_text()), (module, function)


def test_a_row_enters_every_room_once_in_the_order_of_the_table(tracer: Tracer) -> None:
    assert {room: len(entries) for room, entries in tracer.entries.items()} == dict.fromkeys(
        DOORS, 1
    )
    assert sorted(DOORS, key=lambda room: tracer.entries[room][0]) == list(DOORS)


def test_a_row_leaves_the_inner_rooms_in_the_opposite_order(tracer: Tracer) -> None:
    assert sorted(INNER, key=lambda room: tracer.exits[room]) == INNER[::-1]
    assert tracer.exits["transport"] < tracer.entries["structured"][0]
    assert tracer.exits["structured"] < tracer.exits["client"]
    assert tracer.exits["step"] < tracer.entries["output"][0]
    assert tracer.exits["output"] < tracer.exits["row"]


@pytest.mark.parametrize("room", [*INNER, "structured"])
def test_a_room_is_entered_through_its_door_alone(tracer: Tracer, room: str) -> None:
    assert tracer.public_calls(room) == {DOORS[room][1]}
