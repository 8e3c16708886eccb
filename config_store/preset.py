"""
A preset, and how a session reads one.

A session reads one row as it starts, and does it with the database's driver alone: SQLAlchemy, which the
presets' store writes them with, would be 13 MB in the fork server and a quarter of a second of every start.
"""

from __future__ import annotations

import asyncio
import json
import sqlite3
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime
from typing import Any, Protocol
from urllib.parse import quote

from config_store.errors import StoreUnavailableError


@dataclass(frozen=True)
class Preset:
    """A saved preset. `organization` is None for none."""

    id: str
    user_id: str
    organization: str | None
    name: str
    bundle: str
    settings: Mapping[str, Any] = field(repr=False)
    is_default: bool
    created_at: datetime
    updated_at: datetime

    def as_dict(self) -> dict[str, Any]:
        """The preset as JSON."""
        return {
            **vars(self),
            "settings": dict(self.settings),
            "created_at": self.created_at.isoformat(),
            "updated_at": self.updated_at.isoformat(),
        }

    @classmethod
    def from_row(cls, row: Mapping[str, Any]) -> Preset:
        """A row of the table, as a driver or SQLAlchemy gives it: SQLite has no type for JSON and times."""
        values = dict(row)
        values["organization"] = values["organization"] or None
        values["is_default"] = bool(values["is_default"])
        if isinstance(values["settings"], str):
            values["settings"] = json.loads(values["settings"])
        for key in ("created_at", "updated_at"):
            at = values[key]
            at = datetime.fromisoformat(at) if isinstance(at, str) else at
            values[key] = at if at.tzinfo is not None else at.replace(tzinfo=UTC)  # what is written is UTC
        return cls(**values)


class PresetReader(Protocol):
    """Where a session reads presets."""

    async def by_id(self, preset_id: str, *, deadline: float) -> Preset | None:
        """One preset; None when there is none. Raises StoreUnavailableError past the deadline."""

    async def default_of(self, user_id: str, organization: str | None, *, deadline: float) -> Preset | None:
        """A user's default, of the organization, else of none. Raises StoreUnavailableError."""


_COLUMNS = [column.name for column in fields(Preset)]
_SELECT = f"SELECT {', '.join(_COLUMNS)} FROM presets WHERE "  # noqa: S608 - names of ours
_BY_ID = f"{_SELECT} id = ?"
_DEFAULT_OF = (
    f"{_SELECT} user_id = ? AND organization IN (?, '') AND is_default ORDER BY organization DESC LIMIT 1"
)


class StoredPresets:
    """
    A PresetReader over a database: one connection a question, in a thread, given up at the deadline.

    Args:
        url: `sqlite:///…` or `postgresql+psycopg://…`, its tables up to date.
    """

    def __init__(self, url: str) -> None:
        self._url = url

    async def by_id(self, preset_id: str, *, deadline: float) -> Preset | None:
        """See `PresetReader`."""
        return await self._asked(_BY_ID, (preset_id,), deadline)

    async def default_of(self, user_id: str, organization: str | None, *, deadline: float) -> Preset | None:
        """See `PresetReader`."""
        return await self._asked(_DEFAULT_OF, (user_id, organization or ""), deadline)

    async def _asked(self, query: str, values: Sequence[str], deadline: float) -> Preset | None:
        seconds = max(0.0, deadline - asyncio.get_running_loop().time())
        read = _from_sqlite if self._url.startswith("sqlite:") else _from_postgresql
        try:
            async with asyncio.timeout_at(deadline):
                row = await asyncio.to_thread(read, self._url, query, values, seconds)
        except TimeoutError:
            raise StoreUnavailableError("the database", "no answer within the time budget") from None
        except _Failed as exc:
            raise StoreUnavailableError("the database", str(exc)) from None
        return Preset.from_row(dict(zip(_COLUMNS, row, strict=True))) if row is not None else None


class _Failed(Exception):
    """The name of a driver's error: its text may hold an address."""


def _from_sqlite(url: str, query: str, values: Sequence[str], seconds: float) -> Sequence[Any] | None:
    path = url.removeprefix("sqlite:///").partition("?")[0]
    try:
        # a reader makes no file where there is none
        with closing(sqlite3.connect(f"file:{quote(path)}?mode=ro", uri=True, timeout=seconds)) as connection:
            row: Sequence[Any] | None = connection.execute(query, values).fetchone()
            return row
    except (sqlite3.Error, OSError, UnicodeError) as exc:
        raise _Failed(type(exc).__name__) from None


def _from_postgresql(url: str, query: str, values: Sequence[str], seconds: float) -> Sequence[Any] | None:
    import psycopg  # only where the database is one; `preload` of a worker imports it before the fork

    address = "postgresql://" + url.partition("://")[2]
    try:
        with psycopg.connect(address, connect_timeout=max(2, round(seconds))) as connection:
            return connection.execute(query.replace("?", "%s"), values).fetchone()
    except (psycopg.Error, OSError, UnicodeError) as exc:
        raise _Failed(type(exc).__name__) from None


def preload(url: str) -> None:
    """Import what reading presets from this database needs, before jobs fork."""
    if not url.startswith("sqlite:"):
        import psycopg  # noqa: F401
