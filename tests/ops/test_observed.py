"""
What an operator sees of calls: log lines, metrics and traces, and no words, prompt, argument or key in them.

One worker at its most talkative, two calls, and every claim about what they left behind.
"""

import asyncio
import itertools
import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from agent.services.livekit_server import LiveKitServer
from tests.e2e.harness import RunningWorker, eventually
from tests.ops.collector import Collector, texts

pytestmark = pytest.mark.e2e

BUNDLES = Path(__file__).parent / "bundles"
WORDS = ("parrot", "teapot", "giraffe", "crocodile", "opening hours", "wombat")
"""Of the prompt, a variable, an answer, the greeting, the user, an argument of a tool."""
KEY = "sk-canary-secret"


@dataclass
class Observed:
    """What two calls left: one with turns and a tool, one that fell idle."""

    log: str
    metrics: str
    collector: Collector
    secret: str


@pytest.fixture(scope="module")
def observed(livekit_server: LiveKitServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Observed]:
    """Both calls are over and their worker has stopped."""
    folder = tmp_path_factory.mktemp("observed")
    (folder / "bundles").mkdir()
    shutil.copy(BUNDLES / "canary.yaml", folder / "bundles")
    with Collector() as collector:
        worker = RunningWorker(
            livekit_server,
            folder / "data",
            bundles=folder / "bundles",
            environment={
                "AGENT_NAME": "observed",
                "AGENT_LOG_LEVEL": "DEBUG",
                "OPENAI_API_KEY": KEY,
                "OTEL_EXPORTER_OTLP_ENDPOINT": collector.url,
            },
        )
        try:
            worker.start()
            metrics = asyncio.run(two_calls(worker))
        finally:
            assert worker.stop() == 0
        yield Observed(worker.log_text(), metrics, collector, livekit_server.api_secret)


async def two_calls(worker: RunningWorker) -> str:
    """A talk and a silence at the same time; the metrics once both are recorded."""
    await asyncio.gather(talk(worker), fall_silent(worker))

    def counted() -> str | None:
        text = worker.probe("/metrics")[1]
        ends = [
            figure(text, f'agent_sessions_ended_total{{reason="{why}"}}') for why in ("idle", "agent_ended")
        ]
        return text if ends == [1, 1] else None

    return await eventually(counted, "both ends in the metrics", 20)


async def talk(worker: RunningWorker) -> None:
    started = await worker.session(
        "observed-talk", bundle="canary", user_id="u1", variables={"user_name": "teapot"}
    )
    async with worker.caller(started) as caller:
        await caller.heard_all(after=caller.joined_at)
        await caller.say("what are your opening hours")
        await caller.wait_words("giraffe", within=15)
        await caller.heard_all(after=caller.joined_at + 1)
        await caller.write("where is order wombat")
        await caller.wait_words("wombat", within=15)
        await caller.write("thank you goodbye")
        await caller.wait_event("ended", within=15, reason="agent_ended")


async def fall_silent(worker: RunningWorker) -> None:
    started = await worker.session(
        "observed-idle",
        bundle="canary",
        user_id="mrs-parrot",
        overrides={"idle_timeout_seconds": 1.5, "goodbye": None},
    )
    async with worker.caller(started) as caller:
        await caller.heard_all(after=caller.joined_at)
        await caller.wait_event("ended", within=20, reason="idle")


def figure(metrics: str, series: str) -> float:
    """One series; -1 when it is not there."""
    found = [line for line in metrics.splitlines() if line.startswith(series + " ")]
    return float(found[0].rsplit(" ", 1)[1]) if found else -1.0


def test_no_words_no_prompt_and_no_secret_in_the_log_at_debug(observed: Observed) -> None:
    """No words of either side, no prompt, no variable, no argument and no key is logged at any level."""
    log = observed.log.lower()
    assert "debug" in log
    for word in (*WORDS, KEY, observed.secret.lower()):
        at = log.find(word)
        assert at < 0, f"{word!r} is in the log: …{log[max(0, at - 300) : at + 100]}…"


def test_every_line_of_a_call_names_its_session_and_its_config(observed: Observed) -> None:
    """
    JSON where no terminal is; session, bundle and digest on every line of a job's process, and of the parent
    about it, from the moment at which the job is configured. Before, only LiveKit's request is told of.
    """
    lines = [json.loads(line) for line in observed.log.splitlines()]
    jobs = {line["job_id"] for line in lines if "job_id" in line}
    processes = {line["pid"]: line["job_id"] for line in lines if line.get("digest")}
    assert sorted(processes.values()) == sorted(jobs)
    assert len(jobs) == 2
    for pid, job in processes.items():
        about = [line for line in lines if line.get("pid") == pid or line.get("job_id") == job]
        first = next(number for number, line in enumerate(about) if line.get("digest"))
        told = {
            (line.get("session"), line.get("bundle"), line.get("digest", "")[:7]) for line in about[first:]
        }
        assert told in ({("observed-talk", "canary", "sha256:")}, {("observed-idle", "canary", "sha256:")})
        assert len(about[first:]) > 10
        assert "process exiting" in [line["message"] for line in about[first:]]
        assert {line["message"] for line in about[:first]} <= {
            "initializing process", "process initialized", "received job request", "received assignment",
        }  # fmt: skip
    sessions = [line for line in lines if "observed-" in json.dumps(line) and "job_id" not in line]
    assert [line for line in sessions if not line.get("session")] == []


def test_a_call_is_counted_when_it_is_over(observed: Observed) -> None:
    """Ends, resolve time, first audio, timers, verdicts, records and sweeps of two calls are there."""
    metrics = observed.metrics
    for series in ("agent_resolve_seconds", "agent_first_audio_seconds", "agent_journal_lag_seconds"):
        assert figure(metrics, f"{series}_count") == 2, series
    assert figure(metrics, "agent_timer_error_seconds_count") >= 1
    assert figure(metrics, 'agent_override_verdicts_total{verdict="applied"}') >= 1
    assert figure(metrics, "agent_records_waiting") == 0
    assert figure(metrics, "agent_sweeps_total") >= 1
    assert figure(metrics, 'agent_bundles{state="usable"}') == 1
    assert figure(metrics, 'agent_bundles{state="quarantined"}') == 0


def test_livekits_own_figures_are_among_ours(observed: Observed) -> None:
    """What livekit-agents counts of its processes and its load is on the same page."""
    for name in ("lk_agents_worker_load", "lk_agents_proc_initialize_duration_seconds_count"):
        assert any(line.startswith(name) for line in observed.metrics.splitlines()), name


def test_metrics_name_nobody(observed: Observed) -> None:
    """No session, user, word or key is a label."""
    for word in ("observed-", "mrs-", *WORDS, KEY):
        assert word not in observed.metrics.lower()


def test_one_trace_a_session_with_its_phases(observed: Observed) -> None:
    """Claim, configure, connect, start, live and end lie below the session's span, in order, with no gap."""
    spans = observed.collector.spans("observed-talk")
    (session,) = [span for span in spans if span.name == "session"]
    phases = [span for span in spans if span.parent_span_id == session.span_id]
    own = [span for span in phases if span.name in ("claim", "configure", "connect", "start", "live", "end")]
    assert [span.name for span in own] == ["claim", "configure", "connect", "start", "live", "end"]
    for before, after in itertools.pairwise(own):
        assert before.end_time_unix_nano == after.start_time_unix_nano
    assert len({span.trace_id for span in spans}) == 1
    said = texts(session)
    assert (said["session.bundle"], said["session.end_reason"]) == ("canary", "agent_ended")
    assert said["session.digest"].startswith("sha256:")


def test_livekits_own_spans_lie_in_the_trace(observed: Observed) -> None:
    """The turns, the requests to models and the tool of livekit's own support are below the session."""
    names = {span.name for span in observed.collector.spans("observed-talk")}
    assert {"agent_session", "llm_node", "tts_node", "function_tool"} <= names


def test_no_words_no_prompt_and_no_secret_in_a_trace(observed: Observed) -> None:
    """Whatever livekit writes into its spans, none of the words of the call, its prompt or a key is sent."""
    sent = b"".join(observed.collector.bodies).lower()
    assert len(sent) > 1000
    for word in (*WORDS, KEY, observed.secret.lower(), "mrs-"):
        assert word.encode() not in sent, word
