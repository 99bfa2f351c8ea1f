"""Runs where outputs go away, options are wrong, and files are not where they should be."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from chainette import Chain, apply
from chainette.cli import LastingOutput
from chainette.errors import ChainError, ConfigError, OutputDirError
from chainette.loading.target import load_chain
from chainette.loading.yaml_chain import load_yaml_chain

PROGRAM = str(Path(sys.executable).with_name("chainette"))
RUN = ("run", "numbers_chain.py:chain", "-i", "rows.jsonl", "-e", "engines.yml", "-o", "out")


def same(row: dict[str, Any]) -> dict[str, Any]:
    return row


def chain() -> Chain[Any, Any]:
    node = apply(same, id="same", input_model=dict[str, Any], output_model=dict[str, Any])
    return Chain(name="c", steps=node)


def status(folder: Path) -> Any:
    return json.loads((folder / "run.json").read_text())["status"]


# Outputs that go away


def close(*descriptors: int) -> Callable[[], None]:
    return lambda: [os.close(it) for it in descriptors] and None


@pytest.mark.parametrize(
    ("closed", "said"),
    [((2,), (True, False)), ((0, 1, 2), (False, False))],
)
def test_a_run_needs_no_standard_streams(
    project: Path, closed: tuple[int, ...], said: tuple[bool, bool]
) -> None:
    ended = subprocess.run(
        [PROGRAM, *RUN], cwd=project, capture_output=True, text=True, preexec_fn=close(*closed)
    )
    assert ended.returncode == 0, ended.stderr
    assert ("Say 4" in ended.stdout, "5 ok" in ended.stderr) == said
    assert status(project / "out") == "finished"
    assert len((project / "out/flattened/000000.jsonl").read_text().splitlines()) == 5


@pytest.mark.parametrize("gone", ["stdout", "stderr"])
def test_a_reader_that_goes_away_does_not_end_the_run(project: Path, gone: str) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    streams: dict[str, Any] = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    ended = subprocess.run([PROGRAM, *RUN], cwd=project, **{**streams, gone: writing})
    os.close(writing)
    assert ended.returncode == 0
    assert status(project / "out") == "finished"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no full device")
def test_an_output_that_is_full_is_one_message(project: Path) -> None:
    with Path("/dev/full").open("w") as full:
        ended = subprocess.run(
            [PROGRAM, *RUN], cwd=project, stdout=full, stderr=subprocess.PIPE, text=True
        )
    assert ended.returncode == 1
    assert ended.stderr.endswith("error: standard output: No space left on device\n")
    assert "Traceback" not in ended.stderr
    assert status(project / "out") == "finished"


def test_an_output_keeps_the_first_reason_why_it_went_away() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "w") as stream:
        output = LastingOutput(stream)
        output.write("x" * 100_000)
        output.flush()
        assert isinstance(output.error, BrokenPipeError)
        output.write("more")
        output.flush()
    assert LastingOutput(None).write("nowhere") == 7


# Inputs that are the run's own files


@pytest.mark.parametrize("option", [{"overwrite": True}, {"resume": True}, {}])
@pytest.mark.parametrize("name", ["flattened/000000.jsonl", "errors.jsonl", "flattened/*.jsonl"])
def test_a_run_does_not_delete_its_own_inputs(
    tmp_path: Path, option: dict[str, bool], name: str
) -> None:
    out = tmp_path / "out"
    chain().run([{"n": 1}, {"n": 2}], output_dir=out)
    before = {it: it.read_bytes() for it in out.rglob("*") if it.is_file()}
    (tmp_path / "link").symlink_to(out)
    for folder in (out, tmp_path / "link", tmp_path / "other" / ".." / "out"):
        with pytest.raises(OutputDirError, match="would replace its own input"):
            chain().run(str(out / name), output_dir=folder, **option)
    assert {it: it.read_bytes() for it in out.rglob("*") if it.is_file()} == before
    again = chain().run(str(out / "flattened/*.jsonl"), output_dir=tmp_path / "next")
    assert again.counts.ok == 2


def test_inputs_can_be_beside_the_files_of_a_run(tmp_path: Path) -> None:
    chain().run([{"n": 1}], output_dir=tmp_path)
    (tmp_path / "rows.jsonl").write_text('{"n": 2}\n')
    assert chain().run(tmp_path / "rows.jsonl", output_dir=tmp_path, overwrite=True).counts.ok == 1
    assert (tmp_path / "rows.jsonl").exists()


# Options


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"limit": -1}, r"limit=-1: expected a whole number that is not negative"),
        ({"limit": 1.5}, r"limit=1.5: expected a whole number"),
        ({"limit": "many"}, r"limit='many': expected a whole number"),
        ({"sample": -1}, r"sample=-1: "),
        ({"fmt": "csv"}, r"fmt='csv': expected 'jsonl' or 'parquet'"),
        ({"max_lines_per_file": 0}, r"max_lines_per_file=0: expected a whole number of at least 1"),
        ({"columns": ["n"]}, r"columns=\['n'\]: expected a dict of columns"),
        ({"max_cost": float("nan")}, r"max_cost=nan"),
        ({"max_errors": -0.1}, r"max_errors=-0.1"),
        ({"output_dir": 5}, r"output_dir=5: "),
        ({"cache": True}, r"cache=True: "),
        ({"overwrite": "perhaps"}, r"overwrite='perhaps': expected True or False"),
        ({"overwrite": True, "resume": True, "output_dir": "out"}, r"exclude each other"),
        ({"overwrite": True, "retry_errors": True, "output_dir": "out"}, r"exclude each other"),
    ],
)
def test_a_wrong_value_of_an_option_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: dict[str, Any], message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match=message):
        chain().run([{"n": 1}, {"n": 2}], **options)
    assert list(tmp_path.iterdir()) == []


def test_a_number_as_a_text_is_the_number() -> None:
    options: Any = {"limit": "1", "sample": None}
    assert chain().run([{"n": 1}, {"n": 2}], **options).counts.rows == 1
    assert chain().run([{"n": 1}], limit=0).counts.rows == 0


def test_a_cache_that_cannot_be_opened_is_one_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="not usable as a cache"):
        chain().run([{"n": 1}], cache=tmp_path / "file")


def test_the_home_of_the_user_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("USERPROFILE", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "home").mkdir()
    (tmp_path / "home/rows.jsonl").write_text('{"n": 1}\n')
    assert chain().run("~/rows.jsonl", output_dir="~/out").path == tmp_path / "home/out"
    (tmp_path / "chain.yaml").write_text(
        "name: c\ninputs: ~/rows.jsonl\noutput_dir: ~/out\nmodels: {M: {n: int}}\nsteps:\n"
        '  - {id: s, engine_name: e, input_model: M, output_model: M, user_prompt: "{{ n }}"}\n'
    )
    loaded = load_yaml_chain(tmp_path / "chain.yaml")
    assert loaded.inputs == tmp_path / "home/rows.jsonl"
    assert loaded.options["output_dir"] == tmp_path / "home/out"


# Resuming


def test_inputs_that_cannot_be_compared_are_told_of(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for options in ({"limit": 1}, {"resume": True}):
        assert not caplog.records
        chain().run(({"n": n} for n in range(3)), output_dir=tmp_path / "out", **options)  # type: ignore[arg-type]
    assert "make sure that they are the same" in caplog.text


def test_resuming_a_folder_without_a_run_says_that_one_begins(
    in_process: Any, project: Path
) -> None:
    first = in_process(*RUN, "--resume", "--limit", "2")
    assert "out: holds no run yet; a new one begins" in first.stderr
    assert "a new one begins" not in in_process(*RUN, "--resume").stderr
    assert "a new one begins" not in in_process(*RUN, "--resume").stderr


def test_runs_of_several_threads_do_not_mix(tmp_path: Path) -> None:
    counts = []

    def run(number: int) -> None:
        out = tmp_path / str(number)
        counts.append(chain().run([{"n": number}] * 5, output_dir=out).counts.ok)

    threads = [threading.Thread(target=run, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert counts == [5] * 4


# Files of chains

CHAIN = """
from __future__ import annotations
import json
from chainette import Chain, apply
from pydantic import BaseModel

class Row(BaseModel):
    other: Other | None = None

class Other(BaseModel):
    n: int

def fn(row: Row) -> Row:
    return row

chain = Chain(name="c", steps=apply(fn))
"""


@pytest.mark.parametrize("name", ["json", "types", "numbers", "test", "pydantic", "my chain-é"])
def test_a_chain_can_be_in_a_file_with_any_name(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setattr(sys, "modules", {**sys.modules})
    before = sys.modules.get(name)
    (tmp_path / f"{name}.py").write_text(CHAIN)
    for _ in range(2):
        run = load_chain(tmp_path / f"{name}.py").run([{"other": {"n": 1}}])
        assert run.counts.ok == 1, run.results[0].error
    if before is not None:
        assert sys.modules[name] is before


@pytest.mark.parametrize("target", ["", " ", ".", ".."])
def test_a_target_that_names_nothing_is_one_message(target: str) -> None:
    with pytest.raises(ChainError, match=r"expected file\.py:name"):
        load_chain(target)
