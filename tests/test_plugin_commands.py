"""`chainette plugins`: what it writes works untouched, and what it checks is told in words."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from difflib import unified_diff
from pathlib import Path
from typing import Any

import pytest
from acme_server import TOKEN, AcmeServer

ROOT = Path(__file__).parent.parent
BIN = Path(sys.executable).parent
AUTHOR = ROOT / "tests/plugin_author/chainette-acme"
"""The files that the author of a plugin for Acme's server has changed."""
CHAIN = """
from typing import Literal
from chainette import Chain, SamplingParams, Step
from pydantic import BaseModel

class Review(BaseModel):
    text: str

class Sentiment(BaseModel):
    label: Literal["positive", "negative", "mixed"]

step = Step(
    id="sentiment",
    engine_name="main",
    input_model=Review,
    output_model=Sentiment,
    sampling=SamplingParams(temperature=0, max_tokens=50),
    user_prompt="Is this review positive, negative or mixed?\\n\\n{{ text }}",
)
chain = Chain(name="reviews", steps=[step])
"""


def call(*words: object, cwd: Path, path: Path | None = None) -> subprocess.CompletedProcess[str]:
    environment = dict(os.environ) | ({"PYTHONPATH": str(path)} if path else {})
    return subprocess.run(
        [*map(str, words)], cwd=cwd, env=environment, capture_output=True, text=True, check=False
    )


def works(*words: object, cwd: Path, path: Path | None = None) -> str:
    done = call(*words, cwd=cwd, path=path)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def installed(project: Path) -> Path:
    """A folder with what pip installs of a project."""
    site = project.parent / "site"
    install = ["pip", "install", "--quiet", "--python", sys.executable, "--target", site]
    works(BIN / "uv", *install, "--no-deps", "--no-build-isolation", project, cwd=project)
    return site


def passes(project: Path, site: Path, shared: Any) -> None:
    """Run what a new project is checked with: its tests, ruff and mypy."""
    tested = works(sys.executable, "-m", "pytest", "-q", "-W", "error", cwd=project, path=site)
    assert "passed" in tested
    works(BIN / "ruff", "check", "--no-cache", ".", cwd=project)
    works(BIN / "ruff", "format", "--no-cache", "--check", ".", cwd=project)
    with shared.mypy_cache() as cache:
        mypy = [BIN / "mypy", "--cache-dir", cache]
        types = call(*mypy, cwd=project, path=ROOT / "chainette-core/src")
    assert types.returncode == 0, types.stdout


@pytest.mark.packaging
@pytest.mark.timeout(300)
@pytest.mark.parametrize("protocol", ["openai", "http", "local"])
def test_a_new_plugin_can_be_installed_and_passes_its_checks(
    protocol: str, shared: Any, tmp_path: Path
) -> None:
    said = works(BIN / "chainette", "plugins", "new", "ac_me", "--protocol", protocol, cwd=tmp_path)
    assert "chainette-ac-me: written" in said
    project = tmp_path / "chainette-ac-me"
    site = installed(project)
    shown = json.loads(works(BIN / "chainette", "engines", "list", "--json", cwd=site, path=site))
    (backend,) = [it for it in shown["backends"] if it["name"] == "ac_me"]
    assert (backend["state"], backend["distribution"]) == ("ok", "chainette-ac-me")
    assert backend["capabilities"]

    passes(project, site, shared)


@pytest.fixture
def acme(llama_server: str) -> Iterator[AcmeServer]:
    """Acme's server, in front of a real model."""
    with AcmeServer(llama_server) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


@pytest.mark.llamacpp
@pytest.mark.packaging
@pytest.mark.timeout(300)
def test_a_plugin_for_a_protocol_of_its_own_takes_few_lines(
    acme: AcmeServer, shared: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    works(BIN / "chainette", "plugins", "new", "acme", "--protocol", "http", cwd=tmp_path)
    project = tmp_path / "chainette-acme"
    assert written(project) < 50
    shutil.copytree(AUTHOR, project, dirs_exist_ok=True)
    site = installed(project)
    passes(project, site, shared)

    (tmp_path / "reviews.py").write_text(CHAIN)
    (tmp_path / "reviews.jsonl").write_text('{"text": "I love it."}\n{"text": "It broke."}\n')
    engine = {"name": "main", "backend": "acme", "model": "acme-1", "endpoint": acme.url}
    (tmp_path / "engines.yml").write_text(json.dumps([engine]))
    monkeypatch.setenv("ACME_API_KEY", TOKEN)
    check = [BIN / "chainette", "engines", "check", "main", "-e", "engines.yml"]
    assert "acme-1 is one of 1" in works(*check, cwd=tmp_path, path=site)
    run = [BIN / "chainette", "run", "reviews.py", "-i", "reviews.jsonl", "-e", "engines.yml"]
    works(*run, "-o", "out", cwd=tmp_path, path=site)
    lines = (tmp_path / "out/flattened/000000.jsonl").read_text().splitlines()
    labels = [json.loads(line)["sentiment.label"] for line in lines]
    assert len(labels) == 2
    assert {*labels} <= {"positive", "negative", "mixed"}


def written(project: Path) -> int:
    """The number of lines that the author has added to those of the template, or changed."""
    count = 0
    for file in AUTHOR.rglob("*.py"):
        before = (project / file.relative_to(AUTHOR)).read_text().splitlines()
        changes = unified_diff(before, file.read_text().splitlines(), n=0)
        count += sum(line.startswith("+") and not line.startswith("+++") for line in changes)
    return count


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["Ac-me"], "lower-case letters"),
        (["acme", "--protocol", "smtp"], "unknown protocol 'smtp'"),
        (["acme", "--output-dir", "."], "is not empty"),
    ],
)
def test_a_plugin_that_cannot_be_written_is_refused(
    words: list[str], said: str, in_process: Any, tmp_path: Path
) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    done = in_process("plugins", "new", *words)
    assert done.returncode == 2
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


@pytest.mark.exhaustive
def test_an_installed_plugin_is_checked(tmp_path: Path) -> None:
    said = works(BIN / "chainette", "plugins", "check", "chainette-vllm", cwd=tmp_path)
    assert said.startswith("vllm_api:\n")
    assert "ok      outputs have the length and order of the prompts" in said
    assert "FAILED" not in said


@pytest.mark.exhaustive
def test_a_plugin_that_breaks_a_promise_is_told_which(tmp_path: Path) -> None:
    (tmp_path / "hasty.py").write_text(
        """
from chainette.backend import Backend, Capabilities, EngineConfig, OpenAIChatClient, hookimpl

class Client(OpenAIChatClient):
    async def agenerate(self, prompts, *rest, **options):
        return (await super().agenerate(prompts, *rest, **options))[::-1]

@hookimpl
def chainette_backends():
    return [Backend("hasty", EngineConfig, Client, Capabilities(json_schema=True))]
"""
    )
    metadata = tmp_path / "hasty-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: hasty\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text("[chainette.backends]\nhasty = hasty\n")
    done = call(BIN / "chainette", "plugins", "check", "hasty", cwd=tmp_path, path=tmp_path)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "FAILED  outputs have the length and order of the prompts (0 of 1)" in done.stdout
    assert "assert ['answer 19'" in done.stdout


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["nobody"], "no backend and no plugin 'nobody'"),
        (["vllm_api", "--server", "not.there:Server"], "no fake server 'not.there:Server'"),
        (["vllm_api", "--field", "model"], "write KEY=VALUE"),
    ],
)
def test_what_cannot_be_checked_is_said_so(words: list[str], said: str, in_process: Any) -> None:
    done = in_process("plugins", "check", *words)
    assert done.returncode == 2
    assert said in done.stderr
