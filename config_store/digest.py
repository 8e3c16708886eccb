"""The digest of a session config: equal content, equal digest, whatever the key order or the platform."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

import rfc8785

from config_store.schema import SessionConfig

_LEFT_OUT = ("variables", "metadata")
_LARGEST_PLAIN = 2.0**53
_SMALLEST_PLAIN = 1e-4
_ENCODER = json.JSONEncoder(ensure_ascii=False, sort_keys=True, separators=(",", ":"))


def digest_of(config: SessionConfig, content: Mapping[str, Any] | None = None) -> str:
    """
    `sha256:…` over the canonical JSON (RFC 8785) of the validated config.

    Variables and metadata are left out: they say whom a session is with, not what it is. Texts count with
    their templates, for the same reason.

    Args:
        config: The config.
        content: Its dump as JSON values by alias, where the caller has it already.
    """
    dump = config.model_dump(mode="json", by_alias=True) if content is None else content
    kept = {key: value for key, value in dump.items() if key not in _LEFT_OUT}
    return f"sha256:{hashlib.sha256(canonical(kept)).hexdigest()}"


def canonical(value: Any) -> bytes:
    """
    Canonical JSON as RFC 8785 has it.

    What Python's own encoder writes alike is left to it, because it is ten times as quick and every session
    waits for this; the rest (exponents, keys beyond ASCII) is left to the library.
    """
    try:
        text = _ENCODER.encode(_plain(value))
    except _NotPlainError:
        return rfc8785.dumps(value)
    return text.encode("utf-8")


class _NotPlainError(ValueError):
    """Python's encoder would write this value in another way."""


_AS_THEY_ARE = frozenset({str, bool})


def _has_plain_keys(value: dict[Any, Any]) -> bool:
    try:
        return "".join(value).isascii()
    except TypeError:  # a key that is no text
        return False


def _plain(value: Any) -> Any:
    if isinstance(value, str) or value is None or isinstance(value, bool):
        return value
    if isinstance(value, dict):
        if not _has_plain_keys(value):
            raise _NotPlainError
        # most values are these, and a call for each would take half of the time
        return {
            key: item if item is None or type(item) in _AS_THEY_ARE else _plain(item)
            for key, item in value.items()
        }
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, float):
        if value.is_integer() and abs(value) < _LARGEST_PLAIN:
            return int(value)
        if not _SMALLEST_PLAIN <= abs(value) < _LARGEST_PLAIN:
            raise _NotPlainError
        return value
    if isinstance(value, int) and abs(value) < _LARGEST_PLAIN:
        return value
    raise _NotPlainError
