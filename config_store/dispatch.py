"""The dispatch: what the application said about a session when it asked for an agent."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from config_store.json_text import JsonRefusedError, parse_object, shape_of
from config_store.names import is_bundle_name


class DispatchError(ValueError):
    """
    The dispatch metadata cannot be used; the text is one line and holds no value of it.

    Attributes:
        known: What of it says whose session it is (`session_id`, `user_id`, `organization`), as far as that
            is right: a refused session has a record and a tombstone under its own id.
    """

    def __init__(self, text: str, known: Dispatch | None = None) -> None:
        super().__init__(text)
        self.known = known or Dispatch()


class NotGiven:
    """The type of `NOT_GIVEN`."""

    def __repr__(self) -> str:
        return "NOT_GIVEN"

    def __bool__(self) -> bool:
        return False

    def __reduce__(self) -> str:
        return "NOT_GIVEN"


NOT_GIVEN: Final = NotGiven()
"""A key that is absent, where null means something else."""

SESSION_ID = re.compile(r"[A-Za-z0-9._-]{1,128}")
ORGANIZATION = SESSION_ID
KEYS = frozenset(
    {
        "session_id",
        "bundle",
        "preset",
        "user_id",
        "organization",
        "variables",
        "overrides",
        "overrides_rev",
        "metadata",
    }
)
"""The keys of the metadata, each optional."""
MAX_BYTES = 64 * 1024
_JSON_WORD = re.compile(r"true|false|null|[0-9.]+")
"""What is JSON though it could be a bundle's name: no bundle was meant."""


@dataclass(frozen=True)
class Dispatch:
    """
    What a dispatch says.

    `preset` is NOT_GIVEN when absent, None when the dispatch says null (no preset at all). `variables`,
    `overrides` and `metadata` are as given, unchecked: they go through the same door as every override.
    """

    session_id: str | None = None
    bundle: str | None = None
    preset: str | NotGiven | None = NOT_GIVEN
    user_id: str | None = None
    organization: str | None = None
    variables: Mapping[str, Any] = field(default_factory=dict, repr=False)
    overrides: Mapping[str, Any] = field(default_factory=dict, repr=False)
    overrides_rev: int | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict, repr=False)
    unknown: tuple[str, ...] = ()
    broken: tuple[str, ...] = ()
    """Keys whose value has a wrong type but does not refuse the session: each becomes a verdict."""


def parse_dispatch(metadata: str) -> Dispatch:
    """
    Read the metadata of a job: a JSON object, a bare bundle name, or nothing.

    Raises:
        DispatchError: Broken JSON, another JSON type, or a wrong `session_id`, `bundle`, `preset`,
            `organization` or `user_id`. An empty text there counts as absent.
    """
    text = metadata.strip()
    if not text:
        return Dispatch()
    if is_bundle_name(text) and not _JSON_WORD.fullmatch(text):
        return Dispatch(bundle=text)
    try:
        data = parse_object(text, max_bytes=MAX_BYTES)
    except JsonRefusedError as exc:
        raise DispatchError(
            f"dispatch metadata: {exc}; it must be a JSON object, a bundle name, or empty"
        ) from None
    try:
        return _dispatch(data)
    except DispatchError as exc:
        raise DispatchError(str(exc), _known(data)) from None


def _dispatch(data: Mapping[str, Any]) -> Dispatch:
    maps = {key: data.get(key) for key in ("variables", "overrides", "metadata")}
    broken = [key for key, value in maps.items() if not isinstance(value, dict | None)]
    if not _is_revision(data.get("overrides_rev")):
        broken.append("overrides_rev")
    return Dispatch(
        session_id=_text(data, "session_id", SESSION_ID, "1 to 128 of A-Z a-z 0-9 . _ -"),
        bundle=_bundle(data),
        preset=_text(data, "preset", None, "") if data.get("preset", "") != "" else NOT_GIVEN,
        user_id=_text(data, "user_id", None, ""),
        organization=_text(data, "organization", ORGANIZATION, "1 to 128 of A-Z a-z 0-9 . _ -"),
        variables=_map(maps["variables"]),
        overrides=_map(maps["overrides"]),
        overrides_rev=None if "overrides_rev" in broken else data.get("overrides_rev"),
        metadata=_map(maps["metadata"]),
        unknown=tuple(sorted(set(data) - KEYS)),
        broken=tuple(broken),
    )


def _map(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _known(data: Mapping[str, Any]) -> Dispatch:
    """Whose session a wrong dispatch means."""
    known: dict[str, Any] = {}
    for key, pattern in (("session_id", SESSION_ID), ("user_id", None), ("organization", ORGANIZATION)):
        with contextlib.suppress(DispatchError):
            known[key] = _text(data, key, pattern, "")
    return Dispatch(**known)


def _text(data: Mapping[str, Any], key: str, pattern: re.Pattern[str] | None, allowed: str) -> str | None:
    value = data.get(key)
    if value is None or value == "":  # an application that has none may send either
        return None
    if not isinstance(value, str):
        raise DispatchError(f"dispatch metadata: {key} must be text, got {shape_of(value)}")
    if pattern is not None and not pattern.fullmatch(value):
        raise DispatchError(f"dispatch metadata: {key} must be {allowed}")
    if len(value) > 256:
        raise DispatchError(f"dispatch metadata: {key} must have 1 to 256 characters, got {len(value)}")
    return value


def _bundle(data: Mapping[str, Any]) -> str | None:
    name = _text(data, "bundle", None, "")
    if name is not None and not is_bundle_name(name):
        raise DispatchError(
            "dispatch metadata: bundle is not the name of a bundle, such as interview or acme/interview"
        )
    return name


def _is_revision(value: object) -> bool:
    return value is None or (isinstance(value, int) and not isinstance(value, bool) and value >= 0)
