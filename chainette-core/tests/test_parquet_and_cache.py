"""Tables as Parquet files, other inputs, and cached answers."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from chainette import Chain, Step, apply
from chainette.errors import ConfigError, InputError, RateLimitError
from chainette.run.output.parquet import write_table
from chainette.testing import fake_engine
from chainette.usage import Usage
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel


class Row(BaseModel):
    n: int


class Answer(BaseModel):
    text: str
    tags: list[str] = []
    extra: dict[str, int] | None = None


def step(id: str = "a", prompt: str = "{{ n }}", input_model: Any = Row) -> Step:
    return Step(
        id=id,
        input_model=input_model,
        output_model=Answer,
        engine_name="e",
        user_prompt=prompt,
    )


def answer(messages: Any) -> Answer:
    n = int(messages[-1]["content"].split()[0])
    if n == 3:
        raise RateLimitError("too many")
    return Answer(text=f"t{n}", tags=["x"] * (n % 3), extra={"k": n} if n % 2 else None)


def test_tables_of_a_run_are_written_as_parquet(tmp_path: Path) -> None:
    def split(row: Row) -> list[Row]:
        return [row] * 2

    chain = Chain(name="c", steps=[apply(split), step()])
    with fake_engine("e", answer):
        run = chain.run([{"n": n} for n in range(5)], output_dir=tmp_path / "run", fmt="parquet")
    table = pq.read_table(tmp_path / "run/flattened.parquet").to_pylist()
    assert [(line["row_id"], line["item"]) for line in table] == [
        (row, item) for row in range(5) for item in ("0", "1")
    ]
    assert table[2]["a.text"] == "t1"
    assert table[2]["a.tags"] == ["x"]
    assert json.loads(table[2]["a.extra"]) == {"k": 1}
    assert table[6]["error.type"] == "RateLimitError"
    steps = pq.read_table(tmp_path / "run/steps/a.parquet").to_pylist()
    assert len(steps) == 8
    assert {"row_id", "item", "output.text", "usage.completion_tokens", "latency"} <= set(steps[0])
    assert run.counts.failed == 1
    assert not list((tmp_path / "run").rglob("*.unfinished"))


@pytest.mark.parametrize("on_disk", [True, False])
def test_a_run_converts_to_an_arrow_table(on_disk: bool, tmp_path: Path) -> None:
    def split(row: Row) -> list[Row]:
        return [row] * 2

    chain = Chain(name="c", steps=[apply(split), step()])
    with fake_engine("e", answer):
        run = chain.run(
            [{"n": n} for n in range(5)], output_dir=tmp_path / "r" if on_disk else None
        )
    table = run.to_arrow()
    assert table.schema.field("a.tags").type == pa.list_(pa.string())
    keys = [(line["row_id"], line["item"]) for line in table.to_pylist()]
    assert keys == [(row, item) for row in range(5) for item in ("0", "1")]
    assert table["error.type"].to_pylist().count("RateLimitError") == 2
    with fake_engine("e", answer):
        assert chain.run([]).to_arrow().num_rows == 0


def test_a_run_without_rows_leaves_empty_tables(tmp_path: Path) -> None:
    chain = Chain(name="c", steps=[apply(lambda row: row, id="same")])
    chain.run([], output_dir=tmp_path / "run", fmt="parquet")
    assert pq.read_table(tmp_path / "run/flattened.parquet").num_rows == 0


scalars = st.none() | st.booleans() | st.integers() | st.text(max_size=5)
values = st.recursive(
    scalars | st.floats(allow_nan=False), lambda x: st.lists(x, max_size=3) | st.dictionaries(
        st.text(max_size=3), x, max_size=2), max_leaves=5)  # fmt: skip


@given(st.lists(st.dictionaries(st.sampled_from("abc"), values), max_size=6))
@settings(deadline=None, max_examples=100)
def test_any_json_round_trips_through_a_table(
    tmp_path_factory: pytest.TempPathFactory, lines: list[dict[str, Any]]
) -> None:
    target = tmp_path_factory.mktemp("tables") / "t.parquet"
    write_table(lambda: iter([{"row_id": 0, **line} for line in lines]), target)
    table = pq.read_table(target)
    assert table.num_rows == len(lines)
    for line, record in zip(lines, table.to_pylist(), strict=True):
        for name, value in line.items():
            result = record[name]
            field = table.schema.field(name)
            if isinstance(result, str) and not (isinstance(value, str) and result == value):
                result = json.loads(result)
            assert result == value or (value == [] and result == []), field


def test_rows_are_read_from_parquet(tmp_path: Path) -> None:
    pq.write_table(pa.table({"n": list(range(3000))}), tmp_path / "rows.parquet")
    numbers: list[int] = []

    def collect(row: Row) -> Row:
        numbers.append(row.n)
        return row

    run = Chain(name="c", steps=[apply(collect)]).run(tmp_path / "rows.parquet")
    assert (run.counts.ok, sorted(numbers)) == (3000, list(range(3000)))
    (tmp_path / "no.parquet").write_text("text")
    with pytest.raises(InputError, match="is not a Parquet file"):
        Chain(name="c", steps=[apply(collect)]).run(tmp_path / "no.parquet")


def test_rows_are_read_from_datasets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    import datasets

    rows = [{"n": n} for n in (0, 1, 2, 4)]
    saved = tmp_path / "saved"
    datasets.Dataset.from_list(rows).save_to_disk(saved)
    files = tmp_path / "files"
    files.mkdir()
    (files / "test.jsonl").write_text("".join(f'{{"n": {row["n"]}}}\n' for row in rows))
    chain = Chain(name="c", steps=[step()])
    with fake_engine("e", answer):
        for inputs in (saved, str(saved), f"hf:{files}:test"):
            run = chain.run(inputs, sample=4, output_dir=tmp_path / "run", overwrite=True)
            assert [result.unwrap().text for result in run.results] == ["t0", "t1", "t2", "t4"]
            assert json.loads((tmp_path / "run/run.json").read_text())["inputs"]["sha256"]
        for missing in (f"hf:{files}:train", "hf:no-such/dataset", "hf:", "hf:/nowhere"):
            with pytest.raises(InputError, match="hf:"):
                chain.run(missing)
        both = datasets.DatasetDict(a=datasets.Dataset.from_list(rows))
        both.save_to_disk(tmp_path / "both")
        with pytest.raises(InputError, match="splits a; give the folder"):
            chain.run(tmp_path / "both")


def test_cached_answers_are_not_requested_again(tmp_path: Path) -> None:
    chain = Chain(name="c", steps=[step(), step("b", "{{ chain_input.n }} {{ text }}", Answer)])
    rows = [{"n": n} for n in (1, 2, 3)]
    with fake_engine("e", answer, model="m") as engine:
        first = chain.run(rows, cache=tmp_path / "cache")
        assert len(engine.requests) == 5
        again = chain.run(rows, cache=tmp_path / "cache", output_dir=tmp_path / "run")
        assert len(engine.requests) == 6, "the failed row is requested again"
    assert [r.value for r in again.results] == [r.value for r in first.results]
    manifest = json.loads((tmp_path / "run/run.json").read_text())
    assert manifest["cache"] == {"hits": 4, "misses": 1}


def test_cached_answers_cost_nothing(tmp_path: Path) -> None:
    price = {"input": 1_000_000, "output": 0}
    chain = Chain(name="c", steps=step())
    rows = [{"n": n} for n in (2, 3, 4)]
    with fake_engine("e", lambda _: Answer(text="x"), model="m", price=price):
        first = chain.run(rows, cache=tmp_path)
        again = chain.run(rows, cache=tmp_path, max_cost=0.5)
    assert first.cost
    assert again.cost == 0
    assert again.usage == {"a": Usage()}
    assert all(result.ok for result in again.results)


@pytest.mark.parametrize("changed", ["model", "prompt", "sampling", "type", "endpoint"])
def test_a_changed_request_is_not_answered_from_the_cache(changed: str, tmp_path: Path) -> None:
    from chainette import SamplingParams

    class Other(BaseModel):
        text: str

    def ask(change: bool) -> int:
        one = Step(
            id="a", input_model=Row, engine_name="e",
            output_model=Other if change and changed == "type" else Answer,
            user_prompt="{{ n }} x" if change and changed == "prompt" else "{{ n }}",
            sampling=SamplingParams(temperature=1.0 if change and changed == "sampling" else 0.0),
        )  # fmt: skip
        fields = {"model": "m", "endpoint": "http://a/v1"}
        if change and changed in fields:
            fields[changed] = "http://other/v1"
        with fake_engine("e", answer, **fields) as engine:
            Chain(name="c", steps=[one]).run([{"n": 1}], cache=tmp_path / "cache")
        return len(engine.requests)

    assert [ask(False), ask(True), ask(False), ask(True)] == [1, 1, 0, 0]


def test_a_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    chain = Chain(name="c", steps=[apply(lambda row: row, id="same")])
    for name in ("datasets", "diskcache", "pyarrow", "pyarrow.parquet"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(ConfigError, match=r"chainette\[cache\]"):
        chain.run([], cache=tmp_path)
    with pytest.raises(ConfigError, match=r"chainette\[parquet\]"):
        chain.run([], output_dir=tmp_path / "run", fmt="parquet")
    with pytest.raises(ConfigError, match=r"chainette\[datasets\]"):
        chain.run("hf:some/dataset")
