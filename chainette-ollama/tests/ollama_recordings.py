"""The recorded exchanges with the real Ollama, and fake servers that know their models."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from chainette.testing.ollama.recorded import Modelfile, Version
from chainette.testing.ollama.server import FakeOllama
from chainette.testing.script import Answers

_REPEATED = "word \u00d7"
"""The beginning of a text that stands for so many words."""
FILE = Path(__file__).with_name("exchanges.jsonl")
VERSIONS: tuple[Version, ...] = ("0.33 template", "0.33 native", "0.25")
PARAMETERS: dict[str, dict[str, Any]] = {
    "smollm2:135m": {},
    "smol-ctx": {"num_ctx": 256},
    "smol-short": {"num_predict": 5},
    "smol-stop": {"stop": ["}"]},
    "smol-think": {},
    "smol-stuck": {},
}
"""The parameters of the Modelfiles that the recordings' README describes."""


@dataclass(frozen=True)
class Exchange:
    """A recorded request and its answer.

    Attributes:
        server: The server.
        case: Name of the case.
        method: The HTTP method.
        path: The path.
        headers: Headers that matter.
        content: The body of the request.
        status: The status.
        content_type: The content type without parameters, or empty.
        body: The body of the answer.
    """

    server: Version
    case: str
    method: str
    path: str
    headers: dict[str, str]
    content: bytes
    status: int
    content_type: str
    body: str

    @property
    def answer(self) -> Any:
        """The body, decoded; a list where it has a line for each part."""
        if "ndjson" in self.content_type:
            return [json.loads(line) for line in self.body.splitlines()]
        return json.loads(self.body) if "json" in self.content_type else self.body


@cache
def exchanges() -> list[Exchange]:
    """Every exchange, in the order of the file."""
    return [_exchange(json.loads(line)) for line in FILE.read_text().splitlines()]


def recorded(case: str, server: str) -> Exchange | None:
    """The exchange of a case with a server, or `None` where there is none."""
    found = (each for each in exchanges() if (each.case, each.server) == (case, server))
    return next(found, None)


def fake(version: Version, answers: Answers = None) -> FakeOllama:
    """A fake server with the models of the recordings."""
    return FakeOllama(answers, version=version, modelfiles=modelfiles(version))


@cache
def modelfiles(version: Version) -> dict[str, Modelfile]:
    """The models of a server."""
    tags, files = recorded("tags", version), {}
    assert tags is not None
    shown = {"smollm2:135m": recorded("show", version)}
    shown["smol-think"] = recorded("show_thinking", version)
    for entry in tags.answer["models"]:
        name = entry["name"].removesuffix(":latest")
        whole = shown.get(name)
        # The list names what the stored template can do; llama-server has a template of its own.
        is_native = version == "0.33 native"
        files[name] = Modelfile(
            PARAMETERS.get(name, {}),
            ("completion",) if is_native else tuple(entry["capabilities"]),
            whole.answer if whole else None,
            entry,
        )
    return files


def _exchange(line: dict[str, Any]) -> Exchange:
    request = line["request"]
    if isinstance(request, str):
        content = request.removeprefix("RAW").encode()
    else:
        content = b"" if request is None else json.dumps(_whole(request)).encode()
    return Exchange(
        line["server"],
        line["case"],
        line["method"],
        line["path"],
        line.get("headers") or {},
        content,
        line["status"],
        (line["content_type"] or "").partition(";")[0],
        line["body"],
    )


def _whole(value: Any) -> Any:
    """A request with its long texts, which the file has shortened."""
    if isinstance(value, dict):
        return {key: _whole(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_whole(each) for each in value]
    if isinstance(value, str) and _REPEATED in value:
        before, _, count = value.partition(_REPEATED)
        return before + "word " * int(count)
    return value
