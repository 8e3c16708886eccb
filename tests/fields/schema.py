"""Every field of a bundle by its path, each section once."""

from collections.abc import Iterator
from typing import Any

from config_store.fields import fields_of, item_section
from config_store.schema import SessionConfig
from config_store.section import Section


def paths() -> list[str]:
    """`agents.*.tools[].say` and the like; what all kinds of model share stands under `models.stt`."""
    waiting: list[tuple[str, type[Section]]] = [("", SessionConfig)]
    found = []
    for prefix, section in waiting:
        for field in fields_of(section).values():
            path = f"{prefix}{field.key}"
            found.append(path)
            inner = field.section or field.entries or item_section(field)
            if inner is not None and all(inner is not known for _, known in waiting):
                mark = ".*." if field.entries else "[]." if field.section is None else "."
                waiting.append((path + mark, inner))
    return found


def used(document: Any, prefix: str = "") -> Iterator[str]:
    """The paths of the fields that a document uses, with the entries of every model under `models.stt`."""
    for key, value in document.items():
        path = f"{prefix}{key}"
        yield path
        if path in ("metadata",) or path.endswith(".options") or path in ("voice_id", "agents.*.voice_id"):
            continue
        if isinstance(value, dict):
            inner = "models.stt." if path in ("models.llm", "models.tts", "models.realtime") else f"{path}."
            if path == "agents.*.models":
                inner = "models."
            elif path == "agents.*.voice_tuning":
                inner = "voice_tuning."
            if path in ("agents", "variables"):
                for entry in value.values():
                    yield from used(entry, f"{path}.*.")
            else:
                yield from used(value, inner)
        elif isinstance(value, list):
            inner = "models.stt." if path.endswith(".fallback") else f"{path}[]."
            for entry in value:
                if isinstance(entry, dict):
                    yield from used(entry, inner)
