"""
YAML text to a tree of values with places.

A bundle is a plain tree: anchors, aliases, tags, merge keys and keys given twice are refused, because two
readers, or two people, would understand them differently. The tree is built from parser events, never by
recursion, within limits on depth and size, so that no document can exhaust the process.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import yaml

from config_store.env import Substituted, reference_offsets, substitute
from config_store.errors import Problem
from config_store.scalars import ScalarError, resolve
from config_store.span import Node, Scalar, Span
from config_store.yaml_syntax import explain
from config_store.yaml_text import SourceText

MAX_DEPTH = 24
MAX_NODES = 20_000
_MANY = 100
"""Problems of one file that are collected; who makes more is told the first ones."""
_DISGUISED = {0x85: "\U0010fffd", 0x2028: "\U0010fffc", 0x2029: "\U0010fffb"}
"""
Line breaks of YAML 1.1, which the parser knows, and text in YAML 1.2: they come with words that are pasted.
While it reads each is a character that nobody writes, of the same length, so that places stay what they are.
"""
_SHOWN = {ord(disguise): char for char, disguise in _DISGUISED.items()}


@dataclass(slots=True)
class _Open:
    """A map or list whose end has not been read. `key` waits for its value."""

    node: Node
    key: str | None = None
    key_span: Span | None = None


class _Stop(Exception):
    pass


class _Reader:
    def __init__(self, source: SourceText, environ: Mapping[str, str] | None) -> None:
        self.source = source
        self.environ = environ
        self.problems: list[Problem] = []
        self.stack: list[_Open] = []
        self.root: Node | None = None
        self.nodes = 0
        self.anchors: dict[str, Span] = {}
        self.is_whole = False

    def read(self) -> Node | None:
        documents = 0
        try:
            for event in yaml.parse(self.source.text.translate(_DISGUISED), Loader=yaml.CSafeLoader):
                if isinstance(event, yaml.DocumentStartEvent):
                    documents += 1
                    if documents == 2:
                        self.refuse("a second document; a bundle file holds one", self.place(event))
                        break
                self.take(event)
            else:
                self.is_whole = True
        except yaml.YAMLError as exc:
            self.problems.append(explain(exc, self.source))
        except _Stop:
            pass
        return self.root

    def refuse(self, message: str, span: Span) -> None:
        self.problems.append(self.source.problem(message, span))
        if len(self.problems) >= _MANY:
            raise _Stop

    def place(self, event: yaml.Event) -> Span:
        start, end = bounds(event)
        return self.source.span(start, end)

    def take(self, event: yaml.Event) -> None:
        if isinstance(event, yaml.ScalarEvent):
            self.scalar(event)
        elif isinstance(event, yaml.AliasEvent):
            self.alias(event)
        elif isinstance(event, yaml.CollectionStartEvent):
            self.open(event)
        elif isinstance(event, yaml.CollectionEndEvent):
            self.stack.pop()

    def alias(self, event: yaml.AliasEvent) -> None:
        name, span = str(event.anchor), self.place(event)
        first = self.anchors.get(name)
        where = f", of the anchor at {first.line}:{first.column}" if first else ""
        self.refuse(f"alias '*{name}'{where}: bundles have no aliases; include a bundle instead", span)
        self.put(Node(span, None))

    def open(self, event: yaml.CollectionStartEvent) -> None:
        span = self.place(event)
        self.check_plain(event, span)
        is_map = isinstance(event, yaml.MappingStartEvent)
        node = Node(span, {} if is_map else [])
        top = self.stack[-1] if self.stack else None
        if top is not None and isinstance(top.node.value, dict) and top.key is None:
            self.refuse("a key must be text, not a list or a map", span)
            raise _Stop
        self.put(node)
        if len(self.stack) >= MAX_DEPTH:
            self.refuse(f"nested deeper than {MAX_DEPTH} levels", span)
            raise _Stop
        self.stack.append(_Open(node))

    def scalar(self, event: yaml.ScalarEvent) -> None:
        span = self.place(event)
        self.check_plain(event, span)
        top = self.stack[-1] if self.stack else None
        if top is not None and isinstance(top.node.value, dict) and top.key is None:
            self.key(top, event, span)
            return
        self.put(self.scalar_node(event, span))

    def key(self, top: _Open, event: yaml.ScalarEvent, span: Span) -> None:
        name = str(event.value).translate(_SHOWN)
        top.key, top.key_span = name, span
        if name == "<<" and event.implicit[0]:
            self.refuse("merge keys are not part of bundles; include a bundle instead", span)
        elif "${" in name and self.environ is not None:
            self.refuse("variables of the environment are for values, not for keys", span)
        entries = top.node.value
        first = entries.get(name) if isinstance(entries, dict) else None
        if first is not None and first.key is not None:
            at = f"{first.key.line}:{first.key.column}"
            self.refuse(f"key '{name}' is given twice; first at {at}", span)

    def scalar_node(self, event: yaml.ScalarEvent, span: Span) -> Node:
        is_literal = self.environ is None
        text = str(event.value).translate(_SHOWN)
        done = Substituted(text) if is_literal else substitute(text, self.environ or {})
        for wrong in done.problems:
            self.refuse(wrong.message, self.reference_span(event, span, wrong.number))
        value: Scalar = done.text
        if event.implicit[0] and not done.problems:
            try:
                value = resolve(done.text)
            except ScalarError as exc:
                got = f"the value of ${{{done.names[0]}}}" if done.names else f"'{text[:40]}'"
                self.refuse(f"{got} {exc}", span)
        return Node(span, value, source=text if done.names else None)

    def reference_span(self, event: yaml.ScalarEvent, span: Span, number: int) -> Span:
        start, stop = bounds(event)
        written = self.source.text[start:stop]
        offsets = reference_offsets(written)
        if number >= len(offsets):  # written with an escape, as "\x24{A}"
            return span
        begin, end = offsets[number]
        return self.source.span(start + begin, start + end)

    def check_plain(self, event: yaml.NodeEvent, span: Span) -> None:
        tag = getattr(event, "tag", None)
        if event.anchor is not None:
            first = self.anchors.setdefault(str(event.anchor), span)
            where = f"; first at {first.line}:{first.column}" if first is not span else ""
            self.refuse(
                f"anchor '&{event.anchor}'{where}: bundles have no anchors; include a bundle instead", span
            )
        if tag is not None:
            self.refuse(f"tag '{tag}': bundles have no tags; put text in quotes instead", span)

    def put(self, node: Node) -> None:
        self.nodes += 1
        if self.nodes > MAX_NODES:
            self.refuse(f"more than {MAX_NODES} values in one file", node.span)
            raise _Stop
        if not self.stack:
            self.root = node
            return
        top = self.stack[-1]
        if isinstance(top.node.value, list):
            top.node.value.append(node)
        elif isinstance(top.node.value, dict):
            if top.key is None:
                self.refuse("a key must be text", node.span)
                return
            node.key = top.key_span
            top.node.value.setdefault(top.key, node)
            top.key = None


def bounds(event: yaml.Event) -> tuple[int, int]:
    """Where an event begins and ends in the text; parsers may leave marks out, this one never does."""
    start, end = event.start_mark, event.end_mark
    return (start.index, end.index) if start is not None and end is not None else (0, 0)


def read_yaml(
    source: SourceText, environ: Mapping[str, str] | None
) -> tuple[Node | None, tuple[Problem, ...], bool]:
    """
    The tree of a file, everything that is wrong with its form, and whether it was read to its end.

    `environ` has the values of `${NAME}`; None: there are none, and a `$` is a `$`.

    The tree is None when there is none at all. With problems it holds what could be read; it is then good for
    finding more problems, and for nothing else.
    """
    reader = _Reader(source, environ)
    root = reader.read()
    return root, tuple(reader.problems), reader.is_whole
