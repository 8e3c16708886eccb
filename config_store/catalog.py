"""
What this worker can do, as far as checking a bundle needs it.

The worker fills a catalog from its provider registry; config_store itself knows no provider.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType

from config_store.models import Kind, ModelConfig
from config_store.python_names import Names
from config_store.schema import SessionConfig
from config_store.span import Path


@dataclass(frozen=True)
class ProviderFacts:
    """What is known of one provider."""

    name: str
    kinds: frozenset[Kind]
    """What it offers."""
    models: Mapping[Kind, tuple[str, ...] | None] = field(default_factory=dict)
    """Names of its models by kind; None or absent: not a closed list, any name is passed on."""
    voices: tuple[str, ...] | None = None
    """Names of its voices; None: not a closed list."""
    voice_problem: Callable[[str], str | None] | None = None
    """Says what is wrong with a voice's name (None: nothing) where `voices` does not."""
    key_env: str | None = None
    """The variable that holds its key; None: it needs none."""
    installed: bool = True
    """Whether its plugin can be imported here."""
    extra: str | None = None
    """The extra of this distribution that installs it; None: built in."""
    needs_model: frozenset[Kind] = frozenset()
    """Kinds for which a bundle must name a model."""


@dataclass(frozen=True, repr=False)
class Catalog:
    """
    Providers, tools and Python modules of this worker.

    `environment` is only asked which variables are set; its values are never shown (nor is it in `repr`).
    """

    providers: Mapping[str, ProviderFacts]
    tools: frozenset[str] = frozenset({"end_call", "set_panel"})
    """Names of the built-in tools."""
    modules: frozenset[str] = frozenset()
    """Python modules that bundles may name."""
    names: Mapping[str, Names | None] | None = None
    """What each of them that is there defines (None: not known); None: nobody looked."""
    environment: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    is_installed: Callable[[str], bool] | None = None
    """Says whether the module of a `plugin:` can be found; None: nobody looks."""
    option_problems: Callable[[Kind, ModelConfig], Sequence[tuple[str, str]]] | None = None
    """Says what is wrong with a model's `options`, as (path below options, message); None: not checked."""
    fit_problems: Callable[[SessionConfig], Iterable[tuple[Path, str]]] | None = None
    """Says what of models' `options` does not fit the agents, as (path, message); None: not checked."""

    def __repr__(self) -> str:
        return f"Catalog({len(self.providers)} providers)"

    def is_set(self, variable: str) -> bool:
        """Whether the environment has this variable with a value that is not empty."""
        return bool(self.environment.get(variable))
