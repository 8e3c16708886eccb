"""Bundles, Redis and the environment as calls meet them: edits, a failover, a variable that is not there."""

import shutil
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from agent.running import end_session
from agent.services.livekit_server import LiveKitServer
from agent.transcripts.migrations import upgrade
from config_store.overrides import override_key
from config_store.redis_client import open_async
from tests.config_store.servers import Server, until, watched
from tests.e2e.harness import BUNDLES, RunningWorker, eventually

pytestmark = pytest.mark.e2e

PASSWORD = "pass:word/1"
QUOTED = "pass%3Aword%2F1"
SHOP = """
include: [talk]
modality_profile: text_only
agents: {front: {greeting: "Welcome to ${SHOP}."}}
"""
VALUE = "Hush and Sons"


class Place:
    """Redis behind a Sentinel, a folder of bundles, and workers on them."""

    def __init__(self, livekit: LiveKitServer, root: Path) -> None:
        self.livekit, self.root = livekit, root
        self.bundles = root / "bundles"
        self.bundles.mkdir()
        shutil.copy(BUNDLES / "talk.yaml", self.bundles)
        self.write("shop", SHOP)
        self.write("bad", "agnets: {}\n")
        self.database = f"sqlite:///{root / 'agent.db'}"
        upgrade(self.database)
        self.workers: list[RunningWorker] = []

    def write(self, name: str, text: str) -> None:
        """Save a bundle as an editor does: a new file in place of the old one."""
        new = self.bundles / f".{name}.tmp"
        new.write_text(text)
        new.replace(self.bundles / f"{name}.yaml")

    def start(self, name: str, redis_url: str, environment: dict[str, str]) -> RunningWorker:
        """A worker with its own data, on the common stores."""
        stores = {"AGENT_NAME": "shop", "REDIS_URL": redis_url, "DATABASE_URL": self.database}
        worker = RunningWorker(
            self.livekit, self.root / name, bundles=self.bundles, environment={**stores, **environment}
        )
        worker.settings = worker.settings.model_copy(
            update={"redis_url": SecretStr(redis_url), "database_url": SecretStr(self.database)}
        )
        self.workers.append(worker)
        worker.start()
        return worker


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Server, Server, Server]]:
    """A master, its replica, and a Sentinel over them."""
    with watched(tmp_path_factory.mktemp("redis"), PASSWORD) as servers:
        yield servers


@pytest.fixture(scope="module")
def url(servers: tuple[Server, Server, Server]) -> str:
    """REDIS_URL of the service, with a Sentinel that is down named first."""
    with socket.socket() as gone:
        gone.bind(("127.0.0.1", 0))
        down = gone.getsockname()[1]
    return f"redis+sentinel://:{QUOTED}@127.0.0.1:{down},127.0.0.1:{servers[2].port}/main"


@pytest.fixture(scope="module")
def place(livekit_server: LiveKitServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """The folder and everything that runs on it."""
    made = Place(livekit_server, tmp_path_factory.mktemp("place"))
    try:
        yield made
    finally:
        for worker in made.workers:
            worker.stop()


@pytest.fixture(scope="module")
def first(place: Place, url: str) -> RunningWorker:
    """A worker that has the variable."""
    return place.start("first", url, {"SHOP": VALUE})


async def state(url: str, session_id: str) -> dict[str, Any]:
    """What the service keeps of a session."""
    client = open_async(url, 5, decode_responses=True)
    try:
        return await client.hgetall(f"session:{session_id}:state")  # type: ignore[misc]
    finally:
        await client.aclose()


async def greeted(worker: RunningWorker, session_id: str, words: str) -> None:
    """A call that hears these words at its beginning."""
    async with worker.caller(await worker.session(session_id, bundle="shop"), microphone=False) as caller:
        await caller.wait_words(words, within=20)
        await end_session(worker.settings, session_id, reason="operator", wait=False)
        await caller.wait_event("ended", within=15)


async def test_a_save_is_the_next_call_and_a_broken_one_is_told_of(
    first: RunningWorker, place: Place, url: str
) -> None:
    """
    Readiness and metrics name what is broken; a save counts from the next call on, a call that lives keeps
    what it began with, without a value of the environment in Redis; a broken save reaches no call.
    """
    status, text = first.probe("/readyz")
    assert (status, text.splitlines()[0]) == (200, "ready")
    assert "bundle bad is not served: " in text
    assert "bad.yaml:1:1: unknown key 'agnets'" in text
    assert 'agent_bundles{state="quarantined"} 1.0' in first.probe("/metrics")[1]
    async with first.caller(await first.session("lives", bundle="shop"), microphone=False) as living:
        await living.wait_words(f"Welcome to {VALUE}.", within=20)
        kept = await state(url, "lives")
        assert "Welcome to ${SHOP}." in kept["config"]
        assert not [field for field, text in kept.items() if VALUE in text]
        place.write("shop", SHOP.replace("Welcome to", "Good day at"))
        await eventually(lambda: "bundles changed: shop" in first.log_text(), "the save is seen")
        await greeted(first, "next", f"Good day at {VALUE}.")
        place.write("shop", SHOP + "agnets: {}\n")
        broken = "bundle shop is broken, its last good version is served: "
        await eventually(lambda: broken in first.probe("/readyz")[1], "the broken save is told of")
        assert 'agent_bundles{state="last_good"} 1.0' in first.probe("/metrics")[1]
        assert first.probe("/readyz")[0] == 200
        await greeted(first, "after", f"Good day at {VALUE}.")
        assert (await state(url, "lives"))["config"] == kept["config"]
        place.write("shop", SHOP)
        await eventually(lambda: broken not in first.probe("/readyz")[1], "its repair is seen")
        await end_session(first.settings, "lives", reason="operator", wait=False)
        await living.wait_event("ended", within=15, reason="operator")


async def test_a_failover_in_a_call(
    first: RunningWorker, servers: tuple[Server, Server, Server], url: str
) -> None:
    """The Sentinel makes the replica the master: a call goes on to its record; overrides are read again."""
    old, new, sentinel = servers
    asked: Any = sentinel.client(decode_responses=True)
    async with first.caller(await first.session("fails-over", bundle="shop"), microphone=False) as caller:
        await caller.wait_words("Welcome", within=20)
        until(lambda: new.client().exists("session:fails-over:state"))
        until(lambda: asked.execute_command("SENTINEL", "FAILOVER", "main"))
        until(lambda: asked.sentinel_get_master_addr_by_name("main")[1] == new.port)
        until(lambda: old.client().info("replication")["role"] == "slave")
        await caller.write("what are your opening hours")
        await caller.wait_words("nine to five", within=20)
        await caller.write("thank you goodbye")
        await caller.wait_event("ended", within=20, reason="agent_ended")
    record = await first.transcript("fails-over", within=40)
    assert len(record["attempts"]) == 1
    new.client().set(override_key("overridden"), '{"idle_timeout_seconds": 33}')
    async with first.caller(await first.session("overridden", bundle="shop"), microphone=False) as caller:
        await caller.wait_words("Welcome", within=20)
        applied = await caller.wait_event("config_applied")
        assert [verdict["path"] for verdict in applied["verdicts"]] == ["idle_timeout_seconds"]
        await end_session(first.settings, "overridden", reason="operator", wait=False)


async def test_a_worker_without_the_variable_ends_the_call(
    first: RunningWorker, place: Place, url: str
) -> None:
    """A call of a killed worker comes to one that lacks a variable: refused in one line that names it."""
    async with first.caller(await first.session("taken", bundle="shop"), microphone=False) as caller:
        await caller.wait_words("Welcome", within=20)
        second = place.start("second", url, {})
        assert "${SHOP} is not set" in second.probe("/readyz")[1]
        first.kill()
        await caller.wait_event("ended", within=30, reason="config_refused")
    record = await second.transcript("taken", within=40)

    assert record["end_reason"] == "config_refused"
    assert "agents.front.greeting: ${SHOP} is not set" in second.log_text()
    assert VALUE not in first.log_text() + second.log_text()
