"""A disk that takes nothing for a while, under a real call."""

import resource
import shutil

import pytest
import redis

from tests.e2e.harness import RunningWorker, eventually, said

pytestmark = pytest.mark.e2e


async def test_a_full_disk_and_a_deleted_folder_cost_a_call_nothing(worker: RunningWorker) -> None:
    """
    The job's disk is full, then its journal is deleted: each time the agent answers as always, what was said
    reaches the other copy, and with space the journal goes on; the record has every word, none lost.
    """
    started = await worker.session("disk-1")
    folder = worker.data / "journals" / "disk-1"
    store = redis.Redis.from_url(worker.valkey.url, decode_responses=True)
    async with worker.caller(started, microphone=False) as caller:
        await caller.wait_words("Welcome to the shop", within=15)
        pid = int((await worker.state("disk-1"))["pid"])
        (journal,) = folder.glob("*.journal")
        before = resource.prlimit(pid, resource.RLIMIT_FSIZE)
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (journal.stat().st_size, before[1]))
        await caller.write("first on a full disk")
        await eventually(
            lambda: "first on a full disk" in str(store.xrange("session:disk-1:journal")), "the other copy"
        )
        assert b"first on a full disk" not in journal.read_bytes()
        await caller.write("what are your opening hours")
        await caller.wait_words("nine to five", within=15)
        resource.prlimit(pid, resource.RLIMIT_FSIZE, before)
        await eventually(lambda: b"nine to five" in journal.read_bytes(), "the journal goes on")

        shutil.rmtree(folder)
        await caller.write("second without a folder")
        await eventually(
            lambda: journal.exists() and b"second without" in journal.read_bytes(), "the journal is back"
        )
        assert b"first on a full disk" in journal.read_bytes(), "with all that was in it"
        await caller.write("thank you goodbye")
        await caller.wait_event("ended", within=15)
    store.close()
    record = await worker.transcript("disk-1")
    assert said(record, "user") == [
        "first on a full disk", "what are your opening hours", "second without a folder", "thank you goodbye",
    ]  # fmt: skip
    assert record["lost_entries"] == 0
