"""`options:` of a model: handed to the plugin's constructor, so checked against its signature first."""

from __future__ import annotations

import difflib
import importlib
import inspect
import json
import subprocess
import sys
import threading
from collections.abc import Iterable, Mapping
from functools import cache
from typing import Any

from agent.providers.capability import Offer, ProviderError

ASKED_SECONDS = 60.0
"""Longest time in which another process has to say what a plugin takes."""

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
    except Exception as exc:  # noqa: BLE001 - somebody's module may raise anything while it is imported
        raise ProviderError(f"{module} cannot be imported: {exc}") from None
    for part in name.split("."):
        found = getattr(found, part, None)
        if found is None:
            raise ProviderError(f"{module} has no {name}")
    return found


def parameters(target: str) -> tuple[str, ...]:
    """
    The constructor's named arguments; not `**name`, because nothing would check what goes there.

    Plugins insist on being imported in the main thread, and bundles that are edited are checked in another
    one: a plugin that is not loaded yet is then asked in a process of its own (about 2 s, once).

    Raises:
        ProviderError: The module cannot be imported or has no such class.
    """
    if target.partition(":")[0] in sys.modules or threading.current_thread() is threading.main_thread():
        return _parameters(target)
    return _asked(target)


def _parameters(target: str) -> tuple[str, ...]:
    signature = inspect.signature(load_target(target).__init__)
    named = (inspect.Parameter.KEYWORD_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return tuple(name for name, p in signature.parameters.items() if p.kind in named and name != "self")


@cache
def _asked(target: str) -> tuple[str, ...]:
    command = [sys.executable, "-m", "agent.providers.options", target]
    done = subprocess.run(command, capture_output=True, text=True, timeout=ASKED_SECONDS, check=False)  # noqa: S603
    if done.returncode:
        raise ProviderError(f"{target.partition(':')[0]} cannot be imported")
    return tuple(json.loads(done.stdout.splitlines()[-1]))


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


if __name__ == "__main__":
    print(json.dumps(_parameters(sys.argv[1])))
