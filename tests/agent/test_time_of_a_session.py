"""A session's time: one for all its attempts, whatever the clocks of the machines say that serve it."""

import itertools
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from agent.attempt import Attempt
from agent.ending import End
from agent.settings import load
from agent.taking_over import past_of
from agent.transcripts.fold import fold
from agent.transcripts.journal import Journal
from agent.transcripts.reading import read_journals
from tests.agent import jobs

_names = itertools.count()
Claim = Callable[[], Awaitable[Attempt]]

HOUR = 3600.0


@pytest.fixture
def set_clock(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Sets this machine's wall clock so many seconds off; the one thing here that is not real."""
    right = time.time

    def by(seconds: float) -> None:
        monkeypatch.setattr(time, "time", lambda: right() + seconds)

    return by


@pytest.fixture
async def claim(valkey_url: str, tmp_path: Path) -> AsyncIterator[Claim]:
    """Claims one session as a job does, again when the job before is gone; closed at the end."""
    settings = load(redis_url=valkey_url, data=tmp_path, worker_id="w-time")
    session_id = f"timed-{next(_names)}"
    opened: list[Attempt] = []

    async def claim_one() -> Attempt:
        if opened:
            await opened[-1].lease.state.release(opened[-1]._ctx.job.id)
        opened.append(await jobs.claim(settings, session_id))
        return opened[-1]

    yield claim_one
    for attempt in opened:
        await attempt.close()


def say(journal: Journal, words: str) -> None:
    """The user said this just now, as livekit tells it: by the wall clock."""
    moment = journal.time_of(time.time())
    journal.append("user", text=words, created_at=moment, started_at=moment, ended_at=moment)


@pytest.mark.parametrize("seconds", [-HOUR, HOUR])
async def test_a_clock_that_is_set_meanwhile_neither_reorders_a_session_nor_stretches_it(
    claim: Claim, set_clock: Callable[[float], None], seconds: float
) -> None:
    """Words stand in the order in which they were said, and the duration is what passed."""
    attempt = await claim()
    attempt.journal.append("live")
    say(attempt.journal, "before")
    set_clock(seconds)
    say(attempt.journal, "after")
    await attempt.end(End("operator"))
    record = fold(read_journals(attempt.settings.journals, attempt.session_id))

    assert [item["text"] for item in record["items"]] == ["before", "after"]
    assert 0.0 <= record["duration_seconds"] < 60.0


async def test_a_machine_whose_clock_is_behind_takes_over_all_that_was_said(
    claim: Claim, set_clock: Callable[[float], None]
) -> None:
    """What the attempt before it wrote is not taken for words that came after it was replaced."""
    first = await claim()
    first.journal.append("live")
    say(first.journal, "my number is seven")
    first.journal.flush()
    set_clock(-HOUR)
    second = await claim()
    past = await past_of(second)
    say(second.journal, "are you there")
    await second.end(End("operator"))
    record = fold(read_journals(second.settings.journals, second.session_id))

    assert past is not None
    assert [item["text"] for item in past.talk.items] == ["my number is seven"]
    assert [item["text"] for item in record["items"]] == ["my number is seven", "are you there"]
    assert [attempt["attempt"] for attempt in record["attempts"]] == [1, 2]


async def test_without_redis_an_attempt_begins_after_what_was_said_before(
    claim: Claim, set_clock: Callable[[float], None], tmp_path: Path
) -> None:
    """Redis is away when a machine takes a session over whose own clock is behind Redis's."""
    first = await claim()
    first.journal.append("live")
    say(first.journal, "my number is seven")
    first.journal.close()
    set_clock(-HOUR)
    away = load(redis_url="redis://127.0.0.1:1/0", data=tmp_path, worker_id="w-time")
    second = await jobs.claim(away, first.session_id)
    say(second.journal, "are you there")
    second.journal.close()
    record = fold(read_journals(away.journals, first.session_id))
    await second.close()

    assert [item["text"] for item in record["items"]] == ["my number is seven", "are you there"]
