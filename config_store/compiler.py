"""
Compiling a folder of bundles, and afterwards only what a change concerns.

A bundle whose file is broken goes on being served as it last was, also after a restart; one that never was
good is quarantined by name, and the others serve.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import ValidationError

from config_store.bundle import Bundle, load_bundle
from config_store.catalog import Catalog
from config_store.completing import finished
from config_store.errors import report
from config_store.folder import PROMPTS, BundleFolder, OutsideError, Signature, bundle_of
from config_store.inputs import Inputs, Made
from config_store.parts import Sources
from config_store.published import CompiledBundle, Publication
from config_store.routes import load_routes

_CLOCK_TICK_NS = 50_000_000
"""Longer than a tick of any file system's clock: two changes within one tick have the same time."""
_SAVING_SECONDS = 0.2
"""How long an empty file is taken for one that is being saved: editors empty it, then write it."""
_PUT_OFF: Signature = (0, 0, 0, -1)
"""In the place of a signature that no file has, so that the next look takes the file as changed again."""


@dataclass(frozen=True)
class CompileReport:
    """
    What a folder of bundles came to.

    `usable` are the bundles that are served, `startable` those of them that have agents. `quarantined` and
    `served_last_good` map names to reports; the former are not served, the latter as they last were.
    `changed` are the bundles whose published form is new, `compiled` those that were compiled to see whether
    it is. `routes_problem` is the report about routes.yaml (None: nothing wrong); until it is put right, the
    rules that last were good apply. `providers` are those that any served bundle names, `key_variables` the
    variables that one names as those with a key in them.
    """

    usable: tuple[str, ...]
    startable: tuple[str, ...]
    quarantined: Mapping[str, str]
    served_last_good: Mapping[str, str]
    warnings: Mapping[str, str]
    changed: tuple[str, ...] = ()
    compiled: tuple[str, ...] = ()
    routes_problem: str | None = None
    folder_problem: str | None = None
    providers: frozenset[str] = frozenset()
    key_variables: frozenset[str] = frozenset()


@dataclass
class Compiler:
    """
    Compiles a folder, and afterwards only what a change concerns.

    `environ` gives `${NAME}` its value. `catalog` None: models, tools and modules are not checked.
    `release` names the code behind the catalog: bundles are compiled anew when it is another one.
    """

    folder: BundleFolder
    publication: Publication
    environ: Mapping[str, str]
    catalog: Catalog | None = None
    release: str = ""
    outcomes: dict[str, _Outcome] = field(default_factory=dict)
    _routes_problem: str | None = None
    _listing: dict[str, Signature] = field(default_factory=dict)
    _names: frozenset[str] = frozenset()
    _fresh: dict[str, str | None] = field(default_factory=dict)
    _empty_since: dict[str, float] = field(default_factory=dict)

    def run(self) -> CompileReport:
        """
        Compile everything that is not published already, made from the same; take away what has gone.

        The same means: its own file, what it includes, its texts, the values of the environment in it, the
        catalog and the release.
        """
        self.publication.prepare()
        self.outcomes = {}
        self._look()
        names = self._names
        if not names:
            return self._without_folder()
        sources = Sources(self.folder, self.environ, names=names)
        inputs = self._inputs()
        concerned = [name for name in sorted(names) if not self._stands(inputs, name)]
        changed = [name for name in concerned if self._compile(sources, inputs, name)]
        for gone in set(self.publication.names()) - names:
            self.publication.remove(gone)
            changed.append(gone)
        self._prompts()
        return self._finish(changed, concerned)

    def refresh(self, paths: Iterable[Path] | None = None) -> CompileReport | None:
        """
        Compile what changed in the folder and what it concerns, and nothing else.

        A file that is found empty is being saved, or so it is taken at first: see `is_waiting`.

        Args:
            paths: The files that changed, where somebody knows; None: everything is looked at.

        Returns:
            The report; None when nothing changed.
        """
        files = self.folder.plain_files(paths) if paths is not None and self._listing else None
        touched = self._look() if files is None else self._look_at(files)
        touched -= self._being_saved(touched)
        if not touched:
            return None
        if not self._names or not self.outcomes:
            return self.run()
        moved = {name for path in touched if (name := bundle_of(path)) is not None}
        sources = Sources(self.folder, self.environ, names=self._names)
        inputs = self._inputs()
        concerned = [name for name in sorted(self._names) if self._concerns(name, moved, touched)]
        changed = [name for name in concerned if self._compile(sources, inputs, name)]
        for gone in self.outcomes.keys() - self._names:
            del self.outcomes[gone]
            self.publication.remove(gone)
            changed.append(gone)
        if any(path.startswith(f"{PROMPTS}/") for path in touched):
            self._prompts()
        return self._finish(changed, concerned)

    @property
    def is_waiting(self) -> bool:
        """Whether a file was found empty just now: look again soon, it may be meant to be."""
        return bool(self._empty_since)

    def forget(self) -> None:
        """Take everything as changed at the next look, because it could not be published."""
        self._listing = {}

    def _look(self) -> set[str]:
        """Look at everything; the paths that are new, gone or changed."""
        listing = self.folder.listing()
        touched = {path for path, _ in listing.items() ^ self._listing.items()}
        touched |= self._changed_at_once(listing)
        self._listing = listing
        self._names = _bundles(listing)
        self._remember_fresh(listing)
        return touched

    def _look_at(self, files: Iterable[str]) -> set[str]:
        """Look at some files only, which costs the same however many there are."""
        now = {path: self.folder.signature(path) for path in files}
        touched = {path for path, signature in now.items() if signature != self._listing.get(path)}
        touched |= self._changed_at_once(now)
        came_or_went = [path for path in touched if (now[path] is None) is (path in self._listing)]
        for path in touched:
            signature = now[path]
            if signature is None:
                self._listing.pop(path, None)
            else:
                self._listing[path] = signature
        if came_or_went:
            self._names = _bundles(self._listing)
        self._remember_fresh({path: self._listing[path] for path in now if path in self._listing})
        return touched

    def _being_saved(self, touched: Iterable[str]) -> set[str]:
        """Those of the changed files that have been empty for so short a time that their words may come."""
        found = set()
        now = time.monotonic()
        for path in touched:
            signature = self.folder.signature(path)
            if signature is None or signature[1] > 0:
                self._empty_since.pop(path, None)
            elif now - self._empty_since.setdefault(path, now) < _SAVING_SECONDS:
                self._listing[path] = _PUT_OFF
                found.add(path)
            else:
                del self._empty_since[path]
        return found

    def _changed_at_once(self, paths: Iterable[str]) -> set[str]:
        """Files that were looked at so soon after a change that the next one may have left no other trace."""
        fresh = [path for path in paths if path in self._fresh]
        return {path for path in fresh if self._fresh.pop(path) != self.folder.content_digest(path)}

    def _remember_fresh(self, listing: Mapping[str, Signature]) -> None:
        since = time.time_ns() - _CLOCK_TICK_NS
        for path, signature in listing.items():
            if signature[0] > since:
                self._fresh[path] = self.folder.content_digest(path)

    def _concerns(self, name: str, moved: set[str], touched: set[str]) -> bool:
        known = self.outcomes.get(name)
        return known is None or not known.uses.isdisjoint(moved) or not known.files.isdisjoint(touched)

    def _compile(self, sources: Sources, inputs: Inputs, name: str) -> bool:
        bundle = load_bundle(sources, name, self.catalog)
        if bundle is None:  # gone since the folder was listed
            return False
        text = report(name, bundle.problems) if bundle.problems else None
        if bundle.is_usable:
            done = compiled(bundle)
            is_new = self.publication.write(done)
            self._note(inputs, bundle, done, text)
            self.outcomes[name] = _Outcome(
                "good",
                bundle.is_startable,
                text,
                bundle.uses,
                bundle.files,
                done.providers,
                done.key_variables,
            )
            return is_new
        there = self.publication.read(name)
        last = _last_good(there)
        if last is not None:
            self.publication.write(last)
            self.outcomes[name] = _Outcome(
                "last_good",
                last.is_startable,
                text,
                bundle.uses,
                bundle.files,
                last.providers,
                last.key_variables,
            )
            return False
        self.publication.remove(name)
        self.outcomes[name] = _Outcome("quarantined", False, text, bundle.uses, bundle.files)
        return there is not None

    def _inputs(self) -> Inputs:
        return Inputs(self.folder, self.environ, self.catalog, self.release, self.publication.salt())

    def _stands(self, inputs: Inputs, name: str) -> bool:
        """Whether a bundle is published already, made from what there is now."""
        made = self.publication.read_made(name)
        if made is None or not inputs.is_same(made):
            return False
        uses, files = frozenset(made.bundles), frozenset(made.texts)
        providers, keys = frozenset(made.providers), frozenset(made.key_variables)
        self.outcomes[name] = _Outcome("good", made.is_startable, made.report, uses, files, providers, keys)
        return True

    def _note(self, inputs: Inputs, bundle: Bundle, done: CompiledBundle, text: str | None) -> None:
        """Note what a bundle was made from, after it was published."""
        published = self.publication.signature(bundle.name)
        if published is None:
            return
        made = Made(
            digest=inputs.digest(bundle.made_from, bundle.variables, bundle.keys),
            bundles=tuple(sorted(bundle.uses)),
            texts=tuple(sorted(bundle.files)),
            variables=tuple(sorted(bundle.variables)),
            keys=tuple(sorted(bundle.keys)),
            is_startable=bundle.is_startable,
            providers=tuple(sorted(done.providers)),
            key_variables=tuple(sorted(done.key_variables)),
            report=text,
            published=published,
        )
        self.publication.write_made(bundle.name, made)

    def _prompts(self) -> None:
        texts = {}
        for prompt in self.folder.prompts():
            try:
                texts[prompt] = self.folder.read_text(f"prompts/{prompt}.md")
            except OutsideError:
                continue  # a bundle that uses it reports why; by id alone there simply is none
        self.publication.write_prompts(texts)

    def _finish(self, changed: Iterable[str], concerned: Iterable[str]) -> CompileReport:
        served = {name: found.is_startable for name, found in self.outcomes.items() if found.is_served}
        routes, problems = load_routes(self.folder, self.environ, served)
        if problems:
            self._routes_problem = "\n".join(problem.render() for problem in problems)
        else:
            self._routes_problem = None
            self.publication.write_routes(routes.model_dump(exclude_unset=True, mode="json"))
        self.publication.write_index(name for name, is_startable in served.items() if is_startable)
        return self._report(changed, concerned)

    def _without_folder(self) -> CompileReport:
        """The folder is away or empty: an unmounted volume, a swap under way. What was good is served on."""
        where = self.folder.root
        cause = f"{where} holds no bundle" if where.is_dir() else f"there is no folder {where}"
        self.outcomes = {}
        for name in self.publication.names():
            last = _last_good(self.publication.read(name))
            if last is not None:
                self.publication.write(last)
                self.outcomes[name] = _Outcome(
                    "last_good",
                    last.is_startable,
                    cause,
                    frozenset(),
                    frozenset(),
                    last.providers,
                    last.key_variables,
                )
        served = [name for name, found in self.outcomes.items() if found.is_startable]
        self.publication.write_index(served)
        kept = self._report((), ())
        self.outcomes = {}  # everything is compiled anew when the folder is back
        return CompileReport(**{**vars(kept), "folder_problem": cause})

    def _report(self, changed: Iterable[str], concerned: Iterable[str]) -> CompileReport:
        def reports(state: str) -> dict[str, str]:
            return {name: found.report or "" for name, found in self.outcomes.items() if found.state == state}

        served = [name for name, found in self.outcomes.items() if found.is_served]
        return CompileReport(
            usable=tuple(sorted(served)),
            startable=tuple(sorted(name for name in served if self.outcomes[name].is_startable)),
            quarantined={**reports("quarantined"), **self.folder.misnamed(self._listing)},
            served_last_good=reports("last_good"),
            warnings={name: text for name, text in reports("good").items() if text},
            changed=tuple(sorted(changed)),
            compiled=tuple(concerned),
            routes_problem=self._routes_problem,
            providers=frozenset().union(*(self.outcomes[name].providers for name in served)),
            key_variables=frozenset().union(*(self.outcomes[name].key_variables for name in served)),
        )


def _bundles(listing: Iterable[str]) -> frozenset[str]:
    return frozenset(name for path in listing if (name := bundle_of(path)) is not None)


@dataclass(frozen=True, slots=True)
class _Outcome:
    state: str
    is_startable: bool
    report: str | None
    uses: frozenset[str]
    files: frozenset[str]
    providers: frozenset[str] = frozenset()
    key_variables: frozenset[str] = frozenset()

    @property
    def is_served(self) -> bool:
        return self.state != "quarantined"


def compiled(bundle: Bundle) -> CompiledBundle:
    """A checked bundle in the form that jobs read."""
    return finished(
        CompiledBundle(
            bundle.name,
            bundle.document,
            bundle.origins,
            bundle.sourced,
            bundle.organization,
            bundle.revision,
            bundle.is_startable,
        )
    )


def _last_good(bundle: CompiledBundle | None) -> CompiledBundle | None:
    """A bundle published earlier, perhaps by an older release, as this one has it; None: no longer valid."""
    try:
        return finished(bundle) if bundle is not None else None
    except (ValidationError, AttributeError, KeyError, TypeError):
        return None
