"""The frozen result for one session."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from config_store.frozen import FrozenDict, freeze
from config_store.schema import SessionConfig
from config_store.verdict import Verdict

VERSION = 1


@dataclass(frozen=True)
class Resolved:
    """
    What one session is, and why.

    `config` has its templates rendered and its initial agent named. `origins` says for every value where it
    came from: a place in a bundle, `optimization_level`, `preset ID`, `dispatch`, `redis KEY` or `default`.
    `sourced` is the text as written of the values in which the environment has a part: whoever shows
    the config shows that. `repr` shows no value of the config.
    """

    config: SessionConfig = field(repr=False)
    bundle: str
    preset: str | None
    digest: str
    origins: Mapping[str, str] = field(repr=False)
    verdicts: tuple[Verdict, ...]
    variables: Mapping[str, str] = field(repr=False)
    metadata: Mapping[str, Any] = field(repr=False)
    user_id: str | None
    organization: str | None
    sourced: Mapping[str, str] = field(default_factory=FrozenDict, repr=False)

    @property
    def initial_agent(self) -> str:
        """The agent that begins."""
        return self.config.initial_agent or next(iter(self.config.agents))

    def to_json(self) -> str:
        """The whole as JSON text, as it is stored with the session's state: names of keys, never keys."""
        data = {
            "version": VERSION,
            "config": self.config.model_dump(mode="json", by_alias=True, exclude_unset=True),
            "bundle": self.bundle,
            "preset": self.preset,
            "digest": self.digest,
            "origins": dict(self.origins),
            "verdicts": [verdict.as_dict() for verdict in self.verdicts],
            "variables": dict(self.variables),
            "user_id": self.user_id,
            "organization": self.organization,
            "sourced": dict(self.sourced),
        }
        return json.dumps(data, ensure_ascii=False, separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str | bytes) -> Resolved:
        """
        What `to_json` wrote.

        Raises:
            ValueError: Not something `to_json` of this release wrote.
        """
        data = json.loads(text)
        if not isinstance(data, dict) or data.pop("version", None) != VERSION:
            raise ValueError("the stored session config is of another version")
        config = SessionConfig.model_validate(data.pop("config"))
        verdicts = tuple(Verdict.from_dict(item) for item in data.pop("verdicts"))
        frozen = {key: freeze(value) for key, value in data.items()}
        return cls(config=config, verdicts=verdicts, metadata=config.metadata, **frozen)
