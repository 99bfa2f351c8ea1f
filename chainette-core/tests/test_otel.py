"""Traces and metrics that follow the conventions for generative AI."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from chainette import Branch, Chain, SamplingParams, Step, apply, instrument, register_engine
from chainette.engine.telemetry import hooks as telemetry
from chainette.errors import ConfigError
from chainette.testing import faults
from chainette.testing.servers import FakeOpenAI
from opentelemetry import metrics, trace
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from pydantic import BaseModel

SENTINEL = "sk-SENTINEL-0123456789"


class Row(BaseModel):
    text: str


@pytest.fixture
def spans(monkeypatch: pytest.MonkeyPatch) -> Iterator[InMemorySpanExporter]:
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr(trace, "get_tracer", provider.get_tracer)
    monkeypatch.setattr(telemetry, "active", None)
    yield exporter
    provider.shutdown()


@pytest.fixture
def reader(monkeypatch: pytest.MonkeyPatch) -> Iterator[InMemoryMetricReader]:
    reader = InMemoryMetricReader()
    provider = MeterProvider([reader])
    monkeypatch.setattr(metrics, "get_meter", provider.get_meter)
    yield reader
    provider.shutdown()


@pytest.fixture
def server() -> Iterator[FakeOpenAI]:
    with FakeOpenAI() as server:
        yield server


def chain(server: FakeOpenAI, **fields: Any) -> Chain:
    register_engine(
        "e", backend="openai", model="m", endpoint=server.endpoint, api_key=SENTINEL, **fields
    )
    step = Step(
        id="say",
        input_model=Row,
        output_model=Row,
        engine_name="e",
        sampling=SamplingParams(temperature=0.5, max_tokens=20),
        user_prompt="secret prompt {{ text }}",
    )
    side = Branch(name="side", steps=[apply(lambda row: row, id="side")])
    return Chain(name="talk", steps=[side, step])


def find(spans: InMemorySpanExporter, start: str) -> list[ReadableSpan]:
    return [span for span in spans.get_finished_spans() if span.name.startswith(start)]


def parent(span: ReadableSpan) -> int:
    assert span.parent is not None
    return span.parent.span_id


def test_a_row_has_a_span_with_its_steps_and_their_requests(
    spans: InMemorySpanExporter, reader: InMemoryMetricReader, server: FakeOpenAI
) -> None:
    instrument()
    assert chain(server).run([{"text": "a"}, {"text": "b"}]).counts.ok == 2
    rows, steps, requests = find(spans, "row"), find(spans, "step say"), find(spans, "chat m")
    assert len(rows) == len(steps) == len(requests) == 2
    assert {parent(step) for step in steps} == {row.context.span_id for row in rows}
    assert {parent(request) for request in requests} == {step.context.span_id for step in steps}
    sides = find(spans, "step side")
    assert {parent(side) for side in sides} == {row.context.span_id for row in rows}
    attributes = dict(requests[0].attributes or {})
    assert requests[0].kind is trace.SpanKind.CLIENT
    assert attributes["gen_ai.operation.name"] == "chat"
    assert attributes["gen_ai.provider.name"] == "openai"
    assert attributes["gen_ai.request.model"] == "m"
    assert attributes["gen_ai.request.temperature"] == 0.5
    assert attributes["gen_ai.request.max_tokens"] == 20
    assert attributes["gen_ai.output.type"] == "json"
    assert attributes["gen_ai.response.finish_reasons"] == ("stop",)
    assert attributes["gen_ai.usage.input_tokens"] == 3
    assert attributes["server.address"] == "127.0.0.1"
    assert attributes["server.port"] == server.port
    data = reader.get_metrics_data()
    assert data is not None
    by_name = {
        metric.name: metric.data.data_points
        for metric in data.resource_metrics[0].scope_metrics[0].metrics
    }
    assert sum(point.count for point in by_name["gen_ai.client.operation.duration"]) == 2
    kinds = {dict(p.attributes)["gen_ai.token.type"] for p in by_name["gen_ai.client.token.usage"]}
    assert kinds == {"input", "output"}
    (duration,) = by_name["gen_ai.client.operation.duration"]
    assert (duration.explicit_bounds[0], duration.explicit_bounds[-1]) == (0.01, 81.92)


def test_content_is_recorded_only_on_request(
    spans: InMemorySpanExporter, server: FakeOpenAI
) -> None:
    def exported_text() -> str:
        return "".join(span.to_json() for span in spans.get_finished_spans())

    instrument()
    chain(server).run([{"text": "a"}])
    assert "secret prompt" not in exported_text()
    instrument(record_content=True)
    chain(server).run([{"text": "a"}])
    (request,) = [s for s in find(spans, "chat") if "gen_ai.input.messages" in (s.attributes or {})]
    messages = json.loads(str((request.attributes or {})["gen_ai.input.messages"]))
    assert messages[-1]["content"] == "secret prompt a"
    assert "gen_ai.output.messages" in (request.attributes or {})


def test_every_failed_attempt_is_a_span_without_the_key(
    spans: InMemorySpanExporter, server: FakeOpenAI, monkeypatch: pytest.MonkeyPatch
) -> None:
    from chainette.engine.client import retry

    monkeypatch.setattr(retry, "FIRST", 0.01)
    server.set_answers(lambda _: faults.status(500, f"no {SENTINEL} here"))
    instrument()
    chain(server, max_retries=2).run([{"text": "a"}])
    requests = find(spans, "chat")
    assert len(requests) == 3
    assert all((span.attributes or {})["error.type"] == "ServerError" for span in requests)
    assert all(span.status.status_code is trace.StatusCode.ERROR for span in requests)
    (step,) = find(spans, "step say")
    assert (step.attributes or {})["error.type"] == "ServerError"
    text = "".join(span.to_json() for span in spans.get_finished_spans())
    assert "500" in text
    assert SENTINEL not in text


def test_a_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry.trace", None)
    with pytest.raises(ConfigError, match=r"chainette\[otel\]"):
        instrument()
