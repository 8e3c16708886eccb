"""Values from the environment inside a scalar of a bundle file."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

_REFERENCE = re.compile(r"\$\$|\$\{([^}]*)(\}?)")
_INSIDE = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)(?::([-?])(.*))?", re.DOTALL)
FORMS = "${NAME}, ${NAME:-default} or ${NAME:?why}"


class Asked(Mapping[str, str]):
    """An environment that remembers which variables somebody asked for."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = environ
        self.names: set[str] = set()

    def __getitem__(self, name: str) -> str:
        self.names.add(name)
        return self._environ[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._environ)

    def __len__(self) -> int:
        return len(self._environ)


@dataclass(frozen=True, slots=True)
class EnvProblem:
    """A reference that cannot be resolved: the how-many-eth `$` form of the text it is, and why."""

    number: int
    message: str


@dataclass(frozen=True, slots=True)
class Substituted:
    """The text with its references replaced. `names` are the variables that had a part in it."""

    text: str
    names: tuple[str, ...] = ()
    problems: tuple[EnvProblem, ...] = ()


def substitute(text: str, environ: Mapping[str, str]) -> Substituted:
    """
    Replace `${NAME}` (must be set), `${NAME:-default}` and `${NAME:?why}` (unset or empty), and `$$` by `$`.

    Forms do not nest, and a value is not searched again. A `$` that begins none of them stays.
    """
    if "$" not in text:
        return Substituted(text)
    parts: list[str] = []
    names: list[str] = []
    problems: list[EnvProblem] = []
    end = 0
    for number, found in enumerate(_REFERENCE.finditer(text)):
        parts.append(text[end : found.start()])
        end = found.end()
        if found.group() == "$$":
            parts.append("$")
            continue
        value = _resolve(found, environ)
        if isinstance(value, EnvMissing):
            problems.append(EnvProblem(number, value.message))
            continue
        names.append(value.name)
        parts.append(value.text)
    parts.append(text[end:])
    return Substituted("".join(parts), tuple(names), tuple(problems))


def reference_offsets(text: str) -> list[tuple[int, int]]:
    """Start and end of every `$` form in a text, in the order in which problems count them."""
    return [found.span() for found in _REFERENCE.finditer(text)]


@dataclass(frozen=True, slots=True)
class EnvMissing:
    """Why a reference has no value."""

    message: str


@dataclass(frozen=True, slots=True)
class EnvValue:
    """A reference with its value."""

    name: str
    text: str


def _resolve(found: re.Match[str], environ: Mapping[str, str]) -> EnvValue | EnvMissing:
    inside = _INSIDE.fullmatch(found.group(1))
    if not found.group(2):
        return EnvMissing(f"'${{' without '}}'; write {FORMS}, or $$ for a dollar sign")
    if inside is None or "${" in found.group(1):
        return EnvMissing(f"not a variable: write {FORMS}, or $$ for a dollar sign")
    name, form, rest = inside.groups()
    value = environ.get(name)
    if form == "-":
        return EnvValue(name, value or rest)
    if form == "?" and not value:
        return EnvMissing(f"${{{name}}} is not set: {rest}" if rest else f"${{{name}}} is not set")
    if value is None:
        return EnvMissing(f"${{{name}}} is not set; set it, or write ${{{name}:-default}}")
    return EnvValue(name, value)
