"""The distributions, as they are installed from the built wheels."""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap
import zipfile
from pathlib import Path
from typing import Any

import pytest

pytestmark = [pytest.mark.packaging, pytest.mark.timeout(300)]
ROOT = Path(__file__).parent.parent
DISTRIBUTIONS = {
    "chainette": "chainette-core",
    "chainette_openai": "chainette-openai",
    "chainette_ollama": "chainette-ollama",
    "chainette_vllm": "chainette-vllm",
    "chainette_vllm_local": "chainette-vllm-local",
    "chainette_llamacpp": "examples/chainette-llamacpp",
}


def call(*command: object, cwd: Path | None = None) -> str:
    done = subprocess.run(
        [*map(str, command)], cwd=cwd, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


class Environment:
    """A virtual environment with nothing in it."""

    def __init__(self, path: Path) -> None:
        self.bin = path / "bin"
        self.uv = Path(sys.executable).with_name("uv")
        call(self.uv, "venv", "--quiet", "--python", sys.executable, path)

    def install(self, *what: object) -> None:
        python = self.bin / "python"
        call(self.uv, "pip", "install", "--quiet", "--python", python, *what)

    def backends(self) -> dict[str, Any]:
        shown = json.loads(call(self.bin / "chainette", "engines", "list", "--json"))
        return {backend["name"]: backend for backend in shown["backends"]}


@pytest.fixture
def environment(tmp_path: Path) -> Environment:
    return Environment(tmp_path / "venv")


def wheel(wheels: Path, name: str) -> Path:
    (path,) = wheels.glob(f"{name}-*.whl")
    return path


def test_wheels_carry_types_license_and_nothing_else_of_the_tree(wheels: Path) -> None:
    for name in DISTRIBUTIONS:
        names = zipfile.ZipFile(wheel(wheels, name)).namelist()
        assert f"{name}/py.typed" in names
        assert any(entry.endswith("licenses/LICENSE") for entry in names)
        assert {entry.split("/")[0].split("-")[0] for entry in names} == {name}
        source = ROOT / DISTRIBUTIONS[name] / "src"
        modules = {it.relative_to(source).as_posix() for it in source.glob(f"{name}/**/*.py")}
        assert modules - {*names} == set()
        assert list(wheels.glob(f"{name}-*.tar.gz"))


def test_the_two_packages_of_the_readme_bring_exactly_one_backend(
    wheels: Path, environment: Environment
) -> None:
    environment.install(wheel(wheels, "chainette"), wheel(wheels, "chainette_openai"))
    assert list(environment.backends()) == ["openai"]
    table = call(environment.bin / "chainette", "engines", "list")
    assert "pip install chainette-ollama" in table
    environment.install(wheel(wheels, "chainette"), wheel(wheels, "chainette_ollama"))
    assert list(environment.backends()) == ["ollama", "ollama_api", "openai"]
    call(environment.uv, "pip", "check", "--python", environment.bin / "python")


PLUGIN = """
from chainette.engine.client.base import BaseClient
from chainette.engine.config import EngineConfig
from chainette.plugins.backend import Backend
from chainette.capabilities import Capabilities
from chainette.plugins.hookspecs import hookimpl
from chainette.types import Completion, LLMOutput


class ParrotConfig(EngineConfig):
    voice: str = "loud"


class ParrotClient(BaseClient):
    async def _chat(self, request):
        said = request.messages[-1]["content"]
        text = said.upper() if self.config.voice == "loud" else said
        return LLMOutput([Completion(f'{{"text": "{text}"}}')])


@hookimpl
def chainette_backends():
    return [Backend("parrot", ParrotConfig, ParrotClient, Capabilities(), "says it again")]
"""


def write_plugin(folder: Path, name: str, source: str) -> Path:
    (folder / f"{name}_plugin").mkdir(parents=True)
    (folder / f"{name}_plugin/__init__.py").write_text(source)
    (folder / "pyproject.toml").write_text(
        textwrap.dedent(
            f"""
            [build-system]
            requires = ["hatchling"]
            build-backend = "hatchling.build"
            [project]
            name = "{name}-plugin"
            version = "0.3"
            dependencies = ["chainette>=0.1,<1"]
            [project.entry-points."chainette.backends"]
            {name} = "{name}_plugin"
            """
        )
    )
    return folder


def test_a_third_partys_plugin_is_listed_and_runs_and_a_broken_one_disturbs_nothing(
    wheels: Path, environment: Environment, tmp_path: Path
) -> None:
    parrot = write_plugin(tmp_path / "parrot", "parrot", PLUGIN)
    broken = write_plugin(tmp_path / "broken", "broken", "raise RuntimeError('no driver found')\n")
    environment.install("pip", wheel(wheels, "chainette"))
    call(environment.bin / "python", "-m", "pip", "install", "--quiet", parrot, broken)

    backends = environment.backends()
    assert list(backends) == ["broken", "parrot"]
    assert backends["parrot"]["state"] == "ok"
    assert backends["parrot"]["distribution"] == "parrot-plugin"
    assert backends["parrot"]["version"] == "0.3"
    assert backends["broken"]["state"] == "broken"
    assert backends["broken"]["reason"] == "RuntimeError: no driver found"

    (tmp_path / "rows.jsonl").write_text('{"text": "hello"}\n')
    (tmp_path / "chain.yaml").write_text(
        textwrap.dedent(
            """
            name: say
            engines:
              - {name: bird, backend: parrot, voice: loud}
              - {name: other, backend: broken}
            inputs: rows.jsonl
            models:
              Text: {text: str}
            steps:
              - {id: again, engine_name: bird, input_model: Text, output_model: Text,
                 user_prompt: "{{ text }}"}
            """
        )
    )
    run = [environment.bin / "chainette", "run-yaml", "chain.yaml", "-o", "out"]
    assert "HELLO" in call(*run, cwd=tmp_path)
    flat = (tmp_path / "out/flattened/000000.jsonl").read_text()
    assert json.loads(flat) == {"row_id": 0, "text": "hello", "again.text": "HELLO"}
