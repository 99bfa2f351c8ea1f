"""The report of a run of 10,000, 100,000 and a million rows: seconds, memory, size, and browser.

    python benchmarks/report_page.py [ROWS …]

The rows are made up, about 1 kB each with what a model answered; the browser is Debian's Chromium.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

from chainette import Chain, Step
from chainette.testing import fake_engine
from pydantic import BaseModel, Field

SIZES = (10_000, 100_000, 1_000_000)
CHROMIUM = "/usr/bin/chromium"
VOCABULARY = (
    "battery screen arrived late box broken love great value price cheap return refund support "
    "helpful quick slow quiet loud light heavy the a and but with after two weeks it is works "
    "stopped colour manual charger cable strap sound bought for my daughter who uses every day "
    "would not buy again quality better than expected packaging delivery took three days"
)
WORDS = VOCABULARY.split()
TOPICS = ["battery", "delivery", "price", "quality", "support", "sound"]
PRODUCTS = ["Headphones", "Kettle", "Lamp", "Backpack", "Keyboard"]


class Review(BaseModel):
    id: str
    product: str
    stars: int
    text: str


class Label(BaseModel):
    sentiment: Literal["positive", "neutral", "negative"]
    topics: list[str]
    score: float = Field(ge=0, le=1)
    urgent: bool


class Reply(BaseModel):
    subject: str
    body: str
    due: str = Field(json_schema_extra={"format": "date"})


def review_chain() -> Chain[Review, Reply]:
    """A chain of two steps on two engines."""
    label = Step(
        id="label",
        name="Label",
        input_model=Review,
        output_model=Label,
        engine_name="small",
        system_prompt="You label reviews of a {{ product }}.",
        user_prompt="Stars: {{ stars }}\nReview: {{ text }}",
        keep_reasoning=True,
    )
    reply = Step(
        id="reply",
        name="Reply",
        input_model=Label,
        output_model=Reply,
        engine_name="large",
        system_prompt="Answer the customer in three sentences.",
        user_prompt="The review: {{ chain_input.text }}\nIt is {{ sentiment }}; it is about "
        "{{ topics | join(', ') or 'nothing in particular' }}.",
    )
    return Chain(name="Review replies", steps=label >> reply)


def words(chance: random.Random, mean: float) -> str:
    count = max(3, int(chance.lognormvariate(mean, 0.55)))
    return " ".join(chance.choices(WORDS, k=count)).capitalize() + "."


class Made:
    """Rows as a run of `review_chain` would have written them.

    Args:
        rows: Their number.
        start: Seconds since 1970 at which they began.
    """

    def __init__(self, rows: int, start: float = 1_790_000_000.0) -> None:
        self.chance = random.Random(4)
        self.rows = rows
        self.start = start

    def __iter__(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """The lines, each with the file that it belongs to."""
        chance, clock = self.chance, self.start
        for row_id in range(self.rows):
            clock += chance.expovariate(22)
            stars = chance.choices([1, 2, 3, 4, 5], [2, 1, 2, 4, 7])[0]
            kept = {
                "id": f"R-{100_000 + row_id}",
                "product": chance.choice(PRODUCTS),
                "stars": stars,
                "text": words(chance, 4.2),
            }
            flat: dict[str, Any] = {"row_id": row_id, **kept}
            if chance.random() < 0.012:
                yield from self.failed(row_id, flat, "label", clock)
                continue
            label = self.label(stars)
            flat |= {f"label.{name}": value for name, value in label.items()}
            yield "steps/label", self.line(row_id, label, clock, 0.35, 140, 24, 6.6e-6)
            if chance.random() < 0.006:
                yield from self.failed(row_id, flat, "reply", clock)
                continue
            reply = {
                "subject": f"Your {kept['product'].lower()}",
                "body": words(chance, 4.0),
                "due": f"2026-{chance.choice([9, 10, 10, 11]):02}-{chance.randint(1, 28):02}",
            }
            flat |= {f"reply.{name}": value for name, value in reply.items()}
            yield "steps/reply", self.line(row_id, reply, clock + 1.1, 1.2, 150, 80, 2.4e-4)
            yield "flattened", flat

    def label(self, stars: int) -> dict[str, Any]:
        chance = self.chance
        weights = {1: [1, 2, 9], 2: [1, 4, 6], 3: [3, 8, 3], 4: [8, 3, 1], 5: [12, 2, 1]}[stars]
        return {
            "sentiment": chance.choices(["positive", "neutral", "negative"], weights)[0],
            "topics": chance.sample(TOPICS, k=chance.choices([0, 1, 2, 3], [1, 5, 4, 2])[0]),
            "score": round(chance.betavariate(5, 2), 3),
            "urgent": stars == 1 and chance.random() < 0.5,
        }

    def line(
        self,
        row_id: int,
        output: Any,
        at: float,
        latency: float,
        prompt: int,
        answer: int,
        cost: float,
    ) -> dict[str, Any]:
        chance = self.chance
        factor = chance.lognormvariate(0, 0.4)
        asked = {"requests": 2} if chance.random() < 0.02 else {}
        return {
            "row_id": row_id,
            "output": output,
            "text": json.dumps(output),
            "usage": {
                "prompt_tokens": int(prompt * chance.lognormvariate(0, 0.2)),
                "completion_tokens": int(answer * factor),
                "reasoning_tokens": 0,
                "cached_tokens": 0,
            },
            "cost": round(cost * factor, 9),
            "latency": round(latency * chance.lognormvariate(0, 0.45), 6),
            "at": round(at, 3),
            "reasoning": words(chance, 2.6) if latency < 1 else None,
            **asked,
        }

    def failed(
        self, row_id: int, flat: dict[str, Any], node: str, at: float
    ) -> Iterator[tuple[str, dict[str, Any]]]:
        kind, message = self.chance.choices(
            [
                ("InvalidOutputError", "the answer does not fit Label: sentiment: Input should be "
                 "'positive', 'neutral' or 'negative'"),
                ("TruncatedOutputError", "the answer was cut at max_tokens=400"),
                ("RateLimitError", "429 Too Many Requests; 5 retries did not help"),
            ],
            [6, 3, 1],
        )[0]  # fmt: skip
        error = {"node_id": node, "engine": "small", "type": kind, "message": message}
        raw = '{"sentiment": "mixed", "topics": ["price"' if kind != "RateLimitError" else None
        yield "errors", {"row_id": row_id, **error, "raw_text": raw}
        yield "flattened", flat | {f"error.{name}": value for name, value in error.items()}


def make_run(path: Path, rows: int) -> None:
    """Write the folder of a run of so many rows."""
    chain = review_chain()
    row = {"id": "R-1", "product": "Lamp", "stars": 5, "text": "Good."}
    with fake_engine("small", model="qwen3-8b"), fake_engine("large", model="gpt-oss-120b"):
        chain.run([row], output_dir=path)
    files = {
        name: path / name / "000000.jsonl" for name in ("flattened", "steps/label", "steps/reply")
    }
    files["errors"] = path / "errors.jsonl"
    opened = {name: file.open("w", encoding="utf-8") for name, file in files.items()}
    made, last = Made(rows), 0.0
    for name, line in made:
        last = max(last, line.get("at", 0.0))
        opened[name].write(json.dumps(line, ensure_ascii=False, separators=(",", ":")) + "\n")
    for it in opened.values():
        it.close()
    finish(path, made.start, last)


def finish(path: Path, start: float, end: float) -> None:
    """Write a manifest that fits the lines."""
    file = path / "run.json"
    manifest = json.loads(file.read_text())
    for name in ("usage", "usage_by_step", "cost_usd", "cost_usd_by_step", "counts", "bytes"):
        manifest.pop(name, None)
    costs: dict[str, float] = {}
    for id in ("label", "reply"):
        with (path / f"steps/{id}/000000.jsonl").open() as lines:
            costs[id] = round(sum(json.loads(line)["cost"] for line in lines), 6)
    at = (time.strftime("%Y-%m-%dT%H:%M:%S+00:00", time.gmtime(it)) for it in (start, end))
    started, ended = at
    manifest |= {
        "started": started,
        "ended": ended,
        "inputs": {"path": "reviews.jsonl", "sha256": "9b0c…"},
        "retries": {"label": 14, "reply": 3},
        "cost_usd_by_step": costs,
        "cost_usd": round(sum(costs.values()), 6),
    }
    file.write_text(json.dumps(manifest))


def measure(folder: Path, page: Path) -> tuple[float, float]:
    """Seconds and megabytes of the command that writes the page, in a process of its own."""
    before = time.perf_counter()
    command = [sys.executable, "-m", "chainette.cli", "report", str(folder), "-o", str(page)]
    command[1:3] = ["-c", "from chainette.cli import main; main()"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = status
    assert status == 0, status
    return time.perf_counter() - before, usage.ru_maxrss / 1024


def usable(page: Path) -> list[float]:
    """Seconds after which rows can be read and sorted in Chromium; three times."""
    from playwright.sync_api import sync_playwright

    found = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        for _ in range(3):
            tab = browser.new_page(viewport={"width": 1280, "height": 900})
            before = time.perf_counter()
            tab.goto(page.as_uri(), wait_until="commit")
            tab.wait_for_selector("html[data-ready]", timeout=60_000)
            found.append(time.perf_counter() - before)
            tab.close()
        browser.close()
    return found


def main() -> None:
    sizes = [int(it) for it in sys.argv[1:]] or SIZES
    print(
        f"{'rows':>9}  {'run':>8}  {'written':>8}  {'memory':>8}  {'page':>8}  usable in Chromium"
    )
    for rows in sizes:
        with tempfile.TemporaryDirectory() as name:
            folder, page = Path(name, "run"), Path(name, "report.html")
            make_run(folder, rows)
            size = sum(it.stat().st_size for it in folder.rglob("*") if it.is_file())
            seconds, memory = measure(folder, page)
            times = ", ".join(f"{it:.2f} s" for it in usable(page))
            print(
                f"{rows:>9,}  {size / 1e6:>5.0f} MB  {seconds:>6.1f} s  {memory:>5.0f} MB  "
                f"{page.stat().st_size / 1e6:>5.1f} MB  {times}",
                flush=True,
            )


if __name__ == "__main__":
    main()
