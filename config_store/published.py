"""The published form of bundles: one JSON file each, replaced by rename, readable by the owner only."""

from __future__ import annotations

import json
import os
import secrets
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

import pydantic_core

from config_store.inputs import Made
from config_store.models import key_variables

FORMAT = 2
"""Raised when the published form changes, so that an older worker's files are not taken for this one's."""

_BUNDLES = "bundles"
_PROMPTS = "prompts"
_MADE = "made"
_SALT = "salt.json"
_INDEX = "index.json"
_ROUTES = "routes.json"


@dataclass(frozen=True)
class CompiledBundle:
    """
    A bundle as jobs read it.

    `digest` and `origins` are those of a session that changes nothing of it (`origins` of a partial bundle:
    those of what it says). The other fields are those of the checked bundle; see there.
    """

    name: str
    document: dict[str, Any]
    origins: dict[str, str]
    sourced: dict[str, str]
    organization: str | None
    revision: str
    is_startable: bool
    digest: str = ""

    @property
    def providers(self) -> frozenset[str]:
        """The providers and plugins that its models name."""
        found = _providers_in(self.document.get("models"))
        agents = self.document.get("agents")
        for agent in agents.values() if isinstance(agents, Mapping) else ():
            found |= _providers_in((agent or {}).get("models"))
        return frozenset(found)

    @property
    def key_variables(self) -> frozenset[str]:
        """The variables that it names as those with a key in them."""
        return frozenset(key_variables(self.document))


@dataclass(frozen=True)
class Publication:
    """A folder of published bundles."""

    folder: Path

    def prepare(self) -> None:
        """
        Make the folder.

        Raises:
            OSError: It cannot be made.
        """
        for name in (_BUNDLES, _PROMPTS, _MADE):
            (self.folder / name).mkdir(mode=0o700, parents=True, exist_ok=True)

    def write(self, bundle: CompiledBundle) -> bool:
        """Publish one bundle; whether anything changed."""
        return self._put(self._file(_BUNDLES, bundle.name), {"format": FORMAT, **vars(bundle)})

    def read(self, name: str) -> CompiledBundle | None:
        """One bundle; None when there is none, or none of this format."""
        data = self._get(self._file(_BUNDLES, name))
        if data is None or data.pop("format", None) != FORMAT:
            return None
        try:
            return CompiledBundle(**data)
        except TypeError:
            return None

    def remove(self, name: str) -> None:
        """Take one bundle away; nothing happens when there is none."""
        self._file(_BUNDLES, name).unlink(missing_ok=True)
        self._file(_MADE, name).unlink(missing_ok=True)

    def write_made(self, name: str, made: Made) -> None:
        """Note what a published bundle was made from."""
        self._put(self._file(_MADE, name), vars(made))

    def read_made(self, name: str) -> Made | None:
        """What a published bundle was made from; None when nobody knows, or the file is another by now."""
        data = self._get(self._file(_MADE, name))
        try:
            made = Made.from_dict(data) if data is not None else None
        except TypeError:
            return None
        return made if made is not None and made.published == self.signature(name) else None

    def signature(self, name: str) -> tuple[int, int] | None:
        """Size and time of the file of a published bundle; None when there is none."""
        try:
            found = self._file(_BUNDLES, name).stat()
        except OSError:
            return None
        return found.st_size, found.st_mtime_ns

    def salt(self) -> bytes:
        """What keys the digests of values of the environment; made at the first use."""
        kept = self._get(self.folder / _SALT)
        text = kept.get("salt") if kept is not None else None
        if isinstance(text, str) and len(text) == 64:
            return text.encode()
        made = secrets.token_hex(32)
        self._put(self.folder / _SALT, {"salt": made})
        return made.encode()

    def names(self) -> Iterator[str]:
        """The names of all published bundles."""
        folder = self.folder / _BUNDLES
        if folder.is_dir():
            for entry in os.scandir(folder):
                if entry.name.endswith(".json"):
                    yield unquote(entry.name[:-5])

    def write_prompts(self, texts: dict[str, str]) -> None:
        """Publish the prompts, and take away those that are no more."""
        for prompt, text in texts.items():
            self._put(self._file(_PROMPTS, prompt), {"text": text})
        for entry in os.scandir(self.folder / _PROMPTS):
            if entry.name.endswith(".json") and unquote(entry.name[:-5]) not in texts:
                Path(entry.path).unlink(missing_ok=True)

    def read_prompt(self, prompt: str) -> str | None:
        """The text of a prompt; None when there is none."""
        data = self._get(self._file(_PROMPTS, prompt))
        text = data.get("text") if data is not None else None
        return text if isinstance(text, str) else None

    def write_index(self, startable: Iterable[str]) -> None:
        """Publish the names of the bundles that a session can start with."""
        self._put(self.folder / _INDEX, {"startable": sorted(startable)})

    def read_index(self) -> tuple[str, ...]:
        """The names of the bundles that a session can start with."""
        data = self._get(self.folder / _INDEX)
        return tuple(data["startable"]) if data is not None else ()

    def write_routes(self, routes: dict[str, Any]) -> None:
        """Publish the routing rules."""
        self._put(self.folder / _ROUTES, routes)

    def read_routes(self) -> dict[str, Any]:
        """The routing rules as a map; empty when there are none."""
        return self._get(self.folder / _ROUTES) or {}

    def _file(self, kind: str, name: str) -> Path:
        # far shorter than any file system's limit; a longer name is not one of ours
        return self.folder / kind / f"{quote(name[:240], safe='')}.json"

    @staticmethod
    def _get(path: Path) -> dict[str, Any] | None:
        try:
            with open(path, "rb") as file:  # noqa: PTH123 - every session waits for this, and pathlib is slower
                data = pydantic_core.from_json(file.read())  # half the time of `json`
        except (OSError, ValueError):
            return None
        return data if isinstance(data, dict) else None

    @staticmethod
    def _put(path: Path, data: dict[str, Any]) -> bool:
        raw = json.dumps(data, ensure_ascii=False, separators=(",", ":")).encode()
        try:
            if path.read_bytes() == raw:
                return False
        except OSError:
            pass  # not there yet
        handle, temporary = tempfile.mkstemp(prefix=".", dir=path.parent)  # made with mode 0600
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(raw)
            os.replace(temporary, path)  # noqa: PTH105 - both names are text here
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise
        return True


def _providers_in(models: object) -> set[str]:
    found: set[str] = set()
    for model in models.values() if isinstance(models, Mapping) else ():
        if isinstance(model, Mapping):
            found |= {str(name) for key in ("provider", "plugin") if (name := model.get(key))}
            fallback = model.get("fallback")
            if isinstance(fallback, list):
                found |= _providers_in(dict(enumerate(fallback)))
    return found
