"""The media table behind :class:`uploadsvc.db.MediaRepository`."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from sqlalchemy import Connection, Row, delete, select

from uploadsvc.db.engine import Database
from uploadsvc.db.tables import media as table
from uploadsvc.model import Facts, Media, Moderation, Verdict


class SqlMedia:
    def __init__(self, database: Database) -> None:
        self._run = database.run
        self._read = database.read

    def find(self, media_id: str) -> Media | None:
        return self.find_many([media_id]).get(media_id)

    def find_many(self, media_ids: Collection[str]) -> dict[str, Media]:
        def work(connection: Connection) -> dict[str, Media]:
            rows = connection.execute(select(table).where(table.c.id.in_(media_ids)))
            return {row.id: media_of(row) for row in rows}

        return self._read(work) if media_ids else {}

    def delete(self, media_id: str) -> bool:
        def work(connection: Connection) -> bool:
            done = connection.execute(delete(table).where(table.c.id == media_id))
            return done.rowcount == 1

        return self._run(work)


def values_of(media: Media) -> dict[str, Any]:
    facts, moderation = media.facts, media.moderation
    return {
        "id": media.id,
        "upload_id": media.upload_id,
        "user_id": media.user_id,
        "title": media.title,
        "description": media.description,
        "file_name": media.file_name,
        "mime_type": facts.mime_type,
        "size": facts.size,
        "sha256": facts.sha256,
        "width": facts.width,
        "height": facts.height,
        "duration": facts.duration,
        "verdict": moderation.verdict.value,
        "reasons": list(moderation.reasons),
        "has_thumbnail": media.has_thumbnail,
        "created_at": media.created_at,
    }


def media_of(row: Row[Any]) -> Media:
    return Media(
        id=row.id,
        upload_id=row.upload_id,
        user_id=row.user_id,
        title=row.title,
        description=row.description,
        file_name=row.file_name,
        facts=Facts(
            mime_type=row.mime_type,
            size=row.size,
            sha256=row.sha256,
            width=row.width,
            height=row.height,
            duration=row.duration,
        ),
        moderation=Moderation(Verdict(row.verdict), tuple(row.reasons)),
        has_thumbnail=row.has_thumbnail,
        created_at=row.created_at,
    )
