"""What this runtime says by itself, in the session's language."""

from __future__ import annotations

from functools import cache
from importlib import resources
from typing import Literal, cast

import yaml

from config_store.schema import DurationWarning, IdlePrompt, SessionConfig

Occasion = Literal["idle", "warning", "goodbye", "trouble"]

FALLBACK_LANGUAGE = "en"


@cache
def languages() -> dict[str, dict[str, str]]:
    """Primary language → its name in English and its sentence for each occasion."""
    text = resources.files("agent.providers").joinpath("sentences.yaml").read_text(encoding="utf-8")
    return cast(dict[str, dict[str, str]], yaml.safe_load(text))


def sentence(occasion: Occasion, language: str) -> str:
    """
    The sentence for an occasion.

    Args:
        occasion: What it is about.
        language: BCP 47; only the primary language counts. One that is not in the table speaks English.
    """
    return _row(language)[occasion]


def language_instruction(language: str) -> str:
    """
    What a language model is told about the language of the talk, in one line.

    A language without a row is named by its tag, which models understand.
    """
    row = languages().get(_primary(language))
    name = f"{row['name']} ({language})" if row else f"the language with the BCP 47 tag {language}"
    return f"Speak {name}, unless the user asks for another language."


def idle_words(config: SessionConfig, prompt: IdlePrompt) -> str:
    """What an idle prompt says: its own words, else the question in the session's language."""
    return prompt.say or sentence("idle", config.target_language)


def warning_words(config: SessionConfig, warning: DurationWarning) -> str:
    """
    What a warning before the end says: its own words; without any the sentence in the session's language, but
    nothing when the model is told, which speaks for itself. Empty: nothing is said.
    """
    if warning.say is not None:
        return warning.say
    return "" if warning.tell_agent else sentence("warning", config.target_language)


def goodbye_words(config: SessionConfig) -> str:
    """The last words of a session: the bundle's, those in the session's language, or none (empty)."""
    if isinstance(config.goodbye, str):
        return config.goodbye
    return sentence("goodbye", config.target_language) if config.goodbye else ""


def _row(language: str) -> dict[str, str]:
    return languages().get(_primary(language)) or languages()[FALLBACK_LANGUAGE]


def _primary(language: str) -> str:
    return language.split("-")[0].lower()
