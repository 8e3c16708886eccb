"""
A session config as it is kept in Redis while its session lives, for later attempts.

A value of the environment is not kept: in its place the text as written is, `${NAME}` and all, and who reads
the config puts the value of its own environment there.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic import ValidationError

from config_store.env import substitute
from config_store.provenance import scalars
from config_store.scalars import ScalarError, resolve
from config_store.schema import SessionConfig
from config_store.span import Path, dotted
from config_store.templates import is_template, render
from config_store.verdict import Verdict

VERSION = 2
OTHER_RELEASE = "the stored session config is of another release"


class StoredError(ValueError):
    """The stored config cannot be used here; one line that names variables and shows no value."""


@dataclass(frozen=True)
class Sourced:
    """
    A value that the environment has a part in, as it is stored.

    `text` is what stands in the bundle. `is_text` tells that the value was text, however it was written;
    anything else is read as YAML reads it.
    """

    path: Path
    text: str
    is_text: bool

    def value(self, environ: Mapping[str, str]) -> Any:
        """
        The value from an environment.

        Raises:
            StoredError: A variable is not set, or its value is none that YAML has.
        """
        done = substitute(self.text, environ)
        if done.problems:
            raise StoredError(f"{dotted(self.path)}: {done.problems[0].message}")
        try:
            return done.text if self.is_text else resolve(done.text)
        except ScalarError as exc:
            raise StoredError(f"{dotted(self.path)}: the value of {self.text[:60]} {exc}") from None


@dataclass(frozen=True)
class Stored:
    """
    A stored config as it was read: the values of the environment are not in it.

    `config` is without what is left to the schema's defaults, with texts as written.
    """

    config: Mapping[str, Any] = field(repr=False)
    bundle: str
    preset: str | None
    digest: str
    origins: Mapping[str, str] = field(repr=False)
    verdicts: tuple[Verdict, ...]
    variables: Mapping[str, str] = field(repr=False)
    user_id: str | None
    organization: str | None
    sourced: tuple[Sourced, ...] = field(repr=False)

    @classmethod
    def from_json(cls, text: str | bytes) -> Stored:
        """
        What `to_json` wrote.

        Raises:
            StoredError: Not something `to_json` of this release wrote.
        """
        data = json.loads(text)
        if not isinstance(data, dict) or data.pop("version", None) != VERSION:
            raise StoredError(OTHER_RELEASE)
        try:
            sourced = (Sourced(**{**entry, "path": tuple(entry["path"])}) for entry in data["sourced"])
            verdicts = map(Verdict.from_dict, data["verdicts"])
            return cls(**{**data, "verdicts": tuple(verdicts), "sourced": tuple(sourced)})
        except (KeyError, TypeError, ValueError):
            raise StoredError(OTHER_RELEASE) from None

    def to_json(self) -> str:
        """The text that is kept."""
        verdicts = [verdict.as_dict() for verdict in self.verdicts]
        data = {"version": VERSION, **vars(self), "verdicts": verdicts, "sourced": [*map(vars, self.sourced)]}
        return json.dumps(data, ensure_ascii=False, separators=(",", ":"), default=dict)

    def value(self, key: str, environ: Mapping[str, str]) -> Any:
        """
        One top-level value that is no section, for those who need no more.

        The schema's default where it is not set, and where it comes from a variable that is not set here.
        """
        default = SessionConfig.model_fields[key].default
        try:
            for entry in self.sourced:
                if entry.path == (key,):
                    return entry.value(environ)
        except StoredError:
            return default
        return self.config.get(key, default)

    def values_of_variables(self) -> dict[str, str]:
        """The values that the templates get; a default of the environment's as it is written."""
        rules = self.config.get("variables", {}).items()
        defaults = {name: rule["default"] for name, rule in rules if rule.get("default") is not None}
        return {**defaults, **self.variables}

    def rendered(self) -> dict[str, Any]:
        """The content with the variables in the templates."""
        content: dict[str, Any] = json.loads(json.dumps(self.config))
        values = self.values_of_variables()
        for path, text in [*scalars(content)]:
            if is_template(path) and isinstance(text, str):
                _put(content, path, render(text, values))
        return content

    def with_values(self, environ: Mapping[str, str]) -> SessionConfig:
        """
        The config with the values of this environment.

        Raises:
            StoredError: A variable is not set, or its value no longer fits.
        """
        content = json.loads(json.dumps(self.config))
        for entry in self.sourced:
            _put(content, entry.path, entry.value(environ))
        try:
            return SessionConfig.model_validate(content)
        except ValidationError as exc:
            errors = exc.errors(include_input=False)
            where = ", ".join(dotted(error["loc"]) for error in errors[:3])
            if any(error["type"] == "extra_forbidden" for error in errors):
                raise StoredError(f"{OTHER_RELEASE}: {where} is not known here") from None
            raise StoredError(f"{where}: a value of the environment no longer fits") from None


def taken_out(content: dict[str, Any], sourced: Mapping[str, str]) -> tuple[Sourced, ...]:
    """Put the text as written in place of every value of the environment in a config's content."""
    found = tuple(
        Sourced(path, sourced[name], isinstance(value, str))
        for path, value in scalars(content)
        if (name := dotted(path)) in sourced
    )
    for entry in found:
        _put(content, entry.path, entry.text)
    return found


def _put(content: Any, path: Path, value: Any) -> None:
    for segment in path[:-1]:
        content = content[segment]
    content[path[-1]] = value
