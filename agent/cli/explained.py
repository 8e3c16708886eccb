"""What `agent bundles explain` prints: every value of a session config with its origin."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import yaml

from config_store.resolve import Resolved
from config_store.scalars import ScalarError
from config_store.scalars import resolve as read_scalar

_WIDEST = 60


@dataclass(frozen=True)
class Explained:
    """A session config to print. `sourced` has the text as written where the environment has a part."""

    resolved: Resolved
    sourced: Mapping[str, str]

    def values(self) -> Iterator[tuple[str, Any, str]]:
        """Path, value and origin of everything; a value from the environment as it is written."""
        config = self.resolved.config.model_dump(mode="json", by_alias=True)
        for path, origin in self.resolved.origins.items():
            yield path, self._shown(path, _at(config, path)), origin

    def _shown(self, path: str, value: Any) -> Any:
        if path in self.sourced:
            return self.sourced[path]
        inside = [known for known in self.sourced if known.startswith((f"{path}[", f"{path}."))]
        return "(from the environment in part)" if inside else value

    def as_dict(self) -> dict[str, Any]:
        """The whole as JSON."""
        resolved = self.resolved
        return {
            "bundle": resolved.bundle,
            "preset": resolved.preset,
            "digest": resolved.digest,
            "values": [
                {"path": path, "value": value, "origin": origin} for path, value, origin in self.values()
            ],
            "variables": dict(resolved.variables),
            "verdicts": [verdict.as_dict() for verdict in resolved.verdicts],
        }


def _at(config: Any, path: str) -> Any:
    """The value at a dotted path; names with dots in them are found too."""
    if not path:
        return config
    names = path.split(".")
    for count in range(1, len(names) + 1):
        name = ".".join(names[:count])
        if isinstance(config, dict) and name in config:
            return _at(config[name], ".".join(names[count:]))
    return None


def lines_of(explained: Explained) -> Iterator[str]:
    """The lines for people, in three columns."""
    resolved = explained.resolved
    preset = f", preset {resolved.preset}" if resolved.preset else ""
    yield f"bundle {resolved.bundle}{preset}  {resolved.digest}"
    rows = [(path, _text(value), origin) for path, value, origin in explained.values()]
    first = max((len(path) for path, _, _ in rows), default=0)
    second = min(_WIDEST, max((len(value) for _, value, _ in rows), default=0))
    for path, value, origin in rows:
        yield f"  {path:<{first}}  {value:<{second}}  {origin}"
    for verdict in resolved.verdicts:
        asked = f", asked for {verdict.asked}" if verdict.asked is not None else ""
        allowed = f" (allowed: {verdict.range})" if verdict.range else ""
        yield f"{verdict.verdict}: {verdict.path or 'the override'}{asked}: {verdict.reason}{allowed}"


def _text(value: Any) -> str:
    if isinstance(value, str):
        text = " ".join(value.split())
    else:
        text = yaml.safe_dump(value, default_flow_style=True, allow_unicode=True, width=10_000)
        text = text.removesuffix("\n").removesuffix("\n...").strip()
    return text if len(text) <= _WIDEST else f"{text[: _WIDEST - 1]}…"


def nested(pairs: Iterable[tuple[str, str]]) -> dict[str, Any]:
    """
    Settings from `path=value` pairs; a value is read as YAML, so that `{a: b}` and `[x]` are what they seem.

    Raises:
        ValueError: A path goes through a value that is not a map, or a value is not YAML.
    """
    settings: dict[str, Any] = {}
    for path, text in pairs:
        at: Any = settings
        *parents, last = path.split(".")
        for name in parents:
            at = at.setdefault(name, {}) if isinstance(at, dict) else None
        if not isinstance(at, dict):
            raise ValueError(f"'{path}': a part of this path has a value of its own")  # noqa: TRY004
        at[last] = _value(path, text)
    return settings


def _value(path: str, text: str) -> Any:
    try:
        if text[:1] in ("[", "{"):
            return yaml.safe_load(text)
        return read_scalar(text) if text else ""
    except (ScalarError, yaml.YAMLError):
        raise ValueError(f"'{path}': the value cannot be read") from None
