"""OpenTelemetry traces and metrics; needs the extra `chainette[otel]`.

Names and the bounds of histograms are those of the OpenTelemetry semantic conventions for
generative AI clients ("GenAI spans", "GenAI metrics").
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import perf_counter
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from chainette.engine.telemetry import hooks as telemetry
from chainette.errors import ConfigError
from chainette.events import NodeStarted, RequestStarted, RowStarted
from chainette.types import LLMOutput
from chainette.usage import Usage

if TYPE_CHECKING:
    from opentelemetry.trace import Span

SAMPLING = {
    "temperature": "gen_ai.request.temperature",
    "top_p": "gen_ai.request.top_p",
    "top_k": "gen_ai.request.top_k",
    "max_tokens": "gen_ai.request.max_tokens",
    "stop": "gen_ai.request.stop_sequences",
    "seed": "gen_ai.request.seed",
    "presence_penalty": "gen_ai.request.presence_penalty",
    "frequency_penalty": "gen_ai.request.frequency_penalty",
    "n": "gen_ai.request.choice.count",
}
"""Attributes by sampling parameter, where the conventions have one."""


def instrument(*, record_content: bool = False) -> None:
    """Send traces and metrics to the OpenTelemetry providers of this process.

    Each row, each of its steps and each request is a span.

    Args:
        record_content: Also record prompts and completions, which may hold personal data.

    Raises:
        ConfigError: The extra is not installed.
    """
    try:
        import opentelemetry.trace  # noqa: F401
    except ImportError:
        raise ConfigError('telemetry needs an extra: pip install "chainette[otel]"') from None
    telemetry.active = OpenTelemetry(record_content=record_content)


class OpenTelemetry:
    """Spans and metrics of rows, steps and requests.

    Args:
        record_content: Whether prompts and completions are recorded.
    """

    def __init__(self, *, record_content: bool = False) -> None:
        from opentelemetry import metrics, trace

        self._record_content = record_content
        self._trace = trace
        self._tracer = trace.get_tracer("chainette")
        meter = metrics.get_meter("chainette")
        self._tokens = meter.create_histogram(
            "gen_ai.client.token.usage",
            unit="{token}",
            explicit_bucket_boundaries_advisory=[4**power for power in range(14)],
        )
        self._duration = meter.create_histogram(
            "gen_ai.client.operation.duration",
            unit="s",
            explicit_bucket_boundaries_advisory=[0.01 * 2**power for power in range(14)],
        )

    @contextmanager
    def row(self, event: RowStarted) -> Iterator[None]:
        """A span around a row."""
        attributes: dict[str, Any] = {
            "chainette.chain": event.chain,
            "chainette.row_id": event.row_id,
        }
        kind = "row" if event.group is None else "group"
        if event.group is not None:
            attributes = {"chainette.chain": event.chain, "chainette.group": event.group}
        with self._tracer.start_as_current_span(f"{kind} {event.chain}", attributes=attributes):
            yield

    @contextmanager
    def node(self, event: NodeStarted) -> Iterator[None]:
        """A span around one item in one step or function."""
        attributes: dict[str, Any] = {"chainette.step": event.node_id}
        if event.group is None:
            attributes["chainette.row_id"] = event.row_id
        else:
            attributes["chainette.group"] = event.group
        if event.item:
            attributes["chainette.item"] = event.item
        with self._span(f"step {event.node_id}", attributes) as span:
            try:
                yield
            except Exception as error:
                self._failed(span, error, str(error))
                raise

    @contextmanager
    def request(
        self, event: RequestStarted, scrub: Callable[[str], str]
    ) -> Iterator[Callable[[LLMOutput], None]]:
        """A span around a request, and its metrics."""
        shared = _shared(event)
        start = perf_counter()
        kind = self._trace.SpanKind.CLIENT
        with self._span(f"chat {event.model}", shared | _asked(event), kind) as span:
            if self._record_content:
                span.set_attribute("gen_ai.input.messages", json.dumps(event.messages))
            try:
                yield lambda output: self._answered(span, output, shared)
            except Exception as error:
                shared = shared | {"error.type": type(error).__name__}
                self._failed(span, error, scrub(str(error)))
                raise
            finally:
                self._duration.record(perf_counter() - start, shared)

    def _span(self, name: str, attributes: dict[str, Any], kind: Any = None) -> Any:
        return self._tracer.start_as_current_span(
            name,
            kind=kind or self._trace.SpanKind.INTERNAL,
            attributes=attributes,
            # An exception's text and causes may hold secrets; the safe part is recorded by hand.
            record_exception=False,
            set_status_on_exception=False,
        )

    def _failed(self, span: Span, error: Exception, description: str) -> None:
        span.set_attribute("error.type", type(error).__name__)
        span.set_status(self._trace.StatusCode.ERROR, description[:500])

    def _answered(self, span: Span, output: LLMOutput, shared: dict[str, Any]) -> None:
        reasons = [completion.finish_reason or "" for completion in output.outputs]
        span.set_attribute("gen_ai.response.finish_reasons", reasons)
        for name, kind, count in _counts(output.usage):
            span.set_attribute(name, count)
            if kind:
                self._tokens.record(count, shared | {"gen_ai.token.type": kind})
        if self._record_content:
            texts = [completion.text for completion in output.outputs]
            messages = [{"role": "assistant", "content": text} for text in texts]
            span.set_attribute("gen_ai.output.messages", json.dumps(messages))


def _shared(event: RequestStarted) -> dict[str, Any]:
    """Attributes of spans and metrics alike."""
    attributes: dict[str, Any] = {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": event.backend,
        "gen_ai.request.model": event.model,
    }
    parts = urlsplit(event.address)
    if parts.hostname:
        attributes["server.address"] = parts.hostname
        attributes["server.port"] = parts.port or (443 if parts.scheme == "https" else 80)
    return attributes


def _asked(event: RequestStarted) -> dict[str, Any]:
    sampling = event.sampling.model_dump(exclude_unset=True, exclude_none=True)
    attributes = {SAMPLING[name]: value for name, value in sampling.items() if name in SAMPLING}
    return attributes | {"gen_ai.output.type": "json" if event.is_typed else "text"}


def _counts(usage: Usage | None) -> list[tuple[str, str, int]]:
    if usage is None:
        return []
    return [
        ("gen_ai.usage.input_tokens", "input", usage.prompt_tokens),
        ("gen_ai.usage.output_tokens", "output", usage.completion_tokens),
        ("gen_ai.usage.cache_read.input_tokens", "", usage.cached_tokens),
        ("gen_ai.usage.reasoning.output_tokens", "", usage.reasoning_tokens),
    ]
