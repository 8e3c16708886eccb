"""The journal of a live session: order, acknowledgement, permissions, and disks that refuse."""

import asyncio
import os
import resource
import shutil
import stat
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from agent.health import unwritable
from agent.transcripts import append_file
from agent.transcripts.append_file import is_being_written
from agent.transcripts.fold import fold
from agent.transcripts.journal import Journal
from agent.transcripts.reading import read_journals, sessions_on_disk
from agent.transcripts.redaction import redactor


async def test_entries_are_written_in_order(journals: Path) -> None:
    """What was appended is on disk, numbered from 1, once `written` has answered."""
    journal = Journal(journals, "s-1", 1)
    numbers = [journal.append("event", name=str(number)) for number in range(100)]
    assert await journal.written(numbers[-1])
    read = read_journals(journals, "s-1")
    assert numbers == list(range(1, 101)) == [entry["n"] for entry in read]
    assert [entry["name"] for entry in read] == [str(number) for number in range(100)]
    await asyncio.to_thread(journal.close)


def test_threads_append_at_once(journals: Path) -> None:
    """Many threads may append: every number is given once and every entry is written."""
    journal = Journal(journals, "s-1", 1)
    threads = [
        threading.Thread(target=lambda: [journal.append("event") for _ in range(200)]) for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert journal.close()
    assert [entry["n"] for entry in read_journals(journals, "s-1")] == list(range(1, 1601))


def test_only_the_owner_may_read(journals: Path) -> None:
    """Folders and files of journals are closed to other users of the machine."""
    journal = Journal(journals, "s-1", 1)
    journal.append("live")
    assert journal.close()
    assert stat.S_IMODE(journal.path.stat().st_mode) == 0o600
    assert stat.S_IMODE(journal.path.parent.stat().st_mode) == 0o700


@pytest.mark.parametrize("session_id", ["s-1", "../../etc", "नमस्ते", "a/b c", "", "~", "z" * 1000])
def test_session_ids_are_found_on_disk(journals: Path, session_id: str) -> None:
    """Whatever the id is, it is found again from the journals alone."""
    journal = Journal(journals, session_id, 1)
    journal.append("live")
    assert journal.close()
    assert list(sessions_on_disk(journals)) == [session_id]
    assert journal.path.resolve().is_relative_to(journals.resolve())


def test_torn_last_line_is_dropped(journals: Path) -> None:
    """A journal that was cut at any byte gives all entries before the cut and nothing else."""
    journal = Journal(journals, "s-1", 1)
    for number in range(3):
        journal.append("event", name=str(number))
    assert journal.close()
    whole = journal.path.read_bytes()
    ends = [place + 1 for place, byte in enumerate(whole) if byte == ord("\n")]
    for cut in range(len(whole)):
        journal.path.write_bytes(whole[:cut])
        # Only its newline may be missing from the last line that counts.
        assert len(read_journals(journals, "s-1")) == max(0, sum(end - 1 <= cut for end in ends) - 1)


def test_newer_entry_types_are_kept(journals: Path) -> None:
    """An entry of a type that this version does not know is written and read like any other."""
    journal = Journal(journals, "s-1", 1)
    journal.append("hologram", beams=3)
    assert journal.close()
    assert read_journals(journals, "s-1")[0]["beams"] == 3


def test_append_after_close_counts_as_lost(journals: Path) -> None:
    """A late handler may append to a closed journal: it gets a number and no error."""
    journal = Journal(journals, "s-1", 1)
    assert journal.close()
    assert journal.append("user", text="late") == 1
    assert journal.close() in (True, False)


async def test_values_that_are_no_json_are_named_by_type(journals: Path) -> None:
    """An object among the fields neither raises nor shows its content."""

    class Secretive:
        def __repr__(self) -> str:
            return "sk-secret"

    journal = Journal(journals, "s-1", 1)
    assert await journal.written(journal.append("event", detail={"x": Secretive(), "y": {1, 2}}))
    assert b"sk-secret" not in journal.path.read_bytes()
    assert read_journals(journals, "s-1")[0]["detail"]["x"] == "<Secretive>"
    await asyncio.to_thread(journal.close)


@contextmanager
def full_disk(limit: int) -> Iterator[None]:
    """A limit on the size of files stands for a full disk: writes are short, then fail."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


async def test_full_disk_costs_nothing_that_fits_into_memory(journals: Path) -> None:
    """While the disk is full nobody waits; when there is space again everything is written, no line torn."""
    journal = Journal(journals, "s-1", 1)
    await journal.written(journal.append("live"))
    with full_disk(journal.path.stat().st_size + 40):
        assert not await journal.written(journal.append("user", text="first"))
        assert not await journal.written(journal.append("user", text="second"))
        assert not journal.is_writable
    assert await asyncio.to_thread(journal.flush)
    assert journal.is_writable
    assert journal.lost == 0
    assert [entry["n"] for entry in read_journals(journals, "s-1")] == [1, 2, 3]
    assert await asyncio.to_thread(journal.close)


def test_a_full_or_read_only_folder_is_said_in_readiness(journals: Path) -> None:
    """What `/readyz` asks says why nothing can be written, and nothing once it can be."""
    assert unwritable(journals) is None
    with full_disk(100):
        assert "cannot be written" in (unwritable(journals) or "")
    assert unwritable(journals) is None
    with read_only(journals):
        assert "cannot be written" in (unwritable(journals) or "")
    assert unwritable(journals) is None


@contextmanager
def read_only(folder: Path) -> Iterator[None]:
    """Nobody may write in this folder; who is root is somebody else meanwhile, as root may do everything."""
    user = os.geteuid()
    opened = [each for each in (folder, *folder.parents) if each.stat().st_uid == user]
    modes = {each: stat.S_IMODE(each.stat().st_mode) for each in opened}
    for each in opened:
        each.chmod(modes[each] | 0o055)
    folder.chmod(0o555)
    if user == 0:
        os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(user)
        for each, mode in modes.items():
            each.chmod(mode)


async def test_read_only_folder_costs_the_call_nothing(tmp_path: Path) -> None:
    """A folder that is read-only when the call begins holds up nobody; the journal begins when it is not."""
    journals = tmp_path
    journal = Journal(journals, "s-1", 1)
    with read_only(journals):
        assert not await journal.written(journal.append("user", text="first"))
        assert not await journal.written(journal.append("user", text="second"))
        assert not journal.is_writable
    assert await asyncio.to_thread(journal.flush)
    assert await asyncio.to_thread(journal.close)
    assert [entry["text"] for entry in read_journals(journals, "s-1")] == ["first", "second"]
    assert fold(read_journals(journals, "s-1"))["lost_entries"] == journal.lost == 0


def test_the_disk_holds_a_journal_that_is_closed(journals: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Closing has the disk take the file, after its last entry, and its name in the folder."""
    synced: list[tuple[Path, int]] = []
    fsync = os.fsync

    def noted(descriptor: int) -> None:
        path = Path(f"/proc/self/fd/{descriptor}").readlink()
        synced.append((path, len(read_journals(journals, "s-1"))))
        fsync(descriptor)

    monkeypatch.setattr(append_file.os, "fsync", noted)
    journal = Journal(journals, "s-1", 1)
    journal.append("live")
    journal.append("end", reason="idle")
    assert journal.flush()
    assert synced == []
    assert journal.close()
    assert synced == [(journal.path, 2), (journal.path.parent, 2)]


async def test_loss_is_counted_and_said(journals: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What does not fit while the disk refuses is counted, and said in the record; the end is always kept."""
    monkeypatch.setattr("agent.transcripts.journal._MOST_HELD_BYTES", 1000)
    journal = Journal(journals, "s-1", 1)
    await journal.written(journal.append("live"))
    with full_disk(journal.path.stat().st_size):
        for number in range(20):
            last = journal.append("user", text=f"{number} " + "x" * 100)
        assert not await journal.written(last)
        assert not await journal.written(journal.append("end", reason="idle"))
    assert not await asyncio.to_thread(journal.close)
    transcript = fold(read_journals(journals, "s-1"))
    assert 0 < journal.lost < 20
    assert transcript["lost_entries"] == journal.lost
    assert transcript["end_reason"] == "idle"


async def test_deleted_folder_comes_back(journals: Path) -> None:
    """When the folder of journals is deleted in mid-session, the next entry brings the whole journal back."""
    journal = Journal(journals, "s-1", 1)
    await journal.written(journal.append("user", text="before"))
    shutil.rmtree(journals)
    assert await journal.written(journal.append("user", text="after"))
    assert [entry["text"] for entry in read_journals(journals, "s-1")] == ["before", "after"]
    assert await asyncio.to_thread(journal.close)


async def test_folder_that_cannot_be_made(tmp_path: Path) -> None:
    """A path that is a file, not a folder, costs the journal but never the caller; then it heals."""
    blocked = tmp_path / "journals"
    blocked.write_text("in the way")
    journal = Journal(blocked, "s-1", 1)
    assert not await journal.written(journal.append("user", text="hello"))
    blocked.unlink()
    assert await asyncio.to_thread(journal.flush)
    assert [entry["text"] for entry in read_journals(blocked, "s-1")] == ["hello"]
    assert await asyncio.to_thread(journal.close)


@pytest.fixture
def released(monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    """A disk on which every `write` hangs until this is set."""
    event = threading.Event()
    write = os.write

    def hanging(descriptor: int, content: bytes) -> int:
        event.wait(10)
        return write(descriptor, content)

    monkeypatch.setattr(append_file.os, "write", hanging)
    return event


async def test_blocked_disk_blocks_nobody(journals: Path, released: threading.Event) -> None:
    """While a `write` hangs, append returns at once and closing gives up in time."""
    journal = Journal(journals, "s-1", 1)
    assert [journal.append("event") for _ in range(1000)] == list(range(1, 1001))
    assert not journal.close(timeout=0.05)
    released.set()
    assert journal.close()
    assert len(read_journals(journals, "s-1")) == 1000


async def test_queue_is_bounded(
    journals: Path, released: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Behind a disk that hangs for ever, memory is bounded and what is dropped is counted."""
    monkeypatch.setattr("agent.transcripts.journal._MOST_QUEUED", 50)
    journal = Journal(journals, "s-1", 1)
    for _ in range(200):
        journal.append("event")
    released.set()
    assert not await asyncio.to_thread(journal.close)
    assert journal.lost >= 100
    assert fold(read_journals(journals, "s-1"))["lost_entries"] == journal.lost


async def test_words_are_redacted_before_they_are_written(journals: Path) -> None:
    """Neither the file nor anything read from it has the words that the bundle wants out; ids stay."""
    redact = redactor(["email", "credit_card"])
    journal = Journal(journals, "s-1", 1, redact=redact, secrets=["sk-canary-123"])
    journal.append("user", identity="ann@example.com", text="I am ann@example.com")
    journal.append(
        "tool_call",
        call_id="c",
        name="pay",
        arguments={"card": 4111111111111111, "n": 3, "too": 4111111111111111.0},
    )
    journal.append("agent", speech_id="s", text="Your card 4111 1111 1111", final=False)
    journal.append("error", source="tts", message="401 for sk-canary-123")
    assert await asyncio.to_thread(journal.close)
    content = journal.path.read_text()
    assert "4111" not in content
    assert "sk-canary-123" not in content
    user, call, answer, error = read_journals(journals, "s-1")
    assert (user["identity"], user["text"]) == ("ann@example.com", "I am [email]")
    assert call["arguments"] == {"card": "[credit_card]", "n": 3, "too": "[credit_card]"}
    assert answer["text"] == "Your card […]"
    assert error["message"] == "401 for [secret]"


async def test_redactor_that_fails_costs_the_words(journals: Path) -> None:
    """When redaction raises, nothing unredacted is written in its place."""

    def failing(text: str) -> str:
        raise RuntimeError(text)

    journal = Journal(journals, "s-1", 1, redact=failing)
    await journal.written(journal.append("user", text="my secret"))
    assert read_journals(journals, "s-1")[0]["text"] == "[redaction failed]"
    await asyncio.to_thread(journal.close)


async def test_living_writer_is_known(journals: Path) -> None:
    """Others can tell whether the process that writes a journal is alive."""
    journal = Journal(journals, "s-1", 1)
    await journal.written(journal.append("live"))
    assert is_being_written(journal.path)
    await asyncio.to_thread(journal.close)
    assert not is_being_written(journal.path)
