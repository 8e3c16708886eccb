"""Erasing and retention: what is gone, what stays, and what does not come back."""

from pathlib import Path

import pytest
import redis
from sqlalchemy import Engine, text

from agent.transcripts.database import open_engine
from agent.transcripts.erasure import compact, erase_session, erase_user
from agent.transcripts.filters import EVERYONE, OPERATOR, Owner
from agent.transcripts.finalize import finalize
from agent.transcripts.history import every_transcript
from agent.transcripts.journal import Journal
from agent.transcripts.migrations import upgrade
from agent.transcripts.orphans import is_over
from agent.transcripts.retention import expire
from agent.transcripts.search import search
from agent.transcripts.shipping import Shipper
from config_store.presets import PresetStore
from tests.transcripts.conftest import talk

CANARY = "xylophonecanary"
KEYS = ("journal", "config", "state", "commands")


def recorded(engine: Engine) -> list[str]:
    return sorted(row["session_id"] for row in every_transcript(engine, OPERATOR))


def test_erased_session_is_gone_everywhere(engine: Engine, journals: Path, valkey_url: str) -> None:
    """Rows, search index, a late journal and the keys in Redis are removed, and counted; others stay."""
    client = redis.Redis.from_url(valkey_url)
    for session_id in ("erase-1", "keep-1"):
        talk(journals, session_id, said=(CANARY,))
        finalize(session_id, engine=engine, journals=journals)
        for key in KEYS:
            client.set(f"session:{session_id}:{key}", CANARY)
    talk(journals, "erase-1", attempt=2)
    done = erase_session("erase-1", engine=engine, journals=journals, redis=client)
    assert (done.records, done.items, done.journals, done.redis_keys) == (1, 2, 1, len(KEYS))
    assert done.compacted
    assert recorded(engine) == ["keep-1"]
    assert {hit.session_id for hit in search(engine, OPERATOR, CANARY)} == {"keep-1"}
    assert list(client.scan_iter("*erase-1*")) == []
    kept = [f"session:keep-1:{key}" for key in KEYS]
    assert client.exists(*kept) == len(KEYS)
    with engine.connect() as connection:
        for table in ("items", "journals", "transcript_agents"):
            query = text(f"SELECT count(*) FROM {table} WHERE session_id = 'erase-1'")
            assert connection.scalar(query) == 0
    assert erase_session("erase-1", engine=engine, journals=journals, redis=client).sessions == ()
    client.delete(*kept)


def test_no_byte_is_left_in_sqlite(tmp_path: Path, journals: Path) -> None:
    """After erasing, neither the words nor the user are in the bytes of the database's files or journals."""
    url = f"sqlite:///{tmp_path / 'data' / 'agent.db'}"
    upgrade(url)
    engine = open_engine(url)
    for number in range(20):
        talk(journals, f"other-{number}", said=("ordinary words",) * 10)
        finalize(f"other-{number}", engine=engine, journals=journals)
    talk(journals, "s-1", said=(f"my {CANARY} is secret",) * 20, user_id="canaryuser")
    finalize("s-1", engine=engine, journals=journals)
    talk(journals, "s-1", said=(CANARY,), attempt=2, user_id="canaryuser")
    PresetStore(engine).save("canaryuser", "mine", {"system_prompt_text": CANARY}, bundle="b")

    def everything() -> bytes:
        return b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())

    assert CANARY.encode() in everything()
    assert b"canaryuser" in everything()
    assert erase_user(Owner(EVERYONE, "canaryuser"), engine=engine, journals=journals).compacted
    assert CANARY.encode() not in everything()
    assert b"canaryuser" not in everything()
    engine.dispose()
    assert CANARY.encode() not in everything()


def test_user_s_sessions_recorded_or_not(engine: Engine, journals: Path, valkey_url: str) -> None:
    """Erasing a user finds records, journals not yet recorded and streams of other machines."""
    client = redis.Redis.from_url(valkey_url)
    talk(journals, "recorded", user_id="ann", organization="acme")
    finalize("recorded", engine=engine, journals=journals)
    talk(journals, "waiting", user_id="ann", organization="acme")
    elsewhere = Journal(journals / "x", "streamed", 1, shipper=Shipper(valkey_url, "streamed"))
    elsewhere.append("start", session_id="streamed", user_id="ann", organization="acme")
    assert elsewhere.close()
    talk(journals, "other org", user_id="ann", organization="other")
    talk(journals, "other user", user_id="bob", organization="acme")
    done = erase_user(Owner("acme", "ann"), engine=engine, journals=journals, redis=client)
    assert sorted(done.sessions) == ["recorded", "streamed", "waiting"]
    for session_id in ("recorded", "waiting", "streamed", "other org", "other user"):
        finalize(session_id, engine=engine, journals=journals)
    assert finalize("streamed", engine=engine, journals=journals / "x").action == "erased"
    assert recorded(engine) == ["other org", "other user"]


def test_user_s_presets_go_too(engine: Engine, journals: Path) -> None:
    """Those of the user in one organization, in none, or in all; other users' and organizations' stay."""
    store = PresetStore(engine)

    def left() -> set[tuple[str, str | None]]:
        owners = [
            (user, organization) for user in ("ann", "bob") for organization in (None, "acme", "globex")
        ]
        return {owner for owner in owners if store.list(*owner)}

    for name in ("calm", "quick"):
        for user, organization in (("ann", None), ("ann", "acme"), ("ann", "globex"), ("bob", "acme")):
            store.save(user, name, {"pace": 1}, bundle="b", organization=organization)
    assert erase_user(Owner("acme", "ann"), engine=engine, journals=journals).presets == 2
    assert left() == {("ann", None), ("ann", "globex"), ("bob", "acme")}
    assert erase_user(Owner(None, "ann"), engine=engine, journals=journals).presets == 2
    assert left() == {("ann", "globex"), ("bob", "acme")}
    store.save("ann", "calm", {}, bundle="b")
    assert erase_user(Owner(EVERYONE, "ann"), engine=engine, journals=journals).presets == 3
    assert left() == {("bob", "acme")}
    talk(journals, "s-1", user_id="bob", organization="acme")
    assert erase_session("s-1", engine=engine, journals=journals).presets == 0
    assert left() == {("bob", "acme")}, "a session has no presets"


def test_live_session_is_removed_when_it_ends(engine: Engine, journals: Path) -> None:
    """Erasing a session that goes on is put off, not lost."""
    journal = Journal(journals, "s-1", 1)
    journal.append("start", session_id="s-1", user_id="u1")
    assert journal.flush()
    assert erase_session("s-1", engine=engine, journals=journals).live == ("s-1",)
    journal.append("user", identity="u1", text="more")
    assert journal.close()
    assert finalize("s-1", engine=engine, journals=journals).action == "erased"
    assert not journal.path.exists()
    assert recorded(engine) == []


def test_late_machine_does_not_bring_it_back(engine: Engine, journals: Path, tmp_path: Path) -> None:
    """A journal of an erased user that turns up later, of a session nobody knew, is removed."""
    erase_user(Owner(EVERYONE, "u1"), engine=engine, journals=journals)
    talk(tmp_path / "late", "unknown", user_id="u1", organization="acme", started_at="2020-01-01T00:00:00Z")
    assert finalize("unknown", engine=engine, journals=tmp_path / "late").action == "erased"
    assert recorded(engine) == []


def test_compacting_while_somebody_reads(engine: Engine, journals: Path) -> None:
    """A reader may keep the file from being rewritten; nothing fails, and it is said."""
    talk(journals, "s-1")
    finalize("s-1", engine=engine, journals=journals)
    with engine.connect() as connection:
        connection.execute(text("SELECT * FROM transcripts")).fetchall()
        assert compact(engine) in (True, False)
    assert compact(engine)


def test_owner_without_user_is_refused(engine: Engine, journals: Path) -> None:
    """Erasing "everybody" by forgetting the user is not possible."""
    with pytest.raises(ValueError, match="a user is needed"):
        erase_user(Owner("acme"), engine=engine, journals=journals)


def test_records_expire_in_batches(engine: Engine, journals: Path) -> None:
    """Records whose days are over are removed, in several transactions, and do not come back; others stay."""
    for number in range(5):
        talk(journals, f"short-{number}", keep_days=1)
    talk(journals, "long", keep_days=1000)
    talk(journals, "for ever", keep_days=None)
    for session_id in ("short-0", "short-1", "short-2", "short-3", "short-4", "long", "for ever"):
        finalize(session_id, engine=engine, journals=journals)
    assert expire(engine) == 0
    assert expire(engine, now="2027-12-31T00:00:00.000Z", batch=2) == 5
    assert recorded(engine) == ["for ever", "long"]
    talk(journals, "short-0", attempt=2)
    assert finalize("short-0", engine=engine, journals=journals).action == "erased"


def test_a_session_that_lives_on_another_machine_keeps_its_keys(
    engine: Engine, journals: Path, valkey_url: str
) -> None:
    """What its worker needs stays until it ends; without the worker's beat the session is nobody's."""
    client = redis.Redis.from_url(valkey_url)
    state = "session:elsewhere-1:state"
    client.hset(state, mapping={"phase": "live", "owner_worker": "far", "owner_job": "j"})
    client.set("worker:far", "1", ex=60)
    done = erase_session("elsewhere-1", engine=engine, journals=journals, redis=client)
    assert done.live == ("elsewhere-1",)
    assert client.exists(state)

    client.delete("worker:far")
    done = erase_session("elsewhere-1", engine=engine, journals=journals, redis=client)
    assert (done.live, client.exists(state)) == ((), 0)


def test_a_call_without_an_id_that_lives_is_not_over(journals: Path, valkey_url: str) -> None:
    """Known by its room: quiet for long on another machine, it has no record while its worker beats."""
    client = redis.Redis.from_url(valkey_url)
    client.set("worker:far-2", "1", ex=60)
    session_id, room = "s-AJ_quiet", "room:quiet-room:state"
    talk(journals, session_id, end=None, room={"name": "quiet-room", "sid": "RM_1"})
    client.hset(room, mapping={"session_id": session_id, "phase": "live", "owner_worker": "far-2"})
    assert not is_over(session_id, journals, client, idle_seconds=0)

    client.hset(room, "session_id", "s-AJ_next")
    assert is_over(session_id, journals, client, idle_seconds=0), "the room has its next call"
    client.delete(room, "worker:far-2")
