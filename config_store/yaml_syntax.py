"""YAML that does not parse: the parser's complaint, said for people."""

from __future__ import annotations

import re

import yaml

from config_store.errors import Problem
from config_store.yaml_text import SourceText

_UNPRINTABLE = re.compile(r"[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")

_SAID = {
    "did not find expected ',' or ']'": "the list lacks a ',' or its ']'",
    "did not find expected ',' or '}'": "the map lacks a ',' or its '}'",
    "found a tab character that violates indentation": "a tab cannot indent YAML; use spaces",
    "mapping values are not allowed in this context": "a ':' where no key can be; quote text that has ': '",
    "found unexpected end of stream": "the quoted text has no end",
    "did not find expected '-' indicator": "expected another '- ' of the list here",
    "did not find expected key": "this line fits no key of the map; check its indentation",
    "found unknown escape character": r"unknown escape after '\'; in single quotes a '\' is plain text",
    "could not find expected ':'": "expected 'key: value'",
}
_IN_FLOW = "; inside { } and [ ] put text with ${…} or {{…}} in quotes"


def explain(exc: yaml.YAMLError, source: SourceText) -> Problem:
    """One problem for a text that does not parse, at the character where the parser gave up."""
    if not isinstance(exc, yaml.MarkedYAMLError) or exc.problem_mark is None:
        found = _UNPRINTABLE.search(source.text)
        at = found.start() if found else 0
        code = f" U+{ord(found.group()):04X}" if found else ""
        return source.problem(
            f"a control character{code}; YAML text may not hold one", source.span(at, at + 1)
        )
    said = exc.problem or "it does not parse"
    mark = exc.problem_mark
    is_unclosed = "end of stream" in said or said.endswith(("',' or ']'", "',' or '}'"))
    if is_unclosed and exc.context_mark is not None:
        opened = source.span(exc.context_mark.index, exc.context_mark.index + 1)
        line = source.line_of(opened)
        in_flow = ("${" in line or "{{" in line) and "quoted" not in (exc.context or "")
        return source.problem(f"not YAML: {_SAID.get(said, said)}{_IN_FLOW if in_flow else ''}", opened)
    if said == "found character that cannot start any token":
        char = source.text[mark.index : mark.index + 1]
        said = (
            "a tab cannot indent YAML; use spaces"
            if char == "\t"
            else f"text that begins with '{char}' needs quotes"
        )
    return source.problem(f"not YAML: {_SAID.get(said, said)}", source.span(mark.index, mark.index + 1))
