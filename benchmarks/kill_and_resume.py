"""Check that runs which are killed at random moments and resumed lose and repeat nothing.

python benchmarks/kill_and_resume.py [KILLS] [all|repeat|calls|reduce]

The word says what the runs are killed in.
"""

from __future__ import annotations

import json
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

from chainette.testing import faults
from chainette.testing.script import Reply
from chainette.testing.servers import FakeOpenAI

KILLS = int(sys.argv[1]) if len(sys.argv) > 1 else 100
WORD = sys.argv[2] if len(sys.argv) > 2 else "all"
ROWS, IN_FLIGHT = 150, 8
CHAIN = """
import asyncio

from chainette import Branch, Calls, Chain, Group, Step, apply, reduce, repeat
from pydantic import BaseModel, Field, field_serializer, field_validator

class Row(BaseModel):
    number: int

class Answer(BaseModel):
    text: str  # validated again it would change, and it is written in another form
    share: float = 50
    secret: str = Field(default="kept", exclude=True)

    @field_validator("text", mode="before")
    @classmethod
    def _marked(cls, value):
        return f"<{value}>"

    @field_validator("share", mode="before")
    @classmethod
    def _of_hundred(cls, value):
        return value / 100

    @field_serializer("share")
    def _percent(self, value):
        return f"{value:.0%}"

class Signed(Row):
    sign: str

    @field_validator("number")
    @classmethod
    def _doubled(cls, value):
        return value * 2

def signs(row: Row) -> list[Row]:
    return [Row(number=row.number), Signed(number=-row.number, sign="minus")]

async def argued(answer: Answer, calls: Calls) -> Answer:
    ask, text = calls["e"].ask, answer.text
    for turn in range(2):
        asked = [ask(f"{side} {text} {turn}", output_model=Answer) for side in ("for", "against")]
        pro, contra = await asyncio.gather(*asked)
        text = (await ask(f"so {pro.text}{contra.text} {turn}", output_model=Answer)).text
    return await ask(f"end {text}", output_model=Answer)

def step(id, takes, prompt):
    return Step(id=id, input_model=takes, output_model=Answer, engine_name="e", user_prompt=prompt)

def is_good(answer: Answer, names):
    done = names["round"] > abs(names["signs"].number) % 4
    return None if done else f"round{names['round']}"

words = {
    "repeat": lambda: [
        apply(signs),
        repeat(
            [
                step("say", Row, "say {{ number }} {{ round }} {{ previous.text if previous }}"),
                step("mend", Answer, "mend {{ signs.number }} {{ text }} {{ feedback or '-' }}"),
            ],
            until=is_good, max_rounds=3, exhausted="last", id="rounds",
        ),
        step("again", Answer, "again {{ signs.number }} {{ text }} {{ rounds.rounds }}"),
    ],
    "calls": lambda: [
        apply(signs), step("say", Row, "say {{ number }}"), apply(argued, engines=["e"])
    ],
    "reduce": lambda: [
        apply(signs),
        step("say", Row, "say {{ number }}"),
        reduce(
            step(
                "total", Group[Answer],
                "total {{ key }}{{ so_far.text if so_far }} "
                "{% for it in items %}{{ it.text }}{% endfor %}",
            ),
            by="signs.number % 29", fold=3,
        ),
        step("after", Answer, "after {{ group.key }} {{ text }}"),
    ],
    "all": lambda: [
    Branch(name="side", steps=[step("aside", Row, "aside {{ number }}")]).join("other"),
    apply(signs),
    step("say", Row, "say {{ number }}"),
    apply(argued, engines=["e"]),
    step("again", Answer, "again {{ signs.number }} {{ text }} {{ other.text }}{{ other.secret }}"),
    ],
}
chain = Chain(name="signs", steps=words["WORD"]())
"""


def answer(messages: Any) -> Reply:
    words = messages[-1]["content"].split()
    if words[:2] in (["say", "13"], ["aside", "77"]):
        return faults.status(400, "unlucky")
    fields = {"text": words[1], "share": 50, "secret": f"of {words[1]}"}
    return Reply(json.dumps(fields), delay=0.004)


KEYS = ("row_id", "group", "part", "item", "round", "call", "nth")
"""The fields that tell the lines of a node apart."""


class Campaign:
    """One run that is killed and resumed until it finishes."""

    def __init__(self, folder: Path, server: FakeOpenAI) -> None:
        self.folder, self.server = folder, server
        program = str(Path(sys.executable).with_name("chainette"))
        files = ["-i", "rows.jsonl", "-e", "engines.yml", "--resume", "-o"]
        self.command = [program, "run", "chain.py", *files]

    def run(self, out: str, requests: int | None) -> bool:
        """Run or resume; return False if the run was killed after so many requests."""
        devnull, before = subprocess.DEVNULL, len(self.server.requests)
        process = subprocess.Popen(
            [*self.command, out], cwd=self.folder, stdout=devnull, stderr=devnull
        )
        while process.poll() is None:
            time.sleep(0.002)
            if requests is not None and len(self.server.requests) - before >= requests:
                process.kill()
                process.wait()
                return False
        assert process.returncode == 1, f"exit code {process.returncode}"
        return True

    def lines(self, out: str, pattern: str) -> list[dict[str, Any]]:
        files = sorted((self.folder / out).glob(pattern))
        return [json.loads(line) for file in files for line in file.read_text().splitlines()]

    def tables(self, out: str) -> list[dict[str, Any]]:
        """The flattened table, the values that it does not give back, and the groups."""
        places = ("flattened/*.jsonl", "values/*.jsonl", "groups/*.jsonl")
        return [line for place in places for line in self.lines(out, place)]


def prompts_of(server: FakeOpenAI) -> set[str]:
    return {request.messages[-1]["content"] for request in server.requests}


def main() -> None:
    rng = random.Random(20)
    kills = campaigns = repeated = 0
    with tempfile.TemporaryDirectory() as name, FakeOpenAI(answer) as server:
        folder = Path(name)
        (folder / "chain.py").write_text(CHAIN.replace("WORD", WORD))
        (folder / "rows.jsonl").write_text(
            "".join(f'{{"number": {n}}}\n' for n in range(1, ROWS + 1))
        )
        engine = {"name": "e", "backend": "openai", "model": "m", "endpoint": server.endpoint}
        (folder / "engines.yml").write_text(json.dumps([engine | {"max_concurrency": IN_FLIGHT}]))
        campaign = Campaign(folder, server)
        campaign.run("clean", None)
        clean, clean_requests = campaign.tables("clean"), len(server.requests)
        prompts = prompts_of(server)
        while kills < KILLS:
            server.set_answers(answer)
            out, before = f"out-{campaigns}", kills
            while not campaign.run(out, rng.randrange(1, clean_requests * 6 // 5)):
                kills += 1
            campaigns += 1
            assert campaign.tables(out) == clean, "the results differ"
            assert prompts_of(server) == prompts, "the prompts differ"
            counts = Counter(
                (path.name, *(str(line.get(key)) for key in KEYS))
                for path in (folder / out / "steps").iterdir()
                for line in campaign.lines(out, f"steps/{path.name}/*.jsonl")
            )
            assert max(counts.values()) == 1, "a finished step was recorded twice"
            requests = len(server.requests)
            assert clean_requests <= requests <= clean_requests + (kills - before) * IN_FLIGHT
            repeated += requests - clean_requests
    print(f"{kills} kills in {campaigns} runs of {ROWS} rows, {clean_requests} requests each")
    print("every run ended with the lines of one that was not killed, and sent the same prompts")
    print("no step and no call of a function was recorded twice")
    print(f"{repeated} requests were sent again: those in flight, {repeated / kills:.1f} a kill")


if __name__ == "__main__":
    main()
