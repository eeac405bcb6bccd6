"""The tables. A change here needs a migration beside it; a test compares the two."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    DateTime,
    Dialect,
    Float,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    TypeDecorator,
)


class Moment(TypeDecorator[datetime]):
    """A datetime in UTC. SQLite forgets the zone; it is put back on the way out."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> Any:
        return value.astimezone(UTC) if value is not None else None

    def process_result_value(self, value: Any, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        moment: datetime = value
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment


metadata = MetaData()

# All of a verdict (wire.report_of); NULL in rows older than the column, and where none was.
REPORT = JSON(none_as_null=True)

uploads = Table(
    "uploads",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("user_id", String(255), nullable=False),
    Column("state", String(16), nullable=False),
    Column("created_at", Moment, nullable=False),
    Column("updated_at", Moment, nullable=False),
    Column("title", Text, nullable=False, default=""),
    Column("description", Text, nullable=False, default=""),
    Column("file_name", Text, nullable=False, default=""),
    Column("size", BigInteger, nullable=False, default=0),
    Column("sha256", String(64), nullable=False, default=""),
    Column("owner", String(255), nullable=False, default=""),
    Column("attempts", Integer, nullable=False, default=0),
    Column("generation", Integer, nullable=False, default=0),
    Column("mark", Integer, nullable=False, default=0),
    Column("bound_until", Moment),
    Column("media_id", String(64)),
    Column("ending_id", BigInteger),
    Column("ending_message", Text),
    Column("ending_code", String(64)),
    Column("ending_reasons", JSON),
    Column("ended_at", Moment),
    Column("report", REPORT),
    Index("ix_uploads_user_created", "user_id", "created_at", "id"),
    Index("ix_uploads_state", "state"),
)

media = Table(
    "media",
    metadata,
    Column("id", String(64), primary_key=True),
    # Not unique: an ended upload's row may be forgotten, and its id come again.
    Column("upload_id", String(64), nullable=False, index=True),
    Column("user_id", String(255), nullable=False, index=True),
    Column("title", Text, nullable=False),
    Column("description", Text, nullable=False),
    Column("file_name", Text, nullable=False),
    Column("mime_type", String(127), nullable=False),
    Column("size", BigInteger, nullable=False),
    Column("sha256", String(64), nullable=False),
    Column("width", Integer),
    Column("height", Integer),
    Column("duration", Float),
    Column("codec", String(32)),
    Column("blurhash", String(32)),
    Column("verdict", String(16), nullable=False),
    Column("reasons", JSON, nullable=False),
    Column("has_thumbnail", Boolean, nullable=False),
    Column("created_at", Moment, nullable=False),
    Column("report", REPORT),
    Index("ix_media_verdict_created", "verdict", "created_at", "id"),
)

# What moderators decided. Kept when the media are deleted: who decided what stays known.
decisions = Table(
    "decisions",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("media_id", String(64), nullable=False, index=True),
    Column("upload_id", String(64), nullable=False),
    Column("moderator", String(255), nullable=False),
    Column("verdict", String(16), nullable=False),
    Column("note", Text, nullable=False),
    Column("at", Moment, nullable=False),
)
