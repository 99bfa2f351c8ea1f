"""Reports in a real browser: without a network, by mouse and keyboard, with hostile texts."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from typing import Any

import pytest
from chainette import Chain, Step
from chainette.errors import RateLimitError
from chainette.reports.page.report import write_report
from chainette.testing import fake_engine
from pydantic import BaseModel
from report_runs import keep_inputs

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
PROGRAMS = ("chromium", "chromium-browser", "google-chrome")
LONG = "long " * 60
BREAK = "document.body.dataset.broken=1"
HOSTILE = f"<script>{BREAK}</script><img src=x onerror={BREAK}>"


class Said(BaseModel):
    said: str
    kind: str
    size: int


def answer(messages: Any) -> Any:
    n = int(messages[-1]["content"].split()[1])
    if n == 7:
        return RateLimitError(HOSTILE)
    said = {3: HOSTILE, 4: "&lt;b&gt; \u202eevil", 5: LONG + "needle"}.get(n, f"{LONG}answer {n}")
    return {"said": said, "kind": ["even", "odd"][n % 2], "size": (n * 37) % 100}


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    path = next(filter(None, map(shutil.which, PROGRAMS)), None)
    if path is None:
        pytest.skip("there is no Chromium on this machine")
    with playwright.sync_playwright() as started:
        found = started.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield found
        found.close()


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("report") / "run"
    rows = [{"n": n, "text": f"row {n} {HOSTILE if n == 2 else ''}"} for n in range(250)]
    step = Step(
        id="say", input_model=dict[str, Any], output_model=Said, engine_name="e",
        user_prompt="Say {{ chain_input.n }} {{ chain_input.text }}",
    )  # fmt: skip
    with fake_engine("e", answer):
        Chain(name=f"A run {HOSTILE}", steps=[step]).run(rows, output_dir=folder)
    keep_inputs(folder, rows)
    write_report(folder, folder / "report.html")
    return (folder / "report.html").as_uri()


@pytest.fixture
def page(browser: Any, address: str) -> Iterator[Any]:
    context = browser.new_context(viewport={"width": 1280, "height": 900}, offline=True)
    page = context.new_page()
    problems: list[str] = []
    page.on("console", lambda it: problems.append(it.text) if it.type == "error" else None)
    page.on("pageerror", lambda it: problems.append(str(it)))
    page.on("request", lambda it: None if it.url == address else problems.append(it.url))
    page.goto(address)
    page.wait_for_selector("html[data-ready]")
    yield page
    assert problems == []
    assert page.evaluate("document.body.dataset.broken") is None
    context.close()


def cells(page: Any, column: str) -> list[str]:
    """The texts of a column, of the rows that are drawn, from the top."""
    names = [it.strip() for it in page.locator(".slick-header-column").all_inner_texts()]
    index = names.index(column)
    found = page.evaluate(
        """(index) => [...document.querySelectorAll('.slick-row')]
             .map((row) => [row.getBoundingClientRect().top, row.querySelector(`.l${index}`)])
             .sort((a, b) => a[0] - b[0]).map((it) => it[1]?.innerText ?? '')""",
        index,
    )
    return [str(it) for it in found]


def count(page: Any) -> str:
    return str(page.locator(".count").inner_text())


def test_it_opens_from_disk(page: Any) -> None:
    assert page.locator("h1").inner_text() == f"A run {HOSTILE}"
    assert count(page) == "250 rows"
    assert page.locator("figure").count() >= 5
    assert page.locator(".graph svg .node").count() == 2
    assert page.locator(".slick-row.is-failed").count() == 1


def test_it_sorts(page: Any) -> None:
    page.locator(".slick-header-column", has_text="say.size").click()
    sizes = [int(it) for it in cells(page, "say.size") if it.isdigit()]
    assert sizes == sorted(sizes)
    assert sizes[0] == 0
    page.locator(".slick-header-column", has_text="say.size").click()
    assert cells(page, "say.size")[0] == "99"
    header = page.locator(".slick-header-column", has_text="say.size")
    assert header.get_attribute("aria-sort") == "descending"


def test_it_filters_by_fields(page: Any) -> None:
    page.locator('select[data-column="state"]').select_option("failed")
    playwright.expect(page.locator(".count")).to_have_text("1 of 250 rows")
    assert cells(page, "row_id") == ["7"]
    page.get_by_role("button", name="Show all rows").click()
    playwright.expect(page.locator(".count")).to_have_text("250 rows")
    page.locator('input[data-column="n"]').fill("10..19")
    playwright.expect(page.locator(".count")).to_have_text("10 of 250 rows")
    page.locator('select[data-column="say.kind"]').select_option("odd")
    playwright.expect(page.locator(".count")).to_have_text("5 of 250 rows")
    assert cells(page, "n") == ["11", "13", "15", "17", "19"]


def test_it_finds_a_text_beyond_what_cells_show(page: Any) -> None:
    page.keyboard.press("/")
    page.keyboard.type("NEEDLE")
    playwright.expect(page.locator(".count")).to_have_text("1 of 250 rows")
    assert cells(page, "row_id") == ["5"]
    page.keyboard.press("Escape")
    playwright.expect(page.locator(".count")).to_have_text("250 rows")
    page.locator('input[data-column="say.said"]').fill("answer 24")
    playwright.expect(page.locator(".count")).to_have_text("11 of 250 rows")


def test_a_bar_filters_the_rows(page: Any) -> None:
    page.get_by_role("button", name="Show the rows with odd").click()
    playwright.expect(page.locator(".count")).to_have_text("124 of 250 rows")


def test_a_row_opens_by_keyboard(page: Any) -> None:
    page.locator(".slick-row .slick-cell").first.click()
    dialog = page.locator("dialog[open]")
    assert dialog.locator("h2").inner_text() == "Row 0"
    for _ in range(3):
        page.keyboard.press("ArrowRight")
    playwright.expect(dialog.locator("h2")).to_have_text("Row 3")
    assert HOSTILE in dialog.inner_text()
    page.keyboard.press("ArrowRight")
    playwright.expect(dialog.locator("h2")).to_have_text("Row 4")
    assert "&lt;b&gt; U+202Eevil" in dialog.inner_text()
    assert dialog.get_by_text("Template of the prompt").count() == 1
    page.keyboard.press("Escape")
    playwright.expect(page.locator("dialog[open]")).to_have_count(0)
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    playwright.expect(dialog.locator("h2")).to_have_text("Row 5")


def test_it_is_dark_where_the_system_is(page: Any) -> None:
    def paper() -> str:
        return str(page.evaluate("getComputedStyle(document.body).backgroundColor"))

    light = paper()
    page.emulate_media(color_scheme="dark")
    dark = paper()
    assert light == "rgb(255, 255, 255)"
    assert sum(map(int, re.findall(r"\d+", dark))) < 120
    button = page.locator("button.theme")
    button.click()
    assert paper() == light
    button.click()
    page.emulate_media(color_scheme="light")
    assert paper() == dark


def test_it_prints_on_white_paper(page: Any) -> None:
    page.locator("button.theme").click()
    page.locator("button.theme").click()
    page.emulate_media(media="print")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert not page.locator("#search").is_visible()
    colours = """() => ["--good", "--fair", "--series-2"]
        .map((it) => getComputedStyle(document.documentElement).getPropertyValue(it).trim())"""
    printed = page.evaluate(colours)
    page.emulate_media(media="print", color_scheme="light")
    page.evaluate("document.documentElement.dataset.theme = 'light'")
    assert page.evaluate(colours) == printed
    assert page.pdf()[:5] == b"%PDF-"


def test_everything_has_a_name_for_screen_readers(page: Any) -> None:
    nameless = page.evaluate(
        """() => [...document.querySelectorAll('button, input, select, svg[role=img]')]
             .filter((it) => it.offsetParent !== null)
             .filter((it) => !(it.getAttribute('aria-label') || it.innerText))
             .map((it) => it.outerHTML.slice(0, 80))"""
    )
    assert json.dumps(nameless) == "[]"
    assert page.locator("[role=grid]").get_attribute("aria-rowcount") == "250"


JOINED = {
    "family": "\U0001f469\u200d\U0001f680",
    "persian": "\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645",
    "hindi": "\u0915\u094d\u200d",
}


def test_few_rows_are_counted_and_joined_letters_stay_joined(browser: Any, tmp_path: Any) -> None:
    step = Step(
        id="say", input_model=dict[str, Any], output_model=str, engine_name="e",
        user_prompt="Say {{ chain_input.text }}",
    )  # fmt: skip
    chain = Chain(name="few", steps=[step])
    hidden = {"text": "a\u200db \u200c\u202ec"}
    with fake_engine("e"):
        for name, rows in (("none", []), ("one", [{**JOINED, **hidden}])):
            chain.run(rows, output_dir=tmp_path / name).report(tmp_path / f"{name}.html")
    context = browser.new_context(viewport={"width": 800, "height": 900}, offline=True)
    page = context.new_page()
    for name, said in (("none", "0 rows"), ("one", "1 row")):
        page.goto((tmp_path / f"{name}.html").as_uri())
        page.wait_for_selector("html[data-ready]")
        assert count(page) == said
    for name, text in JOINED.items():
        assert cells(page, name) == [text]
    assert cells(page, "text") == ["aU+200Db U+200CU+202Ec"]
    assert page.evaluate("document.documentElement.scrollWidth") == 800
    page.set_viewport_size({"width": 400, "height": 900})
    page.locator(".slick-row").first.click()
    page.keyboard.press("Enter")
    assert page.locator(".detail dd").first.bounding_box()["width"] > 250
    context.close()
