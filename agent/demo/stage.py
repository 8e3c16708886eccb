"""
Where the demo plays: a LiveKit server, Valkey, SQLite and a worker, all on loopback and for this run alone.

Everything it does to a session goes through the same doors that an application has: `agent session start`'s
function, a plain SET in Redis, and the records in SQL.
"""

import asyncio
import json
import os
import shutil
import signal
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import redis.asyncio

from agent.demo.caller import Caller
from agent.demo.narrator import Narrator
from agent.services.livekit_server import LiveKitServer
from agent.services.valkey import EmbeddedValkey
from agent.services.worker import Worker
from agent.settings import Settings, load

BUNDLE = "demo"

OVERRIDE_SECONDS = 4 * 3600
"""Life of an override key, as the runtime itself writes it."""

RECORD_WITHIN = 15.0
"""Seconds after the end of a call in which its record is expected; measured under 1."""

PATIENCE = 5.0
"""Seconds the worker gets to end; after the last scene it has nothing left to do."""

POLL = 0.1
"""Seconds between two looks into the database or into Redis."""


class SceneError(Exception):
    """Something that the demo promises did not happen; the text says what was expected and what came."""


def require(held: object, what: str) -> None:
    """Raise SceneError "expected `what`" unless `held` is true."""
    if not held:
        raise SceneError(f"expected {what}")


class Stage:
    """
    The services and a worker, as a context manager; nothing of it runs any more afterwards.

    Attributes:
        data: The temporary AGENT_DATA; the records stay in it.
        settings: The settings that the worker has, for commands beside it.
        worker_log: What the worker said.
    """

    def __init__(self, narrator: Narrator) -> None:
        self.narrator = narrator
        self.data = Path(tempfile.mkdtemp(prefix="agent-demo-"))
        self.worker_log = self.data / "worker.log"
        self.bundles = bundles_folder()
        self.server = LiveKitServer(
            self.data / "livekit", progress=lambda line: narrator.line("", "livekit", line)
        )
        self.valkey = EmbeddedValkey(self.data)
        self.worker: Worker | None = None
        self._settings: Settings | None = None
        self._redis: redis.asyncio.Redis | None = None

    @property
    def settings(self) -> Settings:
        """Valid once the stage is up."""
        assert self._settings is not None
        return self._settings

    @property
    def environment(self) -> dict[str, str]:
        """What makes another `agent` command work on this stage."""
        return {
            **self.server.environment,
            "AGENT_DATA": str(self.data),
            "AGENT_BUNDLES": str(self.bundles),
            "AGENT_MODULES": "agent.demo.tools",
            # empty is unset: what somebody has in `.env` is for other runs
            "REDIS_URL": "",
            "DATABASE_URL": "",
            "AGENT_NAME": "agent",
        }

    def __enter__(self) -> Self:
        try:
            self._start()
        except BaseException as exc:
            self._end(type(exc))
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end(kind)

    def _end(self, kind: type[BaseException] | None) -> None:
        self._stop()
        if kind is KeyboardInterrupt:  # nobody wants to look at half a demo
            shutil.rmtree(self.data, ignore_errors=True)

    def _start(self) -> None:
        self.valkey.start()
        self.server.start()
        self.narrator.line("", "livekit", f"server at {self.server.url}")
        self.narrator.line("", "stores", f"Valkey and SQLite in {self.data}")
        self._settings = load(
            livekit_url=self.server.url,
            livekit_api_key=self.server.api_key,
            livekit_api_secret=self.server.api_secret,
            redis_url=self.valkey.url,
            database_url=None,
            data=self.data,
            bundles=self.bundles,
            name="agent",
        )
        self.worker = Worker(
            {**self.environment, "AGENT_DRAIN_SECONDS": "0"}, log=self.worker_log, patience=PATIENCE
        )
        self.worker.start()
        self.narrator.line("", "worker", f"ready; bundles from {self.bundles}, log in {self.worker_log}")

    def _stop(self) -> None:
        try:
            if self.worker:
                self.worker.stop()
        finally:
            try:
                self.server.stop()
            finally:
                self.valkey.stop()

    # --- what scenes do

    async def override(self, session_id: str, call: str, values: dict[str, Any]) -> None:
        """Write `session:{id}:config` as any application would: one SET."""
        key, text = f"session:{session_id}:config", json.dumps(values)
        await self._client().set(key, text, ex=OVERRIDE_SECONDS)
        self.narrator.line(call, "redis", f"SET {key} {text}")

    async def call(self, session_id: str, call: str, *, user: str) -> Caller:
        """Start a session and return its caller, not yet joined."""
        from agent.starting import NotStartedError, Wanted, start_session

        try:
            started = await start_session(
                self.settings, Wanted(session_id=session_id, bundle=BUNDLE, user_id=user)
            )
        except NotStartedError as exc:
            raise SceneError(f"{session_id} did not start: {exc}") from exc
        return Caller(
            started.url, started.token, name=call, voice="espeak", on_note=self.narrator.notes(call)
        )

    async def pid(self, session_id: str) -> int:
        """Process id of the job that has this session, from its state in Redis."""
        pid = await self._client().hget(f"session:{session_id}:state", "pid")
        if not pid:
            raise SceneError(f"session:{session_id}:state names no pid")
        return int(pid)

    async def kill(self, session_id: str, call: str) -> float:
        """SIGKILL the job of a session; returns the time of it on `time.monotonic`."""
        pid = await self.pid(session_id)
        os.kill(pid, signal.SIGKILL)
        self.narrator.line(call, "kill", f"SIGKILL to the job process {pid}")
        return time.monotonic()

    async def record(self, session_id: str, *, within: float = RECORD_WITHIN) -> dict[str, Any]:
        """The transcript of a session that has ended, once the worker has made it."""
        deadline = time.monotonic() + within
        while time.monotonic() < deadline:
            found = await asyncio.to_thread(self._load, session_id)
            if found and found["ended_at"]:
                return found
            await asyncio.sleep(POLL)
        raise SceneError(f"no transcript of {session_id} within {within:g} s after its end")

    async def close(self) -> None:
        """Close what the scenes used, before their event loop ends."""
        if self._redis:
            await self._redis.aclose()
            self._redis = None

    def _client(self) -> "redis.asyncio.Redis":
        if self._redis is None:
            self._redis = redis.asyncio.from_url(self.valkey.url, decode_responses=True)
        return self._redis

    def _load(self, session_id: str) -> dict[str, Any] | None:
        from agent.transcripts.database import open_engine
        from agent.transcripts.filters import OPERATOR
        from agent.transcripts.history import load

        engine = open_engine(self.settings.database())
        try:
            return load(engine, session_id, OPERATOR)
        finally:
            engine.dispose()


def bundles_folder() -> Path:
    """The bundles that come with this project: of the working folder when it has the demo's, else shipped."""
    code = Path(__file__).resolve().parent
    folders = (Path("bundles").absolute(), code / "bundles", code.parent.parent / "bundles")
    # the second is that of a wheel, the third that of a checkout
    return next((one for one in folders if (one / f"{BUNDLE}.yaml").is_file()), folders[1])
