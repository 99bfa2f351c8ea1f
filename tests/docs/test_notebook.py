"""The notebook of the documentation on the real small model, and the same on the command line."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient
from pages import ROOT

NOTEBOOK = ROOT / "docs/pandas-and-polars.ipynb"
REVIEWS = ROOT / "examples/reviews.csv"
CHAIN = "reviews.py"
pytestmark = [
    pytest.mark.alone,
    pytest.mark.examples,
    pytest.mark.llamacpp,
    pytest.mark.timeout(620),
]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    shutil.copy(REVIEWS, tmp_path)
    return tmp_path


def cells(notebook: Any) -> list[str]:
    return [cell["source"] for cell in notebook["cells"] if cell["cell_type"] == "code"]


def outputs(notebook: Any, part: str) -> dict[str, str]:
    """What the cell with this text shows, by type."""
    (cell,) = (it for it in notebook["cells"] if it["source"].endswith(part))
    found: dict[str, str] = {}
    for output in cell["outputs"]:
        assert output["output_type"] != "error", output
        found |= output.get("data", {})
        found["stdout"] = found.get("stdout", "") + (
            output["text"] if output.get("name") == "stdout" else ""
        )
    return found


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_table_goes_through_the_model_and_comes_back_with_answers(folder: Path) -> None:
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    notebook["metadata"]["kernelspec"]["name"] = "python3"
    NotebookClient(notebook, timeout=600, resources={"metadata": {"path": folder}}).execute()
    assert "200 rows" in outputs(notebook, "overwrite=True)\nrun")["text/html"]
    joined = outputs(notebook, "joined.head()")
    assert "sentiment" in joined["text/plain"]
    assert "R1000" in joined["text/plain"]
    assert "Categorical" in outputs(notebook, ".dtype")["text/plain"]
    assert "image/png" in outputs(notebook, "frameon=False);")
    assert "accuracy" in outputs(notebook, 'diff(gold="label"))')["stdout"]
    assert "shape: (" in outputs(notebook, '.sort("len")')["text/plain"]
    assert "umbrella" in outputs(notebook, 'group by 1")')["text/plain"]
    assert (folder / "report.html").stat().st_size > 100_000


def test_the_committed_outputs_are_those_of_the_committed_cells() -> None:
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    counts = [it["execution_count"] for it in notebook["cells"] if it["cell_type"] == "code"]
    assert counts == list(range(1, len(counts) + 1))
    assert all(it["outputs"] for it in notebook["cells"] if it["cell_type"] == "code")
    assert str(ROOT) not in json.dumps(notebook)


def test_the_command_line_does_the_same(folder: Path, chainette: Any) -> None:
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    (program,) = (it for it in cells(notebook) if "class Review" in it)
    (folder / CHAIN).write_text(program)
    for command in [
        f"run {CHAIN} -i reviews.csv -o runs/reviews --limit 10",
        "export runs/reviews answers.csv",
        "report runs/reviews -o report.html",
        "diff runs/reviews --gold label --json",
    ]:
        done = chainette(*command.split())
        assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)
    with (folder / "answers.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["id"] for row in rows[:2]] == ["R1000", "R1007"]
    assert {row["sentiment"] for row in rows} <= {"positive", "negative"}
    assert len(rows) == 10
    assert (folder / "report.html").stat().st_size > 100_000
