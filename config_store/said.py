"""What pydantic found, said in the words of YAML."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from config_store.json_text import shape_of
from config_store.names import closest
from config_store.personas import REFERENCE
from config_store.scalars import ScalarError, resolve
from config_store.section import NAME
from config_store.span import Node

_PATTERNS = {
    NAME: "must begin with a letter or '_' and have letters, digits, '_' and '-' only",
    r"^[a-z]{2,3}(-[A-Za-z0-9]{2,8})*$": "must be a language tag such as en-IN or hi",
    r"^[A-Za-z0-9._-]{1,128}$": "must be 1 to 128 of letters, digits, '.', '_' and '-'",
    r"^(https?|wss?)://": "must begin with http://, https://, ws:// or wss://",
    r"^(all|none|last:[1-9][0-9]{0,2})$": "must be all, none or last:N, N from 1 to 999",
    r"^[A-Za-z_][A-Za-z0-9_.]*$": "must be the name of a Python module, such as livekit.plugins.deepgram",
    REFERENCE: "must be a Python class as module:Name, at the top of its module",
    r"^[A-Za-z_][A-Za-z0-9_]*$": "must name an environment variable; the key itself has no place here",
}
HIDDEN = frozenset({"api_key_env"})
"""Fields in which people put a secret by mistake: their value is never shown."""
_NOT_TEXT = frozenset({"float_type", "int_type", "bool_type"})


def got(node: Node | None, key: str) -> str:
    """`, got …` for a report: the value, unless it came from the environment or may be a secret."""
    if node is None or key in HIDDEN:
        return ""
    if node.source is not None:
        return f", got the value of {node.source[:60]}"
    if isinstance(node.value, str):
        return (
            f", got '{node.value}'"
            if len(node.value) <= 40
            else f", got text of {len(node.value)} characters"
        )
    if node.value is None:
        return ", got nothing"
    if isinstance(node.value, bool):
        return f", got {'true' if node.value else 'false'}"
    return f", got {node.value}" if isinstance(node.value, int | float) else f", got {shape_of(node.value)}"


def hint(kind: str, node: Node | None, context: Mapping[str, Any], written: str) -> str:
    """What to write instead, `; …`; empty when nothing certain can be said. `written` is the value's text."""
    if node is None:
        return ""
    if kind == "string_type" and isinstance(node.value, int | float):
        if node.source is not None:
            return f'; it was read as a number: write "{node.source[:60]}"'
        return f'; write "{written}"'
    if kind in _NOT_TEXT and written[:1] in {'"', "'"} and _is_unquoted(kind, node.value):
        if node.source is None:
            return "; in quotes it is text: leave them out"
        return (
            f"; in quotes it is text: write {node.source[:60]} without them, on a line of its own and not"
            " inside { } or [ ]"
        )
    if kind == "bool_type" and str(node.value).lower() in {"yes", "no", "on", "off"}:
        return "; yes, no, on and off are text"
    if kind == "literal_error" and isinstance(node.value, str) and node.source is None:
        near = closest(node.value, _choices(context))
        return f"; did you mean '{near}'?" if near else ""
    return ""


def _is_unquoted(kind: str, value: Any) -> bool:
    try:
        plain = resolve(value) if isinstance(value, str) and value else None
    except ScalarError:
        return False
    return isinstance(plain, bool) if kind == "bool_type" else type(plain) in (int, float)


def _choices(context: Mapping[str, Any]) -> list[str]:
    return str(context.get("expected", "")).replace("'", "").replace(" or ", ", ").split(", ")


def _length(context: Mapping[str, Any], key: str) -> str:
    number = context.get(key)
    return f"{number} character{'' if number == 1 else 's'}"


_SAID: dict[str, Callable[[Mapping[str, Any]], str]] = {
    "string_type": lambda _: "must be text",
    "float_type": lambda _: "must be a number",
    "int_type": lambda _: "must be a whole number",
    "int_from_float": lambda _: "must be a whole number",
    "bool_type": lambda _: "must be true or false",
    "tuple_type": lambda _: "must be a list",
    "list_type": lambda _: "must be a list",
    "dict_type": lambda _: "must be a map",
    "model_type": lambda _: "must be a map",
    "model_attributes_type": lambda _: "must be a map",
    "none_required": lambda _: "must be null",
    "literal_error": lambda context: f"must be one of {', '.join(_choices(context))}",
    "greater_than_equal": lambda context: f"must be {context.get('ge'):g} or more",
    "greater_than": lambda context: f"must be more than {context.get('gt'):g}",
    "less_than_equal": lambda context: f"must be {context.get('le'):g} or less",
    "less_than": lambda context: f"must be less than {context.get('lt'):g}",
    "string_too_short": lambda context: f"must have at least {_length(context, 'min_length')}",
    "string_too_long": lambda context: f"must have at most {_length(context, 'max_length')}",
    "string_pattern_mismatch": lambda context: _PATTERNS.get(
        str(context.get("pattern")), "is not of the right form"
    ),
    "finite_number": lambda _: "must be a finite number",
}


def demand(kind: str, context: Mapping[str, Any], message: str) -> str:
    """What a value must be, for one error of pydantic; its own message for a kind that has no words here."""
    said = _SAID.get(kind)
    return said(context) if said is not None else message.lower()
