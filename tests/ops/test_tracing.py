"""What leaves in a span, and what a collector that is away costs."""

import subprocess
import sys
from collections.abc import Sequence

from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.trace import Status, StatusCode

from agent.tracing import Scrubbed

ATTEMPTS = """
import logging, sys
from agent.settings import Settings
from agent.tracing import Trace
logging.basicConfig(stream=sys.stdout, format="%(message)s")
for attempt in (1, 2):
    trace = Trace(Settings(otlp_endpoint=sys.argv[1] or None), "s-1", attempt, 1_700_000_000_000_000_000)
    trace.phase("live")
    trace.note(bundle="b")
    trace.close()
    trace.close()
"""


class Kept(SpanExporter):
    """Keeps what it is given."""

    def __init__(self) -> None:
        self.spans: list[ReadableSpan] = []

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        self.spans += spans
        return SpanExportResult.SUCCESS

    def shutdown(self) -> None:
        pass


def test_only_what_is_listed_leaves() -> None:
    """Texts that are not listed, events, errors' words and everything marked personal stay here."""
    kept = Kept()
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(Scrubbed(kept)))
    span = provider.get_tracer("t").start_span("llm_node")
    span.set_attributes(
        {
            "lk.pii.chat_ctx": "parrot",
            "lk.pii.count": 7,
            "gen_ai.system_instructions": "parrot",
            "gen_ai.prompt.variable.age": 42,
            "something.new": "parrot",
            "lk.function_tools": ("parrot",),
            "gen_ai.usage.input_tokens": 12,
            "lk.interrupted": True,
            "gen_ai.request.model": "rules",
        }
    )
    span.add_event("gen_ai.user.message", {"content": "parrot"})
    span.record_exception(ValueError("parrot"))
    span.set_status(Status(StatusCode.ERROR, "parrot"))
    span.end()
    (sent,) = kept.spans
    assert dict(sent.attributes or {}) == {
        "gen_ai.usage.input_tokens": 12, "lk.interrupted": True, "gen_ai.request.model": "rules",
    }  # fmt: skip
    assert (sent.events, sent.links, sent.status.description) == ((), (), None)
    assert sent.status.status_code is StatusCode.ERROR
    assert "parrot" not in sent.to_json()


def test_a_collector_that_is_away_costs_one_line() -> None:
    """Nobody listens: the session ends all the same, and one warning per attempt names the variable."""
    done = run("http://127.0.0.1:9")
    assert done.stdout.splitlines() == ["traces could not be sent to OTEL_EXPORTER_OTLP_ENDPOINT"] * 2
    assert done.stderr == ""


def test_nothing_is_traced_unless_asked() -> None:
    """Without the variable no provider is made and nothing is said."""
    done = run("")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_later_attempts_continue_the_trace() -> None:
    """Two processes that serve one session send spans of one trace, told apart by the attempt."""
    from tests.ops.collector import Collector

    with Collector() as collector:
        assert run(collector.url).returncode == 0
        spans = collector.spans("s-1")
    sessions = [span for span in spans if span.name == "session"]
    numbers = [
        one.value.int_value for span in sessions for one in span.attributes if one.key == "session.attempt"
    ]
    assert sorted(numbers) == [1, 2]
    assert len({span.trace_id for span in spans}) == 1
    assert [span.name for span in spans].count("live") == 2


def run(url: str) -> "subprocess.CompletedProcess[str]":
    """Two attempts at one session, in a process of their own: a provider is for the whole process."""
    return subprocess.run(
        [sys.executable, "-c", ATTEMPTS, url], capture_output=True, text=True, timeout=60, check=False
    )
