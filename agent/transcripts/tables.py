"""
The tables of records, as SQLAlchemy sees them; migrations/ makes them.

Times are text, `2026-01-01T00:00:00.000Z`: the same in both databases, and sorted as text they are sorted by
time. No organization and no user are stored as '' (a NULL would escape unique keys and comparisons).
"""

from sqlalchemy import (
    JSON,
    BigInteger,
    Column,
    Float,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
)
from sqlalchemy.types import UserDefinedType

metadata = MetaData()


class Words(UserDefinedType[str]):
    """PostgreSQL's TSVECTOR, without SQLAlchemy's dialect for it (3 MB), which SQLite has no use for."""

    cache_ok = True

    def get_col_spec(self, **_: object) -> str:
        """The type as DDL names it."""
        return "TSVECTOR"


transcripts = Table(
    "transcripts",
    metadata,
    Column("session_id", Text, primary_key=True),
    Column("organization", Text, nullable=False),
    Column("user_id", Text, nullable=False),
    Column("bundle", Text),
    Column("end_reason", Text, nullable=False),
    Column("started_at", String(24), nullable=False),
    Column("live_at", String(24)),
    Column("ended_at", String(24), nullable=False),
    Column("duration_seconds", Float, nullable=False),
    Column("title", Text),
    # What somebody renamed the session to; wins over `title` and survives every new fold.
    Column("given_title", Text),
    Column("user_turns", Integer, nullable=False),
    Column("item_count", Integer, nullable=False),
    Column("tokens", BigInteger, nullable=False),
    Column("characters", BigInteger, nullable=False),
    # When retention removes the session; NULL: never.
    Column("keep_until", String(24)),
    # transcript/v1 without its items.
    Column("record", JSON, nullable=False),
    Column("recorded_at", String(24), nullable=False),
    Index("transcripts_by_time", "started_at", "session_id"),
    Index("transcripts_by_owner", "organization", "user_id", "started_at", "session_id"),
    Index("transcripts_by_organization", "organization", "started_at", "session_id"),
    Index("transcripts_by_bundle", "bundle", "started_at", "session_id"),
    Index("transcripts_by_reason", "end_reason", "started_at", "session_id"),
    Index("transcripts_by_end_of_keeping", "keep_until"),
)

_session = "transcripts.session_id"

agents = Table(
    "transcript_agents",
    metadata,
    Column("agent", Text, primary_key=True),
    Column("started_at", String(24), primary_key=True),
    Column("session_id", Text, ForeignKey(_session, ondelete="CASCADE"), primary_key=True),
    Index("transcript_agents_by_session", "session_id"),
)

items = Table(
    "items",
    metadata,
    Column("id", BigInteger().with_variant(Integer, "sqlite"), primary_key=True),
    Column("session_id", Text, ForeignKey(_session, ondelete="CASCADE"), nullable=False),
    Column("seq", Integer, nullable=False),
    Column("type", Text, nullable=False),
    Column("item", JSON, nullable=False),
    # The words of a message as search sees them; NULL for what is not searched. PostgreSQL's index on them,
    # `items_by_words`, is made by the migrations alone: `postgresql_using` would load its dialect here.
    Column("words", Text().with_variant(Words(), "postgresql")),
    UniqueConstraint("session_id", "seq", name="items_by_place"),
)

# The entries that a record was folded from. Kept, because a machine that was cut off may bring more of them
# later, when the first machine's journal is long gone: the record is always the fold of all of them.
journals = Table(
    "journals",
    metadata,
    Column("session_id", Text, ForeignKey(_session, ondelete="CASCADE"), primary_key=True),
    Column("entry_count", Integer, nullable=False),
    # A JSON array, compressed with zlib.
    Column("entries", LargeBinary, nullable=False),
)

# Hashes of what was erased, so that a machine that comes late brings nothing back.
erased = Table(
    "erased",
    metadata,
    Column("digest", String(64), primary_key=True),
    Column("erased_at", String(24), nullable=False),
    Column("expires_at", String(24), nullable=False),
)
