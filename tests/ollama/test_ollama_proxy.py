"""The backend `ollama_api` on a third-party proxy in front of a real llama.cpp server.

Run by `make test-ollama`, which installs the proxy.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from chainette.engine.server.process import server_process
from chainette.testing.contract import BackendContract

PROXY = Path(__file__).parents[2] / ".venv-ollama/bin/ollama-proxy"
if not PROXY.exists():
    pytest.skip("ollama-proxy is not installed: make test-ollama", allow_module_level=True)

pytestmark = [pytest.mark.ollama, pytest.mark.llamacpp, pytest.mark.timeout(400)]


@pytest.fixture(scope="session")
def proxy(llama_server: str) -> str:
    """Base URL of the proxy."""
    command = [str(PROXY), "serve", "--host", "127.0.0.1", "--port", "{port}"]
    env = {"PROVIDERS_LLAMACPP_API_KEY": "x", "PROVIDERS_LLAMACPP_BASE_URL": llama_server}
    return server_process(command, name="proxy", env=env, health_path="/").ensure_running()


class TestOllamaProxy(BackendContract):
    """The proxy invents token counts and never reports `length`; everything else is checked."""

    backend = "ollama_api"
    enforced_in_part = ("dates_and_decimals", "mapping_and_tuple")  # like llama.cpp behind it

    @pytest.fixture(autouse=True)
    def _use_the_proxy(self, proxy: str, monkeypatch: pytest.MonkeyPatch) -> None:
        fields = {"endpoint": proxy, "model": "llamacpp/smol", "max_concurrency": 4, "timeout": 300}
        monkeypatch.setattr(type(self), "fields", fields)
