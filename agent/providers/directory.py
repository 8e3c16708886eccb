"""Which providers there are, and which one a model means."""

from __future__ import annotations

from collections.abc import Mapping

from agent.providers.anthropic import ANTHROPIC
from agent.providers.capability import Offer, Provider, ProviderError, Row
from agent.providers.elevenlabs import ELEVENLABS
from agent.providers.offline.provider import OFFLINE
from agent.providers.openai import OPENAI
from agent.providers.plugin import provider_of
from agent.providers.sarvam import SARVAM
from config_store.schema import KINDS, Kind, ModelConfig, SessionConfig

PROVIDERS: Mapping[str, Provider] = {p.name: p for p in (OPENAI, ELEVENLABS, OFFLINE, SARVAM, ANTHROPIC)}
"""Every provider with a name, installed or not."""


def provider_for(model: ModelConfig) -> Provider:
    """
    The provider that a model names.

    Raises:
        ProviderError: It names none or an unknown one, or its packages are not installed; says what to do.
    """
    if model.provider is not None:
        provider = PROVIDERS.get(model.provider)
        if provider is None:
            raise ProviderError(
                f"no provider {model.provider!r}; there are {', '.join(PROVIDERS)}, and plugin:"
            )
    elif model.plugin is not None:
        provider = provider_of(model.plugin)
    else:
        raise ProviderError("a model names neither provider nor plugin")
    if not provider.installed:
        how = (
            f"livekit-agent-runtime[{provider.extra}]"
            if provider.extra
            else f"the package of {provider.name}"
        )
        raise ProviderError(f"{provider.name} is not installed: install {how}")
    return provider


def offer_for(kind: Kind, model: ModelConfig) -> tuple[Provider, Offer]:
    """
    Provider and offer for a model of this kind.

    Raises:
        ProviderError: As in `provider_for`, or the provider has no such kind.
    """
    provider = provider_for(model)
    offer = provider.offers.get(kind)
    if offer is None:
        raise ProviderError(f"{provider.name} has no {kind}; it has {', '.join(provider.offers)}")
    return provider, offer


def providers_used(config: SessionConfig) -> frozenset[str]:
    """Names of the providers, or modules of the plugins, that a session may use, fallbacks included."""
    used = set()
    for agent in (None, *config.agents):
        models = config.models_for(agent)
        for primary in (getattr(models, kind) for kind in KINDS):
            if primary is not None:
                used |= {model.identity for model in (primary, *primary.fallback)}
    return frozenset(name for name in used if name)


def tuning_rows() -> list[tuple[str, Row]]:
    """Every row of every provider's tuning table, named as in the documentation."""
    rows = []
    for provider in PROVIDERS.values():
        kinds = (("", provider.tuning), (" realtime", provider.realtime_tuning))
        for kind, table in kinds:
            for pattern, row in table:
                rest = "other models" if len(table) > 1 else "all models"
                rows.append((f"{provider.name}{kind}, {rest if pattern == '*' else pattern}", row))
    return rows
