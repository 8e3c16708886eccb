"""
What a provider is, as data: the kinds of model it has, its voices, what it does with each tuning knob.

One small module per provider fills these in; nothing here imports a plugin, so that a worker can list
every provider without paying for the ones that no bundle uses.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any, Literal

from config_store.schema import Kind, ModelConfig

Support = Literal["exact", "approximated", "unsupported"]


class ProviderError(Exception):
    """A model cannot be built; one line that names the provider, the cause and what to do."""


@dataclass(frozen=True)
class Cell:
    """What one provider's model does with one tuning knob."""

    support: Support
    low: float | None = None
    """Least value that is passed on; None: the knob has no range (text, yes or no)."""
    high: float | None = None
    """Greatest value that is passed on."""
    steps: tuple[float, ...] | None = None
    """The only values the model takes; others go to the nearest one."""
    how: str = ""
    """How it is done, or why it is not, in a few words for the table in the documentation."""


def exact(low: float | None = None, high: float | None = None, how: str = "") -> Cell:
    """The model does what the number says."""
    return Cell("exact", low, high, how=how)


def approximated(how: str, low: float, high: float, *, steps: tuple[float, ...] | None = None) -> Cell:
    """The model does something near what the number says; `how` says what."""
    return Cell("approximated", low, high, steps, how)


def unsupported(how: str = "") -> Cell:
    """The model has nothing like it; a value gets a verdict and is not passed on."""
    return Cell("unsupported", how=how)


Row = Mapping[str, Cell]
"""Knob → cell, for one model."""

TuningTable = tuple[tuple[str, Row], ...]
"""(Pattern of model names as in `fnmatch`, row): the first that matches counts."""


@dataclass(frozen=True)
class Tuning:
    """Voice tuning as it goes to a model: in range, without what the model lacks. None: not set."""

    pace: float | None = None
    pitch: float | None = None
    loudness: float | None = None
    stability: float | None = None
    similarity_boost: float | None = None
    style: float | None = None
    use_speaker_boost: bool | None = None
    instructions: str | None = None


@dataclass(frozen=True)
class Request:
    """Everything a provider needs to build one model."""

    model: ModelConfig
    key: str | None
    """The key itself; None where the provider needs none."""
    language: str
    """BCP 47, like en-IN."""
    voice: str | None = None
    """None: the provider's default voice."""
    tuning: Tuning = field(default_factory=Tuning)


@dataclass(frozen=True)
class Offer:
    """What a provider has of one kind."""

    target: str
    """`module:Class` of the constructor that `options:` goes to."""
    build: Callable[[Request], Any]
    """Makes a new object at each call; raises ProviderError, ValueError or TypeError for wrong values."""
    models: tuple[str, ...] | None = None
    """Known model names for messages and editors; None: any. Providers add models, so it is never closed."""
    needs_model: bool = True
    """Whether a bundle has to name the model."""
    reserved: Mapping[str, str] = field(default_factory=dict)
    """Constructor argument → the field of the bundle that sets it, so `options:` may not."""
    check: Callable[[Mapping[str, Any]], list[tuple[str, str]]] | None = None
    """
    Problems of `options` as (path below options, message), for options that are not constructor arguments;
    None: the options are checked against the constructor's signature.
    """


@dataclass(frozen=True)
class Provider:
    """One provider."""

    name: str
    offers: Mapping[Kind, Offer]
    packages: tuple[str, ...]
    """Modules that have to be importable for it to count as installed."""
    key_env: str | None = None
    """The variable that holds its key unless a bundle names another one; None: it needs no key."""
    extra: str | None = None
    """The extra of our distribution that installs it; None: always installed."""
    default_voice: Callable[[Kind, str], str] | None = None
    """The voice where none is named, by kind and language (BCP 47); None: the plugin's own."""
    voices: tuple[str, ...] | None = None
    """The voices where they are a closed list; None: any name goes to the provider as it is."""
    voice_problem: Callable[[str], str | None] | None = None
    """Says what is wrong with a voice's name, for voices that are closed but too many to list."""
    tuning: TuningTable = ()
    realtime_tuning: TuningTable = ()
    live: Mapping[Kind, Callable[[Request], dict[str, Any]]] = field(default_factory=dict)
    """By kind, the arguments of `update_options` for a request: what can change in a live call."""
    languages: str = ""
    """Which languages it speaks and understands, in words, for the documentation."""

    def has_voice(self, name: str) -> bool:
        """Whether it has a voice of this name; True when nobody here can know."""
        if self.voices is not None and name not in self.voices:
            return False
        return self.voice_problem is None or self.voice_problem(name) is None

    @property
    def installed(self) -> bool:
        """Whether its packages can be imported; looks them up without importing them."""
        return all(_found(package) for package in self.packages)


@cache
def _found(package: str) -> bool:
    try:
        return importlib.util.find_spec(package) is not None
    except ModuleNotFoundError:  # the parent of a dotted name is missing
        return False
