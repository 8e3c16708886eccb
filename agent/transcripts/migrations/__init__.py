"""
The schema of all our tables: one chain of revisions, run by `upgrade`, wherever the package is installed.

A revision describes its tables itself: it must make the same schema for ever, whatever the code says later.
Its file is named after it, `rREVISION_what.py`, and the names sort as the chain goes, so that a worker sees
whether anything is to be done without loading Alembic, which would be 8 MB for as long as it runs.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from sqlalchemy import Connection, Engine, inspect, text
from sqlalchemy.exc import SQLAlchemyError

from agent.transcripts.database import DatabaseTroubleError, is_missing_file, open_engine, trouble, writing

if TYPE_CHECKING:
    from alembic.config import Config

_FOLDER = Path(__file__).parent
_LOCK = 6_147_203_401
"""Advisory lock of PostgreSQL that two upgrades at once wait for; any number, never another one."""


@dataclass(frozen=True)
class SchemaState:
    """How the schema of a database compares with what this version of the code needs."""

    current: str | None
    """Revision of the database; None: it has no tables of ours."""
    head: str
    """Revision that this code needs."""
    state: Literal["current", "empty", "behind", "ahead"]

    @property
    def problem(self) -> str | None:
        """What is wrong and what to do, in one line; None if nothing is."""
        match self.state:
            case "current":
                return None
            case "empty":
                return "database: it has no tables yet; run `agent db upgrade`"
            case "behind":
                return (
                    f"database: schema {self.current} is older than this version needs ({self.head}); "
                    "run `agent db upgrade`"
                )
            case "ahead":
                return (
                    f"database: schema {self.current} was made by a newer version (this one knows "
                    f"{self.head}); update this installation"
                )


def upgrade(url: str) -> SchemaState:
    """
    Bring the schema to the revision that this code needs; does nothing when it is there. Several processes
    may do it at once: one works, the others wait.

    Returns:
        The state before.

    Raises:
        DatabaseTroubleError: The database does not answer, or a newer version made its schema.
    """
    engine = open_engine(url)
    try:
        return upgrade_engine(engine)
    finally:
        engine.dispose()


def upgrade_engine(engine: Engine) -> SchemaState:
    """`upgrade` of an open engine."""
    try:
        with writing(engine) as connection:
            if connection.dialect.name == "postgresql":
                connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _LOCK})
            before = _state(connection)
            if before.state == "ahead":
                raise DatabaseTroubleError(before.problem)
            if before.state != "current":
                from alembic import command

                config = _config()
                config.attributes["connection"] = connection
                command.upgrade(config, "head")
            return before
    except SQLAlchemyError as exc:
        raise trouble(exc) from exc


def check(url: str) -> SchemaState:
    """
    How the schema compares; changes nothing and makes no file.

    Raises:
        DatabaseTroubleError: The database does not answer.
    """
    if is_missing_file(url):
        return SchemaState(None, revisions()[-1], "empty")
    engine = open_engine(url)
    try:
        return check_engine(engine)
    finally:
        engine.dispose()


def check_engine(engine: Engine) -> SchemaState:
    """`check` of an open engine."""
    try:
        with engine.connect() as connection:
            return _state(connection)
    except SQLAlchemyError as exc:
        raise trouble(exc) from exc


def _state(connection: Connection) -> SchemaState:
    *_, head = known = revisions()
    current = None
    if inspect(connection).has_table("alembic_version"):
        current = connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
    if current is None:
        return SchemaState(None, head, "empty")
    if current == head:
        return SchemaState(current, head, "current")
    return SchemaState(current, head, "behind" if current in known else "ahead")


def revisions() -> list[str]:
    """All revisions of the chain, oldest first."""
    return sorted(path.name[1:].partition("_")[0] for path in (_FOLDER / "versions").glob("r*_*.py"))


def _config() -> "Config":
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(_FOLDER).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    return config
