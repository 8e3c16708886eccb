"""What `agent bundles explain` prints: every value of a session config with its origin."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import yaml

from config_store.fields import default_at
from config_store.history import Said
from config_store.scalars import ScalarError
from config_store.scalars import resolve as read_scalar
from config_store.settings_yaml import read_settings
from config_store.stored import Stored

_WIDEST = 60


@dataclass(frozen=True)
class Explained:
    """
    A session config to print: as it is stored, so that no value of the environment is in it.

    `history` has for each path what every layer said, the strongest first; empty: nobody asked.
    """

    stored: Stored
    history: Mapping[str, list[Said]] = field(default_factory=dict)

    def values(self) -> Iterator[tuple[str, Any, str]]:
        """Path, value and origin of everything."""
        content = self.stored.rendered()
        for path, origin in self.stored.origins.items():
            found = _at(content, path)
            yield path, default_at(path) if found is _NOTHING else found, origin

    def others(self, path: str, origin: str) -> list[Said]:
        """What the layers said over which this value won, the strongest first."""
        return [entry for entry in self.history.get(path, ()) if entry.origin != origin]

    def as_dict(self) -> dict[str, Any]:
        """The whole as JSON."""
        stored = self.stored
        values = []
        for path, value, origin in self.values():
            entry = {"path": path, "value": value, "origin": origin}
            if self.history:
                entry["over"] = [
                    {"value": said.value, "origin": said.origin} for said in self.others(path, origin)
                ]
            values.append(entry)
        return {
            "bundle": stored.bundle,
            "preset": stored.preset,
            "digest": stored.digest,
            "values": values,
            "variables": stored.values_of_variables(),
            "verdicts": [verdict.as_dict() for verdict in stored.verdicts],
        }


_NOTHING = object()


def _at(content: Any, path: str) -> Any:
    """The value at a dotted path, or `_NOTHING`; names with dots in them are found too."""
    if not path:
        return content
    names = path.split(".")
    for count in range(1, len(names) + 1):
        name = ".".join(names[:count])
        if isinstance(content, Mapping) and name in content:
            return _at(content[name], ".".join(names[count:]))
    return _NOTHING


def lines_of(explained: Explained) -> Iterator[str]:
    """The lines for people, in three columns; below a value those it won over."""
    stored = explained.stored
    preset = f", preset {stored.preset}" if stored.preset else ""
    yield f"bundle {stored.bundle}{preset}  {stored.digest}"
    rows = [(path, text_of(value), origin) for path, value, origin in explained.values()]
    first = max((len(path) for path, _, _ in rows), default=0)
    second = min(_WIDEST, max((len(value) for _, value, _ in rows), default=0))
    for path, value, origin in rows:
        yield f"  {path:<{first}}  {value:<{second}}  {origin}"
        for said in explained.others(path, origin):
            yield f"  {'':<{first}}  over {text_of(said.value):<{max(0, second - 5)}}  {said.origin}"
    yield from verdict_lines(verdict.as_dict() for verdict in stored.verdicts)


def verdict_lines(verdicts: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    """One line for each verdict."""
    for verdict in verdicts:
        asked = f", asked for {text_of(verdict['asked'])}" if "asked" in verdict else ""
        allowed = f" (allowed: {verdict['range']})" if "range" in verdict else ""
        path = verdict.get("path") or "the override"
        yield f"{verdict['verdict']}: {path}{asked}: {verdict['reason']}{allowed}"


def text_of(value: Any) -> str:
    """A value on one line, cut where it is long."""
    if isinstance(value, str):
        text = " ".join(value.split())
    else:
        text = yaml.safe_dump(value, default_flow_style=True, allow_unicode=True, width=10_000)
        text = text.removesuffix("\n").removesuffix("\n...").strip()
    return text if len(text) <= _WIDEST else f"{text[: _WIDEST - 1]}…"


def nested(pairs: Iterable[tuple[str, str]]) -> dict[str, Any]:
    """
    Settings from `path=value` pairs; a value is read as YAML, so that `{a: b}`, `[x]` and `"[x]"` are what
    they seem. Quotes count where they are around the whole value.

    Raises:
        ValueError: A path goes through a value that is not a map or stands above another one, or a value is
            not YAML.
    """
    settings: dict[str, Any] = {}
    for path, text in pairs:
        at: Any = settings
        *parents, last = path.split(".")
        for name in parents:
            at = at.setdefault(name, {}) if isinstance(at, dict) else None
        if not isinstance(at, dict):
            raise ValueError(f"'{path}': a part of this path has a value of its own")  # noqa: TRY004
        if isinstance(at.get(last), dict):
            raise ValueError(f"'{path}': something below it is given, too")  # noqa: TRY004
        at[last] = _value(path, text)
    return settings


def _value(path: str, text: str) -> Any:
    try:
        if text[:1] in ("[", "{") or (text[:1] in ("'", '"') and text[1:].endswith(text[0])):
            return read_settings(text, path)
        return read_scalar(text) if text else ""
    except ScalarError as exc:
        raise ValueError(f"'{path}': the value {exc}") from None
    except ValueError as exc:
        hint = f"if it is a text, put it in quotes: --set '{path}=\"…\"'"
        raise ValueError(f"'{path}': the value cannot be read: {exc}; {hint}") from None
