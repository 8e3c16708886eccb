"""`options:` of a model: handed to the plugin's constructor, so checked against its signature first."""

from __future__ import annotations

import difflib
import importlib
import inspect
from collections.abc import Iterable, Mapping
from typing import Any

from agent.providers.capability import Offer, ProviderError

_OBJECTS = {
    "client": "an object, not a value",
    "http_session": "an object, not a value",
    "conn_options": "an object, not a value",
    "vad": "chosen by the worker",
    "_client": "an object, not a value",
    "api_key": "a key never stands in a bundle: name its variable with api_key_env",
}
"""Arguments that plugins take but a bundle may not set, whatever the provider, with the reason."""


def load_target(target: str) -> Any:
    """
    The class behind `module:Class`.

    Raises:
        ProviderError: The module cannot be imported or has no such class.
    """
    module, _, name = target.partition(":")
    try:
        found: Any = importlib.import_module(module)
    except ImportError as exc:
        raise ProviderError(f"{module} cannot be imported: {exc}") from None
    for part in name.split("."):
        found = getattr(found, part, None)
        if found is None:
            raise ProviderError(f"{module} has no {name}")
    return found


def parameters(target: str) -> dict[str, inspect.Parameter]:
    """The constructor's named arguments; not `**name`, because nothing would check what goes there."""
    signature = inspect.signature(load_target(target).__init__)
    named = (inspect.Parameter.KEYWORD_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return {name: p for name, p in signature.parameters.items() if p.kind in named and name != "self"}


def option_problems(offer: Offer, options: Mapping[str, Any]) -> list[tuple[str, str]]:
    """
    What is wrong with `options`, as (path below options, message); empty when nothing is.

    Raises:
        ProviderError: The plugin cannot be imported, so nothing can be said.
    """
    if offer.check is not None:
        return offer.check(options)
    if not options:
        return []
    taken = parameters(offer.target)
    problems = []
    for name in options:
        if name in _OBJECTS:
            problems.append((name, f"cannot be set here: {_OBJECTS[name]}"))
        elif name in offer.reserved:
            problems.append((name, f"cannot be set here: use {offer.reserved[name]}"))
        elif name not in taken:
            allowed = [p for p in taken if p not in _OBJECTS and p not in offer.reserved]
            problems.append(
                (name, unknown(name, allowed, f"{offer.target.replace(':', '.')} does not take it"))
            )
    return problems


def thawed(value: Any) -> Any:
    """The same value with plain dicts and lists in place of a configuration's frozen ones."""
    if isinstance(value, Mapping):
        return {key: thawed(item) for key, item in value.items()}
    if isinstance(value, tuple | list):
        return [thawed(item) for item in value]
    return value


def unknown(name: str, allowed: Iterable[str], why: str) -> str:
    """One sentence about a name that is not in `allowed`, with the nearest one that is."""
    near = difflib.get_close_matches(name, list(allowed), n=1)
    return f"unknown option, {why}" + (f"; did you mean {near[0]}?" if near else "")
