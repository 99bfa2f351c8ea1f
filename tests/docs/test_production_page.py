"""What the page on production says of containers, exit codes, logs and metrics is so."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from chainette.testing import faults
from chainette.testing.servers import FakeOpenAI
from pages import DOCS, FOREIGN, ROOT, START, snippets

PAGE = ROOT / "docs/production.md"
TEXT = PAGE.read_text()
MANIFESTS = {it.file_name: yaml.safe_load(it.text) for it in snippets([PAGE], "yaml")}
JOB, INDEXED = MANIFESTS["job.yml"], MANIFESTS["indexed.yml"]
ANSWER = {"label": "positive"}
FREE = "price: {input: 0, output: 0}"
Run = Callable[..., Any]


def table(first: str) -> dict[str, list[str]]:
    """The rows of the table with this first heading, by their first cells."""
    lines = TEXT.partition(f"| {first} |")[2].partition("\n\n")[0].splitlines()[2:]
    cells = [[cell.strip() for cell in line.strip("| ").split(" | ")] for line in lines]
    return {row[0].strip("`"): row[1:] for row in cells}


def container(job: dict[str, Any]) -> dict[str, Any]:
    (found,) = job["spec"]["template"]["spec"]["containers"]
    return dict(found)


def arguments(job: dict[str, Any], data: Path, index: int = 0) -> list[str]:
    """The arguments of a pod, with the volume in a folder of the test."""
    words = [word.replace("$(JOB_COMPLETION_INDEX)", str(index)) for word in container(job)["args"]]
    return [word.replace("=/data", f"={data}") for word in words]


@pytest.fixture
def app(tmp_path: Path) -> Path:
    """The image's folder, in which the command line runs, and its volume."""
    for it in [*snippets([START]), *snippets([PAGE], "yaml")]:
        if it.file_name in ("reviews.py", "production.yml"):
            text = it.text.replace("/run/secrets/openai", str(tmp_path))
            if it.file_name == "production.yml":  # the public lists know OpenAI's own endpoint only
                text += f"  {FREE}\n"
            (tmp_path / it.file_name).write_text(text)
    (tmp_path / "key").write_text("sk-0123456789\n")
    (tmp_path / "data").mkdir()
    rows = "".join(json.dumps({"text": f"row {n}"}) + "\n" for n in range(8))
    (tmp_path / "data/reviews.jsonl").write_text(rows)
    return tmp_path


def test_yaml_of_other_programs_is_on_this_page_alone() -> None:
    foreign = {it.page for it in snippets(DOCS, "yaml") if FOREIGN.search(it.text)}
    assert foreign == {PAGE}


def test_the_image_runs_as_a_user_and_receives_signals_itself() -> None:
    (file,) = snippets([PAGE], "dockerfile")
    lines = [line.partition(" ")[::2] for line in file.text.splitlines()]
    words = [word for word, _ in lines]
    assert words == ["FROM", "RUN", "RUN", "WORKDIR", "COPY", "USER", "ENTRYPOINT"]
    of = dict(lines)
    assert json.loads(of["ENTRYPOINT"]) == ["chainette"]  # JSON is the exec form
    assert int(of["USER"]) > 0
    installed = next(shlex.split(text) for word, text in lines if "pip install" in text)[2:]
    assert [it for it in installed if not it.startswith("-")] == ["chainette", "chainette-openai"]
    files = {it.file_name for it in snippets([START, PAGE])}
    assert set(of["COPY"].split()[:-1]) <= files
    assert of["USER"] == str(JOB["spec"]["template"]["spec"]["securityContext"]["runAsUser"])


def test_volumes_of_the_job_are_mounted_where_files_are_read() -> None:
    pod, mounts = JOB["spec"]["template"]["spec"], container(JOB)["volumeMounts"]
    assert {it["name"] for it in mounts} == {it["name"] for it in pod["volumes"]}
    (engine,) = MANIFESTS["production.yml"]
    assert engine["api_key_file"] == f"{mounts[1]['mountPath']}/key"
    assert pod["terminationGracePeriodSeconds"] > 30
    assert pod["restartPolicy"] == "Never"  # podFailurePolicy asks for it


def outcome(code: int) -> str:
    """What the Job does with an exit code; its rules are tried in turn."""
    for rule in JOB["spec"]["podFailurePolicy"]["rules"]:
        if code in rule.get("onExitCodes", {}).get("values", ()):
            return str(rule["action"])
    return "Count"


def test_the_table_of_exit_codes_is_what_the_rules_say() -> None:
    says = {
        "fails at once": "FailJob",
        "starts another pod, up to `backoffLimit` times": "Count",
        "starts another pod, and does not count it": "Ignore",
    }
    rows = table("exit code")
    assert rows.pop("0")[0] == "succeeds"
    shown = {int(code): says[cells[0]] for key, cells in rows.items() for code in numbers(key)}
    assert shown == {code: outcome(code) for code in shown}
    scheduler = (ROOT / "docs/runs.md").read_text().partition("## Under a scheduler")[2]
    known = {
        code for key in re.findall(r"^\| ([\d, ]+) \|", scheduler, re.M) for code in numbers(key)
    }
    assert known == shown.keys() - {137} | {0}
    for job in (JOB, INDEXED):
        for rule in job["spec"]["podFailurePolicy"]["rules"]:
            codes = rule.get("onExitCodes", {}).get("values", [1])
            assert codes == sorted(set(codes)), "Kubernetes refuses others"
            assert 0 not in codes


def numbers(text: str) -> list[int]:
    return [int(number) for number in re.findall(r"\d+", text)]


def test_the_arguments_of_the_job_run_and_run_again(in_process: Run, app: Path) -> None:
    with FakeOpenAI(lambda _: ANSWER) as server:
        environment = {"OPENAI_BASE_URL": server.endpoint}
        words = arguments(JOB, app / "data")
        first = in_process(*words, env=environment)
        assert first.returncode == 0, first.stderr
        again = in_process(*words, env=environment)
    assert (again.returncode, len(server.requests)) == (0, 8)
    assert '{"event": "nothing_to_do", "path": ' in again.stderr
    assert {it.headers["authorization"] for it in server.requests} == {"Bearer sk-0123456789"}


def test_a_part_of_an_indexed_job_has_its_own_input_and_folder(in_process: Run, app: Path) -> None:
    (app / "data/part-3.jsonl").write_text('{"text": "a"}\n')
    with FakeOpenAI(lambda _: ANSWER) as server:
        words = [*arguments(INDEXED, app / "data", 3), "--engines=production.yml"]
        result = in_process(*words, env={"OPENAI_BASE_URL": server.endpoint})
    assert result.returncode == 0, result.stderr
    assert (app / "data/runs/part-3/run.json").exists()


def test_a_budget_that_is_spent_stops_the_next_pod_before_it_asks(
    in_process: Run, app: Path
) -> None:
    engines = app / "production.yml"
    dear = engines.read_text().replace(FREE, "price: {input: 0, output: 0, request: 6}")
    engines.write_text(dear + "  max_concurrency: 1\n")
    with FakeOpenAI(lambda _: ANSWER) as server:
        environment = {"OPENAI_BASE_URL": server.endpoint}
        words = arguments(JOB, app / "data")  # --max-cost=20: four requests
        assert in_process(*words, env=environment).returncode == 3
        asked = len(server.requests)
        assert in_process(*words, env=environment).returncode == 3
        assert 0 < len(server.requests) == asked < 8


def test_an_engine_that_cannot_be_reached_at_the_start_is_code_2(
    in_process: Run, app: Path
) -> None:
    environment = {"OPENAI_BASE_URL": "http://127.0.0.1:9/v1"}
    assert in_process(*arguments(JOB, app / "data"), env=environment).returncode == 2


def test_the_table_of_events_has_those_that_are_logged(in_process: Run, app: Path) -> None:
    asked: list[Any] = []

    def reply(messages: Any) -> Any:
        asked.append(messages)
        if len(asked) == 1:
            return faults.status(500)
        return faults.status(400, "no") if "row 3" in messages[-1]["content"] else ANSWER

    with FakeOpenAI(reply) as server:
        words = arguments(JOB, app / "data")
        result = in_process(*words, env={"OPENAI_BASE_URL": server.endpoint})
    assert result.returncode == 1
    lines = [json.loads(line) for line in result.stderr.splitlines() if line.startswith("{")]
    events = {line["event"]: line for line in lines}
    rows = table("`event`")
    assert rows.keys() - events.keys() <= {"nothing_to_do", "progress"}  # it is over at once
    assert events.keys() <= rows.keys()
    events["progress"] = events.pop("run_closed")
    for name, line in events.items():
        by_node = line["nodes"]["sentiment"] if name == "progress" else {}
        assert set(re.findall(r"`(\w+)`", rows[name][1])) <= line.keys() | by_node.keys()


def test_metrics_are_those_of_the_code() -> None:
    code = (ROOT / "chainette-core/src/chainette/engine/telemetry/otel.py").read_text()
    assert {f'"{name}"' for name in table("metric")} == set(
        re.findall(r'create_histogram\(\s*("[\w.]+")', code)
    )


def test_the_collector_connects_what_it_names() -> None:
    collector = MANIFESTS["collector.yml"]
    (pipeline,) = collector["service"]["pipelines"].values()
    assert pipeline["receivers"] == [*collector["receivers"]]
    assert pipeline["exporters"] == [*collector["exporters"]]
