"""
Changes of voice, tuning and language in a live call, on the models that are already there.

A change is heard from the next utterance on, loudness at once. A provider or a model cannot be changed this
way; when each field of the configuration takes effect is said by its mark in the schema.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Literal

from livekit.agents import tts

from agent.providers.capability import Request
from agent.providers.directory import provider_for
from agent.providers.loudness import LoudTTS
from agent.providers.relay import RelayTTS
from agent.providers.speaking import requests, spoken_by
from config_store.schema import Kind, SessionConfig

Aspect = Literal["voice", "tuning", "language"]


def apply_voice(
    voice: tts.TTS[Any], old: SessionConfig, new: SessionConfig, agent: str | None
) -> tuple[tts.TTS[Any], bool]:
    """
    Makes a voice built from `old` speak as `new` says.

    Returns:
        The TTS to use from now on, and whether all of it could be applied. It is another object than `voice`
        only when loudness leaves 1.0 for the first time; closing it closes `voice`.
    """
    inner = voice.inner if isinstance(voice, LoudTTS) else voice
    applied = apply("tts", inner, old, new, agent)
    loudness = new.tuning_for(agent).loudness
    if isinstance(voice, LoudTTS):
        voice.loudness = 1.0 if loudness is None else loudness
    elif loudness is not None and loudness != 1.0:
        voice = LoudTTS(voice, loudness)
    return voice, applied


def apply(kind: Kind, model: Any, old: SessionConfig, new: SessionConfig, agent: str | None) -> bool:
    """
    Applies to a model of any kind what its provider can change in a live call.

    Returns:
        Whether it now is what `new` says; False when that takes another model, or the provider cannot.
    """
    before = list(requests(kind, old, agent, getattr(old.models_for(agent), kind), None))
    after = list(requests(kind, new, agent, getattr(new.models_for(agent), kind), None))
    members = getattr(model, "members", (model,))
    if [request.model for request in before] != [request.model for request in after]:
        return False
    applied = True
    for member, was, wanted in zip(members, before, after, strict=True):
        settings = provider_for(wanted.model).live.get(kind)
        if settings is None:
            applied = applied and was == wanted
            continue
        held = settings(was)
        changes = {name: value for name, value in settings(wanted).items() if held.get(name) != value}
        if changes:
            target: Any = member.inner if isinstance(member, RelayTTS) else member
            target.update_options(**changes)
    return applied


def not_taken(old: SessionConfig, new: SessionConfig, agent: str | None) -> frozenset[Aspect]:
    """
    What differs between two configs that the voice of an agent (None: of the session) cannot take up live.

    Loudness is not among it: it is gain on the frames, and always can. A member of a fallback list that
    cannot counts like the first one. A voice by its name and the same one by default do not differ.

    Raises:
        ProviderError: A provider is not installed here.
    """
    kind: Kind = "realtime" if new.models_for(agent).tts is None else "tts"
    before = requests(kind, old, agent, getattr(old.models_for(agent), kind), None)
    after = requests(kind, new, agent, getattr(new.models_for(agent), kind), None)
    found: set[Aspect] = set()
    for was, wanted in zip(before, after, strict=False):
        provider = provider_for(wanted.model)
        settings = provider.live.get(kind) or _nothing
        steps: dict[Aspect, Any] = {
            "tuning": replace(was, tuning=wanted.tuning),
            "language": replace(was, language=wanted.language),
        }
        if spoken_by(kind, provider, was) != spoken_by(kind, provider, wanted):
            steps["voice"] = replace(was, voice=wanted.voice)
        found |= {name for name, step in steps.items() if step != was and settings(step) == settings(was)}
    return frozenset(found)


def _nothing(_: Request) -> dict[str, Any]:
    return {}
