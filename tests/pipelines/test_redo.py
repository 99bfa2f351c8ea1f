"""Runs that are resumed with a chain that has changed: refused, redone or validated again."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from chainette import Chain, Step, apply
from chainette.errors import ConfigError, OutputDirError
from chainette.folder.redo import set_aside
from chainette.testing import fake_engine, faults
from chainette.testing.script import Reply
from chainette.testing.servers import FakeOpenAI
from pydantic import BaseModel, field_validator

Chainette = Callable[..., subprocess.CompletedProcess[str]]
CHAIN = '''
from chainette import Branch, Chain, SamplingParams, Step, apply
from pydantic import BaseModel, field_validator

import words

RATE = 2
NAMES = {"one": 1, "two": 2}
LIMIT = 1000
seen = []


class Row(BaseModel):
    number: int


class Answer(BaseModel):
    """An answer."""

    number: int

    @field_validator("number")
    @classmethod
    def small(cls, number):
        if number > LIMIT:
            raise ValueError("too large")
        return number

    def spelled(self):
        return f"<{self.number}>"


def plus(number):
    return number + 1


def next_one(row: Row) -> Row:
    return Row(number=plus(row.number))


def parts(row: Answer) -> list[Row]:
    seen.append(row.number)  # changes while it runs
    first = plus(row.number) * RATE + NAMES["one"] + words.more(0)
    return [Row(number=first), Row(number=-row.number)]


def same(row: Row) -> Answer:
    return Answer(number=row.number)


def total(rows: list[Answer]) -> list[Row]:
    return [Row(number=2 * row.number) for row in rows]


def step(id, takes, prompt, temperature=0.5, gives=Answer):
    sampling = SamplingParams(temperature=temperature)
    return Step(id=id, input_model=takes, output_model=gives, engine_name="e", user_prompt=prompt,
                sampling=sampling)


chain = Chain(name="numbers", steps=[
    step("first", Row, "first {{ number }}"),
    Branch(name="side", steps=[step("aside", Answer, "aside {{ number }}")]).join("other"),
    Branch(name="alone", steps=[step("lone", Answer, "lone {{ number }}", gives=Row)]),
    apply(parts),
    step("say", Row, "say {{ number }}"),
    step("again", Answer, "again {{ number }} {{ other.number }}", gives=Row),
])
'''
WORDS = "EXTRA = 3\n\n\ndef more(number):\n    return number + EXTRA\n"
ROWS = 6
ENGINE = {"name": "e", "backend": "openai", "model": "m", "price": {"input": 1, "output": 1}}


def prompt(messages: Any) -> str:
    return str(next(it["content"] for it in messages if it["role"] == "user"))


def answer(messages: Any) -> Reply:
    """The sum of the prompt's numbers; one row fails in a step, and one in another."""
    words = prompt(messages).split()
    numbers = [int(word) for word in words if word.lstrip("-").isdigit()]
    if words[0] == "say" and numbers[0] == -4:
        return faults.status(400, "unlucky")
    return Reply(json.dumps({"number": sum(numbers)}))


class Project:
    """A folder with a chain, and the command that runs it."""

    def __init__(self, folder: Path, run: Chainette, server: FakeOpenAI) -> None:
        self.folder = folder
        self.server = server
        self._run = run
        (folder / "numbers_chain.py").write_text(CHAIN)
        (folder / "words.py").write_text(WORDS)
        (folder / "rows.jsonl").write_text("".join(f'{{"number": {n}}}\n' for n in range(ROWS)))
        self.engine()

    def engine(self, **fields: Any) -> None:
        engine = ENGINE | {"endpoint": self.server.endpoint} | fields
        (self.folder / "engines.yml").write_text(json.dumps([engine]))

    def edit(self, file: str, old: str, new: str) -> None:
        text = (self.folder / file).read_text()
        assert text.count(old) == 1, (file, old)
        (self.folder / file).write_text(text.replace(old, new))

    def __call__(self, out: str, *arguments: str, code: int | None = None) -> str:
        """Run, and return what it says; the prompts that it sends are in `prompts`."""
        before = len(self.server.requests)
        done = self._run(*command(out), *arguments)
        assert done.returncode in ((0, 1) if code is None else (code,)), done.stderr
        self.prompts = Counter(
            prompt(request.messages) for request in self.server.requests[before:]
        )
        return " ".join(done.stderr.split())

    def asked(self) -> set[str]:
        return {prompt.split()[0] for prompt in self.prompts}

    def cost(self, out: str) -> Decimal:
        return Decimal(str(json.loads((self.folder / out / "run.json").read_text())["cost_usd"]))


def command(out: str) -> list[str]:
    return ["run", "numbers_chain.py", "-i", "rows.jsonl", "-e", "engines.yml", "-o", out]


def table(folder: Path) -> list[dict[str, Any]]:
    files = sorted((folder / "flattened").glob("*.jsonl"))
    return [json.loads(line) for file in files for line in file.read_text().splitlines()]


def journal(folder: Path) -> list[tuple[Any, ...]]:
    """Every line of the steps' files and of the errors, without what a run took."""
    lines = [
        (file.parent.name, line["row_id"], line.get("item"), json.dumps(line["output"]))
        for file in folder.glob("steps/*/*.jsonl")
        for line in map(json.loads, file.read_text().splitlines())
    ]
    errors = map(json.loads, (folder / "errors.jsonl").read_text().splitlines())
    lines += [(it["node_id"], it["row_id"], it.get("item"), it["message"]) for it in errors]
    return sorted(lines, key=str)


@pytest.fixture
def project(
    tmp_path: Path, in_process: Chainette, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Project]:
    # Compiled files know their source by its second and its size, which quick edits leave as is.
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    with FakeOpenAI(answer) as server:
        yield Project(tmp_path, in_process, server)


CODE = "numbers_chain.py"
CHANGES = [
    (CODE, '"say {{ number }}"', '"say {{ number }} 1"', "step 'say' (user_prompt)", "say"),
    (CODE, '"first {{ number }}"', '"first {{ number }}", 0', "step 'first' (sampling)", "first"),
    (CODE, "[Row(number=first)", "[Row(number=2 * first)", "apply 'parts' (its code)", "parts"),
    (CODE, "RATE = 2", "RATE = 3", "apply 'parts' (global RATE)", "parts"),
    (CODE, '"one": 1', '"one": 5', "apply 'parts' (global NAMES)", "parts"),
    (CODE, "return number + 1", "return number + 2", "apply 'parts' (helper plus)", "parts"),
    ("words.py", "EXTRA = 3", "EXTRA = 4", "apply 'parts' (global words.EXTRA)", "parts"),
    ("words.py", "number + EXTRA", "EXTRA", "apply 'parts' (helper words.more)", "parts"),
    (CODE, "    apply(parts),\n", "    apply(parts),\n    apply(next_one, id='new'),\n",
     "step 'say' (what it follows), apply 'new' (new)", "new"),
    (CODE, '    step("say", Row, "say {{ number }}"),\n', "    apply(same),\n",
     "step 'again' (what it follows), 'say' (removed)", "same"),
    (CODE, '{{ other.number }}", gives=Row),\n', '{{ other.number }}", gives=Answer),\n',
     "step 'again' (output type)", "again"),
    ("engines.yml", '"model": "m"', '"model": "n"',
     "engine 'e' (model), which 'first' and 'aside' and 'lone' and 'say' and 'again' use",
     "first"),
]  # fmt: skip


def test_the_refusal_names_what_changed_and_what_to_redo(project: Project) -> None:
    project("run")
    for file, old, new, expected, offered in CHANGES:
        before = (project.folder / file).read_text()
        project.edit(file, old, new)
        said = project("run", "--resume", code=2)
        for words in expected.split("), "):
            assert words in said
        assert f"--redo {offered} runs what changed" in said
        assert not project.prompts
        (project.folder / file).write_text(before)
    project("run", "--resume")
    assert not project.prompts


REDONE = [CHANGES[0], CHANGES[2], CHANGES[7], CHANGES[8], CHANGES[9], CHANGES[11]]


@pytest.mark.parametrize(
    ("file", "old", "new", "offered"),
    [(*it[:3], it[4]) for it in REDONE],
    ids=[it[3] for it in REDONE],
)
def test_a_redo_gives_the_results_of_a_fresh_run_and_keeps_the_rest(
    project: Project, file: str, old: str, new: str, offered: str
) -> None:
    project("run")
    paid, first = project.cost("run"), project.prompts
    project.edit(file, old, new)
    project("fresh")
    fresh, spent = project.prompts, project.cost("fresh")
    project("run", "--redo", offered)
    assert table(project.folder / "run") == table(project.folder / "fresh")
    assert journal(project.folder / "run") == journal(project.folder / "fresh")
    assert not (fresh - project.prompts) - first, "not all that changed is asked"
    assert paid < project.cost("run") <= paid + spent
    if offered != "first":
        assert project.asked() <= {"say", "again"}


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("# changes while it runs", "# another comment"),
        ('step("first", Row,', 'step("first",\n        Row,'),
        ("seen = []", "seen = []\nOTHER = 1"),
        ("LIMIT = 1000", "LIMIT = 1001"),
    ],
)
def test_what_changes_no_answer_does_not_refuse_a_resume(
    project: Project, old: str, new: str
) -> None:
    project("run")
    project.edit(CODE, old, new)
    project("run", "--resume")
    assert not project.prompts


def test_a_node_that_yields_no_output_anymore_leaves_the_table(project: Project) -> None:
    project("run")
    line = next(it for it in CHAIN.splitlines(keepends=True) if "apply(parts)" in it)
    project.edit(CODE, line, line.replace("parts)", "parts, yield_output=False)"))
    project("run", "--resume")
    assert not project.prompts
    assert "parts.number" not in table(project.folder / "run")[0]


def test_inputs_that_changed_cannot_be_redone(project: Project) -> None:
    project("run")
    (project.folder / "rows.jsonl").write_text('{"number": 5}\n')
    said = project("run", "--redo", "say", code=2)
    assert "changed since: the inputs; choose another folder" in said


def test_a_redo_names_its_nodes(project: Project) -> None:
    said = project("new", "--redo", "say", code=2)
    assert "holds no run, so there is nothing to redo" in said
    project("run")
    said = project("run", "--redo", "sayy", code=2)
    assert "no node has the id 'sayy' (did you mean 'say'?); nodes: first, aside" in said
    assert "exclude each other" in project("run", "--redo", "say", "--overwrite", code=2)
    project.edit(CODE, "RATE = 2", "RATE = 3")
    assert "--redo parts runs what changed" in project("run", "--redo", "again", code=2)
    project("run", "--redo", "again", "--redo", "parts")
    assert project.asked() == {"say", "again"}


def test_without_a_change_a_redo_asks_only_for_the_node_and_what_depends_on_it(
    project: Project,
) -> None:
    project("run")
    for id, asked in {
        "lone": {"lone"},
        "aside": {"aside", "again"},
        "again": {"again"},
        "parts": {"say", "again"},
    }.items():
        project("run", "--redo", id)
        assert project.asked() == asked
    project("fresh")
    assert journal(project.folder / "run") == journal(project.folder / "fresh")


def test_a_removed_end_can_be_given_up(project: Project) -> None:
    project("run")
    paid = project.cost("run")
    project.edit(
        CODE, '    step("again", Answer, "again {{ number }} {{ other.number }}", gives=Row),\n', ""
    )
    assert "'again' (removed); --redo again runs" in project("run", "--resume", code=2)
    project("run", "--redo", "again")
    assert not project.prompts
    assert project.cost("run") == paid
    project("fresh")
    assert table(project.folder / "run") == table(project.folder / "fresh")


def test_the_environment_and_yaml_have_the_option(project: Project, in_process: Chainette) -> None:
    project("run")
    assert in_process(*command("run"), env={"CHAINETTE_REDO": "lone again"}).returncode == 1
    asked = {prompt(it.messages).split()[0] for it in project.server.requests[-11:]}
    assert asked == {"lone", "again"}
    (project.folder / "chain.yaml").write_text(
        "name: numbers\ninputs: rows.jsonl\noutput_dir: run\nrun: {redo: [lone]}\n"
        "steps: [{use: 'numbers_chain:chain'}]\n"
    )
    before = len(project.server.requests)
    assert in_process("run", "chain.yaml", "-e", "engines.yml").returncode == 1
    assert {prompt(it.messages).split()[0] for it in project.server.requests[before:]} == {"lone"}


def test_a_chain_is_the_same_in_another_process(project: Project, chainette: Chainette) -> None:
    project.edit(CODE, 'NAMES = {"one": 1', 'WORDS = {"x", "y", "z"}\nNAMES = {"one": len(WORDS)')
    project("run")
    resumed = chainette(*command("run"), "--resume", env={"PYTHONHASHSEED": "1"})
    assert "nothing to do" in resumed.stderr
    assert resumed.returncode == 1


VALIDATORS = [
    ("LIMIT = 1000", "LIMIT = 20", "stricter"),
    ("        return number\n", "        return 2 * number\n", "another value"),
    ("        return number\n", "        return number if number % 2 else -number\n", "some"),
    ("raise ValueError", "raise AssertionError", "same"),
]


@pytest.mark.parametrize(("old", "new", "kind"), VALIDATORS, ids=[it[2] for it in VALIDATORS])
def test_where_validators_changed_only_what_fails_or_differs_runs_again(
    project: Project, old: str, new: str, kind: str
) -> None:
    project("run")
    project.edit(CODE, old, new)
    project("fresh")
    fresh = project.prompts
    project("run", "--resume")
    assert table(project.folder / "run") == table(project.folder / "fresh")
    assert journal(project.folder / "run") == journal(project.folder / "fresh")
    assert not project.prompts - fresh
    if kind == "same":
        assert not project.prompts
    elif kind != "stricter":
        assert "first" not in project.asked()  # its answers are valid
    assert sum(project.prompts.values()) < sum(fresh.values())
    assert "nothing to do" in project("run", "--resume")


def test_an_answer_that_was_not_valid_counts_when_it_is(project: Project) -> None:
    project.edit(CODE, "LIMIT = 1000", "LIMIT = 3")
    project("run")
    project.edit(CODE, "LIMIT = 3", "LIMIT = 1000")
    project("fresh")
    project("run", "--resume")
    assert table(project.folder / "run") == table(project.folder / "fresh")
    assert journal(project.folder / "run") == journal(project.folder / "fresh")


def test_a_method_that_prompts_can_use_counts_for_what_follows(project: Project) -> None:
    project("run")
    project.edit(CODE, 'f"<{self.number}>"', 'f"({self.number})"')
    said = project("run", "--resume", code=2)
    assert "step 'aside' (methods of the output of 'first')" in said
    assert "--redo aside --redo lone --redo parts" in said


class Number(BaseModel):
    n: int


def numbers(rate: int, prompt: str = "say {{ n }}") -> Chain[Any, Any]:
    def times(number: Number) -> Number:
        return Number(n=number.n * rate)

    def ask(id: str, prompt: str) -> Step[Number, Number]:
        return Step(
            id=id, input_model=Number, output_model=Number, engine_name="e", user_prompt=prompt
        )

    return Chain(name="c", steps=[ask("draft", "draft {{ n }}"), apply(times), ask("say", prompt)])


def last_number(messages: Any) -> Any:
    number = int(messages[-1]["content"].split()[-1])
    return Number(n=number) if number != 4 else "no number"


def test_a_closure_is_named_and_python_users_redo_by_keyword(tmp_path: Path) -> None:
    rows = [{"n": n} for n in range(3)]
    with fake_engine("e", last_number) as engine:
        numbers(1).run(rows, output_dir=tmp_path / "run")
        with pytest.raises(
            OutputDirError, match=r"'times' \(closure rate\).*redo=\[\"times\"\] runs"
        ):
            numbers(3).run(rows, output_dir=tmp_path / "run", resume=True)
        before = len(engine.requests)
        run = numbers(3).run(rows, output_dir=tmp_path / "run", redo=["times"])
        assert [result.value.n for result in run.results] == [0, 3, 6]
        assert len(engine.requests) == before + 3
        with pytest.raises(ConfigError, match="expected a list of node ids"):
            numbers(3).run(rows, output_dir=tmp_path / "run", redo="times")  # type: ignore[arg-type]


def test_a_redo_reads_no_cache_for_its_node_and_fills_it(tmp_path: Path) -> None:
    pytest.importorskip("diskcache")
    rows = [{"n": n} for n in range(3)]
    options: dict[str, Any] = {"output_dir": tmp_path / "run", "cache": tmp_path / "cache"}
    chain = numbers(1)
    with fake_engine("e", lambda messages: Number(n=1)):
        chain.run(rows, **options)
    with fake_engine("e", lambda messages: Number(n=2)) as engine:
        run = chain.run(rows, redo=["draft"], **options)
        assert [result.value.n for result in run.results] == [2, 2, 2]
        drafts = [it for it in engine.requests if it[-1]["content"].startswith("draft")]
        assert len(drafts) == 3
        fresh = chain.run(rows, cache=tmp_path / "cache")
        assert [result.value.n for result in fresh.results] == [2, 2, 2]
        assert len([it for it in engine.requests if it[-1]["content"][0] == "d"]) == 3


def test_a_redo_that_is_continued_still_reads_no_cache(tmp_path: Path) -> None:
    pytest.importorskip("diskcache")
    rows = [{"n": n} for n in range(3)]
    options: dict[str, Any] = {"output_dir": tmp_path / "run", "cache": tmp_path / "cache"}
    with fake_engine("e", lambda messages: Number(n=1)):
        numbers(1).run(rows, **options)
    with fake_engine("e", lambda messages: Number(n=2)):
        numbers(1).run(rows, redo=["draft", "say"], limit=1, **options)
        run = numbers(1).run(rows, resume=True, **options)
    assert [result.value.n for result in run.results] == [2, 2, 2]


class Killed(BaseException):
    """The end of a process."""


class Death:
    """Ends `set_aside` before one of the moments in which it changes the folder.

    Args:
        moment: The number of changes before.
    """

    def __init__(self, moment: int) -> None:
        self.left = moment
        self.came = False

    def set_aside(self, *arguments: Any) -> bool:
        with pytest.MonkeyPatch.context() as patch:
            for change in (Path.replace, Path.rename, Path.unlink, Path.mkdir):
                patch.setattr(Path, change.__name__, self.dying(change))
            return set_aside(*arguments)

    def dying(self, change: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            self.left -= 1
            if self.left < 0:
                self.came = True
                raise Killed
            return change(*arguments, **options)

        return call


LIMIT = 100


class Small(BaseModel):
    n: int

    @field_validator("n")
    @classmethod
    def small(cls, n: int) -> int:
        if n > LIMIT:
            raise ValueError("too large")
        return n if LIMIT > 50 or n != 2 else 20


def smaller(rate: int) -> Chain[Any, Any]:
    def ask(id: str, takes: Any) -> Step[Any, Any]:
        prompt = f"{id} {{{{ n }}}}"
        return Step(
            id=id, input_model=takes, output_model=Small, engine_name="e", user_prompt=prompt
        )

    def times(number: Any) -> Number:
        return Number(n=number.n * rate)

    return Chain(name="c", steps=[ask("draft", Number), apply(times), ask("say", Number)])


@pytest.mark.parametrize("redo", [["times"], ["draft"], ["say"], []])
def test_a_kill_at_any_moment_of_setting_aside_loses_and_doubles_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, redo: list[str]
) -> None:
    rows, moments = [{"n": n} for n in range(8)], 0
    rate = 2 if redo in (["times"], ["draft"]) else 1

    def run(name: str, *, again: bool) -> Any:
        # Without a redo, only the validators change.
        monkeypatch.setattr(sys.modules[__name__], "LIMIT", 5 if again and not redo else 100)
        options: dict[str, Any] = {"resume": again, "redo": redo if again else []}
        build = smaller if not redo else numbers
        return build(rate if again else 1).run(rows, output_dir=tmp_path / name, **options)

    with fake_engine("e", last_number, price={"input": 1, "output": 1}):
        run("whole", again=False)
        whole = run("whole", again=True)
        while True:
            death, name = Death(moments), f"run{moments}"
            run(name, again=False)
            monkeypatch.setattr("chainette.run.executor.set_aside", death.set_aside)
            with suppress(Killed):
                run(name, again=True)
            monkeypatch.setattr("chainette.run.executor.set_aside", set_aside)
            if not death.came:
                break
            moments += 1
            resumed = run(name, again=True)
            assert table(tmp_path / name) == table(tmp_path / "whole")
            assert journal(tmp_path / name) == journal(tmp_path / "whole")
            assert resumed.cost == whole.cost
    assert moments > 3


def test_a_killed_redo_is_resumed_without_an_old_line(project: Project) -> None:
    project("run")
    project.edit(CODE, "RATE = 2", "RATE = 3")
    environment = {k: v for k, v in os.environ.items() if not k.startswith("OPENAI_")}
    process: list[subprocess.Popen[bytes]] = []
    asked: list[str] = []

    def deadly(messages: Any) -> Reply:
        asked.append(prompt(messages))
        if len(asked) == 8:
            process[0].kill()
        return answer(messages)

    project.server.set_answers(deadly)
    program = [str(Path(sys.executable).with_name("chainette")), *command("run"), "--redo", "parts"]
    process.append(subprocess.Popen(program, cwd=project.folder, env=environment))
    assert process[0].wait(60) == -signal.SIGKILL
    project.server.set_answers(answer)
    project("run", "--resume")
    assert project.asked() <= {"say", "again"}
    project("fresh")
    assert table(project.folder / "run") == table(project.folder / "fresh")
    assert journal(project.folder / "run") == journal(project.folder / "fresh")
