"""The values of a session's variables: what the layers give, else the bundle's defaults."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from config_store.errors import ConfigRefused
from config_store.json_text import shape_of
from config_store.layer import Layer
from config_store.names import suggestion
from config_store.rules import VariableRule
from config_store.verdict import Verdict, shown

_EXACT = 2.0**53  # whole numbers below this are what was written
_LENGTH = VariableRule.model_fields["max_length"].default


def values_for(rules: Mapping[str, Any], layers: Sequence[Layer], verdicts: list[Verdict]) -> dict[str, str]:
    """
    The value of every declared variable, from the strongest layer that gives one.

    Args:
        rules: The bundle's `variables`; what is declared may be given, whatever `overridable` says.
        layers: Weakest first.
        verdicts: Gets one verdict for every value given.

    Raises:
        ConfigRefused: A variable without a default got no value.
    """
    values = {name: rule["default"] for name, rule in rules.items() if rule.get("default") is not None}
    for layer in layers:
        for name, value in layer.variables.items():
            path = f"variables.{name}"[:200]
            if name not in rules:
                unknown: Verdict = _unknown(name, path, rules, layer, value)
                verdicts.append(unknown)
                continue
            text = _text(value)
            if text is None:
                reason = f"must be text or a number, got {shape_of(value)}"
                verdicts.append(Verdict(path, "refused", reason, asked=shown(value), source=layer.origin))
                continue
            longest = rules[name].get("max_length", _LENGTH)
            values[name] = text[:longest]
            is_cut = len(text) > longest
            verdicts.append(
                Verdict(
                    path,
                    "clamped" if is_cut else "applied",
                    "too long" if is_cut else "as asked",
                    asked=shown(text),
                    applied=shown(text[:longest]),
                    range=f"at most {longest} characters",
                    source=layer.origin,
                )
            )
    missing = [name for name in rules if name not in values]
    if missing:
        what = "variable" if len(missing) == 1 else "variables"
        raise ConfigRefused(f"no value for the {what} {', '.join(missing)}", tuple(verdicts))
    return values


def _unknown(name: str, path: str, rules: Mapping[str, Any], layer: Layer, value: Any) -> Verdict:
    if name == "user_name":  # applications send it with every session, needed or not
        reason = "the bundle declares no such variable"
        return Verdict(path, "unsupported", reason, asked=shown(value), source=layer.origin)
    reason = f"the bundle declares no such variable{suggestion(name[:100], rules)}"
    return Verdict(path, "refused", reason, asked=shown(value), source=layer.origin)


def _text(value: Any) -> str | None:
    if isinstance(value, str):
        return value
    if isinstance(value, int | float) and not isinstance(value, bool):
        is_whole = isinstance(value, float) and value.is_integer() and abs(value) < _EXACT
        return str(int(value)) if is_whole else str(value)
    return None
