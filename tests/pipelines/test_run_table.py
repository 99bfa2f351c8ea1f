"""The table that a run ends with on a terminal has the columns of the chain."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from chainette import load_chain
from chainette.cli.tables import answers
from rich.console import Console

EXAMPLE = Path(__file__).parents[2] / "examples/python_chain.py"


@pytest.mark.parametrize(
    ("numbers", "shown"),
    [
        ((6, 1), ["0 ", "1 (dropped)", "0.4"]),
        ((1, 6), ["0 (dropped)", "1 ", "0.4"]),
        ((1, 1), ["0 (dropped)", "1 (dropped)"]),
    ],
)
def test_dropped_rows_have_empty_cells(
    numbers: tuple[int, ...],
    shown: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copy(EXAMPLE, tmp_path)
    Path("numbers.jsonl").write_text("".join(f'{{"number": {n}}}\n' for n in numbers))
    chain = load_chain("python_chain.py")
    console = Console(width=200)
    with console.capture() as capture:
        console.print(answers(chain.run("numbers.jsonl", output_dir="out"), chain, 200))
    table = capture.get()
    assert "factors" in table
    assert "shares" in table
    for text in shown:
        assert text in table
