"""The path below which a server answers, where an endpoint has another one."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from typing import TypeAlias
from urllib.parse import urlsplit, urlunsplit

from chainette.engine.client.base import BaseClient
from chainette.engine.config import EngineConfig, public_url
from chainette.errors import EngineError, NotFoundError, OutputError, ServerError
from chainette.registry.engines import new_client
from chainette.types import SamplingParams

_Probe: TypeAlias = Callable[[BaseClient], Awaitable[bool]]
_FURTHER = ("/api/v1", "/openai/v1", "/compatible-mode/v1", "/api")
"""Paths of OpenRouter, of Groq and Azure, of Alibaba Model Studio, and of Open WebUI (their API
references)."""


def is_about_path(error: EngineError) -> bool:
    """Whether an error is what a server gives where it does not have the API."""
    if error.status is not None and (300 <= error.status < 400 or error.status == 405):
        return True
    is_other = isinstance(error, ServerError) and error.status is None and not error.transient
    return is_other or isinstance(error, NotFoundError)  # a page, or JSON of another form


async def with_other_paths(
    error: EngineError, client: BaseClient, config: EngineConfig, *, lists: bool
) -> EngineError:
    """Look for the path of a server where the endpoint's own does not have the API.

    Only the same server is asked, so that the key stays with it.

    Args:
        error: The error at the endpoint.
        client: The engine's client.
        config: Its configuration.
        lists: Whether the server lists its models at the endpoint.

    Returns:
        An error that names the right endpoint, or the first one where there is none.
    """
    paths = list(other_paths(client.base_url))
    for probe in (_completes,) if lists else (_lists, _completes):
        for url in paths:
            if await _works(url, config, probe):
                here, there = public_url(client.base_url), public_url(url)
                query = " (with the query that it has)" if getattr(client, "query", "") else ""
                return NotFoundError(
                    f"engine {config.name!r}: the server does not answer at {here}; "
                    f"the server answers at {there}: set endpoint to it{query}",
                    engine=config.name,
                    status=error.status,
                )
    return error


def other_paths(base_url: str) -> Iterator[str]:
    """The URLs below which a server may have its API instead.

    Args:
        base_url: The URL that does not have it.
    """
    parts = urlsplit(base_url)
    path = parts.path.rstrip("/")
    above = [path]
    while path:
        path = path.rpartition("/")[0]
        above.append(path)
    paths = [start + end for start in above[:4] for end in ("", "/v1")]
    for path in dict.fromkeys([*paths, *_FURTHER]):
        if path != above[0]:
            yield urlunsplit(parts._replace(path=path))


async def _works(url: str, config: EngineConfig, probe: _Probe) -> bool:
    client = new_client(config.model_copy(update={"max_retries": 0}))
    client.base_url = url
    try:
        return await probe(client)
    except EngineError:
        return False
    finally:
        await client.aclose()
        client.release()


async def _lists(client: BaseClient) -> bool:
    return await client.list_models() is not None


async def _completes(client: BaseClient) -> bool:
    output = await client.complete("Hi", SamplingParams(max_tokens=16))
    return output.error is None or isinstance(output.error, OutputError)
