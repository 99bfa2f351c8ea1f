"""`run.diff` and `chainette diff`: two runs, or a run and labels."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from io import StringIO
from pathlib import Path
from typing import Any, Literal

import pytest
from chainette import Chain, Drop, Run, apply, split
from chainette.errors import ConfigError, InputError, OutputDirError
from chainette.reports.comparing.comparison import compare
from chainette.reports.comparing.difference import Difference
from chainette.reports.comparing.text import MAX_ROWS
from pydantic import BaseModel

A_SCHEMA: dict[str, Any] = {
    "properties": {
        "topic": {"enum": ["a", "b", "c"]},
        "score": {"type": "number"},
        "text": {"type": "string"},
        "tags": {"type": "array"},
        "word": {"anyOf": [{"type": "string"}, {"type": "null"}]},
        "seen": {"type": "boolean"},
        "more": {"$ref": "#/$defs/More"},
    },
    "$defs": {"More": {"type": "object"}},
}


def write(
    path: Path,
    lines: list[dict[str, Any]],
    *,
    digest: str | None = "same",
    schema: dict[str, Any] = A_SCHEMA,
    latencies: Sequence[float] = (),
    **manifest: Any,
) -> Path:
    """A run's folder, as a run leaves it; a line is (at least) the columns of inputs and nodes."""
    for folder in ("flattened", "steps/label"):
        (path / folder).mkdir(parents=True)
    node = {"id": "label", "kind": "step", "engine": "small"}
    graph = {"nodes": [node], "edges": [], "schemas": {"label": schema}}
    content = {"status": "finished", "inputs": {"sha256": digest}, "counts": {"rows": len(lines)}}
    (path / "graph.json").write_text(json.dumps(graph))
    (path / "run.json").write_text(json.dumps(content | manifest))
    rows = ({"row_id": number, **line} for number, line in enumerate(lines))
    (path / "flattened/000000.jsonl").write_text("".join(json.dumps(it) + "\n" for it in rows))
    steps = ({"row_id": row, "output": {}, "latency": it} for row, it in enumerate(latencies))
    (path / "steps/label/000000.jsonl").write_text("".join(json.dumps(it) + "\n" for it in steps))
    return path


def pair(tmp_path: Path, first: list[Any], second: list[Any], field: str = "word") -> Difference:
    """The comparison of two runs that differ in one field."""
    sides = [
        write(tmp_path / name, [{f"label.{field}": it} if it is not ... else {} for it in values])
        for name, values in (("a", first), ("b", second))
    ]
    return compare(*sides)


@pytest.mark.parametrize(
    ("a", "b", "equal", "alike", "mixed"),
    [
        ("x", "x", True, False, False),
        ("x", "X ", False, True, False),
        ("x", " x", False, True, False),
        ("caf\u00e9", "cafe\u0301", False, True, False),
        ("stra\u00dfe", "STRASSE", False, True, False),
        ("x\u00b2", "x2", False, False, False),
        (1, "1", False, True, True),
        (1, 1.0, True, False, False),
        (1, True, False, False, True),
        (0, False, False, False, True),
        (True, "true", False, True, True),
        (2**53, float(2**53), True, False, False),
        (2**53 + 1, float(2**53), False, False, False),
        (None, None, True, False, False),
        (None, "null", False, False, False),
        (None, "", False, False, False),
        ("", " ", False, True, False),
        ([1, 2], [2, 1], False, False, False),
        ([1], [1.0], True, False, False),
        ([1], [True], False, False, False),
        ({"x": 1, "y": [2]}, {"y": [2.0], "x": 1}, True, False, False),
        ({"x": 1}, {"x": "1"}, False, False, False),
        ({"x": None}, {}, False, False, False),
        ([], {}, False, False, True),
        (float("nan"), float("nan"), True, False, False),
        (float("nan"), None, False, False, False),
        (float("inf"), float("inf"), True, False, False),
        (10**400, 10**400, True, False, False),
        (10**400, 1.0, False, False, False),
    ],
)
def test_values_are_equal_by_what_they_are(
    tmp_path: Path, a: Any, b: Any, equal: bool, alike: bool, mixed: bool
) -> None:
    field = pair(tmp_path, [a], [b])["label.word"]
    assert (field.agreement.count, field.agreement.total) == (int(equal), 1)
    assert (field.alike, field.mixed) == (int(alike), int(mixed))


def test_a_missing_value_is_not_null(tmp_path: Path) -> None:
    found = pair(tmp_path, [None, ..., None, "x", ...], [None, None, ..., ..., ...])
    field = found["label.word"]
    assert (field.agreement.count, field.agreement.total) == (1, 1)
    assert (field.only_first, field.only_second) == (2, 1)
    assert found.rows.differing == 3


def test_folding_is_asked_for(tmp_path: Path) -> None:
    values = [["Yes", 1, True, "a", None], [" yes", "1", "TRUE", "b", "none"]]
    a, b = (
        write(tmp_path / name, [{"label.word": it} for it in column])
        for name, column in zip("ab", values, strict=True)
    )
    assert compare(a, b)["label.word"].agreement.count == 0
    assert compare(a, b)["label.word"].alike == 3
    folded = compare(a, b, fold=True)
    assert folded["label.word"].agreement.count == 3
    assert folded["label.word"].alike == 0
    assert [row.id for row in folded.differing()] == [3, 4]
    assert "without their case" in str(folded)


def test_folded_labels_are_one_class_whatever_the_answer(tmp_path: Path) -> None:
    answers = ["x", None, ["x"]]
    lines = [{"gold": " X ", "label.word": it} for it in answers]
    found = compare(
        write(tmp_path / "a", lines), None, gold="gold", fields=["label.word"], fold=True
    )
    (scores,) = found.gold
    assert [(it.name, it.support) for it in scores.classes if it.support] == [("x", 3)]
    assert scores.accuracy.count == 1


@pytest.mark.parametrize(
    ("field", "values", "kind"),
    [
        ("topic", ["a"], "category"),
        ("seen", [True], "category"),
        ("score", [1], "number"),
        ("text", ["one", "two", "three"], "text"),
        ("text", ["yes", "no"] * 3, "category"),
        ("text", ["x" * 61] * 6, "text"),
        ("text", [*map(str, range(50))] * 3, "text"),
        ("tags", [[]], "list"),
        ("more", [{}], "object"),
        ("unknown", [1, 2], "number"),
        ("unknown", [1, "x"], "value"),
        ("unknown", [None], "value"),
        ("unknown", [True, None], "category"),
        ("unknown", [[1]], "list"),
    ],
)
def test_a_field_is_compared_as_its_type(
    tmp_path: Path, field: str, values: list[Any], kind: str
) -> None:
    assert pair(tmp_path, values, values, field)[f"label.{field}"].kind == kind


def test_types_that_differ_leave_it_to_the_values(tmp_path: Path) -> None:
    lines = [{"label.topic": it} for it in (1, 2, 3)]
    other = {"properties": {"topic": {"type": "integer"}}}
    found = compare(
        write(tmp_path / "a", [{"label.topic": str(it["label.topic"])} for it in lines]),
        write(tmp_path / "b", lines, schema=other),
    )
    field = found["label.topic"]
    assert (field.kind, field.mixed, field.alike) == ("value", 3, 3)


def test_categories_are_crossed(tmp_path: Path) -> None:
    first = ["a"] * 20 + ["a"] * 5 + ["b"] * 10 + ["b"] * 15
    second = ["a"] * 20 + ["b"] * 5 + ["a"] * 10 + ["b"] * 15
    field = pair(tmp_path, first, second, "topic")["label.topic"]
    assert field.confusion == {("a", "a"): 20, ("a", "b"): 5, ("b", "a"): 10, ("b", "b"): 15}
    assert field.kappa == pytest.approx(0.4)
    assert field.categories == ["a", "b"]


def test_a_text_that_looks_like_a_number_is_a_category_of_its_own(tmp_path: Path) -> None:
    field = pair(tmp_path, ["1", 1, "true", True], [1, 1, True, True], "topic")["label.topic"]
    assert field.confusion == {
        ('"1"', "1"): 1, ("1", "1"): 1, ('"true"', "true"): 1, ("true", "true"): 1,
    }  # fmt: skip


def test_numbers_without_a_finite_difference_are_left_out_of_it(tmp_path: Path) -> None:
    values = [float("nan"), float("inf"), 10**400, 1, 2.5]
    spread = pair(tmp_path, values, [1, float("inf"), 1.5, 2, 2], "score")["label.score"].difference
    assert spread is not None
    assert (spread.count, spread.mean) == (2, 0.25)


def test_numbers_have_a_difference(tmp_path: Path) -> None:
    spread = pair(tmp_path, [1, 2, 3, 4, "x"], [2, 2, 1.0, 8, 5], "score")["label.score"].difference
    assert spread is not None
    assert (spread.count, spread.mean, spread.absolute, spread.median) == (4, 0.75, 1.75, 0.5)
    assert spread.quantiles[0] == -2
    assert spread.quantiles[-1] == 4


@pytest.mark.parametrize(
    ("a", "b", "f1"),
    [
        ("the red house", "The house, red!", 1.0),
        ("a a b", "a b b", 2 * 2 / 6),
        ("one", "two", 0.0),
        ("", "", 1.0),
        ("", "one", 0.0),
        ("...", "!", 0.0),
        ("\u4eca\u65e5\u6674", "\u4eca\u65e5\u96e8", 4 / 6),
    ],
)
def test_texts_have_words_in_common(tmp_path: Path, a: str, b: str, f1: float) -> None:
    assert pair(tmp_path, [a], [b], "text")["label.text"].similarity == pytest.approx(f1)


def test_lists_have_items_in_common(tmp_path: Path) -> None:
    first, second = [["x", "y"], [], ["x", "x"], ["z"]], [["y", "w"], [], ["x"], ["z"]]
    field = pair(tmp_path, first, second, "tags")["label.tags"]
    assert field.agreement.count == 2
    assert field.similarity == pytest.approx((1 / 3 + 1 + 1 + 1) / 4)


def test_rows_are_matched_by_number_and_item(tmp_path: Path) -> None:
    a = write(tmp_path / "a", [{"item": "0", "label.word": "x"}, {"label.word": "y"}])
    lines = [
        {"row_id": 0, "item": "2", "label.word": "x"},
        {"row_id": 0, "item": "10", "label.word": "x"},
        {"row_id": 2, "label.word": "x"},
    ]
    b = write(tmp_path / "b", lines)
    assert compare(a, b).rows.matched == 0
    both = compare(b, b)
    assert (both.rows.matched, both.rows.differing) == (3, 0)
    assert (compare(a, b).rows.only_first, compare(a, b).rows.only_second) == (2, 3)


@pytest.mark.parametrize(("first", "second"), [("one", "two"), (None, None), ("one", None)])
def test_other_inputs_need_an_id(tmp_path: Path, first: str | None, second: str | None) -> None:
    a = write(tmp_path / "a", [{"label.word": "x"}], digest=first)
    b = write(tmp_path / "b", [{"label.word": "x"}], digest=second)
    with pytest.raises(ConfigError, match=r"on='id'"):
        compare(a, b)


def test_rows_are_matched_by_an_id(tmp_path: Path) -> None:
    a = write(tmp_path / "a", [
        {"id": 7, "label.word": "x"},
        {"id": 8, "label.word": "y"},
        {"id": None, "label.word": "z"},
        {"id": "nine", "label.word": "w"},
    ], digest="one")  # fmt: skip
    b = write(tmp_path / "b", [
        {"id": 8, "label.word": "other"},
        {"id": 7.0, "label.word": "x"},
        {"id": "Nine ", "label.word": "w"},
        {"label.word": "z"},
        {"id": "7", "label.word": "x"},
    ], digest="two")  # fmt: skip
    found = compare(a, b, on="id")
    assert (found.rows.matched, found.rows.only_first, found.rows.only_second) == (2, 2, 3)
    assert (found.rows.without_id, found.rows.alike) == ((1, 1), 1)
    assert [(row.id, row.first, row.second) for row in found.differing()] == [
        (8, {"label.word": "y"}, {"label.word": "other"})
    ]
    assert "1 id more would match" in str(found)
    assert [it.name for it in found.fields] == ["label.word"]


def test_folded_ids_match(tmp_path: Path) -> None:
    a = write(tmp_path / "a", [{"id": 7}, {"id": "x"}], digest="one")
    b = write(tmp_path / "b", [{"id": "X"}, {"id": "7"}], digest="two")
    assert compare(a, b, on="id").rows.matched == 0
    assert compare(a, b, on="id", fold=True).rows.matched == 2


@pytest.mark.parametrize("side", ["a", "b"])
def test_an_id_that_occurs_twice_is_refused(tmp_path: Path, side: str) -> None:
    lines = {"a": [{"id": 1}, {"id": 2}], "b": [{"id": 1}, {"id": 2}]}
    lines[side] = [{"id": "one"}, {"id": "one"}]
    paths = [write(tmp_path / name, it, digest=name) for name, it in lines.items()]
    with pytest.raises(InputError, match=rf"{side}: .* more than once: one"):
        compare(*paths, on="id")


def test_items_of_a_row_share_its_id(tmp_path: Path) -> None:
    items = [{"row_id": 0, "item": str(n), "id": "x", "label.word": n} for n in range(3)]
    a, b = (write(tmp_path / name, items, digest=name) for name in "ab")
    assert compare(a, b, on="id").rows.matched == 3
    other = [*items, {"row_id": 5, "item": "7", "id": "x"}]
    before = [{"row_id": 0, "id": "x"}, {"row_id": 1, "item": "0", "id": "x"}]
    for name, lines in {"c": other, "d": before, "e": before[::-1]}.items():
        with pytest.raises(InputError, match="more than once"):
            compare(a, write(tmp_path / name, lines, digest=name), on="id")


class Parts(BaseModel):
    label: str
    parts: list[str]


def parts(label: str) -> Any:
    def labelled(row: dict[str, Any]) -> Parts:
        return Parts(label=label, parts=row["parts"])

    def kept(part: str) -> str:
        if part == label:
            raise Drop("not this one")
        return part

    steps = apply(labelled) >> split("parts") >> apply(kept)
    return Chain(name="parts", steps=steps)


def test_an_output_in_front_of_a_split_is_counted_once_for_all_items(tmp_path: Path) -> None:
    rows = [{"parts": ["a", "b", "c"], "gold": "a"}, {"parts": ["b"], "gold": "b"}]
    a, b = (parts(it).run(rows, output_dir=tmp_path / it) for it in "ac")
    found = a.diff(b, gold="gold", fields=["labelled.label", "kept"])
    label, kept = found["labelled.label"], found["kept"]
    assert (label.agreement.count, label.agreement.total) == (0, 2)
    assert (label.only_first, label.only_second) == (0, 0)
    assert (kept.agreement.total, kept.only_first, kept.only_second) == (2, 1, 1)
    found = a.diff(b, gold="gold", fields=["labelled.label"])
    assert [(it.accuracy.count, it.accuracy.total, it.unanswered) for it in found.gold] == [
        (1, 2, 0),
        (0, 2, 0),
    ]


def test_a_text_says_what_has_no_figures(tmp_path: Path) -> None:
    none = pair(tmp_path / "none", ["x", ...], [..., "x"])
    assert "label.word (value): no row has it in both, 1 only in A, 1 only in B" in str(none)
    some = pair(tmp_path / "some", [1.0, float("nan")], [2.0, 3.0], "score")
    assert "B - A of 1: mean 1" in str(some)


def test_the_title_of_a_narrow_table_is_not_broken(tmp_path: Path) -> None:
    from chainette.cli.shown.differences import tables
    from rich.console import Console

    found = pair(tmp_path, ["a", "b"], ["b", "a"], "topic")
    written = StringIO()
    console = Console(width=80, file=written)
    for part in tables(found, 3, 80):
        console.print(part)
    assert "label.topic: A down, B across\n" in written.getvalue()


def test_a_column_that_is_not_there_is_named(tmp_path: Path) -> None:
    a = write(tmp_path / "a", [{"uid": 1, "label.word": "x"}])
    with pytest.raises(ConfigError, match=r"on: .* no input column 'uids' \(did you mean 'uid'"):
        compare(a, a, on="uids")
    with pytest.raises(ConfigError, match=r"gold: .* no input column 'label.word'"):
        compare(a, None, gold="label.word")
    with pytest.raises(ConfigError, match=r"no field 'label.wrd' \(did you mean 'label.word'"):
        compare(a, a, fields=["label.wrd"])
    with pytest.raises(ConfigError, match="give a second run"):
        compare(a, None)
    with pytest.raises(OutputDirError, match="none: no such folder"):
        compare(a, tmp_path / "none")


def test_fields_can_be_chosen_and_have_other_names(tmp_path: Path) -> None:
    a = write(tmp_path / "a", [{"label.word": "x", "label.topic": "a", "label.score": 1}])
    b = write(tmp_path / "b", [{"label.other": "x", "label.topic": "b"}])
    found = compare(a, b, fields=["label.word=label.other"])
    assert [it.name for it in found.fields] == ["label.word"]
    assert found.rows.differing == 0
    whole = compare(a, b)
    assert [it.name for it in whole.fields] == ["label.topic"]
    assert whole.only_first == ("label.word", "label.score")
    assert whole.only_second == ("label.other",)
    assert {it.name for it in compare(a, a, fields=["label"]).fields} == {
        "label.word", "label.topic", "label.score",
    }  # fmt: skip


def test_failures_cost_and_latency_are_side_by_side(tmp_path: Path) -> None:
    usage = {"prompt_tokens": 10, "completion_tokens": 5}
    fields = {"usage": usage, "usage_by_step": {"label": usage}, "cost_usd_by_step": {"label": 0.5}}
    fine, bad = {"label.word": "x"}, {"error.message": "no"}
    a = write(
        tmp_path / "a", [fine, bad, bad, fine], latencies=[1, 2, 3, 4], cost_usd=0.5, **fields
    )
    b = write(tmp_path / "b", [fine, fine, bad, bad], status="running", cost_usd=None)
    found = compare(a, b)
    assert (found.rows.failed_first, found.rows.failed_second, found.rows.failed_both) == (1, 1, 1)
    latency = found.first.steps["label"].latency
    assert latency is not None
    assert (latency.count, latency.median, latency.p95) == (4, 2.5, pytest.approx(3.85))
    text = str(found)
    assert "cost: $0.5000 | unknown" in text
    assert "tokens: 10 + 5 | unknown" in text
    assert "B is not complete: its status is 'running, or killed'" in text


def test_labels_of_the_inputs_are_gold(tmp_path: Path) -> None:
    lines = [
        {"topic": "a", "label.topic": "a"},
        {"topic": "a", "label.topic": "b"},
        {"topic": "b ", "label.topic": "b"},
        {"topic": "c", "label.topic": "c"},
        {"topic": None, "label.topic": "c"},
        {"topic": " ", "label.topic": "c"},
        {"label.topic": "c"},
        {"topic": "a", "error.message": "failed"},
    ]
    found = compare(write(tmp_path / "a", lines), None, gold="topic")
    (gold,) = found.gold
    assert (gold.field, gold.column) == ("label.topic", "topic")
    assert (gold.accuracy.count, gold.accuracy.total) == (2, 4)
    assert (gold.alike, gold.unlabelled, gold.unanswered) == (1, 3, 1)
    assert [(row.id, row.first, row.second) for row in found.differing()] == [
        (1, {"label.topic": "b"}, {"topic": "a"}),
        (2, {"label.topic": "b"}, {"topic": "b "}),
    ]
    assert compare(write(tmp_path / "b", lines), None, gold="topic", fold=True).gold[0].alike == 0
    text = str(found)
    assert "1 more equal but for case, space or type (with fold)" in text
    assert "3 without a label" in text
    assert "1 without an answer, not counted" in text


def test_two_runs_are_compared_on_the_same_labels(tmp_path: Path) -> None:
    answers = {"a": ["a"] * 10 + ["b"] * 2, "b": ["b"] * 9 + ["a"] * 3}
    paths = [
        write(
            tmp_path / name,
            [{"gold": g, "label.topic": it} for g, it in zip(["a"] * 12, column, strict=True)],
        )
        for name, column in answers.items()
    ]
    found = compare(*paths, gold="gold")
    assert [it.accuracy.count for it in found.gold] == [10, 3]
    (paired,) = found.paired
    assert (paired.first, paired.second) == (9, 2)
    assert paired.p == pytest.approx(0.0654296875)  # scipy.stats.binomtest(2, 11).pvalue


def test_a_label_needs_one_field(tmp_path: Path) -> None:
    a = write(tmp_path / "a", [{"gold": "a", "label.topic": "a", "label.word": "a"}])
    with pytest.raises(ConfigError, match=r"which field .*: label.topic, label.word"):
        compare(a, None, gold="gold")
    both = compare(a, None, gold="gold", fields=["label.topic", "label.word"])
    assert [it.field for it in both.gold] == ["label.topic", "label.word"]


class Row(BaseModel):
    n: int


class Label(BaseModel):
    topic: Literal["low", "high"]


def low(row: Row) -> Label:
    return Label(topic="low" if row.n < 3 else "high")


def lower(row: Row) -> Label:
    if row.n == 0:
        raise ValueError("zero")
    return Label(topic="low" if row.n < 2 else "high")


def ran(function: Any, path: Path | None, rows: int = 5) -> Run[Label]:
    chain = Chain(name="labels", steps=[apply(function, id="label")])
    return chain.run([{"n": n} for n in range(rows)], output_dir=path)


def test_runs_of_chains_are_compared(tmp_path: Path) -> None:
    first, second = ran(low, tmp_path / "a"), ran(lower, tmp_path / "b")
    found = first.diff(second)
    assert found["label.topic"].kind == "category"
    assert (found.rows.matched, found.rows.differing, found.rows.failed_second) == (5, 2, 1)
    assert [row.id for row in found.differing()] == [0, 2]
    assert found.as_dict() == first.diff(tmp_path / "b").as_dict()
    with pytest.raises(ConfigError, match="no folder"):
        first.diff(ran(low, None))
    with pytest.raises(KeyError, match=r"label\.topic"):
        found["topic"]
    with pytest.raises(ConfigError, match="different inputs"):
        first.diff(ran(low, tmp_path / "c", rows=6))


def test_a_text_lists_the_first_rows_and_controls_no_terminal(tmp_path: Path) -> None:
    found = pair(tmp_path, ["\x1b[2J" + "x" * 500] * 40, ["y\n\u202e"] * 40, "word")
    text = str(found)
    assert "\x1b" not in text
    assert text.count("label.word:") == MAX_ROWS
    assert all(len(line) < 400 for line in text.splitlines())


@pytest.mark.parametrize("width", [80, 160])
def test_a_terminal_shows_it_in_its_width(tmp_path: Path, width: int) -> None:
    from chainette.cli.shown.differences import tables
    from rich.console import Console

    topics = [f"topic number {n} of very many" for n in range(30)]
    a, b = (
        write(tmp_path / name, [
            {"gold": it, "label.topic": other, "label.text": f"{name} \x1b[2J " * 90}
            for it, other in zip(topics * 3, (topics * 4)[shift:], strict=False)
        ])
        for name, shift in (("a", 0), ("b", 1))
    )  # fmt: skip
    console = Console(width=width, record=True, file=open(os.devnull, "w"))  # noqa: SIM115, PTH123
    found = compare(a, b, gold="gold", fields=["label"] if width == 160 else ["label.topic"])
    for part in tables(found, 5, width):
        console.print(part)
    text = console.export_text()
    console.file.close()
    assert max(map(len, text.splitlines())) <= width
    assert "(others)" in text
    assert "rows that differ" in text
    assert "\x1b" not in text


def test_the_command_prints_json_lines(in_process: Any, tmp_path: Path) -> None:
    write(tmp_path / "a", [{"gold": "x", "label.word": "x"}, {"gold": "y", "label.word": "x"}])
    write(tmp_path / "b", [{"gold": "x", "label.word": "x"}, {"gold": "y", "label.word": "y"}])
    outcome = in_process("diff", "a", "b", "--gold", "gold")
    assert outcome.returncode == 0, outcome.stderr
    lines = [json.loads(line) for line in outcome.stdout.splitlines()]
    assert [it["kind"] for it in lines] == ["runs", "field", "gold", "gold", "row"]
    assert lines[-1] == {"kind": "row", "id": 1, "a": {"label.word": "x"}, "b": {"label.word": "y"}}
    whole = json.loads(in_process("diff", "a", "b", "--json").stdout)
    assert whole["fields"][0]["agreement"]["count"] == 1
    for words, message in {
        ("a",): "--gold",
        ("a", "none"): "none: no such folder",
        ("a", "b", "--on", "id"): "no input column 'id'",
    }.items():
        refused = in_process("diff", *words)
        assert refused.returncode == 2
        assert message in refused.stderr


def test_memory_does_not_grow_with_rows_that_are_matched_by_number(tmp_path: Path) -> None:
    import tracemalloc

    peaks = []
    for rows in (500, 4000):
        lines = [{"text": "x" * 1000, "label.topic": "a", "label.word": "x" * 200}] * rows
        a, b = (write(tmp_path / f"{name}{rows}", lines) for name in "ab")
        tracemalloc.start()
        compare(a, b)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < peaks[0] + 200_000
