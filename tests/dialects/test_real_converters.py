"""Schemas in llama.cpp's dialect on its converter, the version that crashes and the current one.

`make test-converters` has every version and all models; `make test-all` a few on the current one.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from chainette.engine.structured.schema import OutputSchema
from chainette.testing.hard_models import HARD_MODELS
from pydantic import TypeAdapter, ValidationError
from random_models import random_model

OLD = Path(__file__).parents[2] / ".venv-converters"
"""xllamacpp 2026.8.10229, which refuses and crashes as Ollama 0.33 does."""
MODELS = 500
QUICK = 4
MOST_TOKENS = 60
SERVER = Path(__file__).with_name("converter_server.py")


class Case(NamedTuple):
    """A type, and its fields whose rules are said in words."""

    name: str
    type: Any
    in_words: frozenset[str]


HARD = [
    # Bounds of floats and the days of months are said in words; so are the keys of mappings.
    Case(name, model, frozenset({"share", "issued", "paid", "by_subject"}))
    for name, model in HARD_MODELS.items()
]


def cases(seeds: range) -> Iterator[Case]:
    for seed in seeds:
        made = random_model(seed)
        yield Case(made.model.__name__, made.model, made.in_words)


@contextmanager
def converter(version: str, folder: Path) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """The address of a server of one version, and its process."""
    from chainette_llamacpp.server import default_model_path

    address = folder / "address"
    env = dict(os.environ) | ({"PYTHONPATH": str(OLD)} if version == "old" else {})
    command = [sys.executable, str(SERVER), str(default_model_path()), str(address)]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, env=env, stdout=log, stderr=log)
    try:
        deadline = time.monotonic() + 60
        while not address.exists():
            assert process.poll() is None, (folder / "log").read_text()[-2000:]
            assert time.monotonic() < deadline
            time.sleep(0.05)
        yield address.read_text(), process
    finally:
        process.kill()
        process.wait()


def ask(address: str, schema: dict[str, Any], name: str) -> tuple[int, str, str]:
    """Status, text and finish reason of an answer; status 0 is a crash."""
    body = {
        "messages": [{"role": "user", "content": f"Make up a short {name}, as JSON."}],
        "max_tokens": MOST_TOKENS,
        "temperature": 1.0,
        "seed": 7,
        "response_format": {"type": "json_schema", "json_schema": {"name": name, "schema": schema}},
    }
    request = urllib.request.Request(
        f"{address}/v1/chat/completions",
        json.dumps(body).encode(),
        {"Content-Type": "application/json"},
    )
    try:
        with urllib.request.urlopen(request, timeout=110) as response:
            choice = json.load(response)["choices"][0]
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode(), ""
    except OSError as error:
        return 0, repr(error), ""
    return 200, choice["message"]["content"], choice["finish_reason"]


def outcome(address: str, case: Case) -> str:
    """What became of a schema: `valid`, `cut`, `in words: field`, or a complaint."""
    schema = OutputSchema(case.type).in_dialect("llama_cpp")
    status, text, reason = ask(address, schema, case.name)
    if status != 200:
        return f"REFUSED {case.name} {status} {text[:300]} {json.dumps(schema)}"
    if reason != "stop":
        return "cut"
    try:
        json.loads(text)
    except ValueError as error:
        return f"NOT JSON {case.name} {error} {text!r} {json.dumps(schema)}"
    try:
        TypeAdapter(case.type).validate_json(text)
    except ValidationError as error:
        wrong = {str(each["loc"][0]) if each["loc"] else "" for each in error.errors()}
        if wrong <= case.in_words:
            kinds = ", ".join(sorted({each["type"] for each in error.errors()}))
            return f"in words: {kinds}"
        return f"NOT ENFORCED {case.name} {error} {text!r} {json.dumps(schema)}"
    return "valid"


def check(address: str, tried: list[Case]) -> None:
    with ThreadPoolExecutor(4) as pool:
        outcomes = list(pool.map(lambda case: outcome(address, case), tried))
    counts = Counter(outcomes)
    complaints = [each for each in outcomes if each[:3].isupper()]
    words = sum(n for each, n in counts.items() if each.startswith("in words"))
    lines = [
        f"{len(tried)} schemas, "
        f"taken {sum(not each.startswith('REFUSED') for each in outcomes)}, "
        f"enforced {counts['valid']}, cut at {MOST_TOKENS} tokens {counts['cut']}, "
        f"not enforced where the words say so {words}",
        *(f"  {each[10:]}: {n}" for each, n in counts.most_common() if each.startswith("in words")),
    ]
    print("", *lines, sep="\n")  # noqa: T201  the figures are what the test is for
    assert not complaints, "\n\n".join(complaints)


@pytest.mark.llamacpp
@pytest.mark.exhaustive
def test_a_few_schemas_are_taken_and_enforced(llama_server: str) -> None:
    check(llama_server.removesuffix("/v1"), [*HARD[:2], *cases(range(QUICK))])


@pytest.mark.llamacpp
@pytest.mark.converters
@pytest.mark.timeout(7200)
@pytest.mark.parametrize("version", ["old", "current"])
def test_all_schemas_are_taken_and_enforced(version: str, tmp_path: Path) -> None:
    if version == "old" and not OLD.exists():
        pytest.skip("xllamacpp 2026.8.10229 is not installed: make test-converters")
    seeds = range(int(os.environ.get("CONVERTER_MODELS", MODELS)))
    with converter(version, tmp_path) as (address, process):
        check(address, [*HARD, *cases(seeds)])
        assert process.poll() is None
