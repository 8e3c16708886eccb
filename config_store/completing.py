"""From a document to a config: what was left open is filled in; then its digest and all its origins."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from config_store.digest import digest_of
from config_store.levels import LEVEL_ORIGIN, fill, recovery_phrase
from config_store.published import CompiledBundle
from config_store.schema import SessionConfig

DEFAULT_ORIGIN = "default"
_LANGUAGE = SessionConfig.model_fields["target_language"].default
_LEVEL = SessionConfig.model_fields["optimization_level"].default


def completed(document: dict[str, Any], origins: dict[str, str]) -> SessionConfig:
    """
    The config of a document: the level's choices filled in, the initial agent and the recovery words named.

    Args:
        document: With agents.
        origins: Gets those of what is filled in.

    Raises:
        ValidationError: The document is not valid.
    """
    level = document.get("optimization_level", _LEVEL)
    filled = dict(fill(document, level, origins))
    filled["initial_agent"] = initial_agent(document)
    if "recovery" not in filled:
        filled["recovery"] = recovery_phrase(document.get("target_language", _LANGUAGE))
    return SessionConfig.model_validate(filled)


def initial_agent(document: Mapping[str, Any]) -> str:
    """The agent that begins: the one that is named, else the first."""
    return str(document.get("initial_agent") or next(iter(document["agents"])))


def identity_of(config: SessionConfig, origins: Mapping[str, str]) -> tuple[str, dict[str, str]]:
    """The digest of a config, and the origin of every value of it: the one that is known, else `default`."""
    content = config.model_dump(mode="json", by_alias=True)
    found: dict[str, str] = {}
    _collect("", content, origins, found)
    return digest_of(config, content), found


def _collect(prefix: str, values: Mapping[str, Any], known: Mapping[str, str], found: dict[str, str]) -> None:
    for key, value in values.items():
        at = prefix + key
        if type(value) is dict and value:
            _collect(f"{at}.", value, known, found)
        else:
            found[at] = known.get(at, DEFAULT_ORIGIN)


def given(origins: Mapping[str, str]) -> dict[str, str]:
    """The origins of what somebody wrote, without those of what was filled in."""
    return {path: origin for path, origin in origins.items() if origin not in (DEFAULT_ORIGIN, LEVEL_ORIGIN)}


def finished(bundle: CompiledBundle) -> CompiledBundle:
    """
    A bundle with the digest and the origins of a session that changes nothing of it, so that none has to wait
    for them. A partial bundle stays as it is.

    Raises:
        ValidationError: Its document is not valid.
    """
    if not bundle.is_startable:
        SessionConfig.model_validate(fill(bundle.document, bundle.document.get("optimization_level", _LEVEL)))
        return bundle
    known = given(bundle.origins)
    digest, origins = identity_of(completed(bundle.document, known), known)
    return replace(bundle, digest=digest, origins=origins)
