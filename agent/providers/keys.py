"""Where a provider's key comes from: the variable a bundle names, else the provider's own."""

from __future__ import annotations

from collections.abc import Mapping

from agent.providers.capability import Provider, ProviderError
from config_store.schema import ModelConfig


def key_variable(provider: Provider, model: ModelConfig) -> str | None:
    """The name of the variable that holds the key of `model`; None when no key is needed."""
    return model.api_key_env or provider.key_env


def key_for(provider: Provider, model: ModelConfig, keys: Mapping[str, str]) -> str | None:
    """
    The key itself, from `keys` (variable → value); None when the provider needs none.

    Raises:
        ProviderError: The variable is unset or empty. Another variable is never tried: an organization's
            own key must not be replaced by somebody else's.
    """
    name = key_variable(provider, model)
    if name is None:
        return None
    value = keys.get(name, "").strip()
    if not value:
        raise ProviderError(f"{provider.name} needs a key: set {name} in the environment or in .env")
    return value
