"""The presets in SQL: settings a user saved under a name, over a bundle."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, TypeVar

from sqlalchemy import Connection, Engine, RowMapping, delete, func, insert, select, update
from sqlalchemy.exc import IntegrityError

from config_store.preset import Preset
from config_store.tables import presets

_T = TypeVar("_T")


class PresetNotFoundError(Exception):
    """The user has no such preset."""


class PresetNameTakenError(Exception):
    """The user has another preset of that name."""


class PresetStore:
    """
    Presets in SQL. The engine belongs to the caller.

    Writes ask for the execution option `immediate`, with which an SQLite engine should begin them by taking
    the write lock, so that writers wait for each other instead of failing half way.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def list(self, user_id: str, organization: str | None = None) -> Sequence[Preset]:
        """A user's presets in one organization (None: in none), by name."""
        query = select(presets).where(*_owner(user_id, organization)).order_by(presets.c.name)
        with self._engine.connect() as connection:
            return [_preset(row) for row in connection.execute(query).mappings()]

    def get(self, preset_id: str) -> Preset | None:
        """One preset; None when there is none."""
        with self._engine.connect() as connection:
            row = connection.execute(select(presets).where(presets.c.id == preset_id)).mappings().first()
        return _preset(row) if row is not None else None

    def save(
        self,
        user_id: str,
        name: str,
        settings: Mapping[str, Any],
        *,
        bundle: str,
        organization: str | None = None,
        is_default: bool | None = None,
        preset_id: str | None = None,
    ) -> Preset:
        """
        Save a preset; the user's preset of that name, or of that id, is replaced.

        Args:
            is_default: Whether it becomes the default; None: as it was, and no default when it is new.
            preset_id: An id to give or to replace; None: found by name, else made.

        Raises:
            PresetNameTakenError: Another preset of the user has this name.
            PresetNotFoundError: The id is another user's.
        """
        return self._retried(
            lambda connection: self._save(
                connection, user_id, name, settings, bundle, organization, is_default, preset_id
            ),
            name,
        )

    def set_default(self, user_id: str, preset_id: str | None, organization: str | None = None) -> None:
        """
        Make a preset the user's default, in one transaction; None: the user has none from now on.

        Raises:
            PresetNotFoundError: The user has no such preset.
        """
        self._retried(lambda connection: _set_default(connection, user_id, preset_id, organization), "")

    def delete(self, user_id: str, preset_id: str, organization: str | None = None) -> None:
        """
        Delete a preset.

        Raises:
            PresetNotFoundError: The user has no such preset.
        """
        with self._engine.execution_options(immediate=True).begin() as connection:
            statement = delete(presets).where(presets.c.id == preset_id, *_owner(user_id, organization))
            if connection.execute(statement).rowcount == 0:
                raise PresetNotFoundError(preset_id)

    def _save(
        self,
        connection: Connection,
        user_id: str,
        name: str,
        settings: Mapping[str, Any],
        bundle: str,
        organization: str | None,
        is_default: bool | None,
        preset_id: str | None,
    ) -> Preset:
        _lock(connection, user_id, organization)
        by = presets.c.id == preset_id if preset_id is not None else presets.c.name == name
        query = select(presets).where(by, *_owner(user_id, organization))
        old = connection.execute(query).mappings().first()
        now = datetime.now(UTC)
        values = {"name": name, "bundle": bundle, "settings": dict(settings), "updated_at": now}
        if old is None:
            if preset_id is not None and _exists(connection, preset_id):
                raise PresetNotFoundError(preset_id)
            key = preset_id or f"p-{secrets.token_hex(8)}"
            owner = {"user_id": user_id, "organization": organization or ""}
            row = {"id": key, **owner, **values, "created_at": now, "is_default": False}
            connection.execute(insert(presets).values(row))
        else:
            key = old["id"]
            connection.execute(update(presets).where(presets.c.id == key).values(values))
        if is_default is True:
            _set_default(connection, user_id, key, organization)
        elif is_default is False:
            connection.execute(update(presets).where(presets.c.id == key).values(is_default=False))
        row_now = connection.execute(select(presets).where(presets.c.id == key)).mappings().one()
        return _preset(row_now)

    def _retried(self, work: Callable[[Connection], _T], name: str) -> _T:
        """One transaction, tried again when another writer came first; the database decides who did."""
        for _ in range(_TRIES):
            try:
                with self._engine.execution_options(immediate=True).begin() as connection:
                    return work(connection)
            except IntegrityError as exc:
                last = exc
        raise PresetNameTakenError(name) from last


_TRIES = 5


def _set_default(
    connection: Connection, user_id: str, preset_id: str | None, organization: str | None
) -> None:
    _lock(connection, user_id, organization)
    owner = _owner(user_id, organization)
    others = update(presets).where(*owner, presets.c.is_default)
    if preset_id is not None:
        others = others.where(presets.c.id != preset_id)
    connection.execute(others.values(is_default=False))
    if preset_id is None:
        return
    statement = update(presets).where(presets.c.id == preset_id, *owner).values(is_default=True)
    if connection.execute(statement).rowcount == 0:
        raise PresetNotFoundError(preset_id)


def _lock(connection: Connection, user_id: str, organization: str | None) -> None:
    """
    Let the writers of one user wait for each other until the end of the transaction.

    In PostgreSQL by a lock on the user's name, because locks on rows that come and go end in deadlocks; in
    SQLite there is one writer at a time anyway.
    """
    if connection.dialect.name == "postgresql":
        number = func.hashtextextended(f"preset {organization or ''} {user_id}", 0)
        connection.execute(select(func.pg_advisory_xact_lock(number)))


def _exists(connection: Connection, preset_id: str) -> bool:
    return connection.execute(select(presets.c.id).where(presets.c.id == preset_id)).first() is not None


def _owner(user_id: str, organization: str | None) -> tuple[Any, ...]:
    return presets.c.user_id == user_id, presets.c.organization == (organization or "")


def _preset(row: RowMapping) -> Preset:
    return Preset.from_row({str(name): value for name, value in row.items()})
