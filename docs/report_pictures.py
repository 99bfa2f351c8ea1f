"""Makes the pictures of docs/report.md, with Playwright and Debian's Chromium.

python docs/report_pictures.py
"""

from __future__ import annotations

import random
import sys
import tempfile
from pathlib import Path
from typing import Any

from chainette.reports.page.report import write_report
from playwright.sync_api import sync_playwright

DOCS = Path(__file__).parent
sys.path.insert(0, str(DOCS.parent / "benchmarks"))
import report_page  # noqa: E402

TEXT = (
    "I bought it for my daughter, who uses it every day. "
    "The battery lasts two days, which is less than I had hoped. "
    "Delivery took three weeks and the box was torn. "
    "The sound is clear, even at low volume. "
    "For the price I could not ask for more. "
    "The manual is hard to read. "
    "Support answered within an hour and sent a new cable. "
    "After a month it still looks like new. "
    "I would buy it again. "
    "It stopped working after a week, and nobody answers my mails. "
    "It is lighter than it looks in the pictures. "
    "Colour and shape are just as described."
)
SENTENCES = TEXT.split(". ")


def prose(chance: random.Random, mean: float) -> str:
    found = chance.sample(SENTENCES, k=2 if mean < 3 else chance.randint(2, 5))
    return ". ".join(it.rstrip(".") for it in found) + "."


def take(tab: Any, name: str) -> None:
    tab.wait_for_timeout(400)
    tab.screenshot(path=DOCS / "_static" / f"report-{name}.png")


def main() -> None:
    report_page.words = prose
    with tempfile.TemporaryDirectory() as name, sync_playwright() as playwright:
        report_page.make_run(Path(name, "reviews"), 5_000)
        write_report(Path(name, "reviews"), Path(name, "report.html"))
        browser = playwright.chromium.launch(
            executable_path=report_page.CHROMIUM, args=["--no-sandbox"]
        )
        tab = browser.new_page(viewport={"width": 1280, "height": 800})
        tab.goto(Path(name, "report.html").as_uri())
        tab.wait_for_selector("html[data-ready]")
        take(tab, "light")
        tab.locator("#answers").evaluate("(it) => it.scrollIntoView()")
        tab.emulate_media(color_scheme="dark")
        take(tab, "dark")
        tab.emulate_media(color_scheme="light")
        tab.locator("#rows").evaluate("(it) => it.scrollIntoView()")
        tab.locator(".slick-row .slick-cell").nth(2).click()
        tab.locator("dialog .parts").evaluate("(it) => it.scrollTop = 210")
        tab.set_viewport_size({"width": 1280, "height": 740})
        take(tab, "row")
        browser.close()


if __name__ == "__main__":
    main()
