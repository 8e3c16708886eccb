"""
What a published bundle was made from, so that starting again compiles only what is no longer the same.

Inputs are known by digests. A value of the environment is known by a keyed digest, under a key that never
leaves the published folder, so that nobody finds a short value by trying.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from config_store.catalog import Catalog, ProviderFacts
from config_store.folder import BundleFolder, OutsideError

_ABSENT = "absent"


@dataclass(frozen=True)
class Made:
    """
    How a published bundle came about.

    `bundles` and `texts` are the files that went in, by bundle name and by path. `variables` had a part in
    its values; of `keys` only mattered whether they are set. `digest` is over all of them. `published` is the
    size and time of the published file, which tells whether it is still the one that was written.
    """

    digest: str
    bundles: tuple[str, ...]
    texts: tuple[str, ...]
    variables: tuple[str, ...]
    keys: tuple[str, ...]
    is_startable: bool
    providers: tuple[str, ...]
    key_variables: tuple[str, ...]
    report: str | None
    published: tuple[int, int]

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Made:
        """
        What `vars` of one gave, read back from JSON.

        Raises:
            TypeError: Other fields than those of this release.
        """
        fields: dict[str, Any] = {
            key: tuple(value) if isinstance(value, list) else value for key, value in data.items()
        }
        return cls(**fields)


@dataclass
class Inputs:
    """
    The inputs as they are now; every file is read once.

    `release` names what cannot be seen here: the code behind the catalog. `salt` keys the digests of values.
    """

    folder: BundleFolder
    environ: Mapping[str, str]
    catalog: Catalog | None
    release: str
    salt: bytes
    _seen: dict[tuple[str, str], str] = field(default_factory=dict)

    def is_same(self, made: Made) -> bool:
        """Whether all that a bundle was made from is as it was."""
        files = {f"bundle {name}": self._bundle(name) for name in made.bundles}
        files |= {f"text {path}": self._text(path) for path in made.texts}
        return self.digest(files, made.variables, made.keys) == made.digest

    def digest(self, files: Mapping[str, str], variables: Collection[str], keys: Collection[str]) -> str:
        """A digest over inputs: files by their own digests, the environment's values, and this release."""
        is_set = {name: bool(self.environ.get(name)) for name in sorted(keys)}
        values = {name: self._value(name) for name in sorted(variables)}
        everything = [self._release(), dict(sorted(files.items())), values, is_set]
        return hashlib.sha256(json.dumps(everything).encode()).hexdigest()

    def _value(self, name: str) -> str:
        value = self.environ.get(name)
        if value is None:
            return _ABSENT
        raw = value.encode("utf-8", "surrogateescape")
        return hashlib.blake2b(raw, key=self.salt, digest_size=16).hexdigest()

    def _bundle(self, name: str) -> str:
        known = self._seen.get(("bundle", name))
        if known is None:
            known = self._seen["bundle", name] = self._read_bundle(name)
        return known

    def _read_bundle(self, name: str) -> str:
        file = self.folder.bundle(name)
        if file is None:
            return _ABSENT
        try:
            return bundle_digest(file.shown, self.folder.read_bundle(file))
        except (OSError, OutsideError):
            return _ABSENT

    def _text(self, path: str) -> str:
        known = self._seen.get(("text", path))
        if known is None:
            try:
                known = text_digest(self.folder.read_text(path))
            except OutsideError:
                known = _ABSENT
            self._seen["text", path] = known
        return known

    def _release(self) -> str:
        known = self._seen.get(("release", ""))
        if known is None:
            facts = _facts(self.catalog) if self.catalog is not None else None
            everything = json.dumps([code_digest(), self.release, facts], default=sorted)
            known = self._seen["release", ""] = hashlib.sha256(everything.encode()).hexdigest()
        return known


def bundle_digest(shown: str, raw: bytes) -> str:
    """A digest of a bundle's file; its path counts, because places name it."""
    return hashlib.sha256(shown.encode() + b"\0" + raw).hexdigest()


def text_digest(text: str) -> str:
    """A digest of a text that a bundle takes in."""
    return hashlib.sha256(text.encode()).hexdigest()


def _facts(catalog: Catalog) -> list[Any]:
    providers = [_provider(catalog.providers[name]) for name in sorted(catalog.providers)]
    names = {module: found and sorted(found) for module, found in (catalog.names or {}).items()}
    return [providers, sorted(catalog.tools), sorted(catalog.modules), names]


def _provider(facts: ProviderFacts) -> dict[str, Any]:
    # what a function says is known by the release
    plain = {key: value for key, value in vars(facts).items() if key != "voice_problem"}
    return {**plain, "models": dict(facts.models)}


@cache
def code_digest() -> str:
    """A digest over this package's own files: another release may check and compile in another way."""
    root = Path(__file__).parent
    paths = sorted(path for path in root.rglob("*") if path.suffix in (".py", ".yaml", ".json"))
    found = hashlib.sha256()
    for path in paths:
        found.update(path.relative_to(root).as_posix().encode() + b"\0" + path.read_bytes())
    return found.hexdigest()
