"""Values of the environment, kept out of every message."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from config_store.span import Node

_NAME = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)")


class Secrets:
    """What came from the environment, and what stands in the file for it."""

    def __init__(self, values: Iterable[tuple[object, str]], environ: Mapping[str, str]) -> None:
        """
        Args:
            values: Each value in which the environment has a part, and its text as written.
            environ: The environment they came from.
        """
        self._words: dict[str, str] = {}
        for value, source in values:
            if value is None or isinstance(value, bool):
                continue  # words that anybody may say
            self._words[str(value)] = source
            if isinstance(value, int | float):
                self._words[f"{value:g}"] = source
            for name in _NAME.findall(source):
                self._words.setdefault(environ.get(name, ""), f"${{{name}}}")
        self._words.pop("", None)

    @classmethod
    def of(cls, root: Node, environ: Mapping[str, str]) -> Secrets:
        """Those of a document."""
        return cls(((node.value, node.source or "") for _, node in root.sourced()), environ)

    def hidden(self, text: str) -> str:
        """The text with every such value replaced by what stands in the file."""
        for value in sorted(self._words, key=len, reverse=True):
            source = self._words[value]
            text = re.sub(rf"(?<![\w.]){re.escape(value)}(?!\w)", lambda _, source=source: source, text)  # type: ignore[misc]
        return text
