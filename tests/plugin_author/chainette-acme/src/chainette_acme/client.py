"""Client of the backend `acme`."""

from __future__ import annotations

from typing import Any

from chainette.backend import (
    BaseHTTPClient,
    Completion,
    LLMOutput,
    Request,
    Usage,
    unreadable,
    with_instruction,
)

from chainette_acme.config import AcmeConfig

KNOBS = {
    "temperature": "heat",
    "top_p": "nucleus",
    "max_tokens": "longest",
    "stop": "until",
    "seed": "dice",
}
"""Acme's names of the sampling parameters."""


class AcmeClient(BaseHTTPClient):
    """A client of `POST {endpoint}/v2/complete`."""

    config: AcmeConfig
    default_endpoint = "https://api.acme.example"
    api_key_envs = ("ACME_API_KEY",)

    def key_headers(self, key: str) -> dict[str, str]:
        """The header of Acme's token."""
        return {"X-Acme-Token": key}

    async def list_models(self) -> list[str] | None:
        """Names of the server's engines."""
        answer = await self.send("GET", "/v2/engines")
        return list(answer["engines"])

    async def _chat(self, request: Request) -> LLMOutput:
        return self.read_answer(await self.send("POST", "/v2/complete", self.body(request)))

    def body(self, request: Request) -> dict[str, Any]:
        """The body of a request."""
        messages, schema = request.messages, None
        if request.output is not None and request.mode == "json_schema":
            schema = request.output.schema
        elif request.output is not None:  # the server does not take the schema: ask in words
            messages = with_instruction(messages, request.output.instruction)
        sampling = request.sampling.model_dump(exclude_none=True, include=set(KNOBS))
        body = {
            "engine": self.model,
            "dialogue": [{"who": it["role"], "says": it["content"]} for it in messages],
            "knobs": {KNOBS[name]: value for name, value in sampling.items()},
        }
        if schema is not None:
            body["shape"] = schema
        return body | self.config.extra_body

    def read_answer(self, answer: Any) -> LLMOutput:
        """Read the body of an answer."""
        try:
            reason = "length" if answer["ended"] == "too long" else "stop"
            completion = Completion(answer["reply"], finish_reason=reason)
            usage = Usage(answer["meter"]["read"], answer["meter"]["written"])
        except (KeyError, TypeError):
            raise unreadable("completion", answer) from None
        return LLMOutput([completion], usage=usage)
