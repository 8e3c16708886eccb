"""The frozen result for one session."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from config_store.frozen import FrozenDict, freeze
from config_store.provenance import scalars
from config_store.schema import SessionConfig
from config_store.secrets import Secrets
from config_store.span import dotted
from config_store.stored import Sourced, Stored, taken_out
from config_store.templates import rendered
from config_store.verdict import Verdict


@dataclass(frozen=True)
class Resolved:
    """
    What one session is, and why.

    `written` is the config with its initial agent named and its templates as they are written; `config` is
    what the session runs on, with the values of `variables` in their place. `origins` says for every value
    where it came from: a place in a bundle, `optimization_level`, `preset ID`, `dispatch`, `redis KEY`,
    `command` or `default`. `sourced` is the text as written of the values in which the environment has a
    part: whoever shows or stores the config shows and stores that. No verdict shows such a value, and
    `repr` shows no value of the config at all.
    """

    written: SessionConfig = field(repr=False)
    bundle: str
    preset: str | None
    digest: str
    origins: Mapping[str, str] = field(repr=False)
    verdicts: tuple[Verdict, ...]
    variables: Mapping[str, str] = field(repr=False)
    user_id: str | None
    organization: str | None
    sourced: Mapping[str, str] = field(default_factory=FrozenDict, repr=False)
    config: SessionConfig = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "config", rendered(self.written, self.variables))
        if self.sourced:
            object.__setattr__(self, "verdicts", self.without_secrets(self.verdicts))

    @property
    def initial_agent(self) -> str:
        """The agent that begins."""
        return self.config.initial_agent or next(iter(self.config.agents))

    @property
    def metadata(self) -> Mapping[str, Any]:
        """The application's own; nothing here reads it."""
        return self.written.metadata

    def without_secrets(self, verdicts: Iterable[Verdict]) -> tuple[Verdict, ...]:
        """The verdicts with the text as written in place of every value that the environment gave."""
        if not self.sourced:
            return tuple(verdicts)
        content = self.written.model_dump(mode="json", by_alias=True, exclude_unset=True)
        values = {name: value for path, value in scalars(content) if (name := dotted(path)) in self.sourced}
        secrets = Secrets([(value, self.sourced[path]) for path, value in values.items()], {})

        def hidden(verdict: Verdict) -> Verdict:
            reason, value = secrets.hidden(verdict.reason), values.get(verdict.path)
            if value is None:  # elsewhere the same number is what somebody asked for
                return replace(verdict, reason=reason)
            text = self.sourced[verdict.path]
            asked, applied = (text if shown == value else shown for shown in (verdict.asked, verdict.applied))
            return replace(verdict, reason=reason, asked=asked, applied=applied)

        return tuple(hidden(verdict) for verdict in verdicts)

    def stored(self) -> Stored:
        """The whole without any value of the environment, to be stored or shown."""
        content = self.written.model_dump(mode="json", by_alias=True, exclude_unset=True)
        sourced = taken_out(content, self.sourced)
        rules = {
            entry.path[1]: self.written.variables[str(entry.path[1])]
            for entry in sourced
            if _is_default(entry)
        }
        variables = {
            name: value
            for name, value in self.variables.items()
            if name not in rules or value != rules[name].default
        }
        is_of_bundle = self.organization == self.written.organization
        return Stored(
            config=content,
            bundle=self.bundle,
            preset=self.preset,
            digest=self.digest,
            origins=self.origins,
            verdicts=self.verdicts,
            variables=variables,
            user_id=self.user_id,
            organization=None if is_of_bundle else self.organization,
            sourced=sourced,
        )

    def to_json(self) -> str:
        """The whole as it is stored with the session's state."""
        return self.stored().to_json()

    @classmethod
    def from_json(cls, text: str | bytes, environ: Mapping[str, str]) -> Resolved:
        """
        What `to_json` wrote, with the values of this environment.

        The digest is that of the session as it began, also where a variable has another value by now.

        Raises:
            StoredError: Not something `to_json` of this release wrote, a variable is not set, or its value no
                longer fits.
        """
        stored = Stored.from_json(text)
        written = stored.with_values(environ)
        rules = written.variables.items()
        defaults = {name: rule.default for name, rule in rules if rule.default is not None}
        return cls(
            written=written,
            bundle=stored.bundle,
            preset=stored.preset,
            digest=stored.digest,
            origins=freeze(stored.origins),
            verdicts=stored.verdicts,
            variables=freeze({**defaults, **stored.variables}),
            user_id=stored.user_id,
            organization=stored.organization or written.organization,
            sourced=freeze({dotted(entry.path): entry.text for entry in stored.sourced}),
        )


def _is_default(entry: Sourced) -> bool:
    """Whether it is the default of a variable."""
    return len(entry.path) == 3 and entry.path[0] == "variables" and entry.path[2] == "default"
