"""The backend's promises, on a server with scripted answers and on the real one."""

from __future__ import annotations

import pytest
from chainette.testing.contract import BackendContract
from chainette.testing.servers import FakeOpenAI


class TestLlamaCpp(BackendContract):
    backend = "llamacpp"
    server_class = FakeOpenAI


@pytest.mark.llamacpp
@pytest.mark.timeout(400)
class TestLlamaCppServer(BackendContract):
    backend = "llamacpp"
    fields = {"timeout": 300, "threads": 1}  # a busy machine is ten times slower
    # Its grammars leave out the bounds of floats, decimals and the names of keys.
    enforced_in_part = ("dates_and_decimals", "mapping_and_tuple")
