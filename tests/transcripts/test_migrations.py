"""The chain of revisions: what it makes, from where, and what it says when versions do not fit."""

import threading
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import inspect, text

from agent.transcripts import tables
from agent.transcripts.database import DatabaseTroubleError, open_engine
from agent.transcripts.migrations import check, upgrade
from config_store import tables as preset_tables


def test_empty_database_is_brought_to_the_head(empty_database: str) -> None:
    """One upgrade makes all tables; a second one does nothing."""
    assert check(empty_database).state == "empty"
    assert upgrade(empty_database).state == "empty"
    assert check(empty_database).state == "current"
    assert upgrade(empty_database).state == "current"
    engine = open_engine(empty_database)
    assert {"transcripts", "items", "journals", "erased", "presets"} <= set(inspect(engine).get_table_names())
    engine.dispose()


def test_chain_makes_what_the_code_expects(database: str) -> None:
    """The migrated schema and the tables in the code are the same."""
    engine = open_engine(database)

    def is_ours(name: str | None, kind: str, parents: object) -> bool:
        return kind != "table" or name in {*tables.metadata.tables, *preset_tables.metadata.tables}

    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"include_name": is_ours, "compare_type": True})
        differences = compare_metadata(context, [tables.metadata, preset_tables.metadata])  # type: ignore[arg-type]
    engine.dispose()
    assert [one for one in differences if "items_by_words" not in str(one)] == []


def test_upgrades_at_once(empty_database: str) -> None:
    """Several that upgrade at the same time all succeed, and one of them does the work."""
    states: list[str] = []
    threads = [
        threading.Thread(target=lambda: states.append(upgrade(empty_database).state)) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(states) == ["current", "current", "current", "empty"]


def test_schema_of_a_newer_version_is_refused(database: str) -> None:
    """An old program on a new schema says that it has to be updated, and changes nothing."""
    engine = open_engine(database)
    with engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    engine.dispose()
    state = check(database)
    assert state.state == "ahead"
    assert "newer version" in (state.problem or "")
    with pytest.raises(DatabaseTroubleError, match="update this installation"):
        upgrade(database)


def test_url_that_is_none(tmp_path: Path) -> None:
    """An address that no database has is one clear line."""
    for url in ("nonsense", "mysql://x/y"):
        with pytest.raises(DatabaseTroubleError, match=r"DATABASE_URL: .*postgresql://"):
            open_engine(url)
    with pytest.raises(DatabaseTroubleError, match="check AGENT_DATA"):
        open_engine("sqlite:////proc/nowhere/agent.db")
