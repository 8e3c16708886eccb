"""A real worker on real services, and what a test asks of it."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import redis.asyncio
from livekit import api
from sqlalchemy import Engine

from agent.demo.caller import Caller
from agent.demo.listener import PATIENCE
from agent.services.livekit_server import LiveKitServer
from agent.services.ports import free_ports
from agent.services.tether import end_process, start_tethered
from agent.services.valkey import EmbeddedValkey
from agent.settings import Settings
from agent.starting import Started, Wanted, start_session
from agent.transcripts.database import open_engine
from agent.transcripts.filters import OPERATOR
from agent.transcripts.history import load
from tests.e2e import wire

BUNDLES = Path(__file__).parent / "bundles"
READY_SECONDS = 90.0
Found = TypeVar("Found")


async def eventually(look: Callable[[], Found | None], what: str, within: float = 10.0) -> Found:
    """The first true answer of `look`; fails with `what` when there is none in `PATIENCE` times `within`."""
    within *= PATIENCE
    until = time.monotonic() + within
    while time.monotonic() < until:
        if found := look():
            return found
        await asyncio.sleep(0.02)
    raise AssertionError(f"not within {within:g} s: {what}")


class RunningWorker:
    """`agent start` as a process of its own, in a process group of its own, and the stores it uses."""

    def __init__(
        self,
        server: LiveKitServer,
        data: Path,
        *,
        bundles: Path = BUNDLES,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.server = server
        self.data = data
        self.valkey = EmbeddedValkey(data)
        self.port = free_ports(1)[0]
        self.log = data / "worker.log"
        self.environment = {
            **{
                k: v
                for k, v in os.environ.items()
                if k in ("PATH", "HOME", "LANG", "XDG_CACHE_HOME", "VIRTUAL_ENV")
            },
            **server.environment,
            "AGENT_DATA": str(data),
            "AGENT_BUNDLES": str(bundles),
            "AGENT_HTTP_PORT": str(self.port),
            "AGENT_MODULES": "agent.demo.tools,tests.e2e.tools",
            "AGENT_SWEEP_SECONDS": "1",
            "AGENT_DRAIN_SECONDS": "1",
            **wire.ENVIRONMENT,
            **(environment or {}),
        }
        self.process: subprocess.Popen[bytes] | None = None
        self.settings = Settings(
            livekit_url=server.url,
            livekit_api_key=server.api_key,
            livekit_api_secret=server.api_secret,
            redis_url=self.valkey.url,
            data=data,
            name=self.environment.get("AGENT_NAME", "agent"),
        )
        self._engine: Engine | None = None

    def kill(self) -> float:
        """SIGKILL the parent alone; when that was."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()
        self.process = None
        return time.monotonic()

    def start(self, *, wait: bool = True) -> None:
        """Start it, and wait until it is ready for jobs."""
        self.data.mkdir(parents=True, exist_ok=True)
        self.valkey.start()
        with self.log.open("ab") as output:
            self.process = start_tethered(
                [sys.executable, "-m", "agent", "start"], output=output, environment=self.environment
            )
        if wait:
            self.wait_ready()

    def command(self, *arguments: str) -> list[str]:
        """`agent …`, to be run with this worker's environment."""
        return [sys.executable, "-m", "agent", *arguments]

    def wait_ready(self) -> None:
        """Wait until `/readyz` answers 200."""
        until = time.monotonic() + READY_SECONDS
        while time.monotonic() < until:
            if self.process is not None and self.process.poll() is not None:
                break
            if self.probe("/readyz")[0] == 200:
                return
            time.sleep(0.05)
        raise AssertionError(f"the worker is not ready\n{self.log_text()[-3000:]}")

    def probe(self, path: str) -> tuple[int, str]:
        """Status and text of the worker's HTTP; 0 when nobody answers."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=2) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as exc:
            return exc.code, exc.read().decode()
        except OSError:
            return 0, ""

    def stop(self, patience: float = 40.0) -> int:
        """Ask it to stop; its exit status."""
        status = 0
        if self.process is not None:
            status = end_process(self.process, patience)
            self.process = None
        if self._engine is not None:
            self._engine.dispose()
            self._engine = None
        self.valkey.stop()
        return status

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the parent alone."""
        assert self.process is not None
        self.process.send_signal(number)

    def log_text(self) -> str:
        """What it logged so far."""
        return self.log.read_text(errors="replace") if self.log.exists() else ""

    # ------------------------------------------------------------------ sessions

    async def session(self, session_id: str, **wanted: Any) -> Started:
        """Start a session as `agent session start` does."""
        return await start_session(
            self.settings, Wanted(session_id=session_id, **{"bundle": "talk", **wanted})
        )

    def caller(self, started: Started, **options: Any) -> Caller:
        """The user of a session."""
        return Caller(started.url, started.token, **options)

    def token(self, room: str, identity: str, *, metadata: str | None = None) -> str:
        """A token as an application makes it; with dispatch metadata, one that brings the agent along."""
        token = (
            api.AccessToken(self.server.api_key, self.server.api_secret)
            .with_identity(identity)
            .with_grants(api.VideoGrants(room_join=True, room=room))
        )
        if metadata is not None:
            token = token.with_room_config(
                api.RoomConfiguration(
                    agents=[api.RoomAgentDispatch(agent_name=self.settings.name, metadata=metadata)]
                )
            )
        return token.to_jwt()

    def livekit(self) -> api.LiveKitAPI:
        """LiveKit's server API."""
        return api.LiveKitAPI(self.server.url, self.server.api_key, self.server.api_secret)

    def redis(self) -> "redis.asyncio.Redis":
        """The worker's Redis, as another program uses it."""
        return redis.asyncio.Redis.from_url(self.valkey.url, decode_responses=True)

    async def state(self, session_id: str) -> dict[str, str]:
        """What Redis knows of a session."""
        async with self.redis() as client:
            return await client.hgetall(f"session:{session_id}:state")  # type: ignore[misc]

    async def transcript(self, session_id: str, within: float = 15.0) -> dict[str, Any]:
        """The session's record, once it is there."""
        if self._engine is None:
            self._engine = open_engine(self.settings.database())
        engine = self._engine
        return await eventually(
            lambda: load(engine, session_id, OPERATOR),
            f"a record of {session_id}\n{self.log_text()[-2500:]}",
            within,
        )

    async def delete_rooms(self) -> None:
        """End all calls."""
        async with self.livekit() as lkapi:
            for room in (await lkapi.room.list_rooms(api.ListRoomsRequest())).rooms:
                await lkapi.room.delete_room(api.DeleteRoomRequest(room=room.name))

    async def room_exists(self, name: str) -> bool:
        """Whether LiveKit has this room."""
        async with self.livekit() as lkapi:
            return bool((await lkapi.room.list_rooms(api.ListRoomsRequest(names=[name]))).rooms)


def said(transcript: dict[str, Any], role: str) -> list[str]:
    """The words of one side, in order."""
    return [
        item["text"] for item in transcript["items"] if item["type"] == "message" and item["role"] == role
    ]


def dispatch_metadata(**fields: Any) -> str:
    """Dispatch metadata as an application writes it."""
    return json.dumps(fields)


async def journalled(worker: RunningWorker, session_id: str, words: str, *, times: int = 1) -> None:
    """Wait until the journal of a live session has these words so often."""

    def found() -> bool:
        paths = worker.settings.journals.glob(f"{session_id}/*.journal")
        return sum(path.read_text().count(words) for path in paths) >= times

    await eventually(found, f"{words!r} in the journal of {session_id}")
