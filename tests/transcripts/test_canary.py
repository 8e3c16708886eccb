"""Secrets, and words that are to be redacted, turn up nowhere: files, database, Redis, logs."""

import logging
from pathlib import Path

import pytest
import redis
from sqlalchemy import Engine

from agent.transcripts.filters import OPERATOR
from agent.transcripts.finalize import RecordNotMadeError, finalize
from agent.transcripts.history import load
from agent.transcripts.journal import Journal
from agent.transcripts.redaction import redactor
from agent.transcripts.search import search
from agent.transcripts.shipping import Shipper
from agent.transcripts.stream import stream_key

KEY = "sk-canary-0123456789"
CARD = "4111111111111111"
WORDS = "marzipanwords"


def canary_session(journals: Path, session_id: str, shipper: Shipper | None = None) -> Journal:
    """A session in which the key and the card number turn up in every kind of entry."""
    journal = Journal(
        journals, session_id, 1, redact=redactor(["credit_card"]), secrets=[KEY], shipper=shipper
    )
    both = f"{WORDS} {KEY} and {CARD}"
    journal.append("start", session_id=session_id, user_id="u1", metadata={"token": KEY})
    journal.append("user", identity="u1", text=both)
    journal.append("agent", speech_id="s", text=both, final=True, heard="all")
    journal.append("tool_call", call_id="c", name="t", arguments={"a": [both, {KEY: int(CARD)}]})
    journal.append("tool_result", call_id="c", output=both)
    journal.append("error", source="llm", message=both)
    journal.append("event", name="e", detail={"x": both})
    journal.append("hologram", content=both)
    journal.append("end", reason="idle", detail=both)
    return journal


@pytest.mark.parametrize("empty_database", ["sqlite"], indirect=True)
def test_secrets_are_stored_nowhere(
    engine: Engine, journals: Path, tmp_path: Path, valkey_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Neither a key nor a card number is in journals, stream, database or log lines at any level."""
    caplog.set_level(logging.DEBUG)
    client = redis.Redis.from_url(valkey_url)
    journal = canary_session(journals, "canary-1", Shipper(valkey_url, "canary-1"))
    assert journal.close()
    places = [path.read_bytes() for path in journals.rglob("*.journal")]
    places.append(str(client.xrange(stream_key("canary-1"))).encode())
    finalize("canary-1", engine=engine, journals=journals, redis=client)
    transcript = load(engine, "canary-1", OPERATOR)
    assert transcript is not None
    assert len(search(engine, OPERATOR, WORDS)) == 2
    places += [path.read_bytes() for path in tmp_path.rglob("agent.db*")]
    places += [str(transcript).encode(), caplog.text.encode()]
    for place in places:
        assert KEY.encode() not in place
        assert CARD.encode() not in place
    assert WORDS in str(transcript)
    assert transcript["title"] == f"{WORDS} [secret] and [credit_card]"


def test_words_are_in_no_log_line(journals: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Trouble with disk and database is logged without anything that was said."""
    from agent.transcripts.database import open_engine

    caplog.set_level(logging.DEBUG)
    (tmp_path / "file").write_text("in the way")
    broken = canary_session(tmp_path / "file", "canary-2")
    assert not broken.close()
    assert canary_session(journals, "canary-3").close()
    engine = open_engine(f"sqlite:///{tmp_path / 'empty.db'}")
    with pytest.raises(RecordNotMadeError) as caught:
        finalize("canary-3", engine=engine, journals=journals)
    engine.dispose()
    assert caplog.records
    assert WORDS not in caplog.text + str(caught.value)
