"""
Databases as earlier revisions left them: their rows, kept as JSON, one file per revision and database.

A revision that is new needs its own, made while it is the newest: `python -m tests.transcripts.revision_data`
has the code of today record sessions and writes what is in the tables then. Never change one afterwards.
"""

import base64
import json
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, inspect, text

from agent.transcripts import migrations, tables
from agent.transcripts.database import open_engine, writing
from agent.transcripts.erased import mark_session
from agent.transcripts.filters import OPERATOR
from agent.transcripts.finalize import finalize
from agent.transcripts.history import rename
from agent.transcripts.migrations import upgrade_engine
from config_store import tables as preset_tables
from config_store.presets import PresetStore
from tests.transcripts.conftest import start_postgresql, talk

FOLDER = Path(__file__).parent / "revisions"
DIALECTS = ("sqlite", "postgresql")


def revisions() -> list[str]:
    """All revisions of the chain, oldest first."""
    scripts = ScriptDirectory.from_config(_config())
    return [script.revision for script in scripts.walk_revisions()][::-1]


def upgrade_to(engine: Engine, revision: str) -> None:
    """Bring an empty database to this revision, as the code of that time did."""
    with writing(engine) as connection:
        config = _config()
        config.attributes["connection"] = connection
        command.upgrade(config, revision)


def fill(engine: Engine, revision: str) -> None:
    """Put in what the code of that revision had written."""
    kept = json.loads((FOLDER / f"{revision}-{engine.dialect.name}.json").read_text(encoding="utf-8"))
    with writing(engine) as connection:
        for table, rows in kept.items():
            for row in rows:
                names = ", ".join(row)
                values = ", ".join(f":{name}" for name in row)
                statement = text(f"INSERT INTO {table} ({names}) VALUES ({values})")
                connection.execute(statement, {name: _value(value) for name, value in row.items()})
            if engine.dialect.name == "postgresql" and rows:
                _count_on(connection, table)


def write(engine: Engine) -> Path:
    """Record sessions with the code of today; write the rows to the file of the newest revision."""
    upgrade_engine(engine)
    with tempfile.TemporaryDirectory() as name:
        journals = Path(name)
        talk(journals, "s-1", said=("where is my order", "नमस्ते दुनिया"), organization="acme", keep_days=9999)
        talk(journals, "s-2", said=("",), user_id="u2", end=None)
        talk(journals, "s-3", said=("erased words",))
        for session_id in ("s-1", "s-2"):
            finalize(session_id, engine=engine, journals=journals)
    rename(engine, "s-1", OPERATOR, "The lost parcel")
    with writing(engine) as connection:
        mark_session(connection, "s-3")
        connection.execute(text("UPDATE erased SET expires_at = '2999-01-01T00:00:00.000Z'"))
    PresetStore(engine).save("u1", "calm", {"voice_tuning": {"pace": 0.8}}, bundle="interview")
    there = inspect(engine).get_table_names()
    in_order = [*tables.metadata.sorted_tables, *preset_tables.metadata.sorted_tables]
    kept = {}
    with engine.connect() as connection:
        for table in (table.name for table in in_order if table.name in there):
            rows = connection.execute(text(f"SELECT * FROM {table}")).mappings().all()
            kept[table] = [{name: _plain(value) for name, value in row.items()} for row in rows]
    path = FOLDER / f"{revisions()[-1]}-{engine.dialect.name}.json"
    path.write_text(json.dumps(kept, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
    return path


def _count_on(connection: Connection, table: str) -> None:
    """Rows that came with their numbers leave the counter of a column behind."""
    asked = text("SELECT pg_get_serial_sequence(:table, 'id')")
    has_id = any(column["name"] == "id" for column in inspect(connection).get_columns(table))
    if has_id and (counter := connection.scalar(asked, {"table": table})):
        connection.execute(text(f"SELECT setval('{counter}', (SELECT max(id) FROM {table}))"))


def _plain(value: Any) -> Any:
    if isinstance(value, bytes | memoryview):
        return {"base64": base64.b64encode(bytes(value)).decode()}
    if isinstance(value, dict):
        return {"json": value}
    return value.isoformat(sep=" ") if isinstance(value, datetime) else value


def _value(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    return base64.b64decode(value["base64"]) if "base64" in value else json.dumps(value["json"])


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(migrations.__file__).parent).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    return config


@contextmanager
def _databases() -> Iterator[list[str]]:
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        server = start_postgresql(Path(name) / "data")
        yield [f"sqlite:///{Path(name) / 'agent.db'}", server.get_uri()]
        server.cleanup()


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    with _databases() as urls:
        for url in urls:
            engine = open_engine(url)
            print(write(engine))
            engine.dispose()
