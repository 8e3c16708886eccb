"""
The trace of one session, for OpenTelemetry: one trace per session, however many processes served it.

On when OTEL_EXPORTER_OTLP_ENDPOINT is set. livekit's own spans (turns, requests to models, tool runs) lie
below ours. Some of theirs carry prompts, words and arguments of tools, so what is sent is rebuilt from a list
of what may leave: names of spans, times, numbers, and the few texts below. Everything else stays, whatever a
later version of livekit puts there.
"""

import hashlib
import logging
import threading
import time
from collections.abc import Mapping, Sequence
from typing import Any, Final

from livekit.agents import telemetry
from opentelemetry import context, trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import SERVICE_INSTANCE_ID, SERVICE_NAME, Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
from opentelemetry.trace import Span, Status

from agent.settings import Settings

SERVICE: Final = "livekit-agent-runtime"
SEND_SECONDS: Final = 2.0
"""Longest time in seconds for one batch, and for what is left when a session is over."""
TEXTS: Final = frozenset(
    {
        "session.id", "session.bundle", "session.digest", "session.end_reason", "session.claim",
        "lk.job_id", "lk.room_sid", "lk.speech_id", "lk.close_reason", "lk.interruption.source",
        "lk.eou.outcome", "lk.eou.source", "gen_ai.operation.name", "gen_ai.provider.name",
        "gen_ai.request.model", "gen_ai.response.model", "error.type",
    }
)  # fmt: skip
"""Attributes whose text is sent. None of them holds words of a person, a prompt or a key."""
NUMBERS: Final = ("session.", "lk.", "gen_ai.usage.", "gen_ai.response.time_to_first_chunk")
"""Beginnings of names of attributes that are sent when they are numbers or booleans."""

logger = logging.getLogger(__name__)


class Trace:
    """
    What one attempt adds to the trace of its session: a span, and below it one per phase.

    Args:
        settings: Without `otlp_endpoint` nothing is traced, and every call here is free.
        session_id: The trace's id is made from it, so that later attempts continue the same trace.
        attempt: Number of the attempt, from 1.
        since: When the claim began, in nanoseconds since 1970.
    """

    def __init__(self, settings: Settings, session_id: str, attempt: int, since: int) -> None:
        self._provider: TracerProvider | None = None
        self._phase: Span | None = None
        if settings.otlp_endpoint is None:
            return
        self._provider = _provider(settings, session_id)
        telemetry.set_tracer_provider(self._provider, allow_pii=False)
        self._tracer = self._provider.get_tracer("agent")
        self._session = self._tracer.start_span("session", context.Context(), start_time=since)
        self._session.set_attributes({"session.id": session_id, "session.attempt": attempt})
        self._below = trace.set_span_in_context(self._session)
        self._former = context.attach(self._below)  # livekit's spans find it as their parent
        self.phase("claim", since)

    def phase(self, name: str, since: int | None = None) -> None:
        """The session is in this phase now, or since so many nanoseconds after 1970; the one before ends."""
        if self._provider is None:
            return
        moment = since or time.time_ns()
        if self._phase is not None:
            self._phase.end(moment)
        self._phase = self._tracer.start_span(name, self._below, start_time=moment)

    def note(self, **attributes: str) -> None:
        """Add to the session's span: `bundle`, `digest`, `end_reason`, `claim`."""
        if self._provider is not None:
            self._session.set_attributes({f"session.{name}": value for name, value in attributes.items()})

    def close(self) -> None:
        """End the spans and send what is left, within a bound. Blocks; a second call does nothing."""
        provider, self._provider = self._provider, None
        if provider is None:
            return
        if self._phase is not None:
            self._phase.end()
        self._session.end()
        # a thread that nobody waits for: what cannot be sent must not hold up the end of the process
        sending = threading.Thread(target=provider.shutdown, name="traces", daemon=True)
        sending.start()
        sending.join(SEND_SECONDS)


def _provider(settings: Settings, session_id: str) -> TracerProvider:
    logging.getLogger("opentelemetry").setLevel(logging.CRITICAL)  # a line per batch; we say it once
    provider = TracerProvider(
        resource=Resource.create({SERVICE_NAME: SERVICE, SERVICE_INSTANCE_ID: settings.worker_id or ""}),
        id_generator=_OneTrace(session_id),
        shutdown_on_exit=False,
    )
    exporter = OTLPSpanExporter(f"{settings.otlp_endpoint}".rstrip("/") + "/v1/traces", timeout=SEND_SECONDS)
    provider.add_span_processor(BatchSpanProcessor(Scrubbed(exporter)))
    return provider


class _OneTrace(RandomIdGenerator):
    """All spans of this process belong to the trace of its session."""

    def __init__(self, session_id: str) -> None:
        self._trace = int.from_bytes(hashlib.sha256(session_id.encode()).digest()[:16], "big")

    def generate_trace_id(self) -> int:
        return self._trace


class Scrubbed(SpanExporter):
    """Sends spans on without anything that may hold words, prompts, arguments or keys."""

    def __init__(self, inner: SpanExporter) -> None:
        self._inner = inner
        self._complained = False

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Send the spans; a failure is said once and costs the spans, nothing else."""
        result = self._inner.export([_scrubbed(span) for span in spans])
        if result is not SpanExportResult.SUCCESS and not self._complained:
            self._complained = True
            logger.warning("traces could not be sent to OTEL_EXPORTER_OTLP_ENDPOINT")
        return result

    def shutdown(self) -> None:
        """Send nothing more."""
        self._inner.shutdown()

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """Wait for what is on its way."""
        return self._inner.force_flush(timeout_millis)


def _scrubbed(span: ReadableSpan) -> ReadableSpan:
    """The span with the listed attributes alone: no events, no links, no text of an error."""
    return ReadableSpan(
        name=span.name,
        context=span.context,
        parent=span.parent,
        resource=span.resource,
        attributes=_allowed(span.attributes or {}),
        kind=span.kind,
        instrumentation_scope=span.instrumentation_scope,
        status=Status(span.status.status_code),
        start_time=span.start_time,
        end_time=span.end_time,
    )


def _allowed(attributes: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: value
        for name, value in attributes.items()
        if (name in TEXTS and isinstance(value, str))
        or (
            isinstance(value, bool | int | float)
            and name.startswith(NUMBERS)
            and "pii" not in name.split(".")
        )
    }
