"""The commands and their output."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
from chainette.cli import light
from chainette.cli.app import app, app_for
from chainette.cli.commands.engines import print_table
from chainette.run.options import options_of
from click.testing import CliRunner

RUN = ("run", "numbers_chain.py:chain", "-i", "rows.jsonl", "-e", "engines.yml", "-o", "out")


def clean(outcome: subprocess.CompletedProcess[str]) -> str:
    """Stderr, after checking that it is a message without a traceback."""
    assert "Traceback" not in outcome.stdout + outcome.stderr
    return outcome.stderr


def test_a_run_prints_answers_on_stdout_and_everything_else_on_stderr(
    chainette: Any, project: Path
) -> None:
    outcome = chainette(*RUN)
    assert outcome.returncode == 0, outcome.stderr
    assert "Say 3" in outcome.stdout
    assert outcome.stdout == (project / "out/flattened/000000.jsonl").read_text()
    assert "run: out" in outcome.stderr
    assert "5 rows in" in outcome.stderr
    assert "5 ok, 0 failed" in outcome.stderr
    assert "5/5 rows" in outcome.stderr
    assert json.loads((project / "out/run.json").read_text())["inputs"]["path"] == "rows.jsonl"


def test_the_summary_of_a_run_has_whole_lines_in_a_file(chainette: Any, project: Path) -> None:
    words = "one two three four five six seven eight nine ten eleven twelve thirteen fourteen"
    (project / "failing.py").write_text(
        "from chainette import Chain, apply\n"
        "def fail(row: dict[str, int]) -> int:\n"
        f"    raise ValueError({words!r})\n"
        "chain = Chain(name='failing', steps=apply(fail))\n"
    )
    narrow = {"COLUMNS": "80"}
    outcome = chainette("run", "failing.py:chain", "-i", "rows.jsonl", "-o", "out", env=narrow)
    (line,) = (it for it in clean(outcome).splitlines() if it.startswith("most frequent error"))
    assert line.endswith(words)


def test_rows_come_from_standard_input_too(in_process: Any, project: Path) -> None:
    outcome = in_process(*RUN[:3], "-", *RUN[4:], input='{"number": 7}\n')
    assert outcome.returncode == 0
    assert "Say 7" in outcome.stdout


def test_limit_and_overwrite(in_process: Any, project: Path) -> None:
    assert "2 ok" in in_process(*RUN, "--limit", "2").stderr
    refused = in_process(*RUN)
    assert refused.returncode == 2
    assert "--overwrite" in clean(refused)
    assert "5 ok" in in_process(*RUN, "--overwrite").stderr


def test_without_an_output_dir_a_new_one_is_made(in_process: Any, project: Path) -> None:
    outcome = in_process(*RUN[:-2])
    assert outcome.returncode == 0
    assert len(list((project / "runs/numbers").iterdir())) == 1


def test_rows_that_fail_are_shown_and_the_exit_code_is_1(in_process: Any, project: Path) -> None:
    (project / "rows.jsonl").write_text('{"number": 1}\nnot json\n{"numbr": 3}\n')
    outcome = in_process(*RUN)
    assert outcome.returncode == 1
    assert "rows.jsonl:2: not JSON" in clean(outcome)
    assert "rows.jsonl:3: 'number' is missing" in outcome.stderr
    assert "1 ok, 2 failed" in outcome.stderr


def test_when_no_row_can_be_read_the_exit_code_is_2(in_process: Any, project: Path) -> None:
    (project / "rows.jsonl").write_text('not json\n{"number": "x"}\n')
    outcome = in_process(*RUN)
    assert outcome.returncode == 2
    assert "rows.jsonl:1" in clean(outcome)


def test_an_empty_input_is_reported(in_process: Any, project: Path) -> None:
    (project / "rows.jsonl").write_text("")
    outcome = in_process(*RUN)
    assert outcome.returncode == 0
    assert "the input has no rows" in clean(outcome)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (("-i", "no.jsonl"), "no.jsonl: No such file"),
        (("-i", "."), "is a directory"),
        (("-i", "engines.yml"), "unknown format '.yml'"),
        (("-e", "no.yml"), "no.yml: cannot be read"),
        (("-e", "bad.yml"), "bad.yml:2: not valid YAML"),
        (("-e", "unknown.yml"), "unknown backend 'opnai' (did you mean 'openai'?)"),
        (("-e", "nokey.yml"), "environment variable OPENAI_API_KEY"),
        (("-e", "noenv.yml"), "environment variable MY_OWN_KEY is not set"),
        (("-e", "refusing.yml"), "cannot connect"),
        (("-o", "rows.jsonl"), "rows.jsonl: is a file"),
        (("-o", "."), "is not empty and does not hold a run"),
    ],
)
def test_a_run_that_cannot_start_is_one_message_and_exit_code_2(
    in_process: Any, project: Path, change: tuple[str, str], expected: str
) -> None:
    for name, text in {
        "bad": "- name: e\n   backend: x\n",
        "unknown": "- {name: e, backend: opnai}\n",
        "nokey": "- {name: e, backend: openai, model: m}\n",
        "noenv": "- {name: e, backend: openai, model: m, api_key_env: MY_OWN_KEY}\n",
        "refusing": "- {name: e, backend: openai, model: m, endpoint: 'http://127.0.0.1:9/v1'}\n",
    }.items():
        (project / f"{name}.yml").write_text(text)
    arguments = list(RUN)
    arguments[arguments.index(change[0]) + 1] = change[1]
    outcome = in_process(*arguments)
    assert outcome.returncode == 2
    assert expected in clean(outcome)
    assert outcome.stderr.count("error: ") == 1
    assert outcome.stdout == ""


def test_engines_yml_in_the_folder_supplies_missing_engines(in_process: Any, project: Path) -> None:
    (project / "other.yml").write_text("- {name: f, backend: openai, model: m, api_key: x}\n")
    expected = "engines from ./engines.yml: e\n"
    for engines in ((), ("-e", "other.yml")):
        outcome = in_process(*RUN[:4], *engines, "-o", "out", "--overwrite")
        assert outcome.returncode == 0
        assert outcome.stderr.count(expected) == 1
    logs = in_process(*RUN[:4], "-o", "out", "--overwrite", "--json-logs").stderr.splitlines()
    assert json.loads(logs[0]) == {"event": "engines", "file": "./engines.yml", "names": ["e"]}
    for command in (("check", "e"), ("list",), ("warmup", "e")):
        assert expected in in_process("engines", *command, "-e", "other.yml").stderr
        assert "engines from" not in in_process("engines", *command, "-e", "engines.yml").stderr
    assert expected in in_process("warmup", "numbers_chain.py").stderr
    (project / "engines.yml").rename(project / "moved.yml")
    assert in_process(*RUN[:4], env={"CHAINETTE_ENGINES": "moved.yml"}).returncode == 0
    refused = in_process(*RUN[:4], "-e", "other.yml", "-o", "new")
    assert "unknown engine 'e'; registered engines: f" in clean(refused)
    none = in_process(*RUN[:4], "-o", "new")
    assert "none; name a file of engines with --engines FILE (-e), or write ./en" in clean(none)


CHAIN_YAML = """
name: numbers
engines: [{name: e, backend: openai, model: own, endpoint: "http://127.0.0.1:9/v1"}]
inputs: rows.jsonl
run: {output_dir: from_yaml, limit: 3, overwrite: true}
steps: [{use: "numbers_chain:chain"}]
"""


def test_the_command_line_overrides_the_environment_and_that_the_yaml_file(
    in_process: Any, project: Path
) -> None:
    (project / "sub").mkdir()
    for name in ("numbers_chain.py", "rows.jsonl"):
        (project / name).rename(project / "sub" / name)
    (project / "sub/chain.yaml").write_text(CHAIN_YAML)
    run = ("run", "sub/chain.yaml", "-e", "engines.yml")  # whose engine replaces the chain's own
    for _ in range(2):
        assert "3 ok, 0 failed" in in_process(*run).stderr
        assert (project / "sub/from_yaml/run.json").exists()
    environment = {"CHAINETTE_LIMIT": "2", "CHAINETTE_OUTPUT_DIR": "from_env"}
    assert "2 ok, 0 failed" in in_process(*run, env=environment).stderr
    assert (project / "from_env/run.json").exists()
    outcome = in_process("run-yaml", *run[1:], "--limit", "1", "-o", "from_flag", env=environment)
    assert "1 ok, 0 failed" in outcome.stderr
    assert (project / "from_flag/run.json").exists()
    assert "exclude each other" in clean(in_process(*run, "--resume"))
    assert in_process(*run, "--resume", "--no-overwrite").returncode == 0
    assert "--overwrite" in clean(in_process(*run, env={"CHAINETTE_OVERWRITE": "0"}))


def test_every_option_of_a_run_is_a_flag_with_its_description(in_process: Any) -> None:
    text = " ".join(in_process("run", "--help").stdout.split())
    for option in options_of():
        assert f"--{option.name.replace('_', '-')}" in text
        assert option.help.text in text
    assert "Alias of `chainette run`." in in_process("run-yaml", "--help").stdout
    assert in_process(*RUN, "--limit", "0").returncode == 2
    assert "'csv' is not" in clean(in_process(*RUN, "--fmt", "csv"))


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        ("numbers_chain.py:chian", "no chain named 'chian' (did you mean 'chain'?)"),
        ("no_such.py:chain", "there is no such file"),
        ("no_such:chain", "No module named 'no_such'\n"),
        ("no_such.yaml", "cannot be read"),
    ],
)
def test_a_target_that_is_not_there_is_one_message(
    in_process: Any, project: Path, target: str, expected: str
) -> None:
    for command in ("run", "inspect"):
        outcome = in_process(command, target, *(RUN[2:] if command == "run" else ()))
        assert outcome.returncode == 2
        assert expected in clean(outcome)


def test_a_run_without_inputs_says_which_option_is_missing(in_process: Any, project: Path) -> None:
    outcome = in_process(*RUN[:2])
    assert outcome.returncode == 2
    assert "--inputs" in clean(outcome)


def test_a_model_that_the_server_has_not_ends_the_run(
    in_process: Any, project: Path, openai_server: Any
) -> None:
    openai_server.reply = lambda body: (404, {"error": {"message": "The model 'm' is unknown"}})
    outcome = in_process(*RUN)
    assert outcome.returncode == 2
    assert "The model 'm' is unknown" in clean(outcome)
    assert "check the engine's model" in outcome.stderr


def test_answers_that_do_not_fit_are_failed_rows(
    in_process: Any, project: Path, openai_server: Any
) -> None:
    message = {"message": {"content": "no json"}, "finish_reason": "stop"}
    openai_server.reply = lambda body: (200, {"choices": [message]})
    outcome = in_process(*RUN)
    assert outcome.returncode == 1
    assert "not a valid Answer" in clean(outcome)
    errors = (project / "out/errors.jsonl").read_text().splitlines()
    assert [json.loads(line)["raw_text"] for line in errors] == ["no json"] * 5


@pytest.mark.parametrize("times", [1, 2])
def test_ctrl_c_writes_what_is_done_and_exits_with_130(
    project: Path, openai_server: Any, times: int
) -> None:
    reached, release = threading.Event(), threading.Event()

    def reply(body: dict[str, Any]) -> tuple[int, Any]:
        if body["messages"][-1]["content"] != "Say 0":
            reached.set()
            release.wait(20)
        return openai_server.say(body)

    openai_server.reply = reply
    engines = (project / "engines.yml").read_text() + "  max_concurrency: 1\n"
    (project / "engines.yml").write_text(engines)
    program = str(Path(sys.executable).with_name("chainette"))
    running = subprocess.Popen(
        [program, *RUN], cwd=project, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert reached.wait(20)
    running.send_signal(signal.SIGINT)
    if times == 1:
        threading.Timer(0.5, release.set).start()
    else:
        with pytest.raises(subprocess.TimeoutExpired):
            running.wait(0.5)
        running.send_signal(signal.SIGINT)
    _, errors = running.communicate(timeout=30)
    release.set()
    assert running.returncode == 130
    assert "Traceback" not in errors
    manifest = json.loads((project / "out/run.json").read_text())
    assert manifest["status"] == "interrupted"
    finished = (project / "out/flattened/000000.jsonl").read_text().splitlines()
    assert manifest["counts"]["ok"] == len(finished)
    assert len(finished) < 5 if times == 1 else len(finished) == 1


def test_inspect_shows_the_chain(in_process: Any, project: Path) -> None:
    assert "Row → Answer  engine e" in in_process("inspect", "numbers_chain.py").stdout
    assert "flowchart TD" in in_process("inspect", "numbers_chain.py", "--mermaid").stdout
    listing = json.loads(in_process("inspect", "numbers_chain.py", "--json").stdout)
    assert listing["nodes"][0]["id"] == "say"


def test_engines_are_listed_with_their_backends(in_process: Any, project: Path) -> None:
    outcome = in_process("engines", "list", "-e", "engines.yml")
    assert outcome.returncode == 0
    assert "chainette_openai" in outcome.stdout
    assert "vllm_local" in outcome.stdout
    listing = json.loads(in_process("engines", "list", "-e", "engines.yml", "--json").stdout)
    by_name = {backend["name"]: backend for backend in listing["backends"]}
    assert set(by_name["openai"]) == {
        "name", "distribution", "version", "entry_point", "capabilities", "sampling", "summary",
        "state", "reason",
    }  # fmt: skip
    assert by_name["openai"]["distribution"] == "chainette-openai"
    assert by_name["openai"]["state"] == "ok"
    assert listing["engines"][0]["name"] == "e"


def test_a_narrow_terminal_gets_the_last_column_on_lines_of_its_own(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    for width, lines in (
        ("12", ["a    b", "     last", "one  two", "     many words"]),
        ("80", ["a    b    last", "one  two  many words"]),
    ):
        monkeypatch.setenv("COLUMNS", width)
        print_table(["a", "b", "last"], [["one", "two", "many words"]])
        assert capsys.readouterr().out.splitlines() == lines


def test_engines_check_says_what_works_and_what_it_took(
    in_process: Any, project: Path, openai_server: Any
) -> None:
    text = '{"city": "Paris", "continent": "Europe"}'
    choice = {"message": {"content": text}, "finish_reason": "stop"}
    usage = {"prompt_tokens": 9, "completion_tokens": 4}
    openai_server.reply = lambda body: (200, {"choices": [choice], "usage": usage})
    outcome = in_process("engines", "check", "e", "-e", "engines.yml")
    assert outcome.returncode == 0, outcome.stderr
    for words in ("structured output yes", "m is one of 1", "9 in, 4 out"):
        assert words in outcome.stdout
    choice["message"] = {"content": "Paris"}
    outcome = in_process("engines", "check", "e", "-e", "engines.yml")
    assert outcome.returncode == 1
    assert "no: " in outcome.stdout
    outcome = in_process("engines", "check", "x", "-e", "engines.yml")
    assert outcome.returncode == 2
    assert "unknown engine 'x'" in clean(outcome)


def test_the_version_is_shown(in_process: Any) -> None:
    assert in_process("--version").stdout.strip()[0].isdigit()


@pytest.mark.parametrize(
    "words",
    [
        RUN,
        ("run-yaml", *RUN[1:]),
        ("inspect", "numbers_chain.py"),
        ("schema",),
        ("warmup", "numbers_chain.py"),
        ("engines", "list"),
        ("engines", "check", "e"),
        ("engines", "warmup", "e"),
        ("engines", "stop", "e"),
        ("plugins", "new", "Ac-me"),
        ("plugins", "check", "nothing"),
        ("--version",),
        ("--help",),
    ],
    ids=" ".join,
)
def test_the_program_prints_the_same_as_in_process(
    chainette: Any, in_process: Any, project: Path, words: tuple[str, ...]
) -> None:
    again = ("--overwrite",) if "out" in words else ()
    state = {"XDG_STATE_HOME": str(project / "state")}
    there, here = (run(*words, *again, env=state) for run in (chainette, in_process))
    assert there.returncode == here.returncode
    assert without_times(there.stdout) == without_times(here.stdout)
    # A slow run says more than once how far it is.
    last = [without_times(outcome.stderr).splitlines()[-1:] for outcome in (there, here)]
    assert last[0] == last[1]
    assert there.stdout + there.stderr


@pytest.mark.parametrize("words", [("--help",), ("engines", "--help"), ("nope",), ("diff", "-h")])
def test_a_program_that_builds_what_it_needs_says_the_same(words: tuple[str, ...]) -> None:
    whole = CliRunner().invoke(light.command(app), words, prog_name="chainette")
    lean = CliRunner().invoke(light.command(app_for(words)), words, prog_name="chainette")
    assert (lean.exit_code, lean.output) == (whole.exit_code, whole.output)
    assert lean.output


def test_only_the_command_that_is_called_is_built() -> None:
    for words in (["engines", "list"], ["--debug", "diff", "a", "b"]):
        names = [*light.command(app_for(words)).commands]
        assert names == [next(it for it in words if it[0] != "-")]


def without_times(text: str) -> str:
    return re.sub(r"[\d.]+ (ms|s)\b", "TIME", text)
