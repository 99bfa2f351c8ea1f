"""Endpoints as people write them, and the one form in which they are used."""

from __future__ import annotations

import base64
import os
import re
from ipaddress import ip_address
from urllib.parse import SplitResult, quote, unquote, urlsplit, urlunsplit

from chainette.errors import ConfigError

_AROUND = " \t\r\n\u00a0\u200b\u2060\ufeff\"'`<>"
"""Characters that are copied with an address and belong to none."""
_LOCAL = re.compile(r"(localhost|127(\.\d+){3}|0\.0\.0\.0|\[::1?\])(:\d+)?(/|$)", re.IGNORECASE)
"""Beginnings of addresses on this machine, which are often written without `http://`."""
_PLACEHOLDER = re.compile(r"[${}<>%\s]|\byour[-_]")
AZURE = (".openai.azure.com", ".cognitiveservices.azure.com", ".services.ai.azure.com")
"""Ends of the names of Azure's hosts (Azure docs, "REST API reference")."""
_API_PATHS = {
    "api.openai.com": "/v1",
    "generativelanguage.googleapis.com": "/v1beta/openai",  # Gemini docs, "OpenAI compatibility"
    "openrouter.ai": "/api/v1",  # OpenRouter docs, "Quickstart"
    "api.groq.com": "/openai/v1",  # Groq docs, "OpenAI Compatibility"
    "api.together.xyz": "/v1",  # Together docs, "OpenAI Compatibility"
    "api.fireworks.ai": "/inference/v1",  # Fireworks docs, "OpenAI compatibility"
    "api.mistral.ai": "/v1",  # Mistral docs, "API"
}
"""The paths of chat completions on hosts that people name without them."""
_AZURE_PATH = "/openai/v1"
"""Azure docs, "API lifecycle"."""
_ENCRYPTED = (("ollama.com", None), ("ollama.com", 443))
"""Hosts and ports that are https where no scheme is written (Ollama's `envconfig/config.go`)."""
_SHORT_PATHS = ("", "/v1", "/v1beta", "/openai", "/api")
_EXAMPLE = "an endpoint is a URL with a host, such as http://localhost:8000/v1"


def clean_endpoint(value: str) -> str:
    """Write an endpoint as requests need it.

    What is copied with an address is left out; a host is written in ASCII (RFC 5890), a path with
    the escapes that HTTP needs (RFC 3986, 2.1), and `0.0.0.0` as the address of this machine. A
    host that is known gets the path of its API where it has none.

    Args:
        value: The endpoint, as people write it.

    Returns:
        The endpoint, without a slash at its end.

    Raises:
        ValueError: It is not one; the message has no part of it that may be a secret.
    """
    text = value.strip(_AROUND)
    if _LOCAL.match(text):
        text = f"http://{text}"
    try:
        parts = urlsplit(text)
        host, port = parts.hostname, parts.port
    except ValueError:  # brackets that do not match, or a port that is not a number
        raise ValueError(_advice(text)) from None
    if parts.scheme not in ("http", "https") or not host or port == 0:
        raise ValueError(_advice(text))
    if _PLACEHOLDER.search(host):
        raise ValueError(f"the host {host!r} is a placeholder, whose value has to be filled in")
    path = "/" + parts.path.lstrip("/") if parts.path.startswith("//") else parts.path
    path = quote(path, safe="/%:@!$&'()*+,;=~-._").rstrip("/")
    if path in _SHORT_PATHS:
        path = _AZURE_PATH if host.endswith(AZURE) else _API_PATHS.get(host, path)
    query = quote(parts.query, safe="/%:@!$&'()*+,;=~-._?")
    return urlunsplit(parts._replace(netloc=_netloc(parts, host), path=path, query=query))


def with_scheme(text: str, port: int) -> str:
    """An address that may lack its scheme, its host or its port, with all of them.

    Without a scheme, the port is the server's own by default; with one, that of the scheme; without
    a host, it is this machine.

    Args:
        text: The address, such as `host`, `host:port` or `:port`.
        port: The port that the server has by default.

    Raises:
        ValueError: Its port is not one.
    """
    scheme, has_scheme, rest = text.strip(_AROUND).rpartition("://")
    address, slash, path = rest.partition("/")
    if address.count(":") > 1 and not re.search(r"[]\[@]", address):
        address = f"[{address}]"  # of IPv6
    try:
        parts = urlsplit(f"//{address}")
        host, own_port = parts.hostname, parts.port
    except ValueError:
        raise ValueError(_advice(text)) from None
    address = address if host or (has_scheme and not address) else f"127.0.0.1{address}"
    if not has_scheme and (host, own_port) in _ENCRYPTED:
        return f"https://{host}{slash}{path}"
    if own_port is None and not has_scheme:
        address = f"{address.rstrip(':')}:{port}"
    return f"{scheme or 'http'}://{address}{slash}{path}"


def endpoint_from_env(variable: str, port: int | None = None) -> str | None:
    """The endpoint in an environment variable, written as requests need it.

    Args:
        variable: Name of the variable.
        port: The port by default, for servers whose address may be written without a scheme.

    Returns:
        The endpoint, or `None` where the variable is empty or not set.

    Raises:
        ConfigError: It is not an endpoint.
    """
    value = os.environ.get(variable, "").strip()
    try:
        value = value if port is None or not value else with_scheme(value, port)
        return clean_endpoint(value) if value else None
    except ValueError as error:
        raise ConfigError(f"the environment variable {variable}: {error}") from None


def _netloc(parts: SplitResult, host: str) -> str:
    """The login, host and port, the host in ASCII."""
    login, at, rest = parts.netloc.rpartition("@")
    port = f":{parts.port}" if parts.port is not None else ""
    if _is_every_address(host):  # no client reaches it everywhere, and no proxy does
        rest = ("[::1]" if ":" in host else "127.0.0.1") + port
    elif not host.isascii():
        try:
            rest = host.encode("idna").decode() + port
        except UnicodeError:
            raise ValueError(f"the host {host!r} is not the name of a host") from None
    return login + at + rest


def _is_every_address(host: str) -> bool:
    """Whether servers listen on an address for all addresses of their machine."""
    try:
        return ip_address(host).is_unspecified
    except ValueError:
        return False


def _advice(text: str) -> str:
    """The message about a text that is not an endpoint, and what may be meant."""
    if "@" in text:
        return f"{_EXAMPLE}; in a password, write / as %2F, # as %23 and @ as %40"
    if "$" in text or "{" in text:
        return f"{_EXAMPLE}; it has a placeholder, whose value has to be filled in"
    if "://" not in text:
        return f"{_EXAMPLE}; it starts with https:// or http://"
    return _EXAMPLE


def without_login(url: str) -> tuple[str, str | None]:
    """A URL without `user:password@`, which HTTP libraries log, and the login itself."""
    parts = urlsplit(url)
    login, _, host = parts.netloc.rpartition("@")
    return urlunsplit(parts._replace(netloc=host)), unquote(login) or None


def basic_login(login: str) -> str:
    """A login as the header of basic authentication has it (RFC 7617)."""
    return base64.b64encode(login.encode()).decode()
