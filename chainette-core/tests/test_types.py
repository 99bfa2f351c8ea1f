from __future__ import annotations

import dataclasses
from typing import Any

import chainette
import pytest
from chainette import LLMOutput, Result, SamplingParams
from chainette.errors import (
    ChainetteError,
    ConfigError,
    EngineError,
    ServerError,
    UnknownEngineError,
)
from chainette.types import Completion, GuidedDecodingParams
from chainette.usage import Usage
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

EXPORTED = [
    "ApplyNode", "Branch", "Calls", "Chain", "Code", "Completion", "Drop", "EngineConfig", "Group",
    "GuidedDecodingParams", "LLMOutput", "Result", "Run", "SamplingParams", "Step", "SyncCalls",
    "Usage", "apply", "distinct", "filter", "get_engine", "get_engine_config", "hookimpl",
    "instrument", "load_chain", "load_engines", "pipe", "reduce", "register_backend",
    "register_engine", "repeat", "route", "rows", "split", "vote",
]  # fmt: skip
usages = st.builds(Usage, *[st.integers(0, 10**9)] * 4)


def test_the_package_exports_these_names_and_no_others() -> None:
    assert chainette.__all__ == EXPORTED
    for name in EXPORTED:
        exec(f"from chainette import {name}", {})
        assert name in dir(chainette)
    with pytest.raises(AttributeError, match="has no attribute 'Chian'"):
        chainette.Chian  # noqa: B018


@given(usages, usages, usages)
def test_usages_add_up_in_any_order(a: Usage, b: Usage, c: Usage) -> None:
    assert (a + b) + c == a + (b + c)
    assert a + b == b + a
    assert a + Usage() == a


def test_a_failed_output_still_has_one_completion() -> None:
    output = LLMOutput.failed(ServerError("no", raw_text="half an ans"), latency=2.0)
    assert output.outputs == [Completion("half an ans", finish_reason="error")]
    assert (output.usage, output.latency) == (None, 2.0)
    assert LLMOutput.failed(ServerError("no")).outputs[0].text == ""


@pytest.mark.parametrize(
    "wrong",
    [
        {"temperature": float("nan")}, {"top_k": -2}, {"min_p": 1.5}, {"max_tokens": 0},
        {"presence_penalty": 3}, {"frequency_penalty": -3}, {"repetition_penalty": 0},
        {"stop": [1]}, {"guided_decoding": {"regex": "a", "choice": ["a"]}},
    ],
)  # fmt: skip
def test_a_parameter_out_of_range_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        SamplingParams.model_validate(wrong)


def test_values_that_travel_between_tasks_cannot_be_changed() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        SamplingParams(temperature=1).temperature = 2  # type: ignore[misc]
    for value in (Usage(), Result(0), GuidedDecodingParams(regex="a")):
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(value, dataclasses.fields(value)[0].name, 1)


def test_a_guided_choice_can_be_given_as_plain_values() -> None:
    params = SamplingParams.model_validate({"guided_decoding": {"choice": ["a", "b"]}})
    assert params.guided_decoding == GuidedDecodingParams(choice=["a", "b"])


def test_every_error_of_ours_can_be_caught_at_once() -> None:
    classes = [ChainetteError]
    for cls in classes:
        classes += cls.__subclasses__()
    assert {ConfigError, EngineError, UnknownEngineError} <= set(classes)
    assert all(cls.__doc__ for cls in classes)


def test_an_unknown_engine_is_a_key_error_with_a_readable_text() -> None:
    error = UnknownEngineError("unknown engine 'x'")
    assert isinstance(error, KeyError)
    assert str(error) == "unknown engine 'x'"
