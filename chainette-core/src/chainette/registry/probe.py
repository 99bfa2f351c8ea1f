"""The check of an engine: the list of its models and one typed answer."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from time import perf_counter
from typing import Literal

from pydantic import BaseModel, Field

from chainette.engine.client.base import BaseClient
from chainette.engine.config import EngineConfig
from chainette.errors import (
    EngineConnectionError,
    EngineError,
    EngineStartError,
    EngineTimeoutError,
    NotFoundError,
)
from chainette.registry.endpoints import is_about_path, with_other_paths
from chainette.registry.engines import client_for
from chainette.registry.model_names import closest_models, has_model
from chainette.types import LLMOutput, SamplingParams

SHOWN = 10
"""Maximum number of models in a message."""


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
        EngineError: It cannot be reached, refuses, or does not have the model or the API.
        ChainetteError: It is wrongly configured, or its plugin cannot be used.
    """
    client = client_for(config)
    try:
        started_at = perf_counter()
        models = await _listed(client)
        reached = perf_counter() - started_at
        if client.model and models is not None and not has_model(client.model, models):
            raise _not_listed(client, models)
        output = await client.complete(
            "What is the capital of France, and on which continent is it? Answer as JSON.",
            SamplingParams(max_tokens=200, temperature=0.0),
            output_model=Capital,
        )
        error = output.error
        if error is not None and is_about_path(error):
            if isinstance(error, NotFoundError) and models and client.model not in models:
                raise _not_listed(client, models)
            error = await with_other_paths(error, client, config, lists=models is not None)
            raise error
    finally:
        await client.aclose()
    if error is not None and error.unusable:
        raise error
    return _report(config, client.model or "", reached, models, output)


async def _listed(client: BaseClient) -> list[str] | None:
    """The models of a server, or `None` where it does not list them: the answer alone counts then.

    Raises:
        EngineError: The server cannot be started or reached.
    """
    try:
        return await _models(client)
    except (EngineConnectionError, EngineTimeoutError, EngineStartError):
        raise
    except EngineError:
        with suppress(NotFoundError):  # of the path, perhaps; the answer tells
            await client.start()
        return None


def _report(
    config: EngineConfig,
    model: str,
    reached: float,
    models: list[str] | None,
    output: LLMOutput[Capital],
) -> EngineReport:
    usage = output.usage
    return EngineReport(
        engine=config.name,
        backend=config.backend,
        model=model,
        reached=f"in {reached:.2f} s",
        models="the server does not list its models"
        if models is None
        else f"{model} is one of {len(models)}",
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


def _not_listed(client: BaseClient, models: list[str]) -> NotFoundError:
    name, model = client.config.name, client.model or ""
    known = closest_models(model, models)
    more = f", and {len(known) - SHOWN} more" if len(known) > SHOWN else ""
    hint = f"closest: {known[0]!r}; it lists: {', '.join(known[:SHOWN])}{more}"
    return NotFoundError(
        f"engine {name!r}: the server does not list the model {model!r}; "
        f"{hint if known else 'its list of models is empty'}",
        engine=name,
    )
