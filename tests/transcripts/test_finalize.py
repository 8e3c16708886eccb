"""Making records, on SQLite and on PostgreSQL."""

import multiprocessing
import os
import stat
import threading
from pathlib import Path
from typing import Any

import pytest
import redis
from sqlalchemy import Connection, Engine, func, select, text

from agent.transcripts.database import open_engine
from agent.transcripts.entries import to_json, to_line
from agent.transcripts.erased import mark_session, mark_user
from agent.transcripts.filters import OPERATOR
from agent.transcripts.finalize import Outcome, RecordNotMadeError, finalize
from agent.transcripts.fold import fold
from agent.transcripts.history import list_transcripts, load, rename
from agent.transcripts.journal import Journal
from agent.transcripts.orphans import orphans
from agent.transcripts.paths import session_folder
from agent.transcripts.reading import read_journals
from agent.transcripts.recorded import read_entries
from agent.transcripts.stream import FIELD, stream_key
from agent.transcripts.tables import items, transcripts
from agent.transcripts.tables import journals as journals_table
from tests.transcripts.conftest import talk


def test_record_is_the_fold_of_the_journal(engine: Engine, journals: Path) -> None:
    """What is loaded is what the journal folds to, and the journal is gone."""
    talk(journals, "s-1", said=("hello", "नमस्ते दुनिया 🙂"), metadata={"k": None})
    expected = fold(read_journals(journals, "s-1"))
    outcome = finalize("s-1", engine=engine, journals=journals)
    assert (outcome.action, outcome.item_count, outcome.end_reason) == ("created", 4, "idle")
    assert load(engine, "s-1", OPERATOR) == expected
    assert not session_folder(journals, "s-1").exists()


def test_second_run_changes_nothing(engine: Engine, journals: Path) -> None:
    """Finalizing again finds nothing to do, with the journal gone or still there."""
    journal = talk(journals, "s-1")
    copy = journal.path.read_bytes()
    finalize("s-1", engine=engine, journals=journals)
    before = load(engine, "s-1", OPERATOR)
    assert finalize("s-1", engine=engine, journals=journals).action == "unchanged"
    journal.path.parent.mkdir()
    journal.path.write_bytes(copy)
    assert finalize("s-1", engine=engine, journals=journals).action == "unchanged"
    assert not journal.path.exists()
    assert load(engine, "s-1", OPERATOR) == before


def test_session_that_nobody_knows(engine: Engine, journals: Path) -> None:
    """Without any entry there is no record."""
    assert finalize("s-?", engine=engine, journals=journals) == Outcome("s-?", "nothing")
    assert load(engine, "s-?", OPERATOR) is None


def test_late_machine_completes_the_record(engine: Engine, journals: Path, tmp_path: Path) -> None:
    """Entries that another machine brings later are added to what is there, and never replace it."""
    other = tmp_path / "other"
    talk(other, "s-1", said=("before",), end=None)
    talk(journals, "s-1", attempt=2, said=("after",))
    everything = [*read_journals(other, "s-1"), *read_journals(journals, "s-1")]
    assert finalize("s-1", engine=engine, journals=journals).action == "created"
    assert finalize("s-1", engine=engine, journals=other).action == "grown"
    assert load(engine, "s-1", OPERATOR) == fold(everything)


def test_smaller_journal_never_shrinks_a_record(engine: Engine, journals: Path) -> None:
    """A journal that lost its tail after it was recorded changes nothing."""
    journal = talk(journals, "s-1", said=("one", "two"))
    content = journal.path.read_bytes()
    finalize("s-1", engine=engine, journals=journals)
    before = load(engine, "s-1", OPERATOR)
    journal.path.parent.mkdir()
    journal.path.write_bytes(content[: len(content) // 2])
    assert finalize("s-1", engine=engine, journals=journals).action == "unchanged"
    assert load(engine, "s-1", OPERATOR) == before


def test_journal_of_a_living_writer_stays(engine: Engine, journals: Path) -> None:
    """A record may be made of a live journal, which stays and completes it later."""
    journal = Journal(journals, "s-1", 1)
    journal.append("start", session_id="s-1", user_id="u1")
    journal.append("user", identity="u1", text="one")
    assert journal.flush()
    assert finalize("s-1", engine=engine, journals=journals).journals_kept == 1
    journal.append("user", identity="u1", text="two")
    assert journal.close()
    assert finalize("s-1", engine=engine, journals=journals).action == "grown"
    transcript = load(engine, "s-1", OPERATOR)
    assert transcript is not None
    assert [item["text"] for item in transcript["items"]] == ["one", "two"]
    assert not journal.path.exists()


def test_what_came_while_the_record_was_made_stays(engine: Engine, journals: Path, valkey_url: str) -> None:
    """A stream and a journal that grow after they were read are not removed, and complete the record."""
    client = redis.Redis.from_url(valkey_url)
    session_id = f"grows-{engine.dialect.name}"
    journal = talk(journals, session_id, end=None)
    entries = read_journals(journals, session_id)
    for entry in entries:
        client.xadd(stream_key(session_id), {FIELD: to_json(entry)})
    more = [
        {**entries[-1], "type": "user", "text": where, "n": len(entries) + number, "item_id": where}
        for number, where in enumerate(("in the stream", "on disk"), 1)
    ]

    def grow(_connection: Connection, _record: dict[str, Any]) -> None:
        client.xadd(stream_key(session_id), {FIELD: to_json(more[0])})
        with journal.path.open("ab") as file:
            file.write(to_line(more[1]))

    made = finalize(session_id, engine=engine, journals=journals, redis=client, also=grow)
    assert (made.action, made.journals_kept) == ("created", 1)
    assert client.exists(stream_key(session_id))
    again = finalize(session_id, engine=engine, journals=journals, redis=client)
    assert (again.action, again.entry_count, again.journals_kept) == ("grown", len(entries) + 2, 0)
    assert not client.exists(stream_key(session_id))
    transcript = load(engine, session_id, OPERATOR)
    assert transcript is not None
    assert [item["text"] for item in transcript["items"]][-2:] == ["in the stream", "on disk"]


def test_entries_of_a_newer_version_are_kept(engine: Engine, journals: Path) -> None:
    """What this version cannot show is in the database all the same, for the one that can."""
    journal = Journal(journals, "s-1", 1)
    journal.append("start", session_id="s-1")
    journal.append("hologram", beams=3)
    assert journal.close()
    finalize("s-1", engine=engine, journals=journals)
    with engine.connect() as connection:
        kept = read_entries(connection, "s-1")
    assert kept is not None
    assert [(entry["type"], entry.get("beams")) for entry in kept] == [("start", None), ("hologram", 3)]


def test_given_title_survives_growth(engine: Engine, journals: Path) -> None:
    """A session that was renamed keeps that title when entries come later."""
    talk(journals, "s-1", said=("before",), end=None)
    finalize("s-1", engine=engine, journals=journals)
    assert rename(engine, "s-1", OPERATOR, "My call")
    talk(journals, "s-1", attempt=2, said=("after",))
    assert finalize("s-1", engine=engine, journals=journals).action == "grown"
    transcript = load(engine, "s-1", OPERATOR)
    assert transcript is not None
    assert transcript["title"] == "My call"
    assert list_transcripts(engine, OPERATOR).transcripts[0]["title"] == "My call"


def _finalize_often(url: str, folder: str, barrier: Any, answers: Any) -> None:
    engine = open_engine(url)
    barrier.wait(30)
    actions = [finalize("s-1", engine=engine, journals=Path(folder)).action for _ in range(5)]
    engine.dispose()
    answers.put(actions)


def test_two_processes_at_once_make_one_record(database: str, engine: Engine, journals: Path) -> None:
    """Several processes finalizing one session at the same time leave one row and one set of items."""
    talk(journals, "s-1", said=tuple(f"words {number}" for number in range(40)))
    expected = fold(read_journals(journals, "s-1"))
    context = multiprocessing.get_context("spawn")
    barrier, answers = context.Barrier(3), context.Queue()
    workers = [
        context.Process(target=_finalize_often, args=(database, str(journals), barrier, answers))
        for _ in range(3)
    ]
    for worker in workers:
        worker.start()
    actions = [action for _ in workers for action in answers.get(timeout=60)]
    for worker in workers:
        worker.join(30)
        assert worker.exitcode == 0
    assert actions.count("created") == 1
    assert set(actions) == {"created", "unchanged"}
    with engine.connect() as connection:
        assert connection.scalar(select(func.count()).select_from(transcripts)) == 1
        assert connection.scalar(select(func.count()).select_from(items)) == len(expected["items"])
        assert connection.scalar(select(func.count()).select_from(journals_table)) == 1
    assert load(engine, "s-1", OPERATOR) == expected


def test_erased_session_does_not_come_back(engine: Engine, journals: Path) -> None:
    """What a late machine brings of an erased session, or of an erased user's, is removed, not recorded."""
    talk(journals, "s-1", user_id="u1")
    talk(journals, "s-2", user_id="u2", organization="acme")
    talk(journals, "s-3", user_id="u2")
    with engine.begin() as connection:
        mark_session(connection, "s-1")
        mark_user(connection, "acme", "u2")
    actions = [finalize(each, engine=engine, journals=journals).action for each in ("s-1", "s-2", "s-3")]
    assert actions == ["erased", "erased", "created"]
    assert [row["session_id"] for row in list_transcripts(engine, OPERATOR).transcripts] == ["s-3"]
    assert list(orphans(journals)) == []


def test_user_who_comes_back_after_erasure_is_recorded(engine: Engine, journals: Path) -> None:
    """An erased user's next session is a new one."""
    with engine.begin() as connection:
        mark_user(connection, None, "u1")
    talk(journals, "s-1", user_id="u1", started_at="2199-01-01T00:00:00Z")
    assert finalize("s-1", engine=engine, journals=journals).action == "created"


def test_row_of_an_outbox_is_in_the_same_transaction(engine: Engine, journals: Path) -> None:
    """What a caller writes beside the record is undone with it, and done with it."""

    def failing(connection: Connection, transcript: dict[str, Any]) -> None:
        connection.execute(text("SELECT 1"))
        raise RuntimeError("no")

    talk(journals, "s-1")
    with pytest.raises(RuntimeError, match="no"):
        finalize("s-1", engine=engine, journals=journals, also=failing)
    assert load(engine, "s-1", OPERATOR) is None
    seen: list[str] = []
    finalize(
        "s-1", engine=engine, journals=journals, also=lambda _, record: seen.append(record["session_id"])
    )
    assert seen == ["s-1"]


def test_database_without_tables_leaves_everything(empty_database: str, journals: Path) -> None:
    """Before the schema is there the error says what to do, and the journal stays."""
    journal = talk(journals, "s-1")
    engine = open_engine(empty_database)
    with pytest.raises(RecordNotMadeError, match="run `agent db upgrade`"):
        finalize("s-1", engine=engine, journals=journals)
    engine.dispose()
    assert journal.path.exists()


def test_database_that_is_away_leaves_everything(journals: Path) -> None:
    """With no server at the address there is one line without the password, and the journal stays."""
    journal = talk(journals, "s-1")
    engine = open_engine("postgresql://me:canary@127.0.0.1:1/x")
    with pytest.raises(RecordNotMadeError) as caught:
        finalize("s-1", engine=engine, journals=journals)
    assert "canary" not in str(caught.value)
    assert "\n" not in str(caught.value)
    assert journal.path.exists()


def test_locked_file_leaves_everything(
    tmp_path: Path, journals: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While another program holds the SQLite file, the record waits for a later run."""
    from agent.transcripts.migrations import upgrade

    monkeypatch.setattr("agent.transcripts.database.BUSY_SECONDS", 0.05)
    url = f"sqlite:///{tmp_path / 'agent.db'}"
    upgrade(url)
    journal = talk(journals, "s-1")
    holder, engine = open_engine(url), open_engine(url)
    with holder.connect() as connection:
        connection.exec_driver_sql("ROLLBACK")
        connection.exec_driver_sql("BEGIN EXCLUSIVE")
        with pytest.raises(RecordNotMadeError, match="locked"):
            finalize("s-1", engine=engine, journals=journals)
        connection.exec_driver_sql("ROLLBACK")
    assert journal.path.exists()
    assert finalize("s-1", engine=engine, journals=journals).action == "created"
    holder.dispose()
    engine.dispose()


def test_database_file_is_owner_only(tmp_path: Path) -> None:
    """The embedded database and its write-ahead log are closed to other users of the machine."""
    from agent.transcripts.migrations import upgrade

    mask = os.umask(0o022)
    try:
        url = f"sqlite:///{tmp_path / 'data' / 'agent.db'}"
        engine = open_engine(url)
        upgrade(url)
        with engine.begin() as connection:
            connection.exec_driver_sql("INSERT INTO erased VALUES ('x', 'y', 'z')")
            for path in (tmp_path / "data").iterdir():
                assert stat.S_IMODE(path.stat().st_mode) == 0o600
        engine.dispose()
    finally:
        os.umask(mask)


def test_orphans_are_the_sessions_that_are_over(journals: Path) -> None:
    """A sweep finds journals with an end and those long quiet, not the live and the just broken off."""
    talk(journals, "ended")
    talk(journals, "broken off", end=None)
    live = Journal(journals, "live", 1)
    live.append("end", reason="idle")
    assert live.flush()
    assert list(orphans(journals)) == ["ended"]
    assert sorted(orphans(journals, idle_seconds=0)) == ["broken off", "ended"]
    assert live.close()
    assert sorted(orphans(journals)) == ["ended", "live"]


def test_threads_of_one_process_may_finalize_at_once(engine: Engine, journals: Path) -> None:
    """Threads that share an engine make one record too."""
    talk(journals, "s-1")
    actions: list[str] = []
    threads = [
        threading.Thread(
            target=lambda: actions.append(finalize("s-1", engine=engine, journals=journals).action)
        )
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(actions) == ["created", "unchanged", "unchanged", "unchanged"]
