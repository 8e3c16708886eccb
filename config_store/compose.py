"""A bundle put together from its includes."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field

from config_store.errors import Problem
from config_store.folder import ROUTES
from config_store.merge import lay_nodes
from config_store.names import is_bundle_name, suggestion
from config_store.parts import Part, Sources
from config_store.span import Node, Span
from config_store.yaml_text import SourceText

MAX_INCLUDED = 64


@dataclass(slots=True)
class Composed:
    """
    A bundle with its includes merged in.

    `parts` are the included bundles in the order of their strength, weakest first, the bundle itself last.
    `chains` says for each how it came in. `root` is None when nothing could be read.
    """

    name: str
    root: Node | None
    parts: tuple[Part, ...]
    chains: dict[str, tuple[str, ...]]
    problems: tuple[Problem, ...]
    texts: dict[str, SourceText] = field(default_factory=dict)
    """Text files that were read for it, by the name that places use."""

    @property
    def is_whole(self) -> bool:
        """Whether every file could be read to its end, so that what is missing really is."""
        return all(part.is_whole for part in self.parts)

    @property
    def lacks_include(self) -> bool:
        """Whether something that is included is not there."""
        return any(name not in self.chains for part in self.parts for name, _ in part.includes)

    @property
    def revision(self) -> str:
        """A digest over the texts that went in."""
        return hashlib.sha256("".join(part.digest for part in self.parts).encode()).hexdigest()

    def problem(self, message: str, span: Span, *, show: bool = True, is_warning: bool = False) -> Problem:
        """A problem in whichever file the place is in, with its line and its include chain."""
        source, chain = self._source(span.file)
        line = source.line_of(span) if source is not None and show else None
        return Problem(message, span, line, chain, is_warning)

    def written(self, span: Span) -> str:
        """What stands at a place."""
        source, _ = self._source(span.file)
        return source.line_of(span)[span.column - 1 :][: span.length] if source is not None else ""

    def find(self, span: Span, words: str) -> Span:
        """The place of some words from a place on in its file; that place when they are not there."""
        source, _ = self._source(span.file)
        return source.find(span, words) if source is not None else span

    def _source(self, file: str) -> tuple[SourceText | None, tuple[str, ...]]:
        for part in self.parts:
            if part.file.shown == file:
                return part.source, self.chains.get(part.name, ())
        return self.texts.get(file), ()


def compose(sources: Sources, name: str) -> Composed | None:
    """
    Merge a bundle over its includes, deeply and in order; None when there is no such bundle.

    A bundle that comes in on two ways counts once, at its first place, so that a base shared by two includes
    does not undo what the first of them changed.
    """
    first = sources.part(name)
    if first is None:
        return None
    walk = _Walk(sources)
    walk.visit(first, (name,))
    root: Node | None = None
    for part in walk.ordered:
        if part.root is not None:
            root = lay_nodes(Node(part.root.span, {}) if root is None else root, part.root)
            walk.check_removals(part)
    return Composed(name, root, tuple(walk.ordered), walk.chains, tuple(walk.problems))


@dataclass
class _Walk:
    sources: Sources
    ordered: list[Part] = field(default_factory=list)
    chains: dict[str, tuple[str, ...]] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    agents: set[str] = field(default_factory=set)

    def visit(self, part: Part, chain: tuple[str, ...]) -> None:
        self.chains[part.name] = chain
        self.problems += [
            Problem(problem.message, problem.span, problem.line, chain, problem.is_warning)
            for problem in part.problems
        ]
        for name, span in part.includes:
            if name in chain:
                cycle = " -> ".join((*chain[chain.index(name) :], name))
                self.refuse(part, f"include cycle: {cycle}", span)
                continue
            if name in self.chains:
                continue
            if len(self.chains) >= MAX_INCLUDED:
                self.refuse(part, f"more than {MAX_INCLUDED} bundles are included", span)
                return
            found = self.sources.part(name)
            if found is None:
                self.refuse(part, self._missing(name), span)
                continue
            self.visit(found, (*chain, name))
        self.ordered.append(part)

    def _missing(self, name: str) -> str:
        if name == ROUTES:
            return "routes.yaml holds routing rules and cannot be included"
        known = self.sources.known()
        bare = name.rsplit(".", 1)[0]
        if name.endswith((".yaml", ".yml")) and bare in known:
            return f"bundles are included by name, without ending: '{bare}'"
        if not is_bundle_name(name):
            return (
                f"'{name}' is not the name of a bundle; names are paths in the folder, such as acme/interview"
            )
        return f"no bundle '{name}'{suggestion(name, known)}"

    def refuse(self, part: Part, message: str, span: Span) -> None:
        line = part.source.line_of(span) if part.source is not None else None
        self.problems.append(Problem(message, span, line, self.chains[part.name]))

    def check_removals(self, part: Part) -> None:
        """Note which agents there are after this part; removing one that nobody brought in is a mistake."""
        own = part.root.child("agents") if part.root is not None else None
        if own is None or not isinstance(own.value, dict):
            return
        for name, node in own.value.items():
            if node.value is not None:
                self.agents.add(name)
            elif name in self.agents:
                self.agents.discard(name)
            else:
                known = suggestion(name, self.agents)
                span = node.key or node.span
                self.refuse(part, f"agent '{name}' is removed, but no include has it{known}", span)
