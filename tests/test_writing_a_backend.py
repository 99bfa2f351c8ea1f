"""A backend for a provider with a quirk, written with the page alone, keeps every promise."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from runpy import run_path
from typing import Any

import pytest
from chainette.plugins import discovery
from chainette.testing.contract import BackendContract
from chainette.testing.fake_server import ReceivedRequest
from chainette.testing.servers import FakeOpenAI

ROOT = Path(__file__).parent.parent
TANGERINE = ROOT / "tests/plugin_author/tangerine.py"


class FakeTangerine(FakeOpenAI):
    """Chat completions whose sampling parameters have a field, and one of them another name."""

    def read(self, path: str, body: Any) -> ReceivedRequest | None:
        if body and "options" in body:
            options = body.pop("options")
            assert "max_tokens" not in {*body, *options}
            if "token_limit" in options:
                options["max_tokens"] = options.pop("token_limit")
            body |= options
        return super().read(path, body)


@pytest.fixture(autouse=True)
def _tangerine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(discovery, "_registered", {})
    run_path(str(TANGERINE))


class TestTangerine(BackendContract):
    """The contract, on a backend that `register_backend` has added."""

    backend = "tangerine"
    fields = {"model": "small"}
    server_class = FakeTangerine

    def test_the_key_is_in_the_provider_s_own_header(self, engine: Any, server: Any) -> None:
        assert engine.generate(["hi"])[0].error is None
        headers = server.requests[-1].headers
        assert headers["x-tangerine-key"] == engine.api_key
        assert "authorization" not in headers


def test_the_backend_takes_twenty_lines_and_one_module() -> None:
    lines = TANGERINE.read_text().splitlines()
    assert len([line for line in lines if line.strip()]) <= 20
    imported = {line.split()[1] for line in lines if line.startswith("from ")}
    assert imported == {"chainette.backend", "typing"}


def test_the_tables_of_the_page_are_those_of_the_code() -> None:
    words = "-P -I docs -p", "from tables import *", "--check docs/writing-a-backend.md"
    command = [str(Path(sys.executable).with_name("cog")), *words[0].split(), words[1]]
    command += words[2].split()
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"stale; with -r instead of --check, this writes them: {command}"
