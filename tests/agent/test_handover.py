"""A handover in the talk of a session, on virtual time: it is no sign of life of the user."""

import asyncio
from types import SimpleNamespace
from typing import Any, cast

import pytest
from livekit.agents import llm

from agent.clock import Clock, Limits
from agent.conversation import Conversation
from agent.ending import Ending
from agent.people import People
from agent.timers import Timers
from config_store.schema import SessionConfig

pytestmark = pytest.mark.virtual_time

CONFIG = {
    "modality_profile": "text_only",
    "models": {"llm": {"provider": "offline", "options": {"rules": [{"when": "sales", "handoff": "sales"}]}}},
    "agents": {
        "front": {"instructions": "You are at the counter.", "handoffs": ["sales"]},
        "sales": {"instructions": "You sell.", "greeting": "Hello, this is sales speaking."},
    },
}


class Talk:
    """A conversation without a room: what it tells the client, and what was due at what time."""

    def __init__(self, limits: Limits) -> None:
        loop = asyncio.get_running_loop()
        clock = Clock(limits, loop.time())
        clock.user_present(loop.time())
        self.due: list[tuple[str, float]] = []
        self.handoffs: list[tuple[float, str]] = []
        self.timers = Timers(clock, lambda due: self.due.append((due.kind, loop.time())))
        people = People("u1", lambda _: None, lambda *_: None, lambda *_: None, user="u1", present=True)
        self.conversation = Conversation(
            cast(Any, SimpleNamespace(room=SimpleNamespace(register_text_stream_handler=lambda *_: None))),
            SessionConfig.model_validate(CONFIG),
            keys={},
            turn_detector="vad",
            journal=cast(Any, SimpleNamespace(append=lambda *_, **__: 1)),
            clock=clock,
            timers=self.timers,
            people=people,
            signals=cast(Any, SimpleNamespace(attributes=lambda **_: None, event=self._told)),
            ending=Ending(),
        )

    def _told(self, kind: str, **fields: Any) -> None:
        assert kind == "handoff"
        self.handoffs.append((asyncio.get_running_loop().time(), fields["to"]))

    async def begin(self, words: str) -> None:
        """The first agent has the floor; the user said these words before, and nobody has answered them."""
        history = llm.ChatContext.empty()
        history.add_message(role="user", content=words)
        await self.conversation._session.start(self.conversation._roster.agent("front", history))
        await self.conversation.greet()


async def test_a_handover_changes_nothing_about_idle() -> None:
    """An agent takes over after 6 s of silence and greets: the prompt and the end come at their times."""
    talk = Talk(Limits(idle=10, idle_prompts=(8,)))
    await talk.begin("I would like to speak with sales")
    await asyncio.sleep(6)
    talk.conversation.tell_agent("The call ends soon.")  # its model hands over, without a word of the user
    await asyncio.sleep(4.01)
    await talk.timers.stop()
    words = [item.text_content for item in talk.conversation.history().messages()]
    await talk.conversation.close()

    assert words == ["Hello, this is sales speaking."]
    assert talk.handoffs == [(pytest.approx(6.0, abs=0.1), "sales")]
    assert talk.due[:2] == [
        ("idle_prompt", pytest.approx(8.0, abs=0.1)),
        ("idle", pytest.approx(10.0, abs=0.1)),
    ]
