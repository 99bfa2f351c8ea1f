"""What objects show of themselves: in one line, and as a card; never more with more data."""

from __future__ import annotations

import base64
import html.parser
import json
import re
import shutil
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from chainette import (
    Branch,
    Chain,
    Completion,
    EngineConfig,
    Group,
    LLMOutput,
    Result,
    Run,
    Step,
    Usage,
    apply,
    reduce,
    register_engine,
    repeat,
    route,
)
from chainette.errors import FailedRowError, ServerError
from chainette.messages.brief import brief
from chainette.reports.display.first_rows import LOOK
from chainette.reports.groups import GroupResult
from chainette.reports.result import ItemResult
from chainette.reports.run import Counts
from chainette.testing import fake_engine
from pydantic import BaseModel

MEGABYTE = "x" * 1_000_000
EVIL = "<script>alert('&')</script>\u202eabc\x1b[31m"
LINE, CARD = 300, 20_000


class In(BaseModel):
    text: str


class Out(BaseModel):
    label: str
    parts: list[str] = []


class Page(html.parser.HTMLParser):
    """The tags and texts of HTML."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.tags, self.texts, self.open = list[str](), list[str](), list[str]()
        self.feed(source)
        self.close()

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.tags.append(tag)
        self.open += [tag] if tag != "img" else []

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


def page(source: str) -> Page:
    """A card that is whole, small, and has no markup but ours."""
    assert len(source) < CARD
    found = Page(source)
    assert found.open == []
    assert not {"script", "style", "iframe", "a"} & {*found.tags}
    assert not re.search(r"[\u202a-\u202e\u2066-\u2069\x1b]", source)
    return found


def step(id: str, **fields: Any) -> Step[Any, Any]:
    """A step of an engine that does not exist."""
    options = {"input_model": In, "output_model": Out, "user_prompt": "{{ text }}"} | fields
    return Step(id=id, engine_name="e", **options)


def big_run(text: str = MEGABYTE) -> Run[Any]:
    """A run of 100,000 rows in memory."""
    value = Out(label=text, parts=[text] * 9)
    good = Result(0, value, outputs={"a": value})
    bad = Result(1, error=ServerError(text))
    line = {"row_id": 0, **{f"column {n} {text}": text for n in range(30)}, "a.label": text}
    return Run(
        results=[good, *[bad] * 99_999],
        counts=Counts(rows=100_000, ok=1, failed=99_999),
        usage={f"{n}{text[:100]}": Usage(prompt_tokens=10**9) for n in range(100)},
        costs={"a": Decimal("1234.5678")},
        seconds=1e6,
        path=Path("runs") / text[:5000],
        lines=lambda: iter([line] * 100_000),
        stopped=ServerError(text),
    )


VALUE = Out(label=MEGABYTE, parts=[MEGABYTE] * 99)
ERROR = FailedRowError(MEGABYTE, type="ServerError")
OUTPUTS = {f"n{n}": VALUE for n in range(500)}
COMPLETION = Completion(MEGABYTE, parsed=VALUE, reasoning_content=MEGABYTE)
BIG: dict[str, Callable[[], Any]] = {
    "run": big_run,
    "evil run": lambda: big_run(EVIL * 1000),
    "result": lambda: Result(7, VALUE, outputs=OUTPUTS, reasoning={"a": MEGABYTE}),
    "failed result": lambda: Result(7, error=ERROR),
    "split result": lambda: Result(7, [VALUE] * 10_000, outputs={"a": [VALUE] * 10_000}),
    "text result": lambda: Result(7, MEGABYTE, outputs={"a": MEGABYTE}),
    "item": lambda: ItemResult("1.2", "ok", VALUE, ERROR, OUTPUTS, MEGABYTE),
    "group": lambda: GroupResult((MEGABYTE, 3), range(10**6), VALUE, ERROR, "partial", OUTPUTS),
    "completion": lambda: COMPLETION,
    "output": lambda: LLMOutput([COMPLETION] * 99, Usage(10**9), error=ServerError(MEGABYTE)),
    "no output": lambda: LLMOutput([]),
    "step": lambda: step("a", user_prompt="{{ text }}" + MEGABYTE, system_prompt=EVIL * 999),
    "function": lambda: apply(len, id="f", input_model=In, output_model=int),
    "branch": lambda: Branch("b" * 50, [step("a")] * 100),
    "pipe": lambda: step("b", output_model=In) >> step("a"),
    "chain": lambda: Chain(name="c", steps=[step(f"a{n}", output_model=In) for n in range(100)]),
    "config": lambda: EngineConfig(
        name="e", backend="b", extra_body={"more": MEGABYTE}, headers={"a": "b"}
    ),
}


@pytest.mark.parametrize("name", BIG)
def test_no_text_and_no_card_grows_with_the_data(name: str) -> None:
    value = BIG[name]()
    assert len(repr(value)) < LINE
    assert "\n" not in repr(value)
    if (card := getattr(value, "_repr_html_", None)) is not None:
        page(card())


def test_results_in_memory_and_on_disk_are_one_line(tmp_path: Path) -> None:
    chain = Chain(name="c", steps=[apply(lambda it: it, id="f", input_model=In, output_model=In)])
    rows = [{"text": "t" * 999}] * 50
    kept = chain.run(rows).results
    assert repr(kept).startswith("<50 results, first Result(row_id=0, state='ok', value=In(text=")
    assert len(repr(kept)) < LINE
    assert kept == list(kept)
    stored = chain.run(rows, output_dir=tmp_path / "run").results
    assert repr(stored) == f"<50 results in {tmp_path / 'run'}>"
    assert repr(Run([], Counts()).results) == "[]"


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, "Run(0 rows: 0 ok, 0 s)"),
        ({"counts": Counts(rows=1, ok=1), "seconds": 0.25}, "Run(1 row: 1 ok, 0.2 s)"),
        (
            {
                "counts": Counts(rows=1000, ok=990, failed=10),
                "costs": {"a": Decimal("0.1234")},
                "seconds": 181,
                "path": Path("runs/x"),
            },
            "Run(1,000 rows: 990 ok, 10 failed, $0.1234, 3 min, runs/x)",
        ),
        (
            {"counts": Counts(rows=9, ok=1, partial=2, dropped=3, failed=3), "interrupted": True},
            "Run(9 rows: 1 ok, 2 partial, 3 dropped, 3 failed, interrupted, 0 s)",
        ),
        ({"costs": {"a": None}, "stopped": ServerError("x")}, "0 ok, stopped, cost unknown, 0 s)"),
        ({"nothing_to_do": True}, "Run(0 rows: 0 ok, nothing to do, 0 s)"),
    ],
)
def test_a_run_is_one_line(fields: dict[str, Any], expected: str) -> None:
    assert repr(Run(**{"results": [], "counts": Counts(), **fields})).endswith(expected)


def test_a_card_shows_the_rows_and_the_reasons_of_a_run(tmp_path: Path) -> None:
    answers = {"bad": "no JSON", "": Out(label=EVIL)}
    with fake_engine("e", answers, max_retries=0):
        chain = Chain(name="c", steps=[step("a")])
        rows = [{"text": "bad" if n in (0, 8) else f"good {n}"} for n in range(10)]
        for run in (chain.run(rows), chain.run(rows, output_dir=tmp_path / "run")):
            shown = page(run._repr_html_())
            words = " ".join(shown.texts)
            assert "10 rows" in words
            assert "8 ok, 2 failed" in words
            assert shown.texts.count(EVIL.replace("\u202e", "\\u202e").replace("\x1b", "\\u001b"))
            assert [it for it in shown.texts if it in "0123456789"][:5] == [*"12345"]
            assert "StructuredOutputError" in words
    assert str(tmp_path / "run") in words


def test_a_card_reads_only_the_first_lines(tmp_path: Path) -> None:
    read = 0

    def lines() -> Iterator[dict[str, Any]]:
        nonlocal read
        for read in range(1, 10**6):
            yield {"row_id": read - 1, "a.label": f"label {read}"}

    (tmp_path / "errors.jsonl").write_text(
        "".join(
            json.dumps({"row_id": n, "node_id": "a", "type": "E", "message": f"{n} is bad"}) + "\n"
            for n in range(10 * LOOK)
        )
        + '{"torn'
    )
    counts = Counts(rows=10**6, ok=10**6 - 10 * LOOK, failed=10 * LOOK)
    run = Run([], counts, lines=lines, path=tmp_path, node_ids=["a"])
    words = " ".join(page(run._repr_html_()).texts)
    assert read <= LOOK
    assert "label 5" in words
    assert "label 6" not in words
    assert "and 999,995 more rows" in words
    assert f"of the first {LOOK} failures" in words
    assert f"{LOOK} a: E: 0 is bad" in re.sub(r"\s+reason", "", words).replace("  ", " ")


def test_a_card_of_a_run_whose_folder_is_gone_is_still_a_card(tmp_path: Path) -> None:
    chain = Chain(name="c", steps=[apply(lambda it: it, id="f", input_model=In, output_model=In)])
    run = chain.run([{"text": "t"}], output_dir=tmp_path / "run")
    shutil.rmtree(tmp_path / "run")
    assert "1 ok" in " ".join(page(run._repr_html_()).texts)


def test_rows_that_failed_are_shown_where_there_are_no_others() -> None:
    with fake_engine("e", {"": "no JSON"}, max_retries=0):
        run = Chain(name="c", steps=[step("a")]).run([{"text": "t"}])
    assert "1 failed" in page(run._repr_html_()).texts[-1] or "1 failed" in run._repr_html_()
    assert "StructuredOutputError" in page(run.results[0]._repr_html_()).texts[-1]


def drawn(chain: Any) -> str:
    """The picture in the HTML of a chain."""
    source = chain._repr_html_()
    page(source)
    data = re.search(r'src="data:image/svg\+xml;base64,([^"]+)"', source)
    assert data is not None
    return base64.b64decode(data[1]).decode()


def test_a_chain_is_drawn_with_its_joins_cases_and_groups() -> None:
    french = Branch("fr", [step("french")]).join("fr")
    way = (
        route("label", id="way")
        .case("good", step("praise", input_model=Out, output_model=In, user_prompt="{{ label }}"))
        .default(step("regret", input_model=Out, output_model=In, user_prompt="{{ label }}"))
    )
    again = repeat(step("draft", output_model=In), until="text", max_rounds=2, id="again")
    last = reduce(apply(lambda group: group.key, id="all"), by="text")
    steps = [french, step("kind", user_prompt="{{ fr.label }} {{ text }}"), way, again, last]
    picture = drawn(Chain(name=EVIL, steps=steps))
    for word in ("french", "kind", ">fr<", ">good<", ">default<", "by text", "draft", ">all<"):
        assert word in picture
    assert "<script" not in picture
    assert "prefers-color-scheme:dark" in picture


def test_a_picture_is_wholly_made_of_what_fits_in_it() -> None:
    branches = [
        Branch(f"b{n}", [step(f"s{n}"), step(f"t{n}", input_model=Out, user_prompt="{{ label }}")])
        for n in range(60)
    ]
    chain = Chain(name="wide", steps=branches)
    assert "… and 96 more nodes" in chain._repr_html_()
    assert "NaN" not in drawn(chain)


def test_a_step_shows_its_engine_and_prompts_as_they_are() -> None:
    texts = page(
        step(
            "a",
            system_prompt=f"Be kind. {EVIL[:20]}",
            sampling={"temperature": 0.5},
            when="text != ''",
        )._repr_html_()
    ).texts
    for word in ("a", "engine", "e", "{{ text }}", "temperature=0.5", "text != ''"):
        assert word in texts
    turns = [{"role": "user", "content": "Say {{ text }}"}]
    assert "Say {{ text }}" in page(step("a", user_prompt=None, messages=turns)._repr_html_()).texts


def test_the_repr_of_an_engine_has_what_was_set_and_no_secret() -> None:
    config = register_engine(
        "secretive",
        backend="openai",
        model="m",
        endpoint="https://user:sk-1@host/v1?key=sk-2",
        api_key="sk-3",
        headers={"X-Key": "sk-4"},
        extra_body={"token": "sk-5"},
        timeout=5,
    )
    assert "sk-" not in repr(config) + str(config)
    assert "timeout=5.0" in repr(config)
    assert "max_retries" not in repr(config)


def test_a_group_is_short_in_ipython_and_whole_in_prompts() -> None:
    group = Group[In](key="k" * 999, items=[In(text="t")] * 1000, row_ids=[*range(1000)])
    said: list[str] = []
    group._repr_pretty_(SimpleNamespace(text=said.append), False)
    assert said[0].endswith(", 1,000 items)")
    assert len(said[0]) < LINE
    assert str(group).count("In(text='t')") == 1000


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("a", "'a'"),
        (Out(label="x"), "Out(label='x', parts=[])"),
        ([Out(label="x")] * 9, "[Out(label='x', parts=[]), "),
        (b"1" * 10**6, "b'111"),
        (type("Text", (str,), {})("a" * 10**6), "'aaa"),
        (type("Many", (list,), {})([1] * 10**6), "<Many of 1,000,000>"),
        (None, "None"),
        ({"a": {"b": {"c": {"d": {"e": 1}}}}}, "{'a': {'b': {'c': {...}}}}"),
    ],
)
def test_short_texts_of_values(value: Any, expected: str) -> None:
    assert brief(value).startswith(expected)
    assert len(brief(value, 30)) <= 30
