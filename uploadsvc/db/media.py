"""The tables of media and decisions behind :class:`uploadsvc.db.MediaRepository`."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, delete, insert, select, tuple_, update

from uploadsvc.db.engine import Database
from uploadsvc.db.tables import decisions
from uploadsvc.db.tables import media as table
from uploadsvc.model import Decision, Facts, Media, Moderation, Verdict
from uploadsvc.wire import moderation_of, report_of


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

    def latest_rejected(self, limit: int) -> list[str]:
        def work(connection: Connection) -> list[str]:
            statement = (
                select(decisions.c.media_id)
                .where(decisions.c.verdict == Verdict.REJECT.value)
                .order_by(decisions.c.id.desc())
                .limit(limit)
            )
            return list(connection.execute(statement).scalars())

        return self._read(work)

    def waiting_for_review(
        self, limit: int, after: tuple[datetime, str] | None
    ) -> list[Media]:
        def work(connection: Connection) -> list[Media]:
            statement = (
                select(table)
                .where(table.c.verdict == Verdict.REVIEW.value)
                .order_by(table.c.created_at, table.c.id)
                .limit(limit)
            )
            if after is not None:
                place = tuple_(table.c.created_at, table.c.id)
                statement = statement.where(place > after)
            return [media_of(row) for row in connection.execute(statement)]

        return self._read(work)

    def decide(
        self, media_id: str, moderator: str, verdict: Verdict, note: str, at: datetime
    ) -> Media | None:
        changes: dict[str, Any] = {"verdict": verdict.value}
        if verdict is Verdict.APPROVE:
            changes["reasons"] = []

        def work(connection: Connection) -> Media | None:
            statement = (
                update(table)
                .where(table.c.id == media_id, table.c.verdict == Verdict.REVIEW.value)
                .values(changes)
                .returning(table)
            )
            row = connection.execute(statement).one_or_none()
            if row is None:
                return None
            connection.execute(
                insert(decisions).values(
                    media_id=media_id,
                    upload_id=row.upload_id,
                    moderator=moderator,
                    verdict=verdict.value,
                    note=note,
                    at=at,
                )
            )
            return media_of(row)

        return self._run(work)

    def decisions_of(self, media_id: str) -> list[Decision]:
        def work(connection: Connection) -> list[Decision]:
            statement = (
                select(decisions)
                .where(decisions.c.media_id == media_id)
                .order_by(decisions.c.id)
            )
            return [_decision(row) for row in connection.execute(statement)]

        return self._read(work)


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
        "codec": facts.codec,
        "blurhash": facts.blurhash,
        "verdict": moderation.verdict.value,
        "reasons": list(moderation.reasons),
        "has_thumbnail": media.has_thumbnail,
        "created_at": media.created_at,
        "report": report_of(moderation),
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
            codec=row.codec,
            blurhash=row.blurhash,
        ),
        moderation=_moderation(row),
        has_thumbnail=row.has_thumbnail,
        created_at=row.created_at,
    )


def _moderation(row: Row[Any]) -> Moderation:
    """The verdict as it stands, a moderator's where there is one, with the findings of
    verification."""
    verdict, reasons = Verdict(row.verdict), tuple(row.reasons)
    if row.report is None:
        return Moderation(verdict, reasons)
    return replace(moderation_of(row.report), verdict=verdict, reasons=reasons)


def _decision(row: Row[Any]) -> Decision:
    return Decision(
        media_id=row.media_id,
        upload_id=row.upload_id,
        moderator=row.moderator,
        verdict=Verdict(row.verdict),
        note=row.note,
        at=row.at,
    )
