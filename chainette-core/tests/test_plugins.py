from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable

import pytest
from chainette.errors import PluginError, UnknownBackendError
from chainette.plugins import discovery, installed, load, not_installed, survey

Make = Callable[..., str]

GOOD = """
from chainette.engine.client import BaseClient
from chainette.engine.config import EngineConfig
from chainette.plugins import Backend, Capabilities, hookimpl

class Client(BaseClient):
    async def _chat(self, request):
        raise NotImplementedError

@hookimpl
def chainette_backends():
    return [Backend(name, EngineConfig, Client) for name in ("good", "twin")]
"""


def state(name: str) -> dict[str, str]:
    return {info.distribution: info.state for info in survey() if info.name == name}


def reason(name: str) -> str:
    return next(info.reason for info in survey() if info.name == name)


def test_names_are_found_without_importing_the_plugin(make_plugin: Make) -> None:
    module = make_plugin("raise RuntimeError('imported')", "lazy")
    assert "lazy" in installed()
    assert module not in sys.modules


def test_one_module_can_bring_several_backends(make_plugin: Make) -> None:
    make_plugin(GOOD, "good", "twin")
    assert load("good").name == "good"
    assert load("twin").name == "twin"


def test_two_distributions_with_one_name_are_in_conflict_and_both_are_named(
    make_plugin: Make,
) -> None:
    make_plugin(GOOD, "good", distribution="first-dist")
    make_plugin(GOOD, "good", distribution="second-dist")
    assert state("good") == {"first-dist": "conflict", "second-dist": "conflict"}
    with pytest.raises(PluginError, match=r"(?s)first-dist 1\.2.*second-dist 1\.2|second.*first"):
        load("good")


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("raise RuntimeError('no such driver')", "RuntimeError: no such driver"),
        ("raise SystemExit(3)", "SystemExit: 3"),
        ("import not_there_at_all", "ModuleNotFoundError"),
        ("x = 1", "no @hookimpl of chainette_backends"),
        (GOOD.replace('("good", "twin")', '("other",)'), "its backends are named 'other'"),
        (GOOD.replace("def chainette_backends", "def chainette_backend"), "chainette_backend"),
        (GOOD.replace("Backend(name, EngineConfig, Client)", "name"), "not a Backend"),
    ],
)
def test_a_broken_plugin_is_listed_with_its_reason_and_hurts_no_other(
    make_plugin: Make, source: str, said: str
) -> None:
    make_plugin(source, "bad")
    make_plugin(GOOD, "good")
    assert set(state("bad").values()) == {"broken"}
    assert said in reason("bad")
    assert load("good").name == "good"
    with pytest.raises(PluginError, match="bad"):
        load("bad")


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ("Backend(name, EngineConfig, Client, api_version=99)", "plugin API version 99"),
        ("Backend(name, dict, Client)", "no subclass of EngineConfig"),
        ("Backend(name, EngineConfig, EngineConfig)", "no subclass of BaseClient"),
    ],
)
def test_a_plugin_that_does_not_fit_is_incompatible(
    make_plugin: Make, wrong: str, said: str
) -> None:
    make_plugin(GOOD.replace("Backend(name, EngineConfig, Client)", wrong), "good")
    assert set(state("good").values()) == {"incompatible"}
    assert said in reason("good")


def test_control_characters_of_a_plugin_do_not_reach_the_terminal(make_plugin: Make) -> None:
    make_plugin("raise RuntimeError('\\x1b[2Jgone\\nnext')", "bad\x1b[31m")
    shown = [text for info in survey() for text in (info.name, info.reason, info.entry_point)]
    assert all(text.isprintable() for text in shown)


def test_an_unknown_backend_names_the_closest_and_the_installed_ones(make_plugin: Make) -> None:
    make_plugin(GOOD, "good")
    with pytest.raises(UnknownBackendError, match=r"'godo'.*did you mean 'good'.*installed.*good"):
        load("godo")


def test_a_backend_of_ours_that_is_missing_names_its_pip_line(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(discovery.OURS, "vllm_next", "chainette-vllm-next")
    assert not_installed()["vllm_next"] == "chainette-vllm-next"
    with pytest.raises(PluginError, match="pip install chainette-vllm-next"):
        load("vllm_next")


def test_importing_the_package_imports_neither_pydantic_nor_a_backend() -> None:
    code = "import sys, chainette; print([m for m in sys.modules if not m.startswith('_')])"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    for name in ("pydantic", "httpx", "openai", "ollama", "chainette_openai", "pluggy", "jinja2"):
        assert f"'{name}'" not in shown.stdout


@pytest.mark.parametrize("arguments", [["--help"], ["engines", "list"]])
def test_help_and_list_import_no_package_behind_a_backend(arguments: list[str]) -> None:
    code = (
        "import sys; from chainette.cli import main\n"
        f"sys.argv = ['chainette', *{arguments}]\n"
        "try: main()\nexcept SystemExit: pass\n"
        "print('MODULES', sorted(sys.modules))"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    modules = shown.stdout.partition("MODULES")[2]
    assert "'chainette'" in modules
    heavy = ["openai", "ollama", "vllm", "xllamacpp", "httpx", "httpx2", "jinja2"]
    if arguments == ["--help"]:
        heavy += ["chainette_openai", "chainette_ollama", "chainette_vllm", "pydantic", "pluggy"]
    assert [name for name in heavy if f"'{name}'" in modules] == []
