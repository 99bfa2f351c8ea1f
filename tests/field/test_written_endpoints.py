"""Endpoints and keys as people copy them, and endpoints that only look like the right one."""

from __future__ import annotations

import http.server
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from chainette import register_engine
from chainette.engine.endpoint import clean_endpoint
from chainette.errors import (
    ConfigError,
    EngineUnreachableError,
    MissingAPIKeyError,
    NotFoundError,
    RequestError,
)
from chainette.testing.script import Reply
from chainette.testing.servers import FakeOpenAI

KEY = "sk-SENTINEL-123456"


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "OPENAI_BASE_URL"):
        monkeypatch.delenv(name, raising=False)


WIDE = "".join(chr(ord(letter) + 0xFEE0) for letter in "localhost")
COPIED = [
    " {}", "{} ", "{}\n", '"{}"', "'{}'", "<{}>", "`{}`", "\ufeff{}", "\u200b{}", "{}\u00a0",
    "{}//", "{}/embeddings", "{}/messages", "{}/Chat/Completions", "{}/chat/completions/ ",
]  # fmt: skip


@pytest.mark.parametrize("form", COPIED)
def test_an_endpoint_is_understood_with_what_is_copied_with_it(
    form: str, server: FakeOpenAI, make_engine: Any
) -> None:
    engine = make_engine(endpoint=form.format(server.endpoint))
    assert engine.generate(["hi"])[0].error is None


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "0.0.0.0", f"//{WIDE}", "LOCALHOST"])
def test_a_server_on_this_machine_is_found_without_a_scheme_and_past_a_proxy(
    host: str, server: FakeOpenAI, make_engine: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    address = server.endpoint.removeprefix("http:").replace("//127.0.0.1", host)
    address = f"http:{address}" if address.startswith("//") else address
    assert make_engine(endpoint=address).generate(["hi"])[0].error is None


@pytest.mark.parametrize(
    ("written", "used"),
    [
        ("http://[::]:8000/v1", "http://[::1]:8000/v1"),
        ("http://0.0.0.0/v1", "http://127.0.0.1/v1"),
        ("http://h//v1", "http://h/v1"),
        ("http://proxy/https://h/v1", "http://proxy/https://h/v1"),
        ("http://bücher.example/v1", "http://xn--bcher-kva.example/v1"),
        ("http://h/my model/v1", "http://h/my%20model/v1"),
        ("http://h/my%20model/é", "http://h/my%20model/%C3%A9"),
        ("http://me:a%40b@h:1/v1?key=x y", "http://me:a%40b@h:1/v1?key=x%20y"),
        ("HTTP://H/v1", "http://H/v1"),
    ],
)
def test_an_endpoint_is_written_as_requests_need_it(written: str, used: str) -> None:
    assert clean_endpoint(written) == used


WRONG = {
    "host/v1": "starts with https:// or http://",
    "http:/localhost:8000/v1": "starts with",
    "http:\\\\localhost:8000\\v1": "starts with",
    "ws://localhost/v1": "such as http://localhost:8000/v1",
    "http://${HOST}:8000/v1": "placeholder",
    "http://$HOST/v1": "placeholder",
    "http://{host}/v1": "placeholder",
    "http://%HOST%/v1": "placeholder",
    "http://localhost:${PORT}/v1": "placeholder",
    "https://<resource>.openai.azure.com": "placeholder",
    "https://YOUR_RESOURCE.openai.azure.com": "placeholder",
    "http://local host/v1": "placeholder",
    f"http://me:{KEY}#x@h/v1": "write / as %2F",
    f"http://me:{KEY}/x@h/v1": "write / as %2F",
}


@pytest.mark.parametrize(("endpoint", "words"), WRONG.items())
def test_what_is_not_an_endpoint_is_refused_with_what_to_do(endpoint: str, words: str) -> None:
    with pytest.raises(ConfigError, match=r"engine 'e': endpoint: ") as caught:
        register_engine("e", backend="openai", model="m", endpoint=endpoint)
    assert words in str(caught.value)
    assert KEY not in str(caught.value)


@pytest.mark.parametrize("form", ['"{}"', "{}\n", " {}/chat/completions ", "{}"])
def test_the_endpoint_of_the_environment_is_understood_too(
    form: str, server: FakeOpenAI, make_engine: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_BASE_URL", form.format(server.endpoint))
    assert make_engine(endpoint=None, api_key=KEY).generate(["hi"])[0].error is None


def test_the_variable_is_named_where_its_endpoint_is_wrong(
    make_engine: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_BASE_URL", "$HOST/v1")
    with pytest.raises(ConfigError, match=r"variable OPENAI_BASE_URL: .*placeholder"):
        make_engine(endpoint=None)


@pytest.mark.parametrize(
    ("endpoint", "base"),
    [
        ("https://x.openai.azure.com/", "https://x.openai.azure.com/openai/v1"),
        ("https://x.services.ai.azure.com", "https://x.services.ai.azure.com/openai/v1"),
        ("https://x.openai.azure.com/openai/deployments/d/chat/completions?api-version=1",
         "https://x.openai.azure.com/openai/deployments/d"),
        ("https://generativelanguage.googleapis.com/v1beta",
         "https://generativelanguage.googleapis.com/v1beta/openai"),
        ("https://openrouter.ai/v1", "https://openrouter.ai/api/v1"),
        ("https://api.groq.com", "https://api.groq.com/openai/v1"),
        ("https://api.openai.com", "https://api.openai.com/v1"),
        ("https://api.openai.com/v2", "https://api.openai.com/v2"),
        ("https://openrouter.ai.example.com", "https://openrouter.ai.example.com"),
        ("https://notopenrouter.ai", "https://notopenrouter.ai"),
    ],
)  # fmt: skip
def test_a_known_host_has_the_path_of_its_api(endpoint: str, base: str, make_engine: Any) -> None:
    assert make_engine(endpoint=endpoint, api_key=KEY).base_url == base


@pytest.mark.parametrize(
    ("endpoint", "key", "header"),
    [
        ("https://x.openai.azure.com", KEY, ("Api-Key", KEY)),
        ("https://x.openai.azure.com", "eyJ0eXAi.a.b", ("Authorization", "Bearer eyJ0eXAi.a.b")),
        ("https://llm.example.com/v1", KEY, ("Authorization", f"Bearer {KEY}")),
    ],
)
def test_a_key_is_in_the_header_that_its_server_reads(
    endpoint: str, key: str, header: tuple[str, str], make_engine: Any
) -> None:
    headers = make_engine(endpoint=endpoint, api_key=key).headers()
    assert header in headers.items()
    assert len({"Api-Key", "Authorization"} & headers.keys()) == 1


@pytest.mark.parametrize("form", ["Bearer {}", "bearer  {}\n", '"{}"', "'{}' ", "{}\r\n"])
@pytest.mark.parametrize("source", ["api_key", "api_key_env"])
def test_a_key_is_understood_with_what_is_copied_with_it(
    source: str, form: str, server: Any, make_engine: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("A_KEY", form.format(KEY))
    value = "A_KEY" if source == "api_key_env" else form.format(KEY)
    engine = make_engine(**{source: value})
    assert engine.generate(["hi"])[0].error is None
    assert server.requests[0].headers["authorization"] == f"Bearer {KEY}"


@pytest.mark.parametrize(
    "key", ["${OPENAI_API_KEY}", "$OPENAI_API_KEY", "<your key>", f"{KEY} {KEY}"]
)
def test_a_text_that_is_not_a_key_is_refused_before_it_is_sent(
    key: str, server: Any, make_engine: Any
) -> None:
    with pytest.raises(MissingAPIKeyError, match="api_key holds white space or a placeholder"):
        make_engine(api_key=key)
    assert not server.requests


# --- other servers


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_a_redirect_is_refused_with_its_target(
    status: int, server: FakeOpenAI, make_engine: Any
) -> None:
    location = f"https://me:{KEY}@llm.example.com/v1/chat/completions?key={KEY}"
    server.set_answers([Reply(status=status, headers={"Location": location})])
    error = make_engine().generate(["hi"])[0].error
    assert type(error) is RequestError
    assert "to https://llm.example.com/v1/chat/completions, which is refused" in str(error)
    assert KEY not in str(error)


class _OnlyHTTP(http.server.BaseHTTPRequestHandler):
    def log_message(self, *_: Any) -> None:
        """Do not log."""


@pytest.fixture
def plain_server() -> Iterator[str]:
    server = http.server.HTTPServer(("127.0.0.1", 0), _OnlyHTTP)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def test_https_where_a_server_speaks_http_is_named(plain_server: str, make_engine: Any) -> None:
    error = make_engine(endpoint=f"https://{plain_server}/v1").generate(["hi"])[0].error
    assert isinstance(error, EngineUnreachableError)
    assert "does not speak https there; write http://" in str(error)


@pytest.mark.parametrize(
    "body",
    [
        b"Client sent an HTTP request to an HTTPS server.\n",
        b"<html><center>The plain HTTP request was sent to HTTPS port</center></html>",
    ],
)
def test_http_where_a_server_speaks_https_is_named(
    body: bytes, server: FakeOpenAI, make_engine: Any
) -> None:
    server.set_answers([Reply(status=400, body=body)])
    error = make_engine().generate(["hi"])[0].error
    assert isinstance(error, NotFoundError)
    assert "write https:// in the endpoint" in str(error)
