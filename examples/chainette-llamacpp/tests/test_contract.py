"""The backend's promises, on a server with scripted answers and on the real one."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from chainette import SamplingParams
from chainette.registry.engines import client_for
from chainette.testing.contract import BackendContract
from chainette.testing.servers import FakeOpenAI
from chainette_llamacpp.client import LlamaCppConfig


class TestLlamaCpp(BackendContract):
    backend = "llamacpp"
    server_class = FakeOpenAI


FIELDS: dict[str, Any] = {"timeout": 300, "threads": 1}  # a busy machine is ten times slower


@pytest.fixture(scope="module")
def _running_server() -> Iterator[None]:
    """Keeps the server between the checks, each of which would start and stop it."""
    client = client_for(LlamaCppConfig(name="keeper", backend="llamacpp", **FIELDS))
    client.generate(["hi"], SamplingParams(max_tokens=1))
    yield
    client.release()


@pytest.mark.llamacpp
@pytest.mark.exhaustive
@pytest.mark.timeout(400)
@pytest.mark.usefixtures("_running_server")
class TestLlamaCppServer(BackendContract):
    backend = "llamacpp"
    fields = FIELDS
    # Its grammars leave out the bounds of floats, decimals and the names of keys.
    enforced_in_part = ("dates_and_decimals", "mapping_and_tuple")
