"""Pages about runs: what they count, what they show of rows, and what never gets into them."""

from __future__ import annotations

import base64
import hashlib
import json
import math
import os
import re
import socket
import zlib
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from enum import Enum
from pathlib import Path
from typing import Any, Literal

import pytest
from chainette import (
    Branch,
    Calls,
    Chain,
    Drop,
    Group,
    LLMOutput,
    Run,
    Step,
    Usage,
    apply,
    filter,
    pipe,
    reduce,
)
from chainette.errors import ConfigError, OutputDirError, RateLimitError
from chainette.reports.page import report as reports
from chainette.reports.page.document import Column, Page, Row, Section, Table, bars, charts, facts
from chainette.reports.page.html import write_page
from chainette.reports.page.sections import dollars, duration
from chainette.testing import fake_engine
from chainette.types import Completion
from pydantic import BaseModel, Field
from report_runs import WrittenPage, keep_inputs, report

ROOT = Path(__file__).parent.parent.parent
ASSETS = ROOT / "chainette-core/src/chainette/reports/page/assets"
SOURCES = ROOT / "chainette-core/report-assets"
HOSTILE = [
    "<script>document.body.dataset.broken = 1</script>",
    "</script><script>document.body.dataset.broken = 1</script>",
    "</SCRIPT ><img src=x onerror='document.body.dataset.broken = 1'>",
    "<!-- <script>",
    "]]> --> &lt;b&gt; &amp; &#60;",
    "\u202egnp.exe\u2066\u200b \x00\x07\x1b[31m",
    "line\u2028break \u2029 \r\n \t end",
    "\U0001f600 \u05e9\u05dc\u05d5\u05dd {{ x }} ${x} `x`",
    '"quotes\\" \\u003c',
]


class Input(BaseModel):
    text: str
    n: int = 0


class Label(BaseModel):
    label: Literal["good", "bad", "ugly"]
    score: float
    tags: list[str]
    sure: bool


def answer(messages: Any) -> Any:
    n = int(messages[-1]["content"].split()[-1])
    if n % 10 == 9:
        return RateLimitError(f"429 for row {n}")
    label = {
        "label": ["good", "bad"][n % 2],
        "score": n / 10,
        "tags": ["a"] * (n % 3),
        "sure": n < 3,
    }
    completion: Completion[Any] = Completion(json.dumps(label), None, f"thought {n}", "stop")
    return LLMOutput([completion], Usage(100 + n, 10))


def labelled(folder: Path, count: int = 30) -> Run[Label]:
    """A run of one step, a tenth of which failed."""
    step = Step(
        id="label",
        input_model=Input,
        output_model=Label,
        engine_name="e",
        user_prompt="{{ text }} {{ n }}",
        keep_reasoning=True,
    )
    rows = [{"text": f"row {n} " + "x" * n, "n": n} for n in range(count)]
    with fake_engine("e", answer, model="small-1"):
        run = Chain(name="labels", steps=[step]).run(rows, output_dir=folder)
    keep_inputs(folder, rows)
    _put_a_price(folder)
    return run


def _put_a_price(folder: Path) -> None:
    """Let every answer of a step cost a tenth of a cent; fake engines are free."""
    path = folder / "steps/label/000000.jsonl"
    lines = [json.loads(line) | {"cost": 0.001} for line in path.read_text().splitlines()]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    manifest = json.loads((folder / "run.json").read_text())
    cost = round(0.001 * len(lines), 3)
    manifest |= {"cost_usd": cost, "cost_usd_by_step": {"label": cost}}
    (folder / "run.json").write_text(json.dumps(manifest))


def test_a_page_counts_what_the_run_did(tmp_path: Path) -> None:
    labelled(tmp_path / "run")
    page = report(tmp_path / "run")
    assert page.content["title"] == "labels"
    assert page.content["state"] == {"label": "finished"}
    assert page.facts["Rows"] == "30"
    assert page.facts["Failed"] == "10.00%"
    assert page.facts["Cost"] == "$0.027"
    assert page.facts["Tokens"] == f"{27 * 110 + sum(n for n in range(30) if n % 10 != 9):,}"
    (step,) = page.listing("steps", "Step")
    assert (step["Engine"], step["Model"], step["Answers"], step["Failed"]) == (
        "e", "small-1", "27", "3",
    )  # fmt: skip
    (failure,) = page.listing("failures", "Where")
    assert (failure["Where"], failure["Type"], failure["Count"]) == ("label", "RateLimitError", 3)
    assert failure["Message"] == "engine 'e': 429 for row #"
    (graph,) = (it for it in page.section("overview") if it["kind"] == "graph")
    assert [it["id"] for it in graph["nodes"]] == ["chain_input", "label"]
    assert graph["edges"] == [{"from": "chain_input", "to": "label", "label": ""}]
    record = {row[0]: row[1] for block in page.section("record") for row in block["rows"]}
    assert record["Status"] == "finished"
    assert record["e"] == "fake"


def test_every_field_has_the_chart_of_its_type(tmp_path: Path) -> None:
    labelled(tmp_path / "run")
    found = report(tmp_path / "run").charts("answers")
    assert [*found] == [
        "label.label (bars)",
        "label.score (histogram)",
        "label.tags (histogram)",
        "label.tags: the items (bars)",
        "label.sure (bars)",
    ]
    assert [it[:2] for it in found["label.label (bars)"]["bars"]] == [
        ["good", 15], ["bad", 12], ["ugly", 0],
    ]  # fmt: skip
    assert sum(it[2] for it in found["label.score (histogram)"]["bins"]) == 27
    assert [it[2] for it in found["label.tags (histogram)"]["bins"]] == [9, 9, 9]


def test_a_row_shows_all_that_is_known_about_it(tmp_path: Path) -> None:
    labelled(tmp_path / "run")
    page = report(tmp_path / "run")
    table = page.content["table"]
    assert [(it["name"], it["kind"], it["from"]) for it in table["columns"]] == [
        ("row_id", "number", "run"),
        ("state", "state", "run"),
        ("text", "text", "input"),
        ("n", "number", "input"),
        ("label.label", "category", "answer"),
        ("label.score", "number", "answer"),
        ("label.tags", "list", "answer"),
        ("label.sure", "boolean", "answer"),
        ("reasoning.label", "text", "answer"),
        ("error.message", "text", "run"),
        ("tokens", "number", "run"),
        ("cost", "number", "run"),
        ("seconds", "number", "run"),
    ]
    columns = page.columns
    assert columns["state"].count("failed") == 3
    assert columns["tokens"][4] == 114
    values, step = page.rows[4]
    assert values["values"]["text"] == "row 4 xxxx"
    assert step["prompt"] == {"messages": [{"role": "user", "content": "row 4 xxxx 4"}]}
    line = step["line"]
    assert json.loads(line["text"])["label"] == "good"
    assert (line["reasoning"], line["cost"], line["usage"]["prompt_tokens"]) == (
        "thought 4", 0.001, 104,
    )  # fmt: skip
    values, error = page.rows[9]
    assert error["error"]["type"] == "RateLimitError"
    assert error["prompt"]["messages"][0]["content"] == "row 9 xxxxxxxxx 9"


def test_rows_are_left_out_and_figures_are_not(tmp_path: Path) -> None:
    labelled(tmp_path / "run")
    page = report(tmp_path / "run", rows=7)
    assert len(page.rows) == page.content["table"]["rows"] == 7
    assert page.content["table"]["note"].startswith("The first 7 of 30 rows; the other 23 are left")
    assert page.facts["Rows"] == "30"
    assert sum(it[1] for it in page.charts("answers")["label.label (bars)"]["bars"]) == 27
    assert report(tmp_path / "run", rows=0).rows == []
    assert report(tmp_path / "run", rows=30).content["table"]["note"] == ""


def test_texts_of_models_and_users_never_become_markup(tmp_path: Path) -> None:
    class Said(BaseModel):
        said: str

    step = Step(
        id="say", input_model=dict[str, Any], output_model=Said, engine_name="e",
        user_prompt="{{ chain_input.x }}",
    )  # fmt: skip
    rows = [{"x": text, "<script>x</script>": text} for text in HOSTILE]
    name = HOSTILE[1]
    with fake_engine("e", [{"said": text} for text in HOSTILE], model="<i>m</i>"):
        Chain(name=name, steps=[step]).run(rows, output_dir=tmp_path / "run")
    keep_inputs(tmp_path / "run", rows)
    page = report(tmp_path / "run")
    assert page.content["title"] == name
    assert [it[0]["values"]["say.said"] for it in page.rows] == HOSTILE
    assert page.columns["<script>x</script>"][0].startswith("<script>document")
    scripts = re.findall(r"<script\b[^>]*>", page.text)
    data = [it for it in scripts if it.startswith('<script type="text/plain" id="')]
    assert len(data) == 2
    assert [it for it in scripts if it not in data] == [
        '<script type="application/json" id="page">', "<script>", "<script>",
    ]  # fmt: skip
    assert page.text.count("</script") == len(scripts)
    assert "<img" not in page.text.replace(page.text[page.text.index("<script>") :], "")
    assert f"<title>{name}" not in page.text


def test_a_page_loads_nothing_and_runs_only_its_own_scripts(tmp_path: Path) -> None:
    labelled(tmp_path / "run", 3)
    text = report(tmp_path / "run").text
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', text)
    assert policy is not None
    assert policy[1].startswith("default-src 'none'; script-src 'sha256-")
    assert "unsafe-inline" not in policy[1].partition("style-src")[0]
    assert re.findall(r"<(?:link|img|iframe|base|form)\b|\b(?:src|href)=", text[:400]) == []
    assert not re.search(r"@import|url\((?!data:)", (ASSETS / "page.css").read_text())


def test_keys_are_not_in_a_page(tmp_path: Path) -> None:
    key = "sk-sentinel-0123456789"
    step = Step(id="say", input_model=Input, engine_name="e", user_prompt="{{ text }}")
    private = {"Authorization": f"Bearer {key}"}
    with fake_engine(
        "e", endpoint=f"http://u:{key}@host/v1?key={key}", api_key=key, headers=private
    ):
        Chain(name="c", steps=[step]).run([{"text": "a"}], output_dir=tmp_path / "run")
    page = report(tmp_path / "run")
    assert key not in page.text
    assert key not in json.dumps(page.rows)


class Colour(Enum):
    red = "red"
    blue = "blue"


class Author(BaseModel):
    name: str
    born: datetime | None


class Book(BaseModel):
    author: Author
    colour: Colour
    price: Decimal
    pages: int | str
    chapters: list[Author] = Field(default_factory=list)
    other: Any = None


def test_nested_fields_dates_and_mixed_values_have_charts(tmp_path: Path) -> None:
    def book(row: Input) -> Book:
        born = datetime(1900 + row.n, 1, 1, tzinfo=timezone.utc) if row.n % 2 else None
        author = Author(name=f"name {row.n}", born=born)
        pages: int | str = row.n if row.n < 3 else "many"
        return Book(author=author, colour=Colour.red, price=Decimal("1.5"), pages=pages,
                    chapters=[author] * row.n)  # fmt: skip

    rows = [{"text": "a", "n": n} for n in range(8)]
    Chain(name="books", steps=[apply(book)]).run(rows, output_dir=tmp_path / "run")
    found = report(tmp_path / "run").charts("answers")
    assert [it for it in found if "price" not in it] == [
        "book.author.name (histogram)",
        "book.author.born (histogram)",
        "book.colour (bars)",
        "book.pages: types of values (bars)",
        "book.pages (histogram)",
        "book.chapters (histogram)",
        "book.chapters: the items.name (bars)",
        "book.chapters: the items.born (histogram)",
        "book.other (bars)",
    ]
    assert found["book.author.born (histogram)"]["time"]
    assert found["book.author.born (histogram)"]["about"] == "4 of 8 are empty"


def words(row: Input) -> list[str]:
    return row.text.split()


def short(word: str) -> str | None:
    if len(word) > 6:
        raise Drop("too long")
    if word == "broken":
        raise ValueError("broken word")
    return word


def test_items_drops_branches_and_groups(tmp_path: Path) -> None:
    title = Step(id="title", input_model=Input, engine_name="e", user_prompt="{{ text }}")
    mark = Step(id="mark", input_model=str, engine_name="e", user_prompt="{{ short }}")
    total = Step(
        id="total", input_model=Group[str], engine_name="e", user_prompt="{{ items | length }}"
    )
    chain = Chain(
        name="words",
        steps=pipe(Branch("t", [title]).join("t"), apply(words), apply(short), mark,
                   reduce(total, by=lambda it: "x")),
    )  # fmt: skip
    rows = [{"text": "one two broken"}, {"text": "extraordinary three"}]
    with fake_engine("e", lambda messages: "ok"):
        chain.run(rows, output_dir=tmp_path / "run")
    page = report(tmp_path / "run")
    assert page.facts["Rows"] == "2"
    assert page.columns["item"] == ["0", "1", "2", "0", "1"]
    assert page.columns["state"] == ["ok", "ok", "failed", "dropped", "ok"]
    found = page.charts("answers")
    assert found["title (histogram)"]["bins"][0][2] == 2  # once for a row, not for each item
    assert sum(it[2] for it in found["words (histogram)"]["bins"]) == 5
    assert page.listing("failures", "Dropped by") == [
        {"Dropped by": "short", "Reason": "too long", "Count": 1}
    ]
    (group,) = page.listing("groups", "Group")
    assert (group["Group"], group["Items"], group["Output of total"]) == ("x", 3, "ok")
    titles = [it["title"] for it in page.rows[2]]
    assert titles == ["Row 0, item 2", "Failed: short", "title · e", "words"]
    assert page.rows[0][-1]["title"] == "mark · e"


def test_a_run_that_goes_on_is_followed_until_it_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "run"
    labelled(folder, 5)
    manifest = json.loads((folder / "run.json").read_text())
    running = {
        it: manifest[it] for it in ("chainette", "chain", "engines", "inputs", "started")
    } | {"status": "running", "ended": None}
    (folder / "run.json").write_text(json.dumps(running))
    holder = {"pid": os.getpid(), "host": socket.gethostname(), "started": "now"}
    (folder / ".lock").write_text(json.dumps(holder))
    with (folder / "flattened/000000.jsonl").open("a") as file:
        file.write('{"row_id": 5, "label.sco')
    page = report(folder, refresh=5)
    assert (page.content["state"], page.content["refresh"]) == ({"label": "running"}, 5)
    assert (page.facts["Rows"], page.facts["Cost"]) == ("5", "$0.005")

    def end(seconds: float) -> None:
        (folder / "run.json").write_text(json.dumps(manifest))

    monkeypatch.setattr(reports.time, "sleep", end)
    path = tmp_path / "watched.html"
    assert len([*reports.watch_report(folder, path)]) == 2
    assert WrittenPage(path).content["refresh"] is None
    assert [*tmp_path.glob(".*")] == []  # no draft is left
    (folder / "run.json").write_text(json.dumps(running))
    (folder / ".lock").unlink()
    killed = report(folder, refresh=5).content
    assert killed["state"] == {"label": "killed"}
    record = json.dumps(next(it for it in killed["sections"] if it["id"] == "record"))
    assert '["Status", "killed"]' in record
    assert "not yet" not in record


def test_what_has_no_rows_yet_has_a_page(tmp_path: Path) -> None:
    labelled(tmp_path / "run", 2)
    for name in ["flattened", "steps/label"]:
        (tmp_path / "run" / name / "000000.jsonl").unlink()
    page = report(tmp_path / "run")
    assert page.rows == []
    assert page.facts["Failed"] == "none"


def test_a_run_reports_on_itself(tmp_path: Path) -> None:
    run = labelled(tmp_path / "run", 3)
    path = run.report(tmp_path / "page.html", rows=2)
    assert len(WrittenPage(path).rows) == 2
    with pytest.raises(OutputDirError, match="cannot be written"):
        run.report(tmp_path / "nowhere" / "page.html")
    with pytest.raises(OutputDirError, match="output_dir="):
        Run(results=[], counts=run.counts).report(tmp_path / "page.html")
    with pytest.raises(OutputDirError, match=r"it has no run\.json"):
        reports.write_report(tmp_path, tmp_path / "page.html")


def test_lines_without_times_and_costs_make_a_page(tmp_path: Path) -> None:
    labelled(tmp_path / "run", 3)
    path = tmp_path / "run/steps/label/000000.jsonl"
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    for line in lines:
        line.pop("at")
        line["cost"] = None
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    graph = json.loads((tmp_path / "run/graph.json").read_text())
    del graph["shapes"], graph["schemas"]
    (tmp_path / "run/graph.json").write_text(json.dumps(graph))
    page = report(tmp_path / "run")
    assert page.columns["cost"] == [None] * 3
    assert "Answers over time (lines)" not in page.charts("steps")
    assert page.rows[0][1]["prompt"]["templates"] == [
        {"role": "user", "content": "{{ text }} {{ n }}"}
    ]


async def twice(row: Input, calls: Calls) -> Input:
    answers = [await calls["e"].ask(f"{row.text} {n}") for n in range(2)]
    return Input(text=" ".join(answers), n=row.n)


def spread(folder: Path) -> None:
    """Let the answers of a run be five seconds apart."""
    for path in folder.glob("steps/*/000000.jsonl"):
        lines = [json.loads(line) for line in path.read_text().splitlines()]
        for index, line in enumerate(it for it in lines if "at" in it):
            line["at"] += 5 * index
        path.write_text("".join(json.dumps(line) + "\n" for line in lines))


@pytest.mark.parametrize("kind", ["samples", "calls"])
def test_answers_with_lines_of_their_own_are_counted_once(kind: str, tmp_path: Path) -> None:
    step = Step(
        id="node",
        input_model=Input,
        engine_name="e",
        user_prompt="{{ text }}",
        samples=2,
        sampling={"temperature": 1},
    )
    node = step if kind == "samples" else apply(twice, id="node", engines=["e"])
    rows = [{"text": "a b c", "n": n} for n in range(3)]
    with fake_engine("e", lambda _: "two words", price={"input": 1, "output": 2}):
        run = Chain(name="several", steps=node).run(rows, output_dir=tmp_path / "run")
    path = tmp_path / "run/run.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"status": "running"}))
    spread(tmp_path / "run")
    page = report(tmp_path / "run")
    (line,) = page.listing("steps", "Step")
    assert line["Answers"] == "3"
    assert run.cost is not None
    assert page.facts["Cost"] == line["Cost"] == dollars(float(run.cost))
    (usage,) = run.usage.values()
    assert usage is not None
    assert page.facts["Tokens"] == f"{usage.prompt_tokens + usage.completion_tokens:,}"
    assert page.facts["Answers"] == "6"
    chart = page.charts("steps")["Answers over time (lines)"]
    assert sum(count for series in chart["series"] for count in series["counts"]) == 6
    assert sum(page.columns["cost"]) == pytest.approx(float(run.cost))


def test_costs_that_are_not_known_have_no_bars(tmp_path: Path) -> None:
    labelled(tmp_path / "run", 3)
    path = tmp_path / "run/run.json"
    costs = {"label": None, "other": 0.5}
    manifest = json.loads(path.read_text()) | {"cost_usd": None, "cost_usd_by_step": costs}
    path.write_text(json.dumps(manifest))
    chart = report(tmp_path / "run").charts("steps")["Cost by step (bars)"]
    assert (chart["bars"], chart["total"]) == ([["other", 0.5]], None)
    assert chart["about"] == "US dollars; not known: label"


def test_the_expression_of_a_filter_keeps_its_numbers(tmp_path: Path) -> None:
    chain = Chain(name="kept", steps=filter("n > 0.25", input_model=Input))
    chain.run([{"text": "x", "n": 0}], output_dir=tmp_path / "run")
    (line,) = report(tmp_path / "run").listing("failures", "Dropped by")
    assert line["Reason"] == "n > 0.25"


def test_small_costs_have_no_exponent() -> None:
    assert [dollars(it) for it in (0, 0.0000123, 0.00456, 12)] == [
        "$0.00",
        "$0.0000123",
        "$0.00456",
        "$12.00",
    ]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.0123, "12.3 ms"), (0.34, "0.34 s"), (1.9, "1 s"), (61, "1 min 1 s"), (7_321, "2 h 2 min")],
)
def test_the_time_of_a_run_is_in_the_unit_that_suits_it(seconds: float, text: str) -> None:
    start = datetime(2026, 1, 1, tzinfo=timezone.utc)
    assert duration(start, start + timedelta(seconds=seconds)) == text


def test_a_report_that_cannot_be_is_refused(tmp_path: Path) -> None:
    run = labelled(tmp_path / "run", 1)
    with pytest.raises(ConfigError, match="rows=-1: a page cannot show fewer rows than 0"):
        run.report(tmp_path / "page.html", rows=-1)
    with pytest.raises(OutputDirError, match=r"\.: cannot be written: Is a directory"):
        run.report(".")


def test_very_many_columns_are_left_to_the_rows(tmp_path: Path) -> None:
    def wide(row: Input) -> dict[str, int]:
        return {f"k{n}": n for n in range(250)}

    Chain(name="c", steps=[apply(wide)]).run([{"text": "a"}], output_dir=tmp_path / "run")
    keep_inputs(tmp_path / "run", [{"text": "a"}])
    page = report(tmp_path / "run")
    assert page.content["table"]["note"].startswith("51 more columns are shown only where")
    assert page.rows[0][0]["values"]["wide.k249"] == 249
    assert page.section("answers")[1]["text"] == "Only the first 200 charts are shown."


def test_pages_are_made_of_other_things_too(tmp_path: Path) -> None:
    columns = [Column("id", "number", "run"), Column("a"), Column("b", "category", options=["x"])]
    rows = (
        Row([n, "long " * 100, "x"], json.dumps([{"title": f"{n}", "values": {"a": n}}]).encode())
        for n in range(450)
    )
    section = Section("one", "One", [facts([("A", "1", "")]), charts([bars("t", [("x", 1)])])])
    write_page(Page("A and B", "", [section], Table(columns, rows)), tmp_path / "page.html")
    page = WrittenPage(tmp_path / "page.html")
    assert len(page.rows) == 450
    assert page.rows[449] == [{"title": "449", "values": {"a": 449}}]
    assert page.block("c0")["cut"] == [1]
    write_page(Page("Nothing", "", []), tmp_path / "page.html")
    assert WrittenPage(tmp_path / "page.html").content["table"] is None


def test_a_page_that_cannot_be_made_leaves_the_old_one(tmp_path: Path) -> None:
    path = tmp_path / "page.html"
    path.write_text("old")

    def rows() -> Any:
        yield Row([1], b"[]")
        raise OSError(28, "No space left on device")

    with pytest.raises(OutputDirError, match="No space left"):
        write_page(Page("p", "", [], Table([Column("a")], rows())), path)
    assert path.read_text() == "old"
    assert [*tmp_path.iterdir()] == [path]


def test_the_assets_are_built_from_their_sources() -> None:
    names = ["build.mjs", "package-lock.json", "package.json"]
    names += sorted(f"src/{it.name}" for it in (SOURCES / "src").iterdir())
    digest = hashlib.sha256()
    for name in names:
        digest.update(name.encode() + b"\0" + (SOURCES / name).read_bytes() + b"\0")
    built = (ASSETS / "sources.sha256").read_text().strip()
    assert built == digest.hexdigest(), "run `make report-assets`, which needs npm"
    assert sum(it.stat().st_size for it in ASSETS.iterdir()) <= 1_000_000
    notices = (ASSETS / "LICENSES.txt").read_text()
    for package in ["slickgrid", "@observablehq/plot", "@dagrejs/dagre", "d3-scale"]:
        assert re.search(rf"^{package} \d", notices, re.MULTILINE), package
    for name in ["page.js", "page.css"]:
        text = (ASSETS / name).read_text(encoding="utf-8")
        assert "</script" not in text.lower()
        assert "</style" not in text.lower()


def test_numbers_that_json_does_not_have_are_in_a_page(tmp_path: Path) -> None:
    numbers = iter([math.nan, math.inf, -math.inf, 1.5])

    def number(row: dict[str, str]) -> float:
        return next(numbers)

    text = 'NaN, "-Infinity" \\'
    run = Chain(name="numbers", steps=apply(number)).run(
        [{"text": text}] * 4, output_dir=tmp_path / "run"
    )
    page = tmp_path / "page.html"
    run.report(page)
    found = {}
    blocks = r'<script type="text/plain" id="(\w+)">(.*?)</script>'
    for id, packed in re.findall(blocks, page.read_text()):
        content = zlib.decompress(base64.b64decode(packed))
        found[id] = json.loads(content, parse_constant=pytest.fail)
    values = [row[0]["values"] for row in found["d0"]]
    assert [it["number"] for it in values] == ["NaN", "Infinity", "-Infinity", 1.5]
    assert [it["text"] for it in values] == [text] * 4
    assert [None, None, None, 1.5] in found["c0"]["columns"]
