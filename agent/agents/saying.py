"""Fixed words of a session: said by its voice, or by the model itself where a realtime model is the voice."""

from typing import Any

from livekit.agents import AgentSession, llm
from livekit.agents.voice import SpeechHandle

VERBATIM = 'Say exactly the following words, all of them, and nothing else: "{words}"'
"""What a realtime model is told that has to say fixed words: OpenAI's has no request for speaking a text."""


def say(session: AgentSession[Any], words: str, *, interruptible: bool = True) -> SpeechHandle:
    """
    The present agent says these words.

    Args:
        session: The session, started.
        words: Spoken as they are. A realtime model without a voice beside it is asked to repeat them, which
            it does nearly always, and can always be interrupted.
        interruptible: Whether the user's speech stops them.
    """
    if speaks_by_itself(session):
        return session.generate_reply(instructions=VERBATIM.format(words=words), tool_choice="none")
    # left out unless asked for: what the turn-taking says about interruptions holds then
    return session.say(words) if interruptible else session.say(words, allow_interruptions=False)


def speaks_by_itself(session: AgentSession[Any]) -> bool:
    """Whether the present agent's voice is that of its realtime model."""
    agent = session.current_agent
    mind = agent.llm if isinstance(agent.llm, llm.RealtimeModel | llm.LLM) else session.llm
    return isinstance(mind, llm.RealtimeModel) and not (agent.tts or session.tts)
