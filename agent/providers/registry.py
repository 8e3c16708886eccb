"""
The registry of providers, and how the models of a session are built.

Every call makes new objects: models hold keys, voices and connections of one session and are shared with
no other. Whoever builds closes, with `close`; neither livekit's sessions nor its agents do.
"""

from __future__ import annotations

import asyncio
import hashlib
import importlib
import importlib.metadata
import logging
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, cast

from agent.providers.capability import Provider, ProviderError, Request
from agent.providers.directory import PROVIDERS, offer_for, provider_for, providers_used
from agent.providers.offline.rules import unreachable
from agent.providers.options import option_problems
from agent.providers.plugin import provider_of
from agent.providers.speaking import requests, tuning_verdicts
from config_store.catalog import Catalog, ProviderFacts
from config_store.python_names import python_names
from config_store.schema import KINDS, Kind, ModelConfig, SessionConfig

if TYPE_CHECKING:  # livekit takes seconds to import; checking bundles does without
    from livekit.agents import llm, stt, tts

__all__ = [
    "PROVIDERS",
    "ProviderError",
    "build_llm",
    "build_realtime",
    "build_stt",
    "build_tts",
    "catalog",
    "close",
    "on_availability",
    "own_kinds",
    "prewarm",
    "provider_for",
    "providers_used",
    "release",
    "tuning_verdicts",
]

logger = logging.getLogger(__name__)

CLOSE_SECONDS = 2.0
"""Longest time that closing a model may take."""


class _Settings(Protocol):
    @property
    def modules(self) -> tuple[str, ...]: ...


def catalog(settings: _Settings, environment: Mapping[str, str], *, to_check: bool = False) -> Catalog:
    """
    What this worker can do, for checking bundles. Imports no plugin, and no module that bundles may name.

    Args:
        settings: The worker's settings; its modules are those that bundles may name.
        environment: Variable → value; asked only for which variables are set.
        to_check: Whether bundles are checked with it: then the modules are read for what they define, which a
            job at its start has no use for.
    """
    modules = frozenset({*settings.modules, "agent.demo.tools"})  # the shipped bundles' own tool
    return Catalog(
        providers={name: _facts(provider) for name, provider in PROVIDERS.items()},
        modules=modules,
        names=python_names(modules) if to_check else None,
        environment=environment,
        is_installed=lambda plugin: provider_of(plugin).installed,
        option_problems=problems_of_options,
        fit_problems=unreachable,
    )


def release() -> str:
    """A digest over what is installed and over this package: with another one, bundles are checked anew."""
    found = hashlib.sha256()
    installed = {f"{part.metadata['Name']} {part.version}" for part in importlib.metadata.distributions()}
    found.update("\n".join(sorted(installed)).encode())
    root = Path(__file__).parent
    for path in sorted(root.rglob("*.py")):
        found.update(path.relative_to(root).as_posix().encode() + b"\0" + path.read_bytes())
    return found.hexdigest()


def _facts(provider: Provider) -> ProviderFacts:
    return ProviderFacts(
        name=provider.name,
        kinds=frozenset(provider.offers),
        # models are known by name for messages, but providers add some every month: never a closed list
        models=dict.fromkeys(provider.offers),
        voices=provider.voices,
        voice_problem=provider.voice_problem,
        key_env=provider.key_env,
        installed=provider.installed,
        extra=provider.extra,
        needs_model=frozenset(kind for kind, offer in provider.offers.items() if offer.needs_model),
    )


def problems_of_options(kind: Kind, model: ModelConfig) -> list[tuple[str, str]]:
    """
    What is wrong with a model's `options`, as (path below options, message).

    Imports the plugin, because its constructor is what knows. A provider that is unknown, not installed or
    without this kind has no problem here: those have messages of their own.
    """
    try:
        return option_problems(offer_for(kind, model)[1], model.options)
    except ProviderError:
        return []


def build_stt(config: SessionConfig, agent: str | None, keys: Mapping[str, str]) -> stt.STT[Any] | None:
    """
    Speech to text of an agent (None: of the session); None when there is none.

    Args:
        config: The session's configuration.
        agent: Name of the agent.
        keys: Variable → value, for the providers' keys.

    Raises:
        ProviderError: It cannot be built; one line with the cause and what to do.
    """
    from agent.providers.fallback import FallbackSTT

    members = _members("stt", config, agent, keys)
    return FallbackSTT(members) if len(members) > 1 else next(iter(members), None)


def build_llm(config: SessionConfig, agent: str | None, keys: Mapping[str, str]) -> llm.LLM[Any] | None:
    """The language model of an agent; arguments and errors as for `build_stt`."""
    from agent.providers.fallback import FallbackLLM

    members = _members("llm", config, agent, keys)
    return FallbackLLM(members) if len(members) > 1 else next(iter(members), None)


def build_tts(config: SessionConfig, agent: str | None, keys: Mapping[str, str]) -> tts.TTS[Any] | None:
    """
    Text to speech of an agent, with its voice and tuning; arguments and errors as for `build_stt`.

    With a loudness other than 1.0 the frames come amplified, whatever the provider.
    """
    from agent.providers.fallback import FallbackTTS
    from agent.providers.loudness import LoudTTS
    from agent.providers.patience import PromptTTS

    members = [
        # the offline voice is in this process and cannot stall
        voice if voice.provider == "offline" else PromptTTS(voice)
        for voice in _members("tts", config, agent, keys)
    ]
    if not members:
        return None
    voice: tts.TTS[Any] = FallbackTTS(members) if len(members) > 1 else members[0]
    loudness = config.tuning_for(agent).loudness
    return voice if loudness is None or loudness == 1.0 else LoudTTS(voice, loudness)


def build_realtime(
    config: SessionConfig, agent: str | None, keys: Mapping[str, str]
) -> llm.RealtimeModel | None:
    """
    The speech-to-speech model of an agent; arguments and errors as for `build_stt`.

    Its loudness is not in it: `loudness.amplify` does that on the frames of `realtime_audio_output_node`.
    With fallbacks, the turn that meets a dead server is answered after about 5 s, or not at all.
    """
    from agent.providers.fallback import FallbackRealtime

    members = _members("realtime", config, agent, keys)
    return FallbackRealtime(members) if len(members) > 1 else next(iter(members), None)


def _members(kind: Kind, config: SessionConfig, agent: str | None, keys: Mapping[str, str]) -> list[Any]:
    primary = getattr(config.models_for(agent), kind)
    return [_build(kind, request) for request in requests(kind, config, agent, primary, keys)]


def _build(kind: Kind, request: Request) -> Any:
    model = request.model
    provider, offer = offer_for(kind, model)
    if offer.needs_model and model.model is None:
        raise ProviderError(f"{provider.name} {kind} needs a model, such as {', '.join(offer.models or ())}")
    for place, text in option_problems(offer, model.options):
        raise ProviderError(f"models.{kind}.options.{place}: {text}")
    try:
        return offer.build(request)
    except ProviderError:
        raise
    except Exception as exc:  # noqa: BLE001 - a plugin's constructor may raise anything
        raise ProviderError(f"{provider.name} {kind} cannot be built: {' '.join(str(exc).split())}") from None


def on_availability(
    config: SessionConfig, agent: str | None, kind: Kind, model: Any, told: Callable[[Kind, str, bool], None]
) -> None:
    """
    Tells when one of a list of fallbacks fails or works again; nothing for a model without fallbacks.

    Args:
        config: What the model was built from, for this agent; None: for the session.
        model: As `build_…` made it.
        told: Called with the kind, the name of the provider (or plugin), and whether it works.
    """
    primary: ModelConfig | None = getattr(config.models_for(agent), kind)
    if primary is None or not primary.fallback:
        return
    names = [member.identity or "" for member in (primary, *primary.fallback)]
    inner = getattr(model, "inner", model)
    members: list[Any] = list(getattr(inner, "members", ()))

    def changed(event: Any) -> None:
        which = event.realtime_model if kind == "realtime" else getattr(event, kind)
        if which in members:
            told(kind, names[members.index(which)], event.available)

    model.on(f"{kind}_availability_changed", changed)


def own_kinds(config: SessionConfig, agent: str) -> frozenset[Kind]:
    """
    The kinds of model for which an agent differs from the session, so that it needs objects of its own.

    For a voice that is also another voice or tuning.
    """
    session, own = config.models_for(None), config.models_for(agent)
    differs = {kind for kind in KINDS if getattr(session, kind) != getattr(own, kind)}
    persona = config.agents[agent]
    if persona.voice_id is not None or config.tuning_for(agent) != config.tuning_for(None):
        differs |= {kind for kind in ("tts", "realtime") if getattr(own, kind) is not None}
    return cast(frozenset[Kind], frozenset(differs))


def prewarm(names: Iterable[str]) -> None:
    """
    Imports what the named providers need, once, in the process that jobs fork from.

    Plugins register themselves on import and insist on the main thread. Starts no thread, opens no
    connection. Names that are unknown or not installed are passed over; building a model says so.
    """
    for name in sorted(set(names)):
        provider = PROVIDERS.get(name) or provider_of(name)
        if not provider.installed:
            continue
        for offer in provider.offers.values():
            try:
                importlib.import_module(offer.target.partition(":")[0])
            except ImportError as exc:
                logger.warning("provider %s cannot be imported: %s", name, exc)
        if name == "offline":
            from agent.providers.offline import decoder, espeak, voices

            voices.languages()
            voices.variants()
            espeak.preload()
            decoder.preload()


class Closable(Protocol):
    """A model of any kind."""

    async def aclose(self) -> None:
        """Frees what it holds."""


async def close(*models: Closable | None) -> None:
    """
    Closes every model, each once and all at the same time.

    Never raises: one that fails to close, or takes longer than `CLOSE_SECONDS`, keeps nothing else open. A
    provider that stalls would otherwise hold the end of a call for 10 s.
    """

    async def closed(model: Closable) -> None:
        try:
            await asyncio.wait_for(model.aclose(), CLOSE_SECONDS)
        except Exception as exc:  # noqa: BLE001 - closing is the last thing done with it
            logger.warning("%s did not close: %s", type(model).__name__, type(exc).__name__)

    await asyncio.gather(*(closed(model) for model in {id(m): m for m in models if m is not None}.values()))
