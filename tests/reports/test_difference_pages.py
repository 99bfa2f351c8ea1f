"""Pages about comparisons: figures, matrices and the rows that differ, in a browser too."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any, Literal

import pytest
from chainette import Chain, Run, Step
from chainette.reports.comparing.difference import Difference
from chainette.testing import fake_engine
from pydantic import BaseModel
from report_runs import WrittenPage, keep_inputs

HOSTILE = "</script><script>document.body.dataset.broken=1</script>"


class Label(BaseModel):
    topic: Literal["a", "b"]
    score: float
    said: str


def labelled(folder: Path, every: int) -> Run[Any]:
    """A run in which each so many-th answer is another one."""

    def answer(messages: Any) -> Any:
        n = int(messages[-1]["content"])
        is_other = n % every == 0
        return {"topic": "ab"[(n + is_other) % 2], "score": n + is_other, "said": f"{n} {HOSTILE}"}

    step = Step(
        id="label", input_model=dict[str, Any], output_model=Label, engine_name="e",
        user_prompt="{{ chain_input.n }}",
    )  # fmt: skip
    rows = [{"n": n, "gold": "ab"[n % 2]} for n in range(60)]
    with fake_engine("e", answer):
        run = Chain(name="labels", steps=[step]).run(rows, output_dir=folder)
    keep_inputs(folder, rows)
    return run


def written(found: Difference, path: Path, **options: Any) -> WrittenPage:
    assert found.to_html(path, **options) == path
    return WrittenPage(path)


def test_a_page_has_the_figures_and_the_rows_that_differ(tmp_path: Path) -> None:
    found = labelled(tmp_path / "a", 10).diff(labelled(tmp_path / "b", 15))
    page = written(found, tmp_path / "page.html")
    assert page.facts["Rows that differ"] == "6 of 60"
    assert page.facts["label.topic"] == "90.0%"
    matrix = page.listing("field-0", "A ↓ B →")
    assert sum(int(row[name]) for row in matrix for name in "ab") == 60
    assert page.columns["row"] == [10, 15, 20, 40, 45, 50]
    assert page.columns["differs"][0] == ["label.topic", "label.score"]
    assert (page.columns["A label.score"][0], page.columns["B label.score"][0]) == (11, 10)
    first = page.rows[0]
    assert first[0]["values"]["A label.topic"] == "b"
    assert [it["title"] for it in first] == ["Row 10", "All of A", "All of B"]
    assert first[2]["values"]["label.said"] == f"10 {HOSTILE}"
    assert HOSTILE not in page.text
    (chart,) = page.charts("field-1").values()
    assert sum(count for _, _, count in chart["bins"]) == 60


def test_rows_beyond_the_most_are_said(tmp_path: Path) -> None:
    found = labelled(tmp_path / "a", 10).diff(labelled(tmp_path / "b", 15))
    page = written(found, tmp_path / "page.html", rows=2)
    assert page.columns["row"] == [10, 15]
    assert "The first 2; the other 4 are left out" in page.text


def test_a_page_about_labels_has_the_wrong_rows(tmp_path: Path) -> None:
    found = labelled(tmp_path / "a", 20).diff(gold="gold", fields=["label.topic"])
    page = written(found, tmp_path / "page.html")
    assert page.columns["row"] == [0, 20, 40]
    assert page.columns["label.topic"] == ["b"] * 3
    assert page.columns["label: gold"] == ["a"] * 3
    classes = page.listing("gold-0", "class")
    assert [it["recall"] for it in classes] == ["0.900", "1.000"]


def test_the_page_opens_in_a_browser(tmp_path: Path) -> None:
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    program = shutil.which("chromium") or shutil.which("google-chrome")
    if program is None:
        pytest.skip("there is no Chromium on this machine")
    found = labelled(tmp_path / "a", 10).diff(labelled(tmp_path / "b", 15), gold="gold",
                                              fields=["label.topic", "label.said"])  # fmt: skip
    found.to_html(tmp_path / "page.html")
    problems: list[str] = []
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=program, args=["--no-sandbox"])
        page = browser.new_context(offline=True).new_page()
        page.on("pageerror", lambda it: problems.append(str(it)))
        page.goto((tmp_path / "page.html").as_uri())
        page.wait_for_selector("html[data-ready]")
        assert page.locator(".count").inner_text() == "6 rows"
        page.locator('input[data-column="row"]').fill("4")
        playwright.expect(page.locator(".count")).to_have_text("2 of 6 rows")
        page.locator(".slick-row .slick-cell").first.click()
        playwright.expect(page.locator("dialog[open]")).to_contain_text("All of B")
        assert page.evaluate("document.body.dataset.broken") is None
        browser.close()
    assert problems == []
