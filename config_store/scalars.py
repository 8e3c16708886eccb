"""What an unquoted scalar means: the core schema of YAML 1.2, where `no`, `on` and `012` hold no surprise."""

from __future__ import annotations

import math
import re

from config_store.json_text import MAX_INTEGER
from config_store.span import Scalar

_NULL = frozenset({"", "~", "null", "Null", "NULL"})
_TRUE = frozenset({"true", "True", "TRUE"})
_FALSE = frozenset({"false", "False", "FALSE"})
_INTEGER = re.compile(r"[-+]?[0-9]+")
_OCTAL = re.compile(r"0o[0-7]+")
_HEX = re.compile(r"0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")
_NOT_FINITE = re.compile(r"[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)")


class ScalarError(ValueError):
    """The scalar is a number that a bundle cannot hold; the message says why."""


def resolve(text: str) -> Scalar:
    """
    The value of an unquoted scalar.

    Raises:
        ScalarError: Not a finite number, or a whole number that JSON cannot carry.
    """
    if text in _NULL:
        return None
    if text in _TRUE or text in _FALSE:
        return text in _TRUE
    if text[0] not in "+-.0123456789":
        return text
    if _INTEGER.fullmatch(text):
        return _integer(text, 10)
    if _OCTAL.fullmatch(text):
        return _integer(text[2:], 8)
    if _HEX.fullmatch(text):
        return _integer(text[2:], 16)
    if _NOT_FINITE.fullmatch(text):
        raise ScalarError("is not a finite number; in quotes it is text")
    if _FLOAT.fullmatch(text):
        value = float(text)
        if not math.isfinite(value):
            raise ScalarError("is too large for a number; in quotes it is text")
        return value
    return text


def _integer(digits: str, radix: int) -> int:
    value = int(digits, radix) if len(digits) < 24 else MAX_INTEGER + 1
    if abs(value) > MAX_INTEGER:
        raise ScalarError("is too large for a whole number; in quotes it is text")
    return value
