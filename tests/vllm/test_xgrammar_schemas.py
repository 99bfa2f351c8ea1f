"""Schemas in xgrammar's dialect on the real xgrammar, and on vLLM's own check of what it takes."""

from __future__ import annotations

import json

import pytest

pytest.importorskip("vllm", reason="vLLM is not installed: make test-vllm")

from chainette.engine.structured.schema import OutputSchema
from chainette.testing.hard_models import HARD_MODELS
from chainette.testing.sample import sample
from pydantic import TypeAdapter, ValidationError
from random_models import random_model

pytestmark = [
    pytest.mark.vllm,
    pytest.mark.timeout(400),
    pytest.mark.filterwarnings("ignore"),  # warnings of vLLM and torch
]
MODELS = 500


def test_xgrammar_takes_the_schemas_of_hard_and_of_random_models() -> None:
    import xgrammar
    from vllm.v1.structured_output.backend_xgrammar import has_xgrammar_unsupported_json_features
    from xgrammar.testing import _is_grammar_accept_string

    types = [*HARD_MODELS.values(), *(random_model(seed).model for seed in range(MODELS))]
    refused: list[str] = []
    tried = valid = 0
    for kind in types:
        schema = OutputSchema(kind).in_dialect("xgrammar")
        text = json.dumps(schema)
        if has_xgrammar_unsupported_json_features(schema):
            refused.append(f"vLLM: {text}")
            continue
        try:
            grammar = xgrammar.Grammar.from_json_schema(text)
        except RuntimeError as error:
            refused.append(f"{error}: {text}")
            continue
        try:
            value = json.dumps(sample(schema), ensure_ascii=False)
            TypeAdapter(kind).validate_json(value)
        except (ValueError, ValidationError, RecursionError):
            continue  # no value is known
        tried += 1
        valid += _is_grammar_accept_string(grammar, value)
    print(f"\n{len(types)} schemas, taken {len(types) - len(refused)}, {valid} of {tried} values")  # noqa: T201
    assert refused == []
    assert valid == tried
