"""Records, their search index, what was erased, and presets."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import TSVECTOR

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the first tables."""
    _records()
    _presets()
    if op.get_bind().dialect.name == "postgresql":
        op.execute("CREATE INDEX items_by_words ON items USING gin (words)")
    else:
        _search_index_of_sqlite()


def _records() -> None:
    op.create_table(
        "transcripts",
        sa.Column("session_id", sa.Text, primary_key=True),
        sa.Column("organization", sa.Text, nullable=False),
        sa.Column("user_id", sa.Text, nullable=False),
        sa.Column("bundle", sa.Text),
        sa.Column("end_reason", sa.Text, nullable=False),
        sa.Column("started_at", sa.String(24), nullable=False),
        sa.Column("live_at", sa.String(24)),
        sa.Column("ended_at", sa.String(24), nullable=False),
        sa.Column("duration_seconds", sa.Float, nullable=False),
        sa.Column("title", sa.Text),
        sa.Column("given_title", sa.Text),
        sa.Column("user_turns", sa.Integer, nullable=False),
        sa.Column("item_count", sa.Integer, nullable=False),
        sa.Column("tokens", sa.BigInteger, nullable=False),
        sa.Column("characters", sa.BigInteger, nullable=False),
        sa.Column("keep_until", sa.String(24)),
        sa.Column("record", sa.JSON, nullable=False),
        sa.Column("recorded_at", sa.String(24), nullable=False),
    )
    for name, columns in {
        "transcripts_by_time": [],
        "transcripts_by_owner": ["organization", "user_id"],
        "transcripts_by_organization": ["organization"],
        "transcripts_by_bundle": ["bundle"],
        "transcripts_by_reason": ["end_reason"],
    }.items():
        op.create_index(name, "transcripts", [*columns, "started_at", "session_id"])
    op.create_index("transcripts_by_end_of_keeping", "transcripts", ["keep_until"])

    session = ("transcripts.session_id",)
    op.create_table(
        "transcript_agents",
        sa.Column("agent", sa.Text, primary_key=True),
        sa.Column("started_at", sa.String(24), primary_key=True),
        sa.Column("session_id", sa.Text, sa.ForeignKey(*session, ondelete="CASCADE"), primary_key=True),
    )
    op.create_index("transcript_agents_by_session", "transcript_agents", ["session_id"])
    op.create_table(
        "items",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True),
        sa.Column("session_id", sa.Text, sa.ForeignKey(*session, ondelete="CASCADE"), nullable=False),
        sa.Column("seq", sa.Integer, nullable=False),
        sa.Column("type", sa.Text, nullable=False),
        sa.Column("item", sa.JSON, nullable=False),
        sa.Column("words", sa.Text().with_variant(TSVECTOR, "postgresql")),
        sa.UniqueConstraint("session_id", "seq", name="items_by_place"),
    )
    op.create_table(
        "journals",
        sa.Column("session_id", sa.Text, sa.ForeignKey(*session, ondelete="CASCADE"), primary_key=True),
        sa.Column("entry_count", sa.Integer, nullable=False),
        sa.Column("entries", sa.LargeBinary, nullable=False),
    )
    op.create_table(
        "erased",
        sa.Column("digest", sa.String(64), primary_key=True),
        sa.Column("erased_at", sa.String(24), nullable=False),
        sa.Column("expires_at", sa.String(24), nullable=False),
    )


def _presets() -> None:
    op.create_table(
        "presets",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("organization", sa.Text, nullable=False),
        sa.Column("user_id", sa.Text, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("bundle", sa.Text, nullable=False),
        sa.Column("settings", sa.JSON, nullable=False),
        sa.Column("is_default", sa.Boolean, nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.UniqueConstraint("organization", "user_id", "name", name="presets_by_name"),
    )
    op.create_index(
        "presets_one_default",
        "presets",
        ["organization", "user_id"],
        unique=True,
        sqlite_where=sa.text("is_default"),
        postgresql_where=sa.text("is_default"),
    )


def _search_index_of_sqlite() -> None:
    """
    A full-text index over items.words that holds no text of its own.

    Vowel signs of Hindi and others are marks (category M), which the tokenizer would take for separators.
    """
    op.execute(
        "CREATE VIRTUAL TABLE items_by_words USING fts5(words, content='items', content_rowid='id', "
        "tokenize=\"unicode61 remove_diacritics 0 categories 'L* M* N* Co'\")"
    )
    op.execute(
        "CREATE TRIGGER items_words_in AFTER INSERT ON items WHEN new.words IS NOT NULL BEGIN "
        "INSERT INTO items_by_words(rowid, words) VALUES (new.id, new.words); END"
    )
    op.execute(
        "CREATE TRIGGER items_words_out AFTER DELETE ON items WHEN old.words IS NOT NULL BEGIN "
        "INSERT INTO items_by_words(items_by_words, rowid, words) VALUES ('delete', old.id, old.words); END"
    )
