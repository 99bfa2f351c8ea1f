"""Malicious and damaged files and names."""

from __future__ import annotations

import logging
import os
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from chainette import Chain, Step, apply, load_engines, register_engine
from chainette.errors import ChainError, ConfigError, InputError
from chainette.run.inputs import files
from chainette.run.inputs.formats import json_rows
from chainette.testing import fake_engine
from chainette.yaml_source import MAX_BYTES
from pydantic import BaseModel


class Row(BaseModel):
    text: str


def same() -> Chain:
    step = apply(lambda row: row, id="same", input_model=Row, output_model=Row)
    return Chain(name="c", steps=[step])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "a: &a [x, x]\n"
            + "".join(
                f"{b}: &{b} [{', '.join([f'*{a}'] * 9)}]\n"
                for a, b in zip("abcdefgh", "bcdefghi", strict=True)
            ),
            "more than 100000 values",
        ),
        ("[" * 100_000, "nested too deeply"),
        ("- x: " + "y" * MAX_BYTES, "too large"),
        ("!!python/object/apply:os.system ['true']", "not valid YAML"),
        ("a: &a [*a]", "not valid YAML"),
    ],
    ids=["aliases", "depth", "size", "objects", "recursion"],
)
def test_a_yaml_bomb_is_refused(tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "engines.yml"
    file.write_text(text)
    with pytest.raises(ConfigError, match=message):
        load_engines(file)


def test_an_overlong_line_fails_only_its_row(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(json_rows, "MAX_CHARACTERS", 1_000_000)
    file = tmp_path / "rows.jsonl"
    long = '{"text": "' + "x" * 3_500_000 + '"}'
    file.write_text(f'{{"text": "a"}}\n{long}\n\n{{"text": "b"}}\n{long}')
    run = same().run(file)
    assert [result.ok for result in run.results] == [True, False, True, False]
    assert "rows.jsonl:2: longer than 1 million characters" in str(run.results[1].error)
    assert files.count_rows(file) == 4


def test_two_columns_with_the_same_name_are_refused(tmp_path: Path) -> None:
    table = tmp_path / "rows.csv"
    table.write_text("text,other,text\na,b,c\n")
    with pytest.raises(InputError, match="two columns have the name 'text'"):
        same().run(table)
    table = tmp_path / "rows.parquet"
    columns = [pa.array(["a"]), pa.array(["b"])]
    pq.write_table(pa.Table.from_arrays(columns, names=["text", "text"]), table)
    with pytest.raises(InputError, match="two columns have the name 'text'"):
        same().run(table)


@pytest.mark.parametrize("header", ["text,\x1b[2J", "text,__class__", "text,row_id", "text,a.b"])
def test_unusual_column_names_are_accepted(tmp_path: Path, header: str) -> None:
    table = tmp_path / "rows.csv"
    table.write_text(f"{header}\nhello,x\n")
    run = same().run(table, output_dir=tmp_path / "run")
    assert [result.unwrap() for result in run.results] == [Row(text="hello")]


@pytest.mark.parametrize("id", ["../up", "/etc/x", "a/b", "..", "a\\b", "a\0b", "c:x", ""])
def test_step_ids_cannot_leave_the_output_folder(id: str) -> None:
    with pytest.raises(ChainError):
        Step(id=id, input_model=Row, output_model=Row, engine_name="e", user_prompt="x")


def test_answers_are_never_rendered_as_templates() -> None:
    evil = "{{ ''.__class__.__mro__ }}{% for x in range(10**9) %}{% endfor %}"
    first = Step(
        id="a", input_model=Row, output_model=Row, engine_name="e", user_prompt="{{ text }}"
    )
    second = Step(
        id="b", input_model=Row, output_model=Row, engine_name="e", user_prompt="{{ a.text }}"
    )
    with fake_engine("e", lambda _: Row(text=evil)) as engine:
        run = Chain(name="c", steps=[first, second]).run([{"text": "x"}])
    assert run.counts.ok == 1
    assert engine.requests[1][-1]["content"] == evil


def test_a_template_cannot_leave_its_sandbox() -> None:
    step = Step(
        id="a",
        input_model=Row,
        output_model=Row,
        engine_name="e",
        user_prompt="{{ text.__class__.__mro__[1].__subclasses__() }}",
    )
    with fake_engine("e") as engine:
        run = Chain(name="c", steps=[step]).run([{"text": "x"}])
    assert run.counts.failed == 1
    assert not engine.requests


@pytest.mark.skipif(os.name == "nt", reason="needs POSIX file modes")
def test_a_key_in_a_file_that_others_can_read_causes_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KEY", "sk-from-the-environment")
    file = tmp_path / "engines.yml"
    engine = "- {name: e, backend: openai, model: m, api_key: %s}\n"
    for text, mode, warns in [
        (engine % "sk-SENTINEL-0123", 0o644, True),
        (engine % "sk-SENTINEL-0123", 0o640, True),
        (engine % "sk-SENTINEL-0123", 0o600, False),
        (engine % "'${KEY}'", 0o644, False),
    ]:
        caplog.clear()
        file.write_text(text)
        file.chmod(mode)
        load_engines(file)
        assert ("readable by other users" in caplog.text) is warns
        assert "SENTINEL" not in caplog.text


@pytest.mark.skipif(os.name == "nt", reason="needs POSIX file modes")
@pytest.mark.parametrize("head", ["", "engines:\n"])
def test_the_warning_of_a_key_names_its_engine_and_line(
    head: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = tmp_path / "engines.yml"
    engine = "- name: %s\n  backend: openai\n  model: m\n  api_key: sk-SENTINEL-0123\n"
    file.write_text(head + engine % "one" + engine % "two")
    file.chmod(0o644)
    load_engines(file)
    start = head.count("\n")
    for record, name, line in zip(caplog.records, ("one", "two"), (4, 8), strict=True):
        assert f"{file}:{start + line}: engine {name!r}: " in record.getMessage()


@pytest.mark.parametrize(
    ("endpoint", "key", "warns"),
    [
        ("http://model.example/v1", "sk-SENTINEL-0123", True),
        ("https://model.example/v1", "sk-SENTINEL-0123", False),
        ("http://127.0.0.1:8000/v1", "sk-SENTINEL-0123", False),
        ("http://localhost:8000/v1", "sk-SENTINEL-0123", False),
        ("http://[::1]:8000/v1", "sk-SENTINEL-0123", False),
        ("http://model.example/v1", None, False),
        ("http://me:secret-word@model.example/v1", None, True),
    ],
)
def test_a_key_that_would_be_sent_unencrypted_causes_a_warning(
    endpoint: str, key: str | None, warns: bool, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        _ = register_engine("e", backend="openai", model="m", endpoint=endpoint, api_key=key).engine
    assert ("unencrypted to model.example" in caplog.text) is warns
    assert "SENTINEL" not in caplog.text
    assert "secret-word" not in caplog.text


@pytest.mark.skipif(os.name == "nt", reason="needs POSIX file modes")
def test_files_of_a_run_respect_the_umask(tmp_path: Path) -> None:
    before = os.umask(0o077)
    try:
        same().run([{"text": "x"}, {}], output_dir=tmp_path / "run")
    finally:
        os.umask(before)
    modes = {path.stat().st_mode & 0o077 for path in (tmp_path / "run").rglob("*")}
    assert modes == {0}
