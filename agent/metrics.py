"""
What a worker counts, for Prometheus: prefix `agent_`, few labels of few values, no personal data.

Jobs are processes, and the parent makes every record from the journal that a job leaves. So a job writes its
own figures there as it goes (entries of the type `figure`, which records leave out), and the parent counts
them with the rest of the journal once the record is made: crashed jobs are counted like all others, those of
machines that are gone by whoever makes their records from Redis, and a scrape reaches no process but the
parent. What is counted of a call is therefore seen when the call is over.
"""

import logging
import time
from collections.abc import Callable, Iterable
from typing import Final, Literal, get_args

from prometheus_client import Counter, Gauge, Histogram

from agent.ending import REASONS
from agent.transcripts.entries import Entry, seconds_of

FIGURE: Final = "figure"
"""The type of a journal entry that holds one figure: `name` and `seconds`."""
RESOLVE, FIRST_AUDIO, TIMER = "resolve", "first_audio", "timer_error"

Refusal = Literal["draining", "full", "unready", "cut_off"]
"""Why a job is left to other workers."""
ACCEPTED: Final = "accepted"

SESSIONS = Gauge("agent_sessions", "Sessions on this worker now", ["state"])
CAPACITY = Gauge("agent_session_capacity", "Most sessions at once on this worker")
DRAINING = Gauge("agent_draining", "1 while the worker takes no new sessions because it stops")
REQUESTS = Counter("agent_job_requests_total", "Jobs that LiveKit offered, by our answer", ["answer"])
ENDED = Counter("agent_sessions_ended_total", "Sessions whose record was made, by end reason", ["reason"])
RECOVERIES = Counter("agent_recoveries_total", "Attempts that took up a session after a crash")
RESOLVED = Histogram(
    "agent_resolve_seconds",
    "From the claim to the session's config, Redis and SQL included",
    buckets=(0.001, 0.002, 0.003, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5),
)
FIRST_SOUND = Histogram(
    "agent_first_audio_seconds",
    "From the user's arrival to the first audio of the agent",
    buckets=(0.05, 0.1, 0.15, 0.2, 0.3, 0.5, 0.75, 1.0, 2.0, 4.0, 8.0),
)
TIMER_ERROR = Histogram(
    "agent_timer_error_seconds",
    "How late a timer of a session fired",
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 1.0),
)
VERDICTS = Counter("agent_override_verdicts_total", "Values that sessions asked to change", ["verdict"])
PROVIDER_ERRORS = Counter("agent_provider_errors_total", "Errors of providers in calls", ["source"])
LOST = Counter("agent_journal_lost_entries_total", "Journal entries that could not be written")
STORE_ERRORS = Counter("agent_store_errors_total", "Failures of the stores, seen by the parent", ["store"])
RECORDS = Counter("agent_records_total", "Runs that made or completed a record", ["action"])
WAITING = Gauge("agent_records_waiting", "Sessions that are over and have no record yet")
OLDEST = Gauge("agent_records_waiting_seconds", "For how long the first of them has been waiting")
LAG = Histogram(
    "agent_journal_lag_seconds",
    "From the end in a session's journal to its record",
    buckets=(0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0),
)
SWEEPS = Counter("agent_sweeps_total", "Searches for sessions whose record is missing")
BUNDLES = Gauge("agent_bundles", "Bundles of this worker", ["state"])
COMPILED_AGE = Gauge("agent_bundles_compiled_age_seconds", "Time since the bundles were last compiled")

_HISTOGRAMS: Final = {RESOLVE: RESOLVED, FIRST_AUDIO: FIRST_SOUND, TIMER: TIMER_ERROR}
_SOURCES: Final = frozenset({"stt", "llm", "tts", "realtime_model", "vad", "interruption"})
_VERDICTS: Final = frozenset({"applied", "clamped", "refused", "unsupported"})
_OTHER, _UNKNOWN = "other", "unknown"
"""Stand for what is on none of the lists."""
_KNOWN: Final = (
    (REQUESTS, (ACCEPTED, *get_args(Refusal))),
    (ENDED, (*REASONS, _UNKNOWN)),
    (VERDICTS, (*_VERDICTS, _OTHER)),
    (PROVIDER_ERRORS, (*_SOURCES, _OTHER)),
    (STORE_ERRORS, ("redis", "database")),
    (RECORDS, ("created", "grown", "unchanged", "erased", "nothing")),
)
"""All values of the one label that each of these counters has."""

logger = logging.getLogger(__name__)


def follow(
    *,
    running: Callable[[], int],
    starting: Callable[[], int],
    waiting: Callable[[], int],
    oldest: Callable[[], float],
    usable: Callable[[], int],
    quarantined: Callable[[], int],
    last_good: Callable[[], int],
    compiled_age: Callable[[], float],
    draining: Callable[[], bool],
    capacity: int,
) -> None:
    """Gauges that are asked for at each scrape; counters are there from now on, at 0."""
    SESSIONS.labels("running").set_function(running)
    SESSIONS.labels("starting").set_function(starting)
    WAITING.set_function(waiting)
    OLDEST.set_function(oldest)
    BUNDLES.labels("usable").set_function(usable)
    BUNDLES.labels("quarantined").set_function(quarantined)
    BUNDLES.labels("last_good").set_function(last_good)
    COMPILED_AGE.set_function(compiled_age)
    DRAINING.set_function(draining)
    CAPACITY.set(capacity)
    for counter, values in _KNOWN:
        for value in values:  # `rate()` misses the event that a series begins with
            counter.labels(value)


def count(action: str, added: Iterable[Entry], end_reason: str | None) -> None:
    """
    Count one run that made or completed a record. Never raises.

    Args:
        action: What it did, as `Outcome.action`.
        added: The entries that it brought into the record, from whatever machine; no other run brings them.
        end_reason: The record's; None when it has none.
    """
    try:
        RECORDS.labels(action).inc()
        if action == "created":
            ENDED.labels(end_reason if end_reason in REASONS else _UNKNOWN).inc()
        for entry in added:
            if entry.get("n") == 1 and entry.get("attempt") != 1:
                RECOVERIES.inc()
            _count_entry(entry)
    except Exception:
        logger.exception("the figures of a session could not be counted")


def _count_entry(entry: Entry) -> None:
    match entry.get("type"):
        case "figure":
            histogram = _HISTOGRAMS.get(str(entry.get("name")))
            seconds = entry.get("seconds")
            if histogram is not None and isinstance(seconds, int | float) and seconds >= 0:
                histogram.observe(seconds)
        case "start" | "verdicts":
            for verdict in entry.get("verdicts") or ():
                word = verdict.get("verdict")
                VERDICTS.labels(word if word in _VERDICTS else _OTHER).inc()
        case "error":
            source = entry.get("source")
            PROVIDER_ERRORS.labels(source if source in _SOURCES else _OTHER).inc()
        case "lost":
            LOST.inc(entry.get("count") or 0)
        case "end":
            if (ended := seconds_of(entry.get("at"))) is not None:
                LAG.observe(max(0.0, time.time() - ended))
