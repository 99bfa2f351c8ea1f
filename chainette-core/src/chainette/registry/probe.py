"""The check of an engine: the list of its models and one typed answer."""

from __future__ import annotations

from dataclasses import dataclass
from time import perf_counter
from typing import Literal

from pydantic import BaseModel, Field

from chainette.engine.client.base import BaseClient
from chainette.engine.config import EngineConfig
from chainette.registry.engines import client_for
from chainette.types import SamplingParams


class Capital(BaseModel):
    """The answer that the engine has to give."""

    city: str = Field(max_length=40)
    continent: Literal["Africa", "America", "Asia", "Europe", "Oceania"]


@dataclass(frozen=True, slots=True)
class EngineReport:
    """The report of a check.

    Attributes:
        engine: Name of the engine.
        backend: Name of its backend.
        model: Name of its model.
        reached: Time to start or reach it and list its models.
        models: Whether the server lists the model.
        structured_output: `yes`, or the reason why the answer is not valid.
        answer: The answer.
        latency: Time of the answer.
        tokens: Tokens of the answer.
    """

    engine: str
    backend: str
    model: str
    reached: str
    models: str
    structured_output: str
    answer: str
    latency: str
    tokens: str


async def check_engine(config: EngineConfig) -> EngineReport:
    """Check an engine.

    Raises:
        EngineError: It cannot be reached, or refuses.
        ChainetteError: It is wrongly configured, or its plugin cannot be used.
    """
    client = client_for(config)
    try:
        started_at = perf_counter()
        models = await _models(client)
        reached = perf_counter() - started_at
        output = await client.complete(
            "What is the capital of France, and on which continent is it? Answer as JSON.",
            SamplingParams(max_tokens=200, temperature=0.0),
            output_model=Capital,
        )
    finally:
        await client.aclose()
    if output.error is not None and output.error.unusable:
        raise output.error
    model = client.model or ""
    usage = output.usage
    return EngineReport(
        engine=config.name,
        backend=config.backend,
        model=model,
        reached=f"in {reached:.2f} s",
        models=_listing(model, models),
        structured_output="yes" if output.error is None else f"no: {output.error}",
        answer=" ".join(output.outputs[0].text.split()),
        latency=f"{output.latency:.2f} s",
        tokens=f"{usage.prompt_tokens} in, {usage.completion_tokens} out"
        if usage
        else "not reported",
    )


async def reach(client: BaseClient) -> list[str] | None:
    """Start or reach an engine, and name the models that it lists.

    Raises:
        EngineError: It cannot be reached, or refuses.
    """
    try:
        return await _models(client)
    finally:
        await client.aclose()


async def _models(client: BaseClient) -> list[str] | None:
    await client.start()
    return await client.list_models()


def _listing(model: str, models: list[str] | None) -> str:
    if models is None:
        return "the server does not list its models"
    if model in models:
        return f"{model} is one of {len(models)}"
    return f"{model} is not listed; the server lists: {', '.join(models[:10])}"
