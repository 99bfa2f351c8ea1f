"""The live lines of engines that start, in a terminal of 80 columns."""

from __future__ import annotations

import re
from io import StringIO

import pytest
from chainette.cli import startup
from chainette.engine.server.progress import Startup
from rich.console import Console


@pytest.mark.parametrize(
    ("what", "detail", "share", "shown"),
    [
        (
            "pulling llama3.2",
            "0.8 of 2.0 GB, 26 s left, 45 MB/s", 0.41, "41% 0.8 of 2.0 GB, 26 s left",
        ),
        (
            "pulling hf.co/bartowski/Llama-3.2-3B-Instruct-GGUF:Q4_K_M",
            "12 of 143 GB, 1 h 12 min left, 45 MB/s", 0.08, " 8% 12 of 143 GB, 1 h 12 min left",
        ),
        ("pulling [b]x", "verifying sha256 digest", None, "0:00:00 verifying sha256 digest"),
        ("starting ollama", "listening " * 9 + "(log: /var/log/x.log)", None, "0:00:00 listening"),
    ],
)  # fmt: skip
def test_a_line_fits_and_has_what_matters(
    what: str, detail: str, share: float | None, shown: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = StringIO()
    console = Console(file=written, width=80, force_terminal=True)
    monkeypatch.setattr(startup, "Console", lambda **_: console)
    display = startup._Live()
    display.show(Startup(what, detail, share))
    assert display._progress is not None
    display._progress.refresh()
    display.close()
    lines = re.split(r"[\r\n]+", re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", written.getvalue()))
    assert max(map(len, lines)) <= 80
    assert any(line.startswith(what[:20]) and shown in line for line in lines)
