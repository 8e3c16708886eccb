"""Settings outside the bundles folder as YAML: read as bundles are, and written so that this reads them."""

from __future__ import annotations

from typing import Any

import yaml

from config_store.scalars import ScalarError, resolve
from config_store.yaml_source import read_yaml
from config_store.yaml_text import SourceText


def read_settings(text: str, name: str) -> Any:
    """
    The value of settings that stand outside the bundles folder, read as bundles are but with no environment.

    Args:
        text: YAML; empty is None.
        name: What an error calls it, such as the file's name.

    Raises:
        ValueError: It is not such YAML; the first mistake with its place, in one line.
    """
    root, problems, _ = read_yaml(SourceText(name, text), None)
    for problem in problems:
        raise ValueError(f"{problem.span}: {problem.message}" if problem.span else problem.message)
    return root.plain() if root is not None else None


class _Writer(yaml.SafeDumper):
    """Writes text so that it is read as text again; PyYAML itself thinks of YAML 1.1 alone."""

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002 - nothing is shared on paper
        return True

    def text(self, data: str) -> yaml.ScalarNode:
        try:
            is_text = resolve(data) == data and data != ""
        except ScalarError:
            is_text = False
        return self.represent_scalar("tag:yaml.org,2002:str", data, style=None if is_text else '"')


_Writer.add_representer(str, _Writer.text)


def write_settings(value: Any) -> str:
    """Settings as YAML that `read_settings` reads as the same."""
    return yaml.dump(value, Dumper=_Writer, allow_unicode=True, sort_keys=False)
