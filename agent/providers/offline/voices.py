"""The voices of eSpeak NG, from its data files: a name can be checked without loading the engine."""

from __future__ import annotations

import difflib
from functools import cache
from pathlib import Path

DEFAULT_VOICE = "en-us"


@cache
def languages() -> dict[str, str]:
    """
    Language tag in lower case → the name of its voice file, like `gmw/en-US`.

    A tag that several files claim goes to the one that claims it most strongly (the lowest number).
    """
    root = _data() / "lang"
    best: dict[str, tuple[int, str]] = {}
    for path in sorted(p for p in root.rglob("*") if p.is_file()):
        name = path.relative_to(root).as_posix()
        for line in path.read_text(encoding="utf-8").splitlines():
            word, _, rest = line.partition(" ")
            tag, *strength = rest.split()[:2] if word == "language" else [""]
            if not tag:
                continue
            claim = (int(strength[0]) if strength and strength[0].isdigit() else 5, name)
            best[tag.lower()] = min(claim, best.get(tag.lower(), claim))
    return {tag: name for tag, (_, name) in best.items()}


@cache
def variants() -> frozenset[str]:
    """What may stand behind the plus sign: `f3`, `klatt4` …"""
    return frozenset(path.name for path in (_data() / "voices" / "!v").iterdir())


def voice_file(voice: str) -> str:
    """
    The engine's name for `voice` (`en-us`, `en-gb+f3`).

    Raises:
        ValueError: There is no such voice; names the part that is wrong and the nearest one that exists.
    """
    problem = voice_problem(voice)
    if problem is not None:
        raise ValueError(problem)
    tag, plus, variant = voice.partition("+")
    return languages()[tag.lower()] + plus + variant


def voice_problem(voice: str) -> str | None:
    """What is wrong with a voice's name in one sentence; None when nothing is."""
    tag, plus, variant = voice.partition("+")
    if tag.lower() not in languages():
        near = _near(tag.lower(), languages())
        return f"no offline voice {tag!r}{near}; a voice is a language like en-us, en-gb, hi"
    if plus and variant not in variants():
        near = _near(variant, variants())
        return f"no variant {variant!r} of offline voices{near}; f3, m3 and klatt4 are some"
    return None


def voice_for_language(language: str) -> str:
    """The voice for a BCP 47 tag: its own, else its primary language's, else `en-us`."""
    tag = language.lower()
    if tag in languages():
        return tag
    primary = tag.split("-")[0]
    return primary if primary in languages() and primary != "en" else DEFAULT_VOICE


def _near(name: str, known: dict[str, str] | frozenset[str]) -> str:
    near = difflib.get_close_matches(name, sorted(known), n=1)
    return f", did you mean {near[0]!r}" if near else ""


def _data() -> Path:
    import espeakng_loader

    return Path(espeakng_loader.get_data_path())
