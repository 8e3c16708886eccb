"""The SQL table of presets, for SQLite and PostgreSQL."""

from __future__ import annotations

from sqlalchemy import JSON, Boolean, Column, DateTime, Index, MetaData, Table, Text, UniqueConstraint, text

metadata = MetaData()

presets = Table(
    "presets",
    metadata,
    Column("id", Text, primary_key=True),
    Column("user_id", Text, nullable=False),
    # empty: no organization; not NULL, because two NULLs would count as different in the unique indexes
    Column("organization", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("bundle", Text, nullable=False),
    Column("settings", JSON, nullable=False),
    Column("is_default", Boolean, nullable=False),
    Column("created_at", DateTime(timezone=True), nullable=False),
    Column("updated_at", DateTime(timezone=True), nullable=False),
    UniqueConstraint("organization", "user_id", "name", name="presets_by_name"),
)

one_default = Index(
    "presets_one_default",
    presets.c.organization,
    presets.c.user_id,
    unique=True,
    sqlite_where=text("is_default"),
    postgresql_where=text("is_default"),
)
"""At most one default per user, held by the database itself."""
