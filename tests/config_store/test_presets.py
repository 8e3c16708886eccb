"""Presets in SQLite and PostgreSQL: kept by user, at most one default, whoever writes at once."""

import asyncio
import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import pytest
import sqlalchemy as sa
from sqlalchemy import Engine, select
from sqlalchemy.exc import IntegrityError

from agent.transcripts.database import open_engine
from config_store.errors import StoreUnavailableError
from config_store.preset import Preset, StoredPresets
from config_store.presets import PresetNameTakenError, PresetNotFoundError, PresetStore
from config_store.tables import metadata, presets
from tests.transcripts.conftest import database, empty_database, engine, postgresql

__all__ = ["database", "empty_database", "engine", "postgresql"]


@pytest.fixture
def store(engine: Engine) -> PresetStore:
    """A store on each of the two databases."""
    return PresetStore(engine)


@pytest.fixture
def reader(database: str) -> StoredPresets:
    """The same presets as sessions read them."""
    return StoredPresets(database)


async def default_of(reader: StoredPresets, user: str, organization: str | None = None) -> Preset | None:
    """The default that a session of this user gets."""
    return await reader.default_of(user, organization, deadline=asyncio.get_running_loop().time() + 20)


def test_save_and_read(store: PresetStore) -> None:
    """A preset comes back as it was saved, with times, and without an organization it has none."""
    settings = {"voice_tuning": {"pace": 0.8}, "system_prompt_text": "Sei höflich.", "metadata": {"a": [1]}}

    saved = store.save("u1", "calm", settings, bundle="interview")

    assert store.get(saved.id) == saved
    assert saved.settings == settings
    assert (saved.organization, saved.is_default, saved.bundle) == (None, False, "interview")
    assert saved.created_at == saved.updated_at
    assert saved.created_at.tzinfo is not None
    assert json.dumps(saved.as_dict())
    assert store.get("p-nothing") is None


def test_saving_a_name_again_replaces_it(store: PresetStore) -> None:
    """The same user's preset of the same name is replaced and keeps its id and its place as default."""
    first = store.save("u1", "calm", {"a": 1}, bundle="b", is_default=True)
    second = store.save("u1", "calm", {"b": 2}, bundle="c")

    assert (second.id, second.settings, second.bundle) == (first.id, {"b": 2}, "c")
    assert (second.is_default, second.created_at) == (True, first.created_at)
    assert len(store.list("u1")) == 1


def test_users_and_organizations_are_apart(store: PresetStore) -> None:
    """The same name may be used by each user of each organization; nobody sees another's."""
    for user, organization in (("u1", None), ("u1", "acme"), ("u2", "acme")):
        store.save(user, "calm", {}, bundle="b", organization=organization, is_default=True)

    assert [preset.organization for preset in store.list("u1")] == [None]
    assert [preset.user_id for preset in store.list("u2", "acme")] == ["u2"]
    assert store.list("u2") == []
    other = store.list("u2", "acme")[0]
    with pytest.raises(PresetNotFoundError):
        store.delete("u1", other.id, "acme")
    with pytest.raises(PresetNotFoundError):
        store.set_default("u1", other.id, "acme")
    with pytest.raises(PresetNotFoundError):
        store.save("u1", "x", {}, bundle="b", preset_id=other.id)


def test_a_name_is_taken(store: PresetStore) -> None:
    """Renaming a preset to the name of another one is refused."""
    store.save("u1", "a", {}, bundle="b")
    second = store.save("u1", "b", {}, bundle="b")

    with pytest.raises(PresetNameTakenError):
        store.save("u1", "a", {}, bundle="b", preset_id=second.id)

    assert store.save("u1", "c", {}, bundle="b", preset_id=second.id).name == "c"


async def test_one_default(store: PresetStore, reader: StoredPresets) -> None:
    """Making another preset the default takes it from the first; a user can have none."""
    first = store.save("u1", "a", {}, bundle="b", is_default=True)
    second = store.save("u1", "b", {}, bundle="b", is_default=True)

    assert [preset.is_default for preset in store.list("u1")] == [False, True]
    store.set_default("u1", first.id)
    assert await default_of(reader, "u1") == store.get(first.id)
    store.set_default("u1", None)
    assert await default_of(reader, "u1") is None
    store.set_default("u1", second.id)
    store.delete("u1", second.id)
    assert await default_of(reader, "u1") is None
    with pytest.raises(PresetNotFoundError):
        store.delete("u1", second.id)


async def test_the_default_of_the_organization_comes_first(store: PresetStore, reader: StoredPresets) -> None:
    """A user's default is the organization's, else the one of no organization, never another's."""
    own = store.save("u1", "a", {}, bundle="b", is_default=True)
    acme = store.save("u1", "a", {}, bundle="b", organization="acme", is_default=True)

    assert await default_of(reader, "u1", "acme") == acme
    assert await default_of(reader, "u1", "globex") == own
    assert await default_of(reader, "u1") == own


def test_the_database_holds_the_one_default(engine: Engine, store: PresetStore) -> None:
    """A second default cannot be written past the store either."""
    store.save("u1", "a", {}, bundle="b", is_default=True)
    second = store.save("u1", "b", {}, bundle="b")

    with pytest.raises(IntegrityError), engine.begin() as connection:
        connection.execute(presets.update().where(presets.c.id == second.id).values(is_default=True))


def test_many_writers_leave_one_default(engine: Engine, store: PresetStore) -> None:
    """Writers that make a default at the same time all succeed, and exactly one preset is it."""
    writers = 6
    ids = [store.save("u1", f"p{number}", {}, bundle="b").id for number in range(writers)]
    barrier = Barrier(writers)

    def write(preset_id: str) -> None:
        barrier.wait()
        for _ in range(5):
            store.set_default("u1", preset_id)
            store.save("u1", f"new-{preset_id}", {}, bundle="b", is_default=True)

    with ThreadPoolExecutor(writers) as pool:
        list(pool.map(write, ids))

    with engine.connect() as connection:
        defaults = connection.execute(select(presets.c.id).where(presets.c.is_default)).all()
    assert len(defaults) == 1
    assert len(store.list("u1")) == 2 * writers


def test_the_table_is_the_migrations(database: str) -> None:
    """What the migrations make is the table this package reads and writes: columns, types, indexes."""
    made = open_engine(database)
    inspector = sa.inspect(made)
    columns = {column["name"]: column for column in inspector.get_columns("presets")}

    for column in presets.columns:
        found = columns.pop(column.name)
        assert type(found["type"])._type_affinity is type(column.type)._type_affinity
        assert found["nullable"] == column.nullable
    assert not columns
    indexes = {index["name"]: index for index in inspector.get_indexes("presets")}
    assert indexes["presets_one_default"]["unique"]
    assert set(indexes["presets_one_default"]["column_names"]) == {"organization", "user_id"}
    assert metadata.tables.keys() == {"presets"}
    made.dispose()


async def test_reading_at_the_start_of_a_session(store: PresetStore, reader: StoredPresets) -> None:
    """A session reads presets by id and by default within its deadline, to the letter as they were saved."""
    settings = {"system_prompt_text": "Sei höflich.", "voice_tuning": {"pace": 0.8}, "metadata": {"a": [1]}}
    saved = store.save("u1", "a", settings, bundle="b", organization="acme", is_default=True)
    deadline = asyncio.get_running_loop().time() + 20

    assert await reader.by_id(saved.id, deadline=deadline) == saved
    assert await reader.by_id("p'); --", deadline=deadline) is None
    assert await default_of(reader, "u1", "acme") == saved
    assert await default_of(reader, "u1") is None
    assert await default_of(reader, "u2") is None


async def test_a_name_that_no_database_can_hold(store: PresetStore, reader: StoredPresets) -> None:
    """Half a character in a user's name is the database's trouble, which a session can go on with."""
    with pytest.raises(StoreUnavailableError):
        await default_of(reader, "\ud800")


@pytest.mark.parametrize(
    "url", ["postgresql+psycopg://u:s3cret@127.0.0.1:1/x", "sqlite:////nowhere/agent.db"]
)
async def test_a_database_that_is_not_there(url: str) -> None:
    """A database that cannot be reached, or has no tables, is unavailable; the message holds no password."""
    reader = StoredPresets(url)

    with pytest.raises(StoreUnavailableError, match="the database is not available") as caught:
        await reader.by_id("p", deadline=asyncio.get_running_loop().time() + 20)

    assert "s3cret" not in str(caught.value)


async def test_a_database_that_is_locked(tmp_path: Path) -> None:
    """A database that does not answer in time costs the deadline and no more."""
    url = f"sqlite:///{tmp_path / 'a.db'}"
    made = sa.create_engine(url)
    metadata.create_all(made)
    loop = asyncio.get_running_loop()
    with made.connect() as holder:
        holder.exec_driver_sql("BEGIN EXCLUSIVE")
        began = loop.time()
        with pytest.raises(StoreUnavailableError, match="no answer within the time budget"):
            await StoredPresets(url).by_id("p", deadline=began + 0.2)
        took = loop.time() - began
        holder.exec_driver_sql("ROLLBACK")

    assert took < 2
    made.dispose()
