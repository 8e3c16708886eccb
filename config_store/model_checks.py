"""Whether the models and voices that a bundle names exist, are installed, and have their keys."""

from __future__ import annotations

from collections.abc import Iterator

from config_store.catalog import Catalog, ProviderFacts
from config_store.checks import Finding
from config_store.names import suggestion
from config_store.schema import KINDS, Kind, ModelConfig, Models, SessionConfig
from config_store.span import Path, dotted

_WORDS: dict[Kind, str] = {
    "stt": "speech to text",
    "llm": "a language model",
    "tts": "text to speech",
    "realtime": "a realtime model",
}
_PLUGINS = "livekit.plugins."


def check_models(config: SessionConfig, catalog: Catalog | None) -> Iterator[Finding]:
    """Everything about models and voices that would fail when a session starts."""
    yield from _present(config)
    for path, models in _all_models(config):
        if models.realtime is not None and (models.stt is not None or models.llm is not None):
            yield Finding(
                (*path, "realtime"),
                "a realtime model stands in place of stt and llm; set those to null or leave it out",
            )
        for kind in KINDS:
            model = getattr(models, kind)
            if model is None:
                continue
            if path[0] == "agents" and model.identity is None:
                whole = getattr(config.models_for(str(path[1])), kind)
                yield from _own_part(model, whole, kind, (*path, kind), catalog)
            else:
                yield from _model(model, kind, (*path, kind), catalog)
    if catalog is not None:
        yield from _voices(config, catalog)
        for path, message in catalog.fit_problems(config) if catalog.fit_problems is not None else ():
            yield Finding(path, f"{dotted(path[: path.index('options')])}.options: {message}")


def _all_models(config: SessionConfig) -> Iterator[tuple[Path, Models]]:
    yield ("models",), config.models
    for name, agent in config.agents.items():
        yield ("agents", name, "models"), agent.models


def _present(config: SessionConfig) -> Iterator[Finding]:
    for name, agent in config.agents.items():
        models = config.models_for(name)
        if agent.class_ is not None or models.realtime is not None:
            continue
        needed: tuple[Kind, ...] = ("llm",) if config.is_text_only else ("stt", "llm", "tts")
        lacking = [kind for kind in needed if getattr(models, kind) is None]
        if lacking:
            keys = ", ".join(f"models.{kind} ({_WORDS[kind]})" for kind in lacking)
            yield Finding(("models",), f"there is no {keys}; name it, or include offline", at_key=True)
            return


def _own_part(
    own: ModelConfig, whole: ModelConfig, kind: Kind, path: Path, catalog: Catalog | None
) -> Iterator[Finding]:
    """What an agent says of a model whose provider is the session's; `whole` is both together."""
    where = dotted(path)
    if whole.identity is None:
        yield Finding(path, f"{where} lacks the key 'provider', and the session has none", at_key=True)
        return
    yield from _temperature(own, kind, path)
    yield from _fallbacks(own, kind, path, catalog)
    if catalog is None:
        return
    facts = catalog.providers.get(whole.provider or "")
    known = facts.models.get(kind) if facts is not None else None
    if own.model is not None and known is not None and own.model not in known:
        message = f"{whole.provider} has no {kind} model '{own.model}'{suggestion(own.model, known)}"
        yield Finding((*path, "model"), message)
    if own.options and catalog.option_problems is not None:
        for below, message in catalog.option_problems(kind, whole):
            yield Finding((*path, "options", *option_path(below)), f"{where}.options: {message}")


def _temperature(model: ModelConfig, kind: Kind, path: Path) -> Iterator[Finding]:
    if model.temperature is not None and kind not in ("llm", "realtime"):
        yield Finding((*path, "temperature"), f"{dotted(path)}: {_WORDS[kind]} has no temperature")


def _fallbacks(model: ModelConfig, kind: Kind, path: Path, catalog: Catalog | None) -> Iterator[Finding]:
    for number, other in enumerate(model.fallback):
        at: Path = (*path, "fallback", number)
        if other.fallback:
            yield Finding(
                (*at, "fallback"), "a fallback has no fallbacks of its own; list them one after another"
            )
        yield from _model(other, kind, at, catalog)


def _model(model: ModelConfig, kind: Kind, path: Path, catalog: Catalog | None) -> Iterator[Finding]:
    where = dotted(path)
    if model.provider is not None and model.plugin is not None:
        yield Finding((*path, "plugin"), f"{where} names a provider and a plugin; it takes one of them")
    elif model.identity is None:
        yield Finding(path, f"{where} lacks the key 'provider'", at_key=True)
    yield from _temperature(model, kind, path)
    yield from _fallbacks(model, kind, path, catalog)
    if catalog is None:
        return
    if (
        model.plugin is not None
        and not model.plugin.startswith(_PLUGINS)
        and model.plugin not in catalog.modules
    ):
        yield Finding((*path, "plugin"), f"module '{model.plugin}' is neither livekit's nor in AGENT_MODULES")
    elif (
        model.plugin is not None
        and catalog.is_installed is not None
        and not catalog.is_installed(model.plugin)
    ):
        cure = _package(model.plugin)
        yield Finding((*path, "plugin"), f"plugin '{model.plugin}' is not installed{cure}")
    if model.provider is not None:
        yield from _provider(model, model.provider, kind, path, catalog)
    if catalog.option_problems is not None and model.identity is not None:
        for below, message in catalog.option_problems(kind, model):
            yield Finding((*path, "options", *option_path(below)), f"{where}.options: {message}")


def _package(plugin: str) -> str:
    """What to install for a plugin of livekit's; of another module nobody knows."""
    name = plugin.removeprefix(_PLUGINS).partition(".")[0]
    return f": install livekit-plugins-{name.replace('_', '-')}" if plugin.startswith(_PLUGINS) else ""


def _provider(model: ModelConfig, name: str, kind: Kind, path: Path, catalog: Catalog) -> Iterator[Finding]:
    facts = catalog.providers.get(name)
    if facts is None:
        yield Finding((*path, "provider"), f"no provider '{name}'{suggestion(name, catalog.providers)}")
        return
    problem = provider_problem(facts, kind, catalog, model.api_key_env)
    if problem is not None:
        yield Finding((*path, "api_key_env" if model.api_key_env else "provider"), problem)
        return
    known = facts.models.get(kind)
    if model.model is not None and known is not None and model.model not in known:
        yield Finding(
            (*path, "model"), f"{name} has no {kind} model '{model.model}'{suggestion(model.model, known)}"
        )
    if model.model is None and kind in facts.needs_model and model.identity is not None:
        yield Finding(path, f"{name} needs a model for {kind}", at_key=True)


def provider_problem(facts: ProviderFacts, kind: Kind, catalog: Catalog, key_env: str | None) -> str | None:
    """Why a provider cannot be used for a kind of model here, in one line; None when it can."""
    if kind not in facts.kinds:
        offered = ", ".join(sorted(facts.kinds))
        return f"{facts.name} offers no {kind}; it offers {offered}"
    if not facts.installed:
        extra = f": install livekit-agent-runtime[{facts.extra}]" if facts.extra else ""
        return f"provider '{facts.name}' is not installed{extra}"
    variable = key_env or facts.key_env
    if variable is not None and not catalog.is_set(variable):
        return f"provider '{facts.name}' needs a key: set {variable}"
    return None


def option_path(below: str) -> Path:
    """`rules[2].when` as a path."""
    path: list[str | int] = []
    for part in below.replace("[", ".[").split("."):
        if part.startswith("[") and part[1:-1].isdigit():
            path.append(int(part[1:-1]))
        elif part:
            path.append(part)
    return tuple(path)


def _voices(config: SessionConfig, catalog: Catalog) -> Iterator[Finding]:
    agents: list[tuple[Path, str | None]] = [(("agents", name, "voice_id"), name) for name in config.agents]
    places: list[tuple[Path, str | None]] = [(("voice_id",), None), *agents]
    own_voices = _with_voices_of_their_own(config)
    for path, agent in places:
        voice = config.voice_id if agent is None else config.agents[agent].voice_id
        tts = config.models_for(agent).tts
        if isinstance(voice, str) and tts is not None and tts.provider is not None:
            if tts.provider not in own_voices:
                yield from _voice(voice, tts.provider, path, catalog)
        elif isinstance(voice, dict):
            for provider, name in voice.items():
                if provider in own_voices:
                    continue
                if provider in catalog.providers:
                    yield from _voice(name, provider, (*path, provider), catalog)
                elif "." not in provider:
                    message = f"no provider '{provider}'{suggestion(provider, catalog.providers)}"
                    yield Finding((*path, provider), message, at_key=True)


def _with_voices_of_their_own(config: SessionConfig) -> frozenset[str | None]:
    """Providers that are used with another server's address: nobody here knows that server's voices."""
    found = set()
    for _, models in _all_models(config):
        for primary in (models.tts, models.realtime):
            for model in (primary, *primary.fallback) if primary is not None else ():
                if model.base_url is not None:
                    found.add(model.provider)
    return frozenset(found)


def _voice(name: str, provider: str, path: Path, catalog: Catalog) -> Iterator[Finding]:
    facts = catalog.providers.get(provider)
    if facts is None:
        return
    if facts.voices is not None and name not in facts.voices:
        yield Finding(path, f"{provider} has no voice '{name}'{suggestion(name, facts.voices)}")
    elif facts.voice_problem is not None and (problem := facts.voice_problem(name)) is not None:
        yield Finding(path, problem)
