"""What a session's models are built from, voice and tuning above all, and what is said about the rest."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from agent.providers.capability import Provider, ProviderError, Request, Tuning
from agent.providers.directory import offer_for
from agent.providers.keys import key_for
from agent.providers.tuning import fit, row_for
from config_store.schema import Kind, ModelConfig, SessionConfig
from config_store.verdict import Verdict


def requests(
    kind: Kind,
    config: SessionConfig,
    agent: str | None,
    primary: ModelConfig | None,
    keys: Mapping[str, str] | None,
) -> Iterator[Request]:
    """
    What each member of a fallback list is built from, the primary first; nothing without a primary.

    Without `keys` (None) the requests are for comparing, not for building.
    """
    if primary is None:
        return
    for model in (primary, *primary.fallback):
        provider, _ = offer_for(kind, model)
        speaks = kind in ("tts", "realtime")
        yield Request(
            model=model,
            key=None if keys is None else key_for(provider, model, keys),
            language=config.target_language,
            voice=voice_of(config, agent, provider, model, primary) if speaks else None,
            tuning=tuning_of(kind, provider, model, config, agent)[0] if speaks else Tuning(),
        )


def voice_of(
    config: SessionConfig, agent: str | None, provider: Provider, model: ModelConfig, primary: ModelConfig
) -> str | None:
    """
    The voice of one member of a fallback list; None: its provider's default, as for a name it has not.
    """
    name = _named(config, agent, model, primary)
    return name if name is not None and _has(provider, model, name) else None


def spoken_by(kind: Kind, provider: Provider, request: Request) -> str | None:
    """The name of the voice that speaks; None: the plugin's own."""
    default = provider.default_voice
    return request.voice or (default(kind, request.language) if default is not None else None)


def _has(provider: Provider, model: ModelConfig, name: str) -> bool:
    """Whether a model has a voice of this name; what another server's address has nobody here knows."""
    return model.base_url is not None or provider.has_voice(name)


def _named(config: SessionConfig, agent: str | None, model: ModelConfig, primary: ModelConfig) -> str | None:
    """
    The voice that the configuration names for one member of a fallback list.

    A voice that is one name belongs to the primary's provider; another provider takes only what a map has
    for it, because one provider's name of a voice means nothing to another.
    """
    name = model.identity or ""
    own = config.agents[agent].voice_id if agent is not None else None
    for voice in (own, config.voice_id):
        if isinstance(voice, dict):
            if name in voice:
                return voice[name]
        elif voice is not None and name == primary.identity:
            return voice
    return None


def tuning_of(
    kind: Kind, provider: Provider, model: ModelConfig, config: SessionConfig, agent: str | None
) -> tuple[Tuning, list[Verdict]]:
    """The tuning that goes to one model, and what does not, as verdicts."""
    table = provider.realtime_tuning if kind == "realtime" else provider.tuning
    who = " ".join(filter(None, (provider.name, model.model)))
    place = f"agents.{agent}.voice_tuning" if agent is not None else "voice_tuning"
    return fit(row_for(table, model.model), config.tuning_for(agent), who=who, place=place)


def tuning_verdicts(config: SessionConfig) -> list[Verdict]:
    """
    What does not go to the voices as it was asked, for the session and every agent that differs from it.

    Providers that are unknown or not installed are left out; building says that.
    """
    found: dict[tuple[str, str], Verdict] = {}
    said: set[tuple[str, str, object]] = set()
    for agent in (None, *config.agents):
        for verdict in _voice_verdicts(config, agent):
            knob = verdict.path.rpartition(".")[2]
            has_own = knob == "voice_id" and agent is not None and config.agents[agent].voice_id is not None
            if agent is not None and not has_own and (knob, verdict.reason, verdict.asked) in said:
                continue  # inherited from the session, said there
            said.add((knob, verdict.reason, verdict.asked))
            found.setdefault((verdict.path, verdict.reason), verdict)
    return list(found.values())


def _voice_verdicts(config: SessionConfig, agent: str | None) -> Iterator[Verdict]:
    models = config.models_for(agent)
    for kind in ("tts", "realtime"):
        primary: ModelConfig | None = getattr(models, kind)
        if primary is None:
            continue
        for model in (primary, *primary.fallback):
            try:
                provider, _ = offer_for(kind, model)
            except ProviderError:
                continue
            if kind == "realtime" and model.temperature is not None:
                path = (
                    "models.realtime.temperature"
                    if agent is None
                    else f"agents.{agent}.models.realtime.temperature"
                )
                yield Verdict(
                    path, "unsupported", f"{provider.name} realtime takes none", asked=model.temperature
                )
            yield from tuning_of(kind, provider, model, config, agent)[1]
            if kind == "tts" or models.tts is None:  # else the realtime model only thinks
                yield from _default_speaks(kind, config, agent, provider, model, primary)


def _default_speaks(
    kind: Kind,
    config: SessionConfig,
    agent: str | None,
    provider: Provider,
    model: ModelConfig,
    primary: ModelConfig,
) -> Iterator[Verdict]:
    """A voice is asked for, and it is the provider's default that speaks."""
    asked = config.voice_id or (agent is not None and config.agents[agent].voice_id)
    if not asked or voice_of(config, agent, provider, model, primary) is not None:
        return
    path = "voice_id" if agent is None else f"agents.{agent}.voice_id"
    what = "no voice for" if _named(config, agent, model, primary) is None else "not a voice of"
    request = Request(model=model, key=None, language=config.target_language)
    default = spoken_by(kind, provider, request) or "the plugin's own"
    yield Verdict(path, "unsupported", f"{what} {provider.name}; its default voice speaks, {default}")
