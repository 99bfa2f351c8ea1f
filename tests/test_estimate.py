"""`chain.estimate` and `chainette estimate`: a sample that is run, and the run that follows it."""

from __future__ import annotations

import json
import random
import runpy
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import anyio
import pytest
from chainette import Branch, Chain, Drop, Group, Step, apply, reduce, repeat, route
from chainette.errors import ConfigError, InputError, OutputDirError, RequestError
from chainette.folder.manifest import manifest
from chainette.run.chain import Chain as AnyChain
from chainette.run.estimate.engines import plans, with_engines
from chainette.run.estimate.intervals import Lengths, total
from chainette.testing import fake_engine
from pydantic import BaseModel


class Row(BaseModel):
    text: str


class Label(BaseModel):
    topic: str


PRICE = {"input": 1.0, "output": 4.0}
ROWS = [{"text": "word " * random.Random(number).randint(1, 90)} for number in range(120)]


def answer(messages: list[dict[str, str]]) -> dict[str, str]:
    """An answer as long as the prompt decides, so that it is the same every time."""
    words = len(messages[-1]["content"].split())
    return {"topic": " ".join(["x"] * (1 + random.Random(words).randint(0, 30)))}


def step(id: str = "label", engine: str = "small", **more: Any) -> Step[Any, Any]:
    fields = {"input_model": Row, "output_model": Label, "user_prompt": f"{id}: {{{{ text }}}}"}
    return Step(id=id, name=id, engine_name=engine, **{**fields, **more})


def after(id: str, engine: str = "small", **more: Any) -> Step[Any, Any]:
    """A step that takes a label."""
    fields = {"input_model": Label, "user_prompt": f"{id}: {{{{ topic }}}}"}
    return step(id, engine, **{**fields, **more})


def one() -> AnyChain[Any, Any]:
    return Chain(name="labels", steps=[step()])


@pytest.fixture
def engines() -> Iterator[dict[str, Any]]:
    with (
        fake_engine("small", answer, price=PRICE) as small,
        fake_engine("large", answer, price={"input": 10.0, "output": 40.0}) as large,
        fake_engine("judge", answer, price=PRICE) as judge,
        fake_engine("unpriced", answer) as unpriced,
    ):
        yield {"small": small, "large": large, "judge": judge, "unpriced": unpriced}


def split(row: Row) -> list[Row]:
    return [Row(text=row.text), Row(text="other " + row.text)]


def picky(row: Row) -> Row | None:
    if len(row.text) % 5 == 0:
        raise ValueError("bad")
    return Drop("short") if len(row.text) % 7 == 0 else row  # type: ignore[return-value]


async def asking(row: Row, calls: Any) -> Label:
    output = await calls["judge"].ask(f"Judge {row.text}", output_model=Label)
    await calls["judge"].ask("Again " + output.topic)
    return Label(topic=output.topic)


def good(label: Label) -> bool:
    return len(label.topic) % 3 != 0


CHAINS: dict[str, Callable[[], Any]] = {
    "one": lambda: [step()],
    "two": lambda: [step(), after("check", "judge")],
    "split": lambda: [apply(split), step()],
    "dropped and failed": lambda: [apply(picky), step()],
    "branch": lambda: [Branch("b", [step("side")]).join("beside"), step()],
    "calls": lambda: [apply(asking, engines=["judge"])],
    "repeat": lambda: [
        step(),
        repeat(
            after("again", user_prompt="{{ label.topic }} {{ feedback }}"),
            id="rounds",
            until=good,
            exhausted="last",
            max_rounds=3,
        ),
    ],
    "route": lambda: [
        route("text.split() | length > 40", id="way")
        .case(True, step("long", "large"))
        .case(False, step("short"))
    ],
}


@pytest.mark.parametrize("name", CHAINS)
@pytest.mark.filterwarnings("ignore")
def test_a_sample_of_all_rows_is_what_the_run_took(
    name: str, tmp_path: Path, engines: dict[str, Any]
) -> None:
    chain: Any = Chain(name="c", steps=CHAINS[name]())
    run = chain.run(ROWS[:40], output_dir=tmp_path / "run")
    found = chain.estimate(ROWS[:40], sample=1000)
    assert (found.rows, found.sampled, found.failed) == (40, 40, run.counts.unfinished)
    assert found.cost.value == pytest.approx(float(run.cost))
    assert found.cost.low == found.cost.high == found.cost.value
    tokens = sum(it.prompt_tokens for it in run.usage.values())
    assert found.prompt_tokens.value == pytest.approx(tokens)
    assert {id: it.cost.value for id, it in found.steps.items()} == pytest.approx(
        {id: float(cost) for id, cost in run.costs.items() if found.steps.get(id) and cost}
    )


@pytest.mark.parametrize("name", CHAINS)
@pytest.mark.filterwarnings("ignore")
def test_a_run_goes_on_from_its_estimate(
    name: str, tmp_path: Path, engines: dict[str, Any]
) -> None:
    chain: Any = Chain(name="c", steps=CHAINS[name]())
    plain = chain.run(ROWS, output_dir=tmp_path / "plain")
    count = sum(len(it.requests) for it in engines.values())
    found = chain.estimate(ROWS, sample=30, output_dir=tmp_path / "out")
    run = chain.run(ROWS, output_dir=tmp_path / "out")
    assert sum(len(it.requests) for it in engines.values()) == 2 * count
    assert (run.usage, run.costs, run.counts) == (plain.usage, plain.costs, plain.counts)
    tables = [
        b"".join(it.read_bytes() for it in sorted((tmp_path / name / "flattened").iterdir()))
        for name in ("plain", "out")
    ]
    assert tables[0] == tables[1]
    assert found.path == tmp_path / "out/estimate" / ("+".join(chain.engine_names))


def test_a_sample_without_a_row_that_succeeded_says_so() -> None:
    with fake_engine("small", lambda messages: RequestError("busy"), price=PRICE):
        found = one().estimate(ROWS, sample=60)
    assert "no row of the sample succeeded, so these numbers say nothing of a run" in str(found)


def test_the_rows_that_failed_are_run_again(tmp_path: Path) -> None:
    bad = [True]

    def flaky(messages: list[dict[str, str]]) -> Any:
        is_bad = bad[0] and len(messages[-1]["content"]) % 2
        return RequestError("busy") if is_bad else answer(messages)

    chain: Any = one()
    with fake_engine("small", flaky, price=PRICE) as engine:
        found = chain.estimate(ROWS, sample=60, output_dir=tmp_path)
        assert 0 < found.failed < 60
        assert f"{found.failed} of the 60 rows of the sample failed" in str(found)
        bad[0] = False
        run = chain.run(ROWS, output_dir=tmp_path)
        assert run.counts.ok == len(ROWS)
        assert len(engine.requests) == len(ROWS) + found.failed
        again = chain.estimate(ROWS, sample=60, output_dir=tmp_path / "other")
        assert again.failed == 0


def test_another_engine_is_estimated_in_the_place_of_the_own_one(
    tmp_path: Path, engines: dict[str, Any]
) -> None:
    chain: Any = one()
    small, large = chain.estimate(ROWS, engines=["small", "large"], output_dir=tmp_path)
    assert large.cost.value == pytest.approx(10 * small.cost.value)
    assert [len(engines[it].requests) for it in ("small", "large")] == [50, 50]
    assert chain.engine_names == ["small"]
    other: Any = Chain(name="labels", steps=[step(engine="large")])
    run = other.run(ROWS, output_dir=tmp_path)
    assert [len(engines[it].requests) for it in ("small", "large")] == [50, len(ROWS)]
    assert large.cost.low <= float(run.cost) <= large.cost.high


@pytest.mark.parametrize("name", CHAINS)
def test_a_chain_with_another_engine_is_the_chain_that_has_it(
    name: str, engines: dict[str, Any]
) -> None:
    chain: Any = Chain(name="c", steps=CHAINS[name]())
    before = json.dumps(manifest(chain, [], {})["fingerprint"])
    twin = with_engines(chain, {"small": "other"})
    assert "small" not in twin.engine_names
    back = with_engines(twin, {"other": "small"})
    assert json.dumps(manifest(back, [], {})["fingerprint"]) == before
    assert json.dumps(manifest(chain, [], {})["fingerprint"]) == before
    assert not {*map(id, twin.prompted)} & {*map(id, chain.prompted)}


def test_engines_of_several_steps_are_named(engines: dict[str, Any]) -> None:
    chain: Any = Chain(name="c", steps=[step(), after("check", "judge")])
    with pytest.raises(ConfigError, match=r"several engines \(small, judge\).*small=large,judge"):
        plans(chain, ["large"])
    (plan,) = plans(chain, ["small=large,judge=small"])
    assert [it.engine_name for it in plan.chain.prompted] == ["large", "small"]
    assert plan.folder == "small=large_judge=small"
    for text, message in {
        "smal=large": r"no step has the engine 'smal' \(did you mean 'small'",
        "small=": "expected old=new",
        "small=none": "unknown engine 'none'",
    }.items():
        with pytest.raises(ConfigError, match=message):
            plans(chain, [text])
    with pytest.raises(ConfigError, match="named twice"):
        plans(one(), ["large", "large"])
    with pytest.raises(ConfigError, match="no steps"):
        plans(Chain(name="c", steps=[apply(asking, engines=["judge"])]), ["large"])


CHANGES: dict[str, tuple[Any, Any, dict[str, Any]]] = {
    "the prompt": (lambda: [step(user_prompt="Other {{ text }}")], ROWS, {}),
    "a node more": (lambda: [step(), after("check")], ROWS, {}),
    "the engine": (lambda: [step(engine="large")], ROWS, {}),
    "the inputs": (lambda: [step()], ROWS[1:], {}),
    "the columns": (lambda: [step()], ROWS, {"columns": {"text": "text"}}),
    "the longest prompt": (lambda: [step()], ROWS, {"max_prompt_chars": 50_000}),
}


@pytest.mark.parametrize("change", CHANGES)
def test_an_estimate_of_something_else_is_not_used(
    change: str, tmp_path: Path, engines: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    nodes, rows, options = CHANGES[change]
    one().estimate(ROWS, sample=20, output_dir=tmp_path)
    engines["small"].requests.clear()
    chain: Any = Chain(name="labels", steps=nodes())
    run = chain.run(rows, output_dir=tmp_path, **options)
    assert sum(len(it.requests) for it in engines.values()) == len(rows) * len(chain.nodes)
    assert run.counts.ok == len(rows)
    assert "are not used" in caplog.text


def test_an_estimate_is_used_once(
    tmp_path: Path, engines: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    chain: Any = one()
    chain.estimate(ROWS, sample=20, output_dir=tmp_path)
    chain.run(ROWS, output_dir=tmp_path, limit=5)
    with pytest.raises(OutputDirError, match="already holds a run"):
        chain.run(ROWS, output_dir=tmp_path)
    with pytest.raises(OutputDirError, match="already holds a run"):
        chain.estimate(ROWS, output_dir=tmp_path)
    engines["small"].requests.clear()
    assert chain.run(ROWS, output_dir=tmp_path, resume=True).counts.ok == len(ROWS)
    resumed = len(engines["small"].requests)
    assert len(ROWS) - 25 <= resumed <= len(ROWS) - 20
    engines["small"].requests.clear()
    chain.run(ROWS, output_dir=tmp_path, overwrite=True)
    assert len(engines["small"].requests) == len(ROWS)
    assert "not used" not in caplog.text


def test_an_estimate_that_was_copied_in_part_loses_nothing(
    tmp_path: Path, engines: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    chain: Any = one()
    chain.estimate(ROWS, sample=20, output_dir=tmp_path)

    def killed(*_: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("chainette.run.estimate.takeover.shutil.copytree", killed)
        with pytest.raises(KeyboardInterrupt):
            chain.run(ROWS, output_dir=tmp_path)
    assert chain.run(ROWS, output_dir=tmp_path).counts.ok == len(ROWS)
    assert len(engines["small"].requests) == len(ROWS)


def test_a_second_estimate_asks_only_for_what_is_new(
    tmp_path: Path, engines: dict[str, Any]
) -> None:
    chain: Any = one()
    first = chain.estimate(ROWS, sample=40, output_dir=tmp_path)
    again = chain.estimate(ROWS, sample=40, output_dir=tmp_path)
    assert len(engines["small"].requests) == 40
    assert again.cost == first.cost
    wider = chain.estimate(ROWS, sample=80, output_dir=tmp_path)
    assert len(engines["small"].requests) == 80
    assert wider.cost.high - wider.cost.low < first.cost.high - first.cost.low
    assert "run in parts" in str(wider)
    with pytest.raises(OutputDirError, match="overwrite"):
        Chain(name="labels", steps=[step(user_prompt="New {{ text }}")]).estimate(
            ROWS, output_dir=tmp_path
        )
    chain.estimate(ROWS, sample=10, output_dir=tmp_path, overwrite=True)
    assert len(engines["small"].requests) == 90


def test_nodes_that_see_more_than_their_row_are_not_run(
    tmp_path: Path, engines: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    def ranked(labels: list[Label]) -> list[Label]:
        raise AssertionError("called with a sample")

    group = Step(
        id="sum", input_model=Group[Label], output_model=str, engine_name="judge",
        user_prompt="Sum {{ group | length }}",
    )  # fmt: skip
    chain: Any = Chain(
        name="c",
        steps=[
            Branch("b", [step("side")]),
            step(),
            apply(ranked, batch="all"),
            after("late", "large"),
            reduce(group, by="topic"),
        ],
    )
    found = chain.estimate(ROWS, sample=20, output_dir=tmp_path)
    assert [len(engines[it].requests) for it in ("small", "large", "judge")] == [40, 0, 0]
    assert [*found.steps] == ["side", "label"]
    assert found.not_estimated == {
        "ranked": "it sees all rows",
        "late": "it follows 'ranked'",
        "sum": "it follows 'ranked'",
    }
    assert "not estimated: 'late', since it follows 'ranked'" in str(found)


def test_the_run_after_an_estimate_makes_its_groups(
    tmp_path: Path, engines: dict[str, Any]
) -> None:
    def counted(group: Group[Label]) -> int:
        return len(group.items)

    chain: Any = Chain(name="c", steps=[step(), reduce(apply(counted), by="topic")])
    plain = chain.run(ROWS, output_dir=tmp_path / "plain")
    found = chain.estimate(ROWS, sample=20, output_dir=tmp_path / "out")
    assert found.not_estimated == {"counted": "it works on the groups of 'counted'"}
    run = chain.run(ROWS, output_dir=tmp_path / "out")
    sizes = [[it.value for it in each.groups("counted")] for each in (plain, run)]
    assert sizes[0] == sizes[1]
    assert sum(sizes[1]) == len(ROWS)


def test_small_numbers_have_no_exponent(engines: dict[str, Any]) -> None:
    assert "e-0" not in str(one().estimate(ROWS[:2]))


@pytest.mark.parametrize(
    ("sample", "rows", "is_said"), [(5, 40, True), (5, 5, False), (30, 40, False)]
)
def test_few_rows_are_said_to_be_few(
    sample: int, rows: int, is_said: bool, engines: dict[str, Any]
) -> None:
    found: Any = one().estimate(ROWS[:rows], sample=sample)
    assert (f"intervals from {sample} rows can be too narrow" in str(found)) is is_said


def test_what_is_not_known_is_not_zero(engines: dict[str, Any]) -> None:
    chain: Any = Chain(name="c", steps=[step(), after("check", "unpriced")])
    with fake_engine("unpriced", answer, price=None) as engine:
        engine.pricer.is_free = False
        found = chain.estimate(ROWS, sample=20)
    assert found.cost is None
    assert found.as_dict()["cost"] is None
    assert found.steps["label"].cost is not None
    assert "cost: unknown" in str(found)
    assert "20 of 20 answers of 'check' have no price" in str(found)


def test_a_step_that_no_row_reached_is_named(engines: dict[str, Any]) -> None:
    rare = route("text == 'rare'", id="way").case(True, step("rare", "large")).default(step())
    chain: Any = Chain(name="c", steps=[rare])
    found = chain.estimate(ROWS, sample=20)
    assert found.unseen == ("rare",)
    assert "'rare', which no row of the sample reached; up to 15.0% of all rows may" in str(found)


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        (iter(ROWS), "list_iterator can be read only once"),
        ((it for it in ROWS), "generator can be read only once"),
        ("-", "standard input can be read only once"),
        ([], "no rows"),
    ],
)
def test_rows_that_cannot_be_counted_are_refused(
    inputs: Any, message: str, engines: dict[str, Any]
) -> None:
    with pytest.raises(InputError, match=message):
        one().estimate(inputs)
    assert not engines["small"].requests


@pytest.mark.parametrize("suffix", [".csv", ".json", ".jsonl"])
def test_files_of_every_format_are_counted(
    suffix: str, tmp_path: Path, engines: dict[str, Any]
) -> None:
    path = tmp_path / f"rows{suffix}"
    path.write_text({
        ".csv": "text\n" + "".join(f'"{it["text"]}"\n' for it in ROWS),
        ".json": json.dumps(ROWS),
        ".jsonl": "".join(json.dumps(it) + "\n" for it in ROWS),
    }[suffix])  # fmt: skip
    chain: Any = one()
    found = chain.estimate(path, sample=20, output_dir=tmp_path / "out")
    assert (found.rows, found.sampled) == (len(ROWS), 20)
    assert chain.estimate(path, sample=20, limit=30).rows == 30
    engines["small"].requests.clear()
    chain.run(path, output_dir=tmp_path / "out")
    assert len(engines["small"].requests) == len(ROWS) - 20


def test_a_sample_that_was_stopped_is_no_estimate(tmp_path: Path, engines: dict[str, Any]) -> None:
    chain: Any = one()
    with pytest.raises(ConfigError, match=r"stopped before its end.*max_cost"):
        chain.estimate(ROWS, sample=100, max_cost=0.000001, output_dir=tmp_path)
    with pytest.raises(TypeError, match=r"unknown option 'retry_error'; options: output_dir"):
        chain.estimate(ROWS, retry_error=True)
    with pytest.raises(ConfigError, match="sample=0"):
        chain.estimate(ROWS, sample=0)


def test_two_samples_can_be_compared(tmp_path: Path, engines: dict[str, Any]) -> None:
    chain: Any = one()
    small, large = chain.estimate(ROWS, engines=["small", "large"], output_dir=tmp_path)
    from chainette.reports.comparing.comparison import compare

    found = compare(small.path, large.path)
    assert (found.rows.matched, found.rows.differing) == (50, 0)
    assert found.first.steps["label"].engine == "small"
    assert found.second is not None
    assert found.second.steps["label"].engine == "large"


def test_a_chain_without_engines_costs_nothing(tmp_path: Path) -> None:
    chain: Any = Chain(name="c", steps=[apply(split)])
    found = chain.estimate(ROWS, sample=5, output_dir=tmp_path)
    assert (found.cost.value, found.requests.value, found.sampled) == (0, 0, 5)
    assert chain.run(ROWS, output_dir=tmp_path).counts.ok == len(ROWS)


def test_limits_of_the_engine_decide_on_the_time() -> None:
    chain: Any = one()
    with fake_engine("small", answer, requests_per_minute=60_000, max_concurrency=1):
        assert chain.estimate(ROWS, sample=20).seconds.low >= len(ROWS) / 1000 * 0.999


@pytest.mark.parametrize(
    ("values", "rows", "low", "high"),
    [
        ([5.0] * 10, 1000, 5000, 5000),
        ([5.0] * 10, 10, 50, 50),
        ([0.0] * 10, 1000, 0, 0),
        ([1.0, 2.0, 3.0], 3, 6, 6),
        ([], 10, 0, float("inf")),
        ([7.0], 10, 7, float("inf")),
    ],
)
def test_totals_of_few_or_equal_rows(
    values: list[float], rows: int, low: float, high: float
) -> None:
    amount = total(values, Lengths([1.0] * len(values), 1.0, rows))
    assert (amount.low, amount.high) == (pytest.approx(low), pytest.approx(high))
    assert amount.low <= amount.value <= amount.high


def test_a_total_is_not_less_than_what_was_spent() -> None:
    amount = total([1.0, 1.0, 1000.0], Lengths([1.0, 2.0, 3.0], 2.0, 4))
    assert amount.low >= 1002


@pytest.mark.parametrize("count", [2, 3, 9, 10, 30, 200])
def test_an_interval_of_the_mean_is_that_of_student(count: int) -> None:
    quantiles = {2: 12.7062, 3: 4.30265, 9: 2.30600, 10: 2.26216, 30: 2.04523, 200: 1.97196}
    values = [-1.0, 1.0] * (count // 2) + [0.0] * (count % 2)
    shifted = [10 + it for it in values]
    amount = total(shifted, Lengths([3.0] * count, 3.0, 10**9))
    mean = sum(shifted) / count
    error = (sum((it - mean) ** 2 for it in shifted) / (count - 1) / count) ** 0.5
    assert amount.high / 10**9 == pytest.approx(mean + quantiles[count] * error, rel=1e-4)


@pytest.mark.parametrize("sigma", [0.5, 1.0])
def test_intervals_hold_the_total_of_lognormal_costs(sigma: float) -> None:
    source = random.Random(5)
    lengths = [source.lognormvariate(0, sigma) for _ in range(20_000)]
    costs = [it + 4 * source.lognormvariate(0, sigma) for it in lengths]
    whole, mean = sum(costs), sum(lengths) / len(lengths)
    held = 0
    for _ in range(400):
        chosen = source.sample(range(len(costs)), 200)
        known = Lengths([lengths[it] for it in chosen], mean, len(costs))
        amount = total([costs[it] for it in chosen], known)
        held += amount.low <= whole <= amount.high
    assert held / 400 >= 0.93


@pytest.mark.exhaustive
@pytest.mark.parametrize("kind", ["fixed_answers", "free_answers", "answers_alone", "summaries"])
def test_intervals_hold_the_cost_of_simulated_data_sets(kind: str) -> None:
    path = Path(__file__).parent.parent / "benchmarks/estimates.py"
    coverage = runpy.run_path(str(path))["coverage"]
    assert coverage(kind, 1.0, 2000, 1000, 200).share >= 0.93


def test_the_command_prints_an_estimate_and_the_run_uses_it(
    in_process: Any, project: Path, openai_server: Any
) -> None:
    words = ("numbers_chain.py:chain", "-i", "rows.jsonl", "-e", "engines.yml", "-o", "out")
    outcome = in_process("estimate", *words, "--sample", "3")
    assert outcome.returncode == 0, outcome.stderr
    (line,) = outcome.stdout.splitlines()
    found = json.loads(line)
    assert (found["rows"], found["sampled"], found["engine"]) == (5, 3, "e")
    assert "a run with -o out uses them" in outcome.stderr
    asked: list[Any] = []
    reply = openai_server.reply
    openai_server.reply = lambda body: asked.append(body) or reply(body)
    finished = in_process("run", *words)
    assert finished.returncode == 0, finished.stderr
    assert "using the answers of the estimate" in finished.stderr
    assert len(asked) == 2
    assert json.loads((project / "out/run.json").read_text())["counts"]["ok"] == 5


def test_a_wrong_engine_of_the_command_is_an_error(in_process: Any, project: Path) -> None:
    words = ("numbers_chain.py:chain", "-i", "rows.jsonl", "-e", "engines.yml")
    outcome = in_process("estimate", *words, "--engine", "f")
    assert outcome.returncode == 2
    assert "unknown engine 'f'; registered engines: e\n" in outcome.stderr
    assert "Traceback" not in outcome.stderr
    more = "- {name: large, backend: openai, model: m, endpoint: 'http://127.0.0.1:9/v1'}\n"
    (project / "engines.yml").write_text((project / "engines.yml").read_text() + more)
    outcome = in_process("estimate", *words[:3], "--engine", "larg")
    assert "unknown engine 'larg' (did you mean 'large'?); registered" in outcome.stderr


def test_an_interrupted_sample_keeps_its_answers(tmp_path: Path, engines: dict[str, Any]) -> None:
    from chainette.reports.run import Run
    from chainette.run.estimate import sampling
    from chainette.run.executor import Executor

    async def interrupted(executor: Executor) -> Run[Any]:
        run = await executor.run()
        return replace(run, interrupted=True, signal=15)

    async def call() -> None:
        await sampling.estimate(
            one(), ROWS, sample=20, output_dir=tmp_path / "out", run=interrupted
        )

    with pytest.raises(sampling.InterruptedSampleError) as caught:
        anyio.run(call)
    assert caught.value.number == 15
    shutil.copytree(tmp_path / "out", tmp_path / "later")
    one().estimate(ROWS, sample=20, output_dir=tmp_path / "out")
    assert len(engines["small"].requests) == 20
    one().run(ROWS, output_dir=tmp_path / "later")
    assert len(engines["small"].requests) == len(ROWS)


def test_the_answers_of_a_sample_that_was_killed_are_used(
    tmp_path: Path, engines: dict[str, Any]
) -> None:
    from chainette.reports.run import Run
    from chainette.run.estimate import sampling
    from chainette.run.executor import Executor

    async def killed(executor: Executor) -> Run[Any]:
        run = await executor.run()
        assert run.path is not None
        left = run.path / "run.json"
        left.write_text(json.dumps(json.loads(left.read_text()) | {"status": "running"}))
        raise SystemExit(137)

    async def call() -> None:
        await sampling.estimate(one(), ROWS, sample=20, output_dir=tmp_path / "out", run=killed)

    with pytest.raises(SystemExit):
        anyio.run(call)
    shutil.copytree(tmp_path / "out", tmp_path / "later")
    again: Any = one().estimate(ROWS, sample=20, output_dir=tmp_path / "out")
    assert any("the sample was run in parts" in note for note in again.notes)
    assert len(engines["small"].requests) == 20
    one().run(ROWS, output_dir=tmp_path / "later")
    assert len(engines["small"].requests) == len(ROWS)


def test_an_estimate_that_was_replaced_has_a_time_of_its_own(
    tmp_path: Path, engines: dict[str, Any]
) -> None:
    one().estimate(ROWS, sample=5, output_dir=tmp_path)
    reading = tmp_path / "estimate/small/estimate.json"
    reading.write_text(json.dumps(json.loads(reading.read_text()) | {"seconds": 1e6}))
    one().estimate(ROWS, sample=5, output_dir=tmp_path, overwrite=True)
    assert json.loads(reading.read_text())["seconds"] < 1e6
    assert len(engines["small"].requests) == 10


def test_an_estimate_of_another_chain_in_the_folder_is_refused_in_its_own_words(
    tmp_path: Path, engines: dict[str, Any]
) -> None:
    one().estimate(ROWS, sample=5, output_dir=tmp_path)
    reason = "holds an estimate of something else: .*'label'.*; choose another folder, or replace"
    with pytest.raises(OutputDirError, match=rf"{reason} it \(overwrite=True\)$"):
        Chain(name="labels", steps=[step(user_prompt="Other: {{ text }}")]).estimate(
            ROWS, sample=5, output_dir=tmp_path
        )
