"""The answers of a scripted server, and the question that they answer."""

from __future__ import annotations

import json
from typing import Any

from chainette.testing.script import Reply
from chainette.types import LLMOutput
from pydantic import BaseModel


class City(BaseModel):
    name: str
    inhabitants: int


OSLO = City(name="Oslo", inhabitants=700000)
TEXT = OSLO.model_dump_json()
BERGEN = City(name="Bergen", inhabitants=290000).model_dump_json()


def body(message: Any = None, finish_reason: Any = "stop", **fields: Any) -> dict[str, Any]:
    message = {"role": "assistant", "content": TEXT} if message is None else message
    return {"choices": [{"message": message, "finish_reason": finish_reason}], **fields}


def replied(content: Any, status: int = 200, **headers: str) -> Reply:
    data = content if isinstance(content, bytes) else json.dumps(content).encode()
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Reply(status=status, body=data, headers=named)


def ask(engine: Any, model: Any = City) -> LLMOutput:
    return engine.generate(["hi"], output_model=model)[0]
