"""`chainette report`."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

from chainette import Chain, apply
from pydantic import BaseModel
from report_runs import WrittenPage

Chainette = Callable[..., subprocess.CompletedProcess[str]]


class Number(BaseModel):
    n: int


def half(number: Number) -> Number:
    return Number(n=number.n // 2)


def test_it_writes_a_page_and_says_where(chainette: Chainette, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    Chain(name="halves", steps=[apply(half)]).run([{"n": n} for n in range(5)], output_dir=folder)
    done = chainette("report", str(folder))
    assert (done.returncode, done.stdout) == (0, f"{folder / 'report.html'}\n")
    assert len(WrittenPage(folder / "report.html").rows) == 5
    path = tmp_path / "page.html"
    done = chainette("report", str(folder), "-o", str(path), "--rows", "2", "--watch")
    assert (done.returncode, done.stdout) == (0, f"{path}\n")
    assert "Ctrl-C ends this, not the run" in done.stderr
    assert len(WrittenPage(path).rows) == 2


def test_what_is_not_a_run_is_an_error(chainette: Chainette, tmp_path: Path) -> None:
    for folder, reason in [
        (tmp_path, "not the folder of a run: it has no run.json"),
        (tmp_path / "nowhere", "no such folder"),
    ]:
        done = chainette("report", str(folder))
        assert done.returncode == 2
        assert f"{folder}: {reason}" in done.stderr
    assert chainette("report", str(tmp_path), "--rows", "-1").returncode == 2
