"""The chain of revisions: what it makes, from where, and what it says when versions do not fit."""

import json
import shutil
import threading
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import inspect, text
from typer.testing import CliRunner

from agent.cli import db, transcripts
from agent.serving import StartError, _database
from agent.settings import load as load_settings
from agent.transcripts import migrations, tables
from agent.transcripts.database import DatabaseTroubleError, open_engine
from agent.transcripts.filters import OPERATOR
from agent.transcripts.finalize import RecordNotMadeError, finalize
from agent.transcripts.history import list_transcripts, load
from agent.transcripts.migrations import check, upgrade
from agent.transcripts.search import search
from config_store import tables as preset_tables
from config_store.presets import PresetStore
from tests.transcripts import revision_data
from tests.transcripts.conftest import talk


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


def test_the_chain_is_in_the_names_of_its_files() -> None:
    """What the worker reads off the names of the files is the chain that Alembic would go along."""
    assert migrations.revisions() == revision_data.revisions()


@pytest.mark.parametrize("revision", revision_data.revisions())
def test_database_of_an_earlier_revision_is_upgraded_with_all_that_is_in_it(
    revision: str, empty_database: str, journals: Path
) -> None:
    """Records, titles, the search index, presets and marks of erasure outlive every upgrade, and go on."""
    missing = [
        f"{revision}-{dialect}.json"
        for dialect in revision_data.DIALECTS
        if not (revision_data.FOLDER / f"{revision}-{dialect}.json").exists()
    ]
    assert missing == [], "make them while it is the newest: python -m tests.transcripts.revision_data"
    engine = open_engine(empty_database)
    revision_data.upgrade_to(engine, revision)
    revision_data.fill(engine, revision)
    upgrade(empty_database)
    assert check(empty_database).state == "current"

    rows = {row["session_id"]: row for row in list_transcripts(engine, OPERATOR).transcripts}
    assert sorted(rows) == ["s-1", "s-2"]
    assert (rows["s-1"]["title"], rows["s-1"]["organization"]) == ("The lost parcel", "acme")
    transcript = load(engine, "s-1", OPERATOR)
    assert transcript is not None
    said = [item["text"] for item in transcript["items"] if item["role"] == "user"]
    assert said == ["where is my order", "नमस्ते दुनिया"]
    assert {hit.session_id for hit in search(engine, OPERATOR, "नमस्ते")} == {"s-1"}
    assert [preset.settings for preset in PresetStore(engine).list("u1")] == [{"voice_tuning": {"pace": 0.8}}]

    talk(journals, "s-1", attempt=2, said=("and more",), organization="acme")
    talk(journals, "s-3", said=("erased words",))
    assert finalize("s-1", engine=engine, journals=journals).action == "grown"
    assert finalize("s-3", engine=engine, journals=journals).action == "erased"
    grown = load(engine, "s-1", OPERATOR)
    assert grown is not None
    assert [item["text"] for item in grown["items"] if item["role"] == "user"] == [*said, "and more"]
    assert grown["title"] == "The lost parcel"
    engine.dispose()


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


@pytest.fixture
def newer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """The code of a next version, whose chain has one more revision; `undo` makes it today's again."""
    chain = tmp_path / "chain"
    shutil.copytree(Path(migrations.__file__).parent, chain)
    (chain / "versions" / "r9999_next.py").write_text(
        "import sqlalchemy as sa\nfrom alembic import op\n"
        f"revision, down_revision = '9999', {revision_data.revisions()[-1]!r}\n"
        "def upgrade():\n"
        "    op.add_column('items', sa.Column('later', sa.Text, nullable=False, server_default='x'))\n"
        "    op.alter_column('transcripts', 'characters', new_column_name='letters')\n"
    )
    monkeypatch.setattr(migrations, "_FOLDER", chain)
    return monkeypatch


def test_versions_that_do_not_fit_say_so(
    database: str, newer: pytest.MonkeyPatch, journals: Path, tmp_path: Path
) -> None:
    """
    New on old says `agent db upgrade`, old on new says to update: worker, commands, each in one line; and an
    old worker that was running while others upgraded says so too and keeps the journal.
    """
    newer.setenv("DATABASE_URL", database.replace("+psycopg", ""))
    newer.setenv("AGENT_DATA", str(tmp_path / "var"))
    newer.chdir(tmp_path)
    running = open_engine(database)
    assert check(database).state == "behind"
    for said in (started(), listed(), checked()):
        assert "older than this version needs" in said
        assert "agent db upgrade" in said
    assert CliRunner().invoke(db.app, ["upgrade"]).exit_code == 0
    assert check(database).state == "current"

    newer.undo()
    newer.setenv("DATABASE_URL", database.replace("+psycopg", ""))
    newer.setenv("AGENT_DATA", str(tmp_path / "var"))
    newer.chdir(tmp_path)
    for said in (started(), listed(), checked()):
        assert "made by a newer version" in said
        assert "update this installation" in said
    journal = talk(journals, "s-1")
    with pytest.raises(RecordNotMadeError, match="not the one that this version knows") as caught:
        finalize("s-1", engine=running, journals=journals)
    assert "agent db check" in str(caught.value)
    assert journal.path.exists()
    running.dispose()


def started() -> str:
    """What `agent start` says of the database."""
    with pytest.raises(StartError) as caught, _database(load_settings()):
        pass
    return str(caught.value)


def listed() -> str:
    """What a command over records says."""
    result = CliRunner().invoke(transcripts.app, ["list", "--json"])
    assert result.exit_code == 1
    return str(json.loads(result.stderr)["error"]["message"])


def checked() -> str:
    """What `agent db check` says."""
    result = CliRunner().invoke(db.app, ["check"])
    assert (result.exit_code, result.stderr.count("\n")) == (1, 1)
    return result.stderr


def test_url_that_is_none(tmp_path: Path) -> None:
    """An address that no database has is one clear line."""
    for url in ("nonsense", "mysql://x/y"):
        with pytest.raises(DatabaseTroubleError, match=r"DATABASE_URL: .*postgresql://"):
            open_engine(url)
    with pytest.raises(DatabaseTroubleError, match="check AGENT_DATA"):
        open_engine("sqlite:////proc/nowhere/agent.db")
