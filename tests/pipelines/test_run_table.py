"""The table that the command prints has the columns of the chain."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

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
    in_process: Any,
) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copy(EXAMPLE, tmp_path)
    Path("numbers.jsonl").write_text("".join(f'{{"number": {n}}}\n' for n in numbers))
    ended = in_process("run", "python_chain.py", "-i", "numbers.jsonl", "-o", "out")
    assert ended.returncode == 0, ended.stderr
    table = ended.stdout
    assert "factors" in table
    assert "shares" in table
    for text in shown:
        assert text in table
