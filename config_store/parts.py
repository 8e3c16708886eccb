"""The files of a bundles folder, each read once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from config_store.env import Asked
from config_store.errors import Problem
from config_store.folder import BundleFile, BundleFolder, OutsideError
from config_store.inputs import bundle_digest
from config_store.span import Node, Span
from config_store.yaml_source import read_yaml
from config_store.yaml_text import SourceText, decode


@dataclass(slots=True)
class Part:
    """
    One bundle file as read: its own tree without `include`, what it includes, what is wrong with it.

    `variables` are those of the environment that its values ask for.
    """

    name: str
    file: BundleFile
    digest: str
    source: SourceText | None
    root: Node | None
    includes: tuple[tuple[str, Span], ...]
    problems: tuple[Problem, ...]
    is_whole: bool = True
    variables: frozenset[str] = frozenset()


@dataclass
class Sources:
    """The parts of a folder as it is now, each file read once."""

    folder: BundleFolder
    environ: Mapping[str, str]
    parts: dict[str, Part] = field(default_factory=dict)
    names: frozenset[str] | None = None

    def known(self) -> frozenset[str]:
        """The names of all bundles in the folder."""
        if self.names is None:
            self.names = frozenset(self.folder.bundles())
        return self.names

    def part(self, name: str) -> Part | None:
        """One part; None when the folder has no such bundle."""
        known = self.parts.get(name)
        if known is None:
            file = self.folder.bundle(name)
            if file is None:
                return None
            known = self.parts[name] = self._read(file)
        return known

    def _read(self, file: BundleFile) -> Part:
        try:
            raw = self.folder.read_bundle(file)
        except OutsideError as exc:
            return _unreadable(file, f"the file {exc}")
        except OSError as exc:
            return _unreadable(file, f"cannot be read: {exc.strerror}")
        digest = bundle_digest(file.shown, raw)
        source = decode(raw, file.shown)
        if isinstance(source, Problem):
            return Part(file.name, file, digest, None, None, (), (source,), is_whole=False)
        environ = Asked(self.environ)
        root, problems, is_whole = read_yaml(source, environ)
        found = list(problems)
        includes: tuple[tuple[str, Span], ...] = ()
        if root is None and not found:
            found.append(Problem("the file is empty; a bundle has at least one key", Span(file.shown, 1, 1)))
        elif root is not None and not isinstance(root.value, dict):
            found.append(source.problem("a bundle is a map of keys, such as 'agents:'", root.span))
            root = None
        elif root is not None and isinstance(root.value, dict) and "include" in root.value:
            include = root.value.pop("include")
            includes = _names(include, source, found)
        return Part(
            file.name, file, digest, source, root, includes, tuple(found), is_whole, frozenset(environ.names)
        )


def _unreadable(file: BundleFile, cause: str) -> Part:
    return Part(
        file.name, file, "", None, None, (), (Problem(cause, Span(file.shown, 1, 1)),), is_whole=False
    )


def _names(include: Node, source: SourceText, problems: list[Problem]) -> tuple[tuple[str, Span], ...]:
    if not isinstance(include.value, list):
        hint = f": include: [{include.value}]" if isinstance(include.value, str) else ""
        problems.append(source.problem(f"include must be a list of bundle names{hint}", include.span))
        return ()
    found: dict[str, Span] = {}
    for entry in include.value:
        name = entry.value
        if entry.source is not None:
            problems.append(source.problem("a variable cannot choose what is included", entry.span))
        elif not isinstance(name, str):
            problems.append(source.problem("include: each entry must be the name of a bundle", entry.span))
        elif name in found:
            first = f"{found[name].line}:{found[name].column}"
            problems.append(source.problem(f"'{name}' is included twice; first at {first}", entry.span))
        else:
            found[name] = entry.span
    return tuple(found.items())
