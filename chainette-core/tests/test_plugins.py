from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest
from chainette import backend as backend_names
from chainette import register_engine
from chainette.backend import (
    Backend,
    BaseClient,
    Completion,
    EngineConfig,
    LLMOutput,
    Request,
    register_backend,
)
from chainette.errors import PluginError, UnknownBackendError
from chainette.plugins import discovery
from chainette.plugins.discovery import installed, load, names, not_installed, survey

Make = Callable[..., str]

GOOD = """
from chainette.backend import Backend, BaseClient, EngineConfig, hookimpl

class Client(BaseClient):
    async def _chat(self, request):
        raise NotImplementedError

@hookimpl
def chainette_backends():
    return [Backend(name, EngineConfig, Client) for name in ("good", "twin")]
"""


OBJECTS = (
    GOOD.partition("@hookimpl")[0]
    + """
from dataclasses import dataclass

@dataclass
class Plugin:
    name: str = NAME

    @hookimpl
    def chainette_backends(self):
        return [Backend(self.name, EngineConfig, Client)]

unhashable = Plugin()

class Holder:
    @staticmethod
    @hookimpl
    def chainette_backends():
        return [Backend(NAME, EngineConfig, Client)]
"""
)


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
        ("Backend(name, dict, Client)", "not a subclass of EngineConfig"),
        ("Backend(name, EngineConfig, EngineConfig)", "not a subclass of BaseClient"),
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
    heavy = ["openai", "ollama", "vllm", "xllamacpp", "httpx", "httpx2", "jinja2", "pydantic"]
    if arguments == ["--help"]:
        heavy += ["chainette_openai", "chainette_ollama", "chainette_vllm", "pluggy"]
    assert [name for name in heavy if f"'{name}'" in modules] == []


def test_a_backend_is_imported_once_and_not_by_its_neighbours(make_plugin: Make) -> None:
    first = make_plugin(GOOD, "good")
    second = make_plugin(GOOD, "twin")
    assert load("good") is load("good")
    assert first in sys.modules
    assert second not in sys.modules


@pytest.mark.parametrize("value", ["{module}:unhashable", "{module}:Holder"])
def test_objects_of_any_kind_can_be_plugins_and_do_not_meet_each_other(
    make_plugin: Make, value: str
) -> None:
    """A plugin object that cannot be hashed once made every other backend unusable."""
    make_plugin(OBJECTS.replace("NAME", "'first'"), "first", value=value)
    make_plugin(OBJECTS.replace("NAME", "'second'"), "second", value=value)
    make_plugin(GOOD, "good")
    assert [load(name).name for name in ("first", "second", "good")] == ["first", "second", "good"]


@pytest.mark.parametrize(
    "damage",
    [
        {"metadata": ""},
        {"metadata": "Metadata-Version: 2.1\n"},
        {"entry_points": b"[chainette.backends]\nno equals sign\n"},
        {"entry_points": b"\xff\xfe[chainette"},
    ],
)
def test_a_distribution_with_damaged_metadata_hides_no_other(
    make_plugin: Make, damage: dict[str, Any]
) -> None:
    make_plugin(GOOD, "good")
    make_plugin(GOOD, "twin", **damage)
    assert load("good").name == "good"
    assert "twin" not in installed()
    assert state("good")


def test_an_entry_point_that_leads_nowhere_is_broken(make_plugin: Make) -> None:
    make_plugin("nothing = None", "bad", value="{module}:nothing")
    assert set(state("bad").values()) == {"broken"}


@pytest.mark.skipif(
    sys.version_info < (3, 11),
    reason="importlib-metadata for Python 3.10 refuses a file with such an entry point as a whole",
)
@pytest.mark.parametrize("value", ["no module!!", ":x", "{module}:"])
def test_an_entry_point_that_is_no_name_is_broken(make_plugin: Make, value: str) -> None:
    make_plugin("nothing = None", "bad", value=value)
    assert set(state("bad").values()) == {"broken"}


def test_one_distribution_on_two_folders_is_no_conflict(make_plugin: Make) -> None:
    make_plugin(GOOD, "good", distribution="my-dist")
    make_plugin(GOOD, "good", distribution="My_Dist")
    assert list(state("good").values()) == ["ok"]


def test_a_distribution_s_own_name_does_not_reach_the_terminal_either(make_plugin: Make) -> None:
    metadata = "Metadata-Version: 2.1\nName: a\x1b[2Jb\nVersion: 1\x1b[31m\n"
    make_plugin(GOOD, "good", distribution="a", metadata=metadata)
    (info,) = [info for info in survey() if info.name == "good"]
    assert (info.distribution + info.version).isprintable()
    make_plugin(GOOD, "good", distribution="b")
    assert reason("good").isprintable()


def test_an_implementation_that_raises_is_broken_with_its_reason(make_plugin: Make) -> None:
    make_plugin(GOOD.replace("return [", "1 / 0; return ["), "good")
    assert "ZeroDivisionError" in reason("good")
    with pytest.raises(PluginError, match=r"backend 'good' of plugin-\d+ 1\.2: ZeroDivisionError"):
        load("good")


NAMED = """
from chainette.backend import Backend, hookimpl

@hookimpl
def chainette_backends():
    return [Backend("good", CONFIG, CLIENT)]
"""


def named(config: str, client: str) -> str:
    return NAMED.replace("CONFIG", repr(config)).replace("CLIENT", repr(client))


def test_classes_that_are_named_are_imported_when_the_backend_is_used(make_plugin: Make) -> None:
    client = "chainette.testing.fake_engine:FakeClient"
    make_plugin(named("chainette.engine.config:EngineConfig", client), "good")
    assert set(state("good").values()) == {"ok"}
    backend = load("good")
    assert backend.config_class().__name__ == "EngineConfig"
    assert backend.client_class().__name__ == "FakeClient"


def test_listing_imports_no_class_that_is_only_named(make_plugin: Make) -> None:
    make_plugin(named("this:Config", "this:Client"), "good")
    assert set(state("good").values()) == {"ok"}
    assert "this" not in sys.modules
    with pytest.raises(PluginError, match=r"backend 'good'.*AttributeError.*Config"):
        load("good")


@pytest.mark.parametrize("client", ["not_there_at_all:Client", "this", "not_there.inside:Client"])
def test_a_class_that_cannot_be_there_makes_the_plugin_unusable(
    make_plugin: Make, client: str
) -> None:
    make_plugin(named("this:Config", client), "good")
    assert not set(state("good").values()) & {"ok"}
    with pytest.raises(PluginError, match=r"not_there|this"):
        load("good")


class Echo(BaseClient):
    async def _chat(self, request: Request) -> LLMOutput:
        return LLMOutput([Completion(request.messages[-1]["content"])])


@pytest.fixture
def registered(monkeypatch: pytest.MonkeyPatch) -> Backend:
    """A backend that has no distribution."""
    monkeypatch.setattr(discovery, "_registered", {})
    backend = Backend("mine", EngineConfig, Echo, summary="mine alone")
    register_backend(backend)
    return backend


def test_a_registered_backend_is_used_and_listed_without_a_distribution(
    registered: Backend, make_plugin: Make
) -> None:
    make_plugin(GOOD, "good")
    assert register_engine("e", backend="mine").engine.generate(["hi"])[0].error is None
    (info,) = [info for info in survey() if info.name == "mine"]
    assert (info.distribution, info.version, info.state) == ("registered in this process", "", "ok")
    assert info.backend is registered
    assert [info.name for info in survey()] == sorted(names())
    with pytest.raises(UnknownBackendError, match=r"did you mean 'mine'.*installed.*good, .*mine"):
        load("mina")


def test_a_registered_backend_takes_precedence_over_an_installed_one(
    registered: Backend, make_plugin: Make
) -> None:
    make_plugin("raise RuntimeError('imported')", "mine")
    assert load("mine") is registered
    assert state("mine") == {"registered in this process": "ok"}


@pytest.mark.parametrize(
    ("backend", "message"),
    [
        (Backend("mine", dict, Echo), "not a subclass of EngineConfig"),  # type: ignore[arg-type]
        (Backend("mine", EngineConfig, "this:Client"), "AttributeError"),
        (Backend("mine", EngineConfig, Echo, api_version=99), "plugin API version 99"),
    ],
)
def test_a_backend_that_does_not_fit_is_not_registered(backend: Backend, message: str) -> None:
    with pytest.raises(PluginError, match=message):
        register_backend(backend)
    assert "mine" not in names()


def test_a_plugin_that_describes_a_backend_loads_neither_pydantic_nor_an_http_library() -> None:
    code = (
        "import sys; from chainette.backend import CHAT_SAMPLING, Backend, Capabilities, hookimpl\n"
        "print(sorted(sys.modules))"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    for name in ("pydantic", "httpx", "aiohttp", "anyio"):
        assert f"'{name}'" not in shown.stdout


def test_the_names_for_plugin_authors_are_these() -> None:
    assert backend_names.__all__ == [
        "API_VERSION", "CHAT_SAMPLING", "NO_PROXY", "AuthenticationError", "Backend", "BaseClient",
        "BaseHTTPClient", "Capabilities", "Completion", "Container", "ContextLengthError",
        "Dialect", "Download", "EngineConfig", "EngineConnectionError", "EngineError",
        "EngineStartError", "EngineTimeoutError", "EngineUnreachableError", "HTTPResponse",
        "IdentityCache", "LLMOutput", "Message", "NotFoundError", "OpenAIChatClient",
        "OpenAIResponsesClient", "OutputSchema", "PerLoop", "QuotaError", "RateLimitError",
        "Request", "RequestError", "SamplingParams", "ServerError", "ServerProcess", "SharedStart",
        "Usage", "announce", "encode_prompt", "endpoint_from_env", "free_port", "hookimpl",
        "is_json", "listener", "load", "model_names", "post_for_lines", "register_backend",
        "server_process", "unreadable", "with_instruction", "with_scheme",
    ]  # fmt: skip
    assert all(getattr(backend_names, name) is not None for name in backend_names.__all__)
    assert {*backend_names.__all__} <= {*dir(backend_names)}
    with pytest.raises(AttributeError, match=r"chainette\.backend"):
        _ = backend_names.Nothing


def test_a_configuration_of_a_plugin_alone_has_its_client() -> None:
    """The registry hands down the factory, whichever module is imported first."""
    code = (
        "from chainette.backend import EngineConfig\n"
        "try: EngineConfig(name='e', backend='none').engine\n"
        "except Exception as error: print(type(error).__name__)"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert shown.stdout.strip() == "UnknownBackendError"
