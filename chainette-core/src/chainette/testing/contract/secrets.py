"""Checks of the API key: it is sent to the server, and shown nowhere."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest

from chainette.engine.client.base import BaseClient
from chainette.testing import faults
from chainette.testing.contract.checks import KEY, Checks, MakeEngine
from chainette.testing.hard_models import Address
from chainette.testing.script import Reply
from chainette.types import LLMOutput

LEAKS: dict[str, Any] = {
    "an error that quotes it": faults.status(401, f"bad key {KEY}"),
    "a page that quotes it": Reply(status=500, body=f"<p>{KEY}</p>".encode()),
    "an answer that is not JSON": Reply(body=KEY.encode()),
    "an answer that does not fit": f"my key is {KEY}",
    "a refusal": Reply(KEY, finish_reason="refusal"),
    "a dropped connection": faults.dropped(),
}
"""Answers that repeat the key."""


class SecretChecks(Checks):
    """Checks of the API key."""

    def test_the_api_key_is_sent(self, make_engine: MakeEngine, server: Any) -> None:
        """It is a bearer token, or in the backend's own header."""
        self.needs_http(server)
        assert make_engine(api_key=KEY).generate(["row 1"])[0].error is None
        assert KEY in " ".join(server.requests[-1].headers.values())

    def test_the_api_key_of_a_file_is_sent(
        self, make_engine: MakeEngine, server: Any, tmp_path: Path
    ) -> None:
        """Secrets are often mounted as files."""
        self.needs_http(server)
        file = tmp_path / "key"
        file.write_text(f"{KEY}\n")
        engine = make_engine(api_key=None, api_key_file=file)
        assert engine.generate(["row 1"])[0].error is None
        assert KEY in " ".join(server.requests[-1].headers.values())

    @pytest.mark.parametrize("leak", LEAKS)
    def test_the_api_key_is_never_shown(
        self,
        leak: str,
        make_engine: MakeEngine,
        server: Any,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        """It is not in errors, reprs, logs or texts, whatever the server answers."""
        self.needs_http(server)
        server.set_answers(lambda _: LEAKS[leak])
        with caplog.at_level(logging.DEBUG):
            engine = make_engine(api_key=KEY, max_retries=0)
            output = engine.generate(["row 1"], output_model=Address)[0]
        assert output.error is not None
        assert KEY not in caplog.text
        assert KEY not in " ".join(_shown(engine, output))


def _shown(engine: BaseClient, output: LLMOutput) -> list[str]:
    """The texts of an engine and its failed output that people may see."""
    shown = [repr(engine), repr(engine.config), repr(engine.config.public())]
    error: BaseException | None = output.error
    while error is not None:
        shown += [str(error), repr(error), str(getattr(error, "raw_text", ""))]
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    return shown
