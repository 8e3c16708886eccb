"""What stands behind the page of `agent dev`: bundles, sessions and records of the running worker."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from agent.dev.page import AskedWrongError, BundleCard
from agent.services.worker import Worker
from agent.settings import Settings


class Backend:
    """Answers the page's questions."""

    def __init__(self, settings: Settings, worker: Worker) -> None:
        self._settings = settings
        self._worker = worker

    def bundles(self) -> Sequence[BundleCard]:
        """What a session can start with now."""
        from config_store.compiled import CompiledBundles

        published = CompiledBundles(self._settings.compiled)
        cards = []
        for name in published.startable():
            if bundle := published.get(name):
                document: Mapping[str, Any] = bundle.document
                cards.append(
                    BundleCard(
                        name,
                        str(document.get("name") or name),
                        str(document.get("description") or ""),
                        tuple(document.get("agents") or ()),
                    )
                )
        return cards

    async def start_session(self, *, bundle: str, user_id: str, overrides: dict[str, Any]) -> dict[str, str]:
        """As `agent session start` does it; raises AskedWrongError with a line for the person."""
        from agent.starting import NotStartedError, Wanted, start_session

        if not await asyncio.to_thread(self._worker.is_ready):
            if self._worker.pid is None:  # nothing but an edit brings it back
                raise AskedWrongError(
                    "the worker has ended, the terminal says why; the next edit of Python starts it again"
                )
            raise AskedWrongError("the worker is not ready yet; try again in a moment")
        try:
            started = await start_session(
                self._settings, Wanted(bundle=bundle, user_id=user_id, overrides=overrides)
            )
        except NotStartedError as exc:
            raise AskedWrongError(str(exc)) from exc
        return started.as_dict()

    async def live(self, session_id: str) -> dict[str, Any] | None:
        """Config, verdicts and timers of a session that runs."""
        from agent import stores
        from agent.dev.live import look

        client = stores.open_redis(self._settings.require_redis(), 3.0)
        try:
            found = await look(client, session_id)
        finally:
            await client.aclose()
        return found.as_dict() if found else None

    async def transcript(self, session_id: str) -> dict[str, Any] | None:
        """The record of a session, once the worker has made it."""
        from agent.transcripts.database import open_engine
        from agent.transcripts.filters import OPERATOR
        from agent.transcripts.history import load

        def find() -> dict[str, Any] | None:
            engine = open_engine(self._settings.database())
            try:
                return load(engine, session_id, OPERATOR)
            finally:
                engine.dispose()

        return await asyncio.to_thread(find)
