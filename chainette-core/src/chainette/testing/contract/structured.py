"""Typed answers."""

from __future__ import annotations

from typing import Any

import pytest

from chainette.engine.client.base import BaseClient
from chainette.engine.structured.schema import output_schema
from chainette.errors import OutputTruncatedError, RefusalError, StructuredOutputError
from chainette.testing import faults
from chainette.testing.contract.checks import Checks
from chainette.testing.hard_models import HARD_MODELS, Address
from chainette.types import SamplingParams


class StructuredChecks(Checks):
    """An answer is an instance of its type, or an error that says why it is none."""

    @pytest.mark.parametrize("kind", HARD_MODELS)
    def test_a_typed_answer_is_an_instance_of(
        self, kind: str, engine: BaseClient, server: Any
    ) -> None:
        """Every hard type: the server gets its schema, and the answer becomes an instance."""
        model = HARD_MODELS[kind]
        sampling = SamplingParams(temperature=0, max_tokens=300)
        output = engine.generate(["Make one up, as JSON."], sampling, output_model=model)[0]
        if kind in self.enforced_in_part and output.error is not None:
            assert isinstance(output.error, StructuredOutputError | OutputTruncatedError)
            return
        assert output.error is None, str(output.error)
        parsed = output.outputs[0].parsed
        assert output_schema(model).adapter.validate_python(parsed) == parsed
        if server is not None and engine.capabilities.json_schema:
            assert server.requests[-1].schema, "the schema did not arrive"

    def test_an_answer_that_does_not_fit_is_an_error_that_keeps_the_text(
        self, engine: BaseClient, server: Any
    ) -> None:
        """Whatever the server claims to enforce, every answer is validated."""
        self.needs_script(server)
        wrong = faults.wrong_schema().text
        for text in (wrong, "no JSON at all", ""):
            server.set_answers(lambda _, text=text: text)
            output = engine.generate(["row 1"], output_model=Address)[0]
            assert isinstance(output.error, StructuredOutputError)
            assert output.error.raw_text == text
            assert output.outputs[0].parsed is None

    def test_an_answer_cut_at_max_tokens_is_an_error_of_its_own(
        self, engine: BaseClient, server: Any
    ) -> None:
        """Not a JSON error, and the limit is named."""
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
        """As is an answer that the server withholds."""
        self.needs_http(server)
        if not self.refusals:
            pytest.skip("the protocol knows no refusals")
        server.set_answers(lambda _: getattr(faults, reply)())
        output = engine.generate(["row 1"], output_model=Address)[0]
        if output.error is None or not isinstance(output.error, RefusalError):
            pytest.fail(f"expected a RefusalError, got {output.error!r}")
