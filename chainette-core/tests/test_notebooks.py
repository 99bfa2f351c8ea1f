"""Runs, cards and errors in a real kernel, as Jupyter, VS Code and Colab have it."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

nbformat = pytest.importorskip("nbformat")
nbclient = pytest.importorskip("nbclient")

SETUP = """
import asyncio
from chainette import Chain, Step, apply, register_engine
from chainette.testing import fake_engine
from pydantic import BaseModel

class Row(BaseModel):
    text: str

class Answer(BaseModel):
    label: str

async def wait(row: Row) -> Answer:
    await asyncio.sleep(0.05)
    if row.text == "bad":
        raise ValueError("it is bad")
    return Answer(label=f"<b>{row.text}</b>")

chain = Chain(name="c", steps=[apply(wait, id="wait")])
rows = [{"text": f"text {n}"} for n in range(80)]
"""
CELLS = {
    "setup": SETUP,
    "run": "run = chain.run(rows + [{'text': 'bad'}], progress='auto')",
    "off": "chain.run(rows[:3], progress=False).counts.ok",
    "one": "chain.run_one(rows[0])",
    "arun": "again = await chain.arun(rows[:5])",
    "stream": "[it.value.label async for it in chain.stream(rows[:5], in_order=True)][0]",
    "thread": """
import threading
ends = []
thread = threading.Thread(target=lambda: ends.append(chain.run(rows[:3])))
thread.start()
thread.join()
ends[0].counts.ok
""",
    "card": "run",
    "result": "run.results[0]",
    "results": "run.results",
    "chain": "chain",
    "node": "chain.nodes['wait']",
    "unknown": "Chain(name='u', steps=[Step(id='s', input_model=Row, engine_name='nobody', "
    "user_prompt='{{ text }}')]).run(rows)",
    "frames": "import sys\nsys.last_value.__class__.__name__, "
    "len(__import__('traceback').extract_tb(sys.last_value.__traceback__)) > 3",
    "debugged": """
import pdb
def interaction(self, frame, tb, *more):
    tb = getattr(tb, "__traceback__", tb)  # Python 3.13 passes the exception
    names = []
    while tb is not None:
        names.append(tb.tb_frame.f_code.co_name)
        tb = tb.tb_next
    print("frames:", len(names), names[-1])
for kind in type(get_ipython().InteractiveTB.debugger_cls()).__mro__[:-1]:
    if "interaction" in kind.__dict__:
        kind.interaction = interaction
%debug
""",
    "function": "run.results[80].unwrap()",
    "cause": "print(repr(sys.last_value.__cause__))",
    "other": "1 / 0",
    "verbose": "%xmode Verbose",
    "long": "run.results[80].unwrap()",
}
FAILING = ("unknown", "function", "other", "long")


@pytest.fixture(scope="module")
def outputs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Any]]:
    """The outputs of a notebook's cells, by their names."""
    book = nbformat.v4.new_notebook()
    book.cells = [nbformat.v4.new_code_cell(source.strip()) for source in CELLS.values()]
    folder = tmp_path_factory.mktemp("notebook")
    client = nbclient.NotebookClient(
        book, timeout=60, allow_errors=True, resources={"metadata": {"path": str(folder)}}
    )
    client.execute()
    return {name: cell.outputs for name, cell in zip(CELLS, book.cells, strict=True)}


Outputs = dict[str, list[Any]]


def data(outputs: list[Any]) -> dict[str, str]:
    (output,) = outputs
    return dict(output["data"])


def text_of(outputs: list[Any]) -> str:
    return "".join(it.get("text", "") for it in outputs)


def test_only_what_should_fail_fails(outputs: Outputs) -> None:
    failed = [
        name for name, them in outputs.items() if any(it["output_type"] == "error" for it in them)
    ]
    assert tuple(failed) == FAILING, [outputs[it] for it in failed]


@pytest.mark.parametrize(
    ("cell", "count"), [("run", "81/81 rows"), ("arun", "5/5 rows"), ("thread", "3/3 rows")]
)
def test_a_run_shows_one_bar_that_ends_with_all_rows(
    cell: str, count: str, outputs: Outputs
) -> None:
    shown = data([outputs[cell][0]])
    assert shown["text/plain"].startswith(count)
    assert f"{count} · 100%" in shown["text/html"]
    shares = re.findall(r"width:([\d.]+)%", shown["text/html"])
    assert sum(map(float, shares)) == pytest.approx(100, abs=0.2)
    assert not re.search("<script|<style|widget", shown["text/html"])
    bars = [it for it in outputs[cell] if "rows/s" in it.get("data", {}).get("text/plain", "")]
    assert len(bars) == 1


def test_failures_and_streams_are_in_the_bar_too(outputs: Outputs) -> None:
    assert "1 failed" in data([outputs["run"][0]])["text/html"]
    bar, value = outputs["stream"]
    assert "5/5 rows" in bar["data"]["text/html"]
    assert value["data"]["text/plain"] == "'<b>text 0</b>'"


def test_nothing_is_shown_for_one_row_or_where_it_is_switched_off(outputs: Outputs) -> None:
    assert data(outputs["off"])["text/plain"] == "3"
    assert data(outputs["one"])["text/plain"] == "Answer(label='<b>text 0</b>')"


def test_a_run_is_a_card(outputs: Outputs) -> None:
    shown = data(outputs["card"])
    assert re.fullmatch(r"Run\(81 rows: 80 ok, 1 failed, [\d.]+ s\)", shown["text/plain"])
    assert "&lt;b&gt;text 4&lt;/b&gt;" in shown["text/html"]
    assert "<b>text 4</b>" not in shown["text/html"]
    assert "it is bad" in shown["text/html"]


@pytest.mark.parametrize(
    ("cell", "text", "html"),
    [
        ("result", r"Result\(row_id=0, state='ok', value=Answer\(.*\)\)", "wait.label"),
        ("chain", r"Chain\('c', wait\)", "data:image/svg+xml;base64,"),
        ("node", r"ApplyNode\('wait', Row -> Answer\)", "__main__.wait"),
    ],
)
def test_parts_show_themselves(cell: str, text: str, html: str, outputs: Outputs) -> None:
    shown = data(outputs[cell])
    assert re.fullmatch(text, shown["text/plain"])
    assert html in shown["text/html"]


def test_results_are_one_line(outputs: Outputs) -> None:
    assert data(outputs["results"])["text/plain"].startswith("<81 results, first Result(row_id=0")


def test_an_error_of_ours_is_three_lines(outputs: Outputs) -> None:
    (error,) = outputs["unknown"]
    lines = "\n".join(error["traceback"]).splitlines()
    assert len(lines) == 3
    assert lines[0].startswith("UnknownEngineError: ")
    assert re.fullmatch(r"  in Cell In\[\d+\], line 1: Chain\(name='u'.*", lines[1])
    assert len(lines[2]) > 3


def test_an_error_of_a_function_names_its_line_and_keeps_its_cause(outputs: Outputs) -> None:
    (error,) = outputs["function"]
    lines = "\n".join(error["traceback"]).splitlines()
    assert len(lines) == 3
    assert lines[0].startswith("ApplyError: ")
    place = r"  in Cell In\[1\], line \d+, wait: raise ValueError\(\"it is bad\"\) \(ValueError\(.*"
    assert re.fullmatch(place, lines[1])
    assert text_of(outputs["cause"]) == "ValueError('it is bad')\n"


def test_the_debugger_has_all_frames_of_the_last_error(outputs: Outputs) -> None:
    assert data(outputs["frames"])["text/plain"] == "('UnknownEngineError', True)"
    found = re.search(r"frames: (\d+) (\w+)", text_of(outputs["debugged"]))
    assert found is not None, outputs["debugged"]
    assert int(found[1]) > 3


def test_other_errors_and_the_verbose_mode_show_all_frames(outputs: Outputs) -> None:
    for cell in ("other", "long"):
        (error,) = outputs[cell]
        assert len("\n".join(error["traceback"]).splitlines()) > 4


@pytest.mark.exhaustive
def test_ipython_on_a_terminal_shows_three_lines_too(tmp_path: Path) -> None:
    script = (
        "from IPython.terminal.embed import InteractiveShellEmbed\n"
        "shell = InteractiveShellEmbed(colors='nocolor')\n"
        "shell.run_cell(\"import chainette; chainette.get_engine('nobody')\")\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        env={"IPYTHONDIR": str(tmp_path), "PATH": "", "HOME": str(tmp_path)},
    )
    lines = [line for line in done.stdout.splitlines() if line.strip()]
    assert lines[0].startswith("UnknownEngineError: "), done.stdout + done.stderr
    assert len(lines) == 3
