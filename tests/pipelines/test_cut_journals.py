"""Chains of routes and repeats, killed at any line of their journals and resumed."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from random import Random
from typing import Any

import pytest
from chainette import Branch, Chain, Drop, Step, apply, repeat, route
from chainette.folder.lines import LineFile, LineFiles
from chainette.run.output.journal import Journal
from chainette.testing import fake_engine
from pydantic import BaseModel

pytestmark = pytest.mark.exhaustive


class Row(BaseModel):
    n: int


class Draft(BaseModel):
    text: str


class Verdict(BaseModel):
    ok: bool
    feedback: str


def answer(messages: Any) -> Any:
    """An answer that only depends on the request; the digits of a prompt decide."""
    text = messages[-1]["content"]
    total = sum(int(digit) for digit in text if digit.isdigit())
    if text.startswith("judge"):
        return {"ok": total % 3 == 0, "feedback": f"not {total}"}
    return "nothing of use" if total % 11 == 10 else {"text": f"{text[:60]}:{total % 7}"}


def step(id: str, prompt: str = "", **options: Any) -> Step[Any, Draft]:
    seen = "{{ previous.text if previous else 0 }} {{ feedback or 0 }} {{ round }}"
    return Step(
        id=id, input_model=Any, output_model=Draft, engine_name="e",
        user_prompt=f"{id} {{{{ chain_input.n }}}} {prompt or seen}", **options,
    )  # fmt: skip


def judge(id: str = "judge") -> Step[Any, Verdict]:
    return Step(
        id=id, input_model=Draft, output_model=Verdict, engine_name="e",
        user_prompt="judge {{ text }} {{ round }}",
    )  # fmt: skip


def is_good(draft: Draft, names: Mapping[str, Any]) -> bool | str:
    last = int(draft.text[-1])
    return True if last > 4 else f"{last} in round {names['round']}" if last else False


def key(row: Any) -> str:
    return "abc"[row.n % 3] if isinstance(row, Row) else row.text[-1]


def several(draft: Draft) -> list[Row]:
    return [Row(n=n) for n in range(int(draft.text[-1]) % 4)]


def no_six(draft: Draft) -> Draft:
    if draft.text.endswith("6"):
        raise Drop("six")
    return draft


def count(row: Any) -> Draft:
    return Draft(text=f"{row.n}")


def aside(draft: Draft, names: Mapping[str, Any]) -> Draft:
    return Draft(text=f"{draft.text}{len(names['parts'])}{len(draft.text) % 8}")


CHAINS: dict[str, Callable[[], list[Any]]] = {
    "route": lambda: [
        route(key, id="kind").case("a", step("x", "1")).case("b", None)
        .default([step("y", "2"), step("z", "{{ y.text }}")]),
        step("end", "{{ kind }}"),
    ],
    "repeat": lambda: [
        repeat(step("draft"), until=is_good, max_rounds=3, id="loop"),
        step("end", "{{ loop.rounds }} {{ draft.text }}"),
    ],
    "judge": lambda: [
        repeat([step("draft"), apply(no_six)], until=judge(), id="loop", exhausted="last"),
        step("end", "{{ judge.feedback if judge else 0 }}"),
    ],
    "nested": lambda: [
        repeat(
            [
                repeat(step("draft"), until=is_good, max_rounds=2, id="inner", exhausted="last"),
                route(key, id="kind").case("5", step("x", "{{ round }}")).default(None),
            ],
            until=judge(), max_rounds=2, id="outer", on_error="none",
        ),
    ],
    "inside a route": lambda: [
        route("chain_input.n % 2", id="kind")
        .case(0, repeat(step("draft"), until=is_good, max_rounds=3, id="loop", exhausted="last"))
        .case(1, step("x", "3")),
        apply(several),
        step("end", "{{ several.n }} {{ kind }}"),
    ],
    "split": lambda: [
        route(key, id="kind")
        .case("a", step("x", "3") >> apply(several) >> apply(count))
        .default(step("y", "2")),
        repeat(step("draft", "{{ kind }} {{ feedback or 0 }}"), until=is_good, id="loop",
               default=Draft(text="0")),
    ],
    "branches": lambda: [
        repeat(
            [
                step("draft"),
                Branch("split", apply(several) >> step("part", "{{ several.n }}")).join("parts"),
                Branch("beside", step("more", "{{ draft.text }}")),
                apply(aside, when="round < 3"),
            ],
            until=is_good, max_rounds=3, id="loop",
        ),
    ],
}  # fmt: skip


class Recorded:
    """The lines of a run's journals in the order in which they were written."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.lines: list[tuple[Path, dict[str, Any]]] = []
        write = Journal._write

        def record(journal: Journal, file: LineFile, line: Any, **options: Any) -> None:
            folder = file._path / "000000.jsonl" if isinstance(file, LineFiles) else file._path
            before = folder.stat().st_size if folder.exists() else 0
            write(journal, file, line, **options)
            self.lines.append((folder, json.loads(folder.read_bytes()[before:])))

        patch.setattr(Journal, "_write", record)


def cut(run: Path, target: Path, lines: list[tuple[Path, dict[str, Any]]]) -> None:
    """Make the folder of a run that was killed behind some of its lines."""
    shutil.copytree(run, target)
    shutil.rmtree(target / "flattened", ignore_errors=True)
    for file in [
        *target.glob("steps/*/*.jsonl"),
        target / "errors.jsonl",
        target / "dropped.jsonl",
    ]:
        file.write_text("")
    for path, line in lines:
        with (target / path.relative_to(run)).open("a") as file:
            file.write(json.dumps(line) + "\n")
    manifest = json.loads((run / "run.json").read_text())
    (target / "run.json").write_text(json.dumps(manifest | {"status": "running"}))


def journal(run: Path) -> dict[str, Any]:
    """Every line by its key; a key that is there twice is an error."""
    found: dict[str, Any] = {}
    for file in [*run.glob("steps/*/*.jsonl"), run / "errors.jsonl"]:
        for text in file.read_text().splitlines():
            line = json.loads(text)
            where = "errors" if file.name == "errors.jsonl" else file.parent.name
            place = [where, *(line.get(it) for it in ("node_id", "row_id", "item", "round"))]
            assert str(place) not in found, place
            fields = ("output", "passed", "feedback", "case", "message")
            found[str(place)] = [line.get(name) for name in fields]
    return found


def summary(results: Any) -> list[Any]:
    return [(it.state, repr(it.value), repr(dict(it.outputs)), str(it.error)) for it in results]


@pytest.mark.parametrize("name", CHAINS)
def test_a_resume_goes_on_behind_any_line(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [Row(n=n) for n in range(7)]
    with fake_engine("e", answer) as engine:
        in_memory = Chain(name="c", steps=CHAINS[name]()).run(rows)
        engine.requests.clear()
        with monkeypatch.context() as patch:
            recorded = Recorded(patch)
            run = Chain(name="c", steps=CHAINS[name]()).run(rows, output_dir=tmp_path / "run")
        assert summary(run.results) == summary(in_memory.results)
        assert len({it.state for it in run.results}) > 1 or name not in ("repeat", "judge")
        whole, requests = journal(tmp_path / "run"), Counter(map(str, engine.requests))
        random = Random(name)
        for place in sorted(random.sample(range(len(recorded.lines)), 4)):
            target = tmp_path / f"cut{place}"
            cut(tmp_path / "run", target, recorded.lines[:place])
            engine.requests.clear()
            again = Chain(name="c", steps=CHAINS[name]()).run(rows, output_dir=target, resume=True)
            assert summary(again.results) == summary(run.results)
            assert journal(target) == whole
            assert not Counter(map(str, engine.requests)) - requests
            paid = sum("usage" in line for _, line in recorded.lines[:place])
            assert len(engine.requests) <= sum(requests.values()) - paid
