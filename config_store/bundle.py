"""One bundle, put together and checked."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from config_store.catalog import Catalog
from config_store.checks import Finding, check
from config_store.compose import Composed, compose
from config_store.env import Asked
from config_store.errors import Problem
from config_store.levels import fill
from config_store.model_checks import check_models
from config_store.parts import Sources
from config_store.policy_rules import check_rules
from config_store.schema import SessionConfig
from config_store.secrets import Secrets
from config_store.span import Node, Span, dotted
from config_store.texts import read_texts
from config_store.validate import validate


@dataclass(frozen=True)
class Bundle:
    """
    A bundle as checked.

    `document` is its composed content without places, `origins` the place of each of its values by dotted
    path, `sourced` the text as written where the environment has a part. `uses` names every bundle that went
    in or was asked for, and `files` every text file, so that a change of one of them is seen to concern it.
    `made_from` has the digests of all these files. `variables` of the environment had a part in its values;
    of `keys` only mattered whether they are set.
    """

    name: str
    document: dict[str, Any]
    origins: dict[str, str]
    sourced: dict[str, str]
    organization: str | None
    revision: str
    uses: frozenset[str]
    files: frozenset[str]
    problems: tuple[Problem, ...]
    made_from: Mapping[str, str] = field(default_factory=dict)
    variables: frozenset[str] = frozenset()
    keys: frozenset[str] = frozenset()

    @property
    def is_usable(self) -> bool:
        """Whether nothing is wrong with it; warnings do not count."""
        return not any(not problem.is_warning for problem in self.problems)

    @property
    def is_startable(self) -> bool:
        """Whether it has agents, so that a session can start with it."""
        return bool(self.document.get("agents"))


def load_bundle(sources: Sources, name: str, catalog: Catalog | None) -> Bundle | None:
    """Compose and check one bundle; None when the folder has none of that name."""
    composed = compose(sources, name)
    if composed is None:
        return None
    uses = frozenset(
        {name, *composed.chains, *(wanted for part in composed.parts for wanted, _ in part.includes)}
    )
    if composed.root is None:
        return Bundle(name, {}, {}, {}, None, composed.revision, uses, frozenset(), composed.problems)
    asked = Asked(catalog.environment) if catalog is not None else Asked({})
    catalog = replace(catalog, environment=asked) if catalog is not None else None
    root, text_problems, files = read_texts(composed.root, sources.folder, composed)
    found = validate(composed, root)
    problems = [*composed.problems, *text_problems]
    problems += _elsewhere(found.problems, problems)
    if found.config is not None and composed.is_whole:
        secrets = Secrets.of(root, sources.environ)
        findings = [
            replace(item, path=path)
            for item in _findings(found.config, catalog)
            if not found.pruned.touches(path := found.pruned.full(item.path))
        ]
        placed = [
            _place(composed, root, item, secrets)
            for item in findings
            if not (item.path == ("models",) and composed.lacks_include)
        ]
        problems += _elsewhere(placed, problems)
    problems += _foreign(composed)
    document = root.plain()
    organization = document.get("organization")
    return Bundle(
        name=name,
        document=document,
        origins={dotted(path): str(node.key or node.span) for path, node in root.leaves()},
        sourced={dotted(path): node.source or "" for path, node in root.sourced()},
        organization=organization if isinstance(organization, str) else None,
        revision=composed.revision,
        uses=uses,
        files=frozenset(files),
        problems=tuple(_own_first(problems, composed)),
        made_from={
            **{f"bundle {part.name}": part.digest for part in composed.parts},
            **{f"text {path}": digest for path, digest in files.items()},
        },
        variables=frozenset().union(*(part.variables for part in composed.parts)),
        keys=frozenset(asked.names),
    )


def _findings(config: SessionConfig, catalog: Catalog | None) -> Iterator[Finding]:
    yield from check(config, catalog)
    yield from check_rules(config)
    given = config.model_dump(mode="json", by_alias=True, exclude_unset=True)
    filled = SessionConfig.model_validate(fill(given, config.optimization_level))
    yield from check_models(filled, catalog)


def _elsewhere(new: list[Problem], known: list[Problem]) -> list[Problem]:
    """The new problems but for those at a place that has one already: they follow from it."""
    places = {_at(problem) for problem in known}
    return [problem for problem in new if _at(problem) not in places]


def _at(problem: Problem) -> tuple[str, int, int] | None:
    span = problem.span
    return (span.file, span.line, span.column) if span is not None else None


def _place(composed: Composed, root: Node, finding: Finding, secrets: Secrets) -> Problem:
    node, depth = root, 0
    for segment in finding.path:
        child = node.child(segment)
        if child is None:
            break
        node, depth = child, depth + 1
    is_whole = depth == len(finding.path)
    span = node.span if is_whole and not finding.at_key else node.key or node.span
    if depth == 0:  # nothing of it stands in the file: the bundle as a whole
        span = Span(composed.parts[-1].file.shown, 1, 1)
    elif finding.words:
        span = composed.find(span, finding.words)
    return composed.problem(secrets.hidden(finding.message), span, is_warning=finding.is_warning)


def _foreign(composed: Composed) -> Iterator[Problem]:
    """Parts that belong to different organizations: no bundle may bring two together, or set one free."""
    first: tuple[str, str] | None = None
    freed: Node | None = None
    for part in reversed(composed.parts):
        node = part.root.child("organization") if part.root is not None else None
        if node is None:
            continue
        if node.value is None:
            freed = freed or node
        if not isinstance(node.value, str):
            continue
        if freed is not None:
            message = f"'{part.name}' belongs to an organization; what includes it cannot be shared"
            yield composed.problem(message, freed.key or freed.span)
            return
        if first is None:
            first = (part.name, node.value)
        elif node.value != first[1]:
            message = (
                f"'{part.name}' belongs to another organization than '{first[0]}'; "
                "a bundle includes only its own organization's and shared ones"
            )
            yield composed.problem(message, node.key or node.span)


def _own_first(problems: list[Problem], composed: Composed) -> list[Problem]:
    """The asked-for file first, then its includes; each in the order of lines."""
    ranks = {part.file.shown: number for number, part in enumerate(reversed(composed.parts))}

    def rank(problem: Problem) -> tuple[bool, int, int, int]:
        if problem.span is None:
            return problem.is_warning, -1, 0, 0
        return problem.is_warning, ranks.get(problem.span.file, 99), problem.span.line, problem.span.column

    return sorted(problems, key=rank)
