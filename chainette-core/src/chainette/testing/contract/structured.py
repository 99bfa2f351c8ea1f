"""Checks of typed answers."""

from __future__ import annotations

import json
from typing import Any

import pytest

from chainette.engine.client.base import BaseClient
from chainette.engine.structured.schema import output_schema
from chainette.errors import (
    OutputError,
    OutputTruncatedError,
    RefusalError,
    StructuredOutputError,
)
from chainette.testing import faults
from chainette.testing.contract.checks import Checks
from chainette.testing.hard_models import HARD_MODELS, Address, Cat
from chainette.testing.model_error import ModelError
from chainette.types import SamplingParams

REFUSALS = {
    # As recorded of llama.cpp's server and of Ollama 0.25.
    "400": faults.status(400, "Failed to initialize samplers: failed to parse grammar"),
    "500": faults.status(500, "invalid JSON schema in format"),
}


class StructuredChecks(Checks):
    """Checks of typed answers."""

    @pytest.mark.parametrize("kind", HARD_MODELS)
    def test_a_typed_answer_is_an_instance_of(
        self, kind: str, engine: BaseClient, server: Any
    ) -> None:
        """The server receives the schema of a hard type, and the answer becomes an instance."""
        model = HARD_MODELS[kind]
        sampling = SamplingParams(temperature=0, max_tokens=300)
        output = engine.generate(["Make one up, as JSON."], sampling, output_model=model)[0]
        if kind in self.enforced_in_part and output.error is not None:
            assert isinstance(output.error, StructuredOutputError | OutputTruncatedError)
            return
        if server is None and isinstance(output.error, OutputError):
            raise ModelError(f"the model's answer: {output.error}")
        assert output.error is None, str(output.error)
        parsed = output.outputs[0].parsed
        assert output_schema(model).adapter.validate_python(parsed) == parsed
        if server is not None and engine.capabilities.json_schema:
            assert server.requests[-1].schema, "the schema did not arrive"

    @pytest.mark.parametrize("fault", REFUSALS)
    def test_a_refused_schema_is_remembered_for_itself_alone(
        self, fault: str, engine: BaseClient, server: Any
    ) -> None:
        """Its type is asked for in a weaker way from then on, and others are as before."""
        self.needs_http(server)
        if not engine.capabilities.json_schema:
            pytest.skip("the backend sends no schema")
        address, cat = '{"street": "a", "number": 1}', '{"kind": "cat", "lives": 9}'
        server.set_answers([REFUSALS[fault], address, address, cat])
        outputs = [
            engine.generate(["row 1"], output_model=model)[0] for model in (Address, Address, Cat)
        ]
        assert [output.error for output in outputs] == [None, None, None]
        refused, weaker, remembered, other = [request.schema for request in server.requests]
        assert refused != weaker, "the refused schema was sent again"
        assert remembered == weaker, "the refusal was not remembered"
        assert other, "the schema of another type did not arrive"
        assert "maximum" in json.dumps(other), "another type was asked for in a weaker way"

    def test_an_answer_that_does_not_fit_is_an_error_that_keeps_the_text(
        self, engine: BaseClient, server: Any
    ) -> None:
        """Every answer is validated, whatever the server enforces."""
        self.needs_script(server)
        for text in (faults.wrong_schema().text, "not JSON", ""):
            server.set_answers(lambda _, text=text: text)
            output = engine.generate(["row 1"], output_model=Address)[0]
            assert isinstance(output.error, StructuredOutputError)
            assert output.error.raw_text == text
            assert output.outputs[0].parsed is None

    def test_an_answer_cut_at_max_tokens_is_an_error_of_its_own(
        self, engine: BaseClient, server: Any
    ) -> None:
        """It is not a JSON error, and its message has the limit."""
        self.needs_script(server)
        server.set_answers(lambda _: faults.cut())
        sampling = SamplingParams(max_tokens=33)
        output = engine.generate(["row 1"], sampling, output_model=Address)[0]
        assert isinstance(output.error, OutputTruncatedError)
        if "max_tokens" in engine.capabilities.sampling:
            assert "max_tokens=33" in str(output.error)

    @pytest.mark.parametrize("reply", ["refusal", "content_filter"])
    def test_a_refusal_is_an_error_of_its_own(
        self, reply: str, engine: BaseClient, server: Any
    ) -> None:
        """An answer that the server withholds is one, too."""
        self.needs_http(server)
        if not self.refusals:
            pytest.skip("the protocol does not report refusals")
        server.set_answers(lambda _: getattr(faults, reply)())
        output = engine.generate(["row 1"], output_model=Address)[0]
        if output.error is None or not isinstance(output.error, RefusalError):
            pytest.fail(f"expected a RefusalError, got {output.error!r}")
