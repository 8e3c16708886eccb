"""Who speaks after a change: the voice that is there, one before it, or one of an agent's own."""

from typing import Any

from livekit.agents.tts import AvailabilityChangedEvent

from agent.casting import Casting
from agent.providers.loudness import LoudTTS
from config_store.schema import SessionConfig


def config(**fields: Any) -> SessionConfig:
    """Two agents on the offline voice."""
    agents = fields.pop("agents", {"a": {}, "b": {}})
    return SessionConfig.model_validate(
        {"models": {"tts": {"provider": "offline"}}, "agents": agents, **fields}, strict=False
    )


async def test_agents_without_a_voice_of_their_own_follow_the_session() -> None:
    """When the session's voice becomes another object, agents of now and of later get that one."""
    casting = Casting(config(), {})
    casting.for_session()
    assert "tts" not in casting.for_agent("a")
    voices = casting.change(config(voice_tuning={"loudness": 0.5}), ["a"])

    assert isinstance(voices["a"], LoudTTS)
    assert casting.for_agent("b")["tts"] is voices["a"]
    await casting.close()


async def test_an_agent_that_is_given_a_voice_gets_one_of_its_own() -> None:
    """An agent that shared the session's voice no longer does once it has another; the others still do."""
    casting = Casting(config(), {})
    session = casting.for_session()
    casting.for_agent("a")
    casting.for_agent("b")
    voices = casting.change(config(agents={"a": {"voice_id": "en-us+f3"}, "b": {}}), ["a", "b"])

    assert set(voices) == {"a"}
    assert voices["a"] is not session["tts"]
    again = casting.change(config(agents={"a": {"voice_id": "en-us+m3"}, "b": {}}), ["a", "b"])
    assert again == {}, "the voice that is there speaks as the new one"
    await casting.close()


async def test_a_text_session_has_no_voice_to_change() -> None:
    """Without sound only the language model is made, and a change of voice makes nothing."""
    casting = Casting(config(modality_profile="text_only"), {})

    assert "tts" not in casting.for_session()
    changed = config(modality_profile="text_only", agents={"a": {"voice_id": "en-us+f3"}, "b": {}})
    assert casting.change(changed, ["a"]) == {}
    await casting.close()


async def test_a_fallback_that_steps_in_is_told_by_the_names_of_the_bundle() -> None:
    """Kind and provider of the member that failed are told, also behind a gain, and that it is back."""
    told: list[tuple[str, str, bool]] = []
    models = {"tts": {"provider": "offline", "fallback": [{"provider": "openai", "model": "tts-1"}]}}
    given = config(models=models, voice_tuning={"loudness": 0.5})
    casting = Casting(given, {"OPENAI_API_KEY": "k"}, lambda *change: told.append(change))
    voice = casting.for_session()["tts"]
    for member, works in ((0, False), (1, False), (0, True)):
        event = AvailabilityChangedEvent(tts=voice.inner.members[member], available=works)
        voice.inner.emit("tts_availability_changed", event)

    assert told == [("tts", "offline", False), ("tts", "openai", False), ("tts", "offline", True)]
    await casting.close()
