"""The uploads table behind :class:`uploadsvc.db.UploadRepository`; promises stand there."""

from __future__ import annotations

from collections.abc import Callable, Collection
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Row, delete, func, insert, select, tuple_, update

from uploadsvc.db import BOUND_MAX_S, MAX_BOUND
from uploadsvc.db.engine import Database
from uploadsvc.db.media import values_of as media_values
from uploadsvc.db.tables import media as media_table
from uploadsvc.db.tables import uploads as table
from uploadsvc.errors import AccessDenied, IdTaken, TooManyUploads
from uploadsvc.model import (
    FOLLOWERS,
    Ending,
    Media,
    Moderation,
    State,
    Upload,
    now,
)
from uploadsvc.wire import moderation_of, report_of

BOUND_RETRY_S = 60  # what a refused client is told, should it hold too many

ENDED = [state for state in State if state.final]
WITHOUT_RECORD = [State.FAILED, State.REJECTED, State.CANCELLED]
AT_WORK = [State.RECEIVING, State.QUEUED, State.VERIFYING]


class SqlUploads:
    def __init__(self, database: Database, clock: Callable[[], datetime] = now) -> None:
        self._run = database.run
        self._read = database.read
        self._clock = clock

    def find(self, upload_id: str) -> Upload | None:
        return self._read(lambda connection: _find(connection, upload_id))

    def bind(self, upload_id: str, user_id: str, until: datetime) -> Upload:
        def work(connection: Connection) -> Upload:
            upload = _find(connection, upload_id)
            if upload is None:
                if _bound(connection, user_id) >= MAX_BOUND:
                    raise TooManyUploads(retry_after=BOUND_RETRY_S)
                return self._insert(
                    connection, upload_id, user_id, State.OPEN, bound_until=until
                )
            if upload.user_id != user_id:
                raise AccessDenied
            if upload.state is not State.OPEN:
                return upload
            # A row that was posted to, and refused for the moment, is not provisional.
            latest = (
                until
                if upload.owner
                else upload.created_at + timedelta(seconds=BOUND_MAX_S)
            )
            return (
                _change(
                    connection,
                    upload_id,
                    [State.OPEN],
                    {"bound_until": min(until, latest)},
                )
                or upload
            )

        return self._run(work)

    def begin(self, upload_id: str, user_id: str, owner: str) -> Upload:
        def work(connection: Connection) -> Upload:
            upload = _find(connection, upload_id)
            if upload is None:
                return self._insert(
                    connection, upload_id, user_id, State.RECEIVING, owner=owner
                )
            if upload.user_id != user_id:
                raise AccessDenied
            begun = self._advance(
                connection,
                upload_id,
                [State.OPEN],
                State.RECEIVING,
                {
                    "owner": owner,
                    "bound_until": None,
                    # Another process may have numbered events that this one never heard.
                    "generation": upload.generation + (upload.owner not in {"", owner}),
                },
            )
            if begun is None:
                raise IdTaken(status=upload.state.value)
            return begun

        return self._run(work)

    def advance(
        self, upload_id: str, expected: Collection[State], to: State, **changes: Any
    ) -> Upload | None:
        return self._run(
            lambda connection: self._advance(
                connection, upload_id, expected, to, changes
            )
        )

    def complete(self, upload_id: str, ending: Ending, media: Media) -> Upload | None:
        def work(connection: Connection) -> Upload | None:
            done = self._advance(
                connection,
                upload_id,
                [State.VERIFYING],
                State.COMPLETE,
                {"ending": ending, "media_id": media.id},
            )
            if done is not None:
                connection.execute(insert(media_table).values(media_values(media)))
            return done

        return self._run(work)

    def claim(self, upload_id: str, owner: str) -> Upload | None:
        return self.advance(
            upload_id,
            [State.QUEUED],
            State.VERIFYING,
            owner=owner,
            attempts=table.c.attempts + 1,
        )

    def take_over(self, upload: Upload, owner: str) -> Upload | None:
        def work(connection: Connection) -> Upload | None:
            to = State.QUEUED if upload.state is State.VERIFYING else upload.state
            statement = (
                update(table)
                .where(
                    table.c.id == upload.id,
                    table.c.state == upload.state.value,
                    table.c.owner == upload.owner,
                )
                .values(
                    owner=owner,
                    state=to.value,
                    generation=table.c.generation + 1,
                    # The attempt ended with its process, which is not the file's doing.
                    attempts=upload.attempts - (upload.state is State.VERIFYING),
                    updated_at=self._clock(),
                )
                .returning(table)
            )
            row = connection.execute(statement).one_or_none()
            return _upload(row) if row else None

        return self._run(work)

    def retry(self, upload_id: str) -> Upload | None:
        return self._set(
            upload_id, [State.VERIFYING], {"attempts": table.c.attempts + 1}
        )

    def intend(self, upload_id: str, media_id: str) -> None:
        self._set(upload_id, [State.VERIFYING], {"media_id": media_id})

    def unmade(self) -> list[Upload]:
        def work(connection: Connection) -> list[Upload]:
            statement = select(table).where(
                table.c.media_id.is_not(None),
                table.c.state.in_([state.value for state in WITHOUT_RECORD]),
            )
            return [_upload(row) for row in connection.execute(statement)]

        return self._read(work)

    def clear_media(self, upload_id: str) -> None:
        self._set(upload_id, WITHOUT_RECORD, {"media_id": None})

    def mark(self, upload_id: str, percent: int) -> None:
        self._set(upload_id, AT_WORK, {"mark": percent})

    def loosen(self, upload_id: str, until: datetime) -> None:
        def work(connection: Connection) -> None:
            connection.execute(
                update(table)
                .where(
                    table.c.id == upload_id,
                    table.c.state == State.OPEN.value,
                    table.c.bound_until > until,
                )
                .values(bound_until=until)
            )

        self._run(work)

    def release_expired(self, at: datetime) -> list[str]:
        def work(connection: Connection) -> list[str]:
            statement = (
                delete(table)
                .where(table.c.state == State.OPEN.value, table.c.bound_until < at)
                .returning(table.c.id)
            )
            return list(connection.execute(statement).scalars())

        return self._run(work)

    def forget_ended(self, before: datetime) -> int:
        def work(connection: Connection) -> int:
            states = [state.value for state in ENDED]
            statement = delete(table).where(
                table.c.state.in_(states), table.c.ended_at < before
            )
            return connection.execute(statement).rowcount

        return self._run(work)

    def unfinished(self) -> list[Upload]:
        def work(connection: Connection) -> list[Upload]:
            states = [state.value for state in AT_WORK]
            statement = (
                select(table)
                .where(table.c.state.in_(states))
                .order_by(table.c.created_at, table.c.id)
            )
            return [_upload(row) for row in connection.execute(statement)]

        return self._read(work)

    def newest(
        self, user_id: str, limit: int, before: tuple[datetime, str] | None
    ) -> list[Upload]:
        def work(connection: Connection) -> list[Upload]:
            place = tuple_(table.c.created_at, table.c.id)
            statement = (
                select(table)
                .where(table.c.user_id == user_id)
                .order_by(table.c.created_at.desc(), table.c.id.desc())
                .limit(limit)
            )
            if before is not None:
                statement = statement.where(place < before)
            return [_upload(row) for row in connection.execute(statement)]

        return self._read(work)

    def ping(self) -> None:
        self._read(lambda connection: connection.execute(select(1)).scalar_one())

    def _insert(
        self,
        connection: Connection,
        upload_id: str,
        user_id: str,
        state: State,
        **values: Any,
    ) -> Upload:
        moment = self._clock()
        upload = Upload(upload_id, user_id, state, moment, moment, **values)
        connection.execute(insert(table).values(_values_of(upload)))
        return upload

    def _advance(
        self,
        connection: Connection,
        upload_id: str,
        expected: Collection[State],
        to: State,
        changes: dict[str, Any],
    ) -> Upload | None:
        for state in expected:
            if to not in FOLLOWERS[state]:
                raise ValueError(f"{state} is never followed by {to}")
        values = _columns(changes) | {"state": to.value, "updated_at": self._clock()}
        return _change(connection, upload_id, expected, values)

    def _set(
        self, upload_id: str, expected: Collection[State], values: dict[str, Any]
    ) -> Upload | None:
        return self._run(
            lambda connection: _change(connection, upload_id, expected, values)
        )


def _find(connection: Connection, upload_id: str) -> Upload | None:
    row = connection.execute(select(table).where(table.c.id == upload_id)).one_or_none()
    return _upload(row) if row else None


def _bound(connection: Connection, user_id: str) -> int:
    statement = (
        select(func.count())
        .select_from(table)
        .where(table.c.user_id == user_id, table.c.state == State.OPEN.value)
    )
    return connection.execute(statement).scalar_one()


def _change(
    connection: Connection,
    upload_id: str,
    expected: Collection[State],
    values: dict[str, Any],
) -> Upload | None:
    states = [state.value for state in expected]
    statement = (
        update(table)
        .where(table.c.id == upload_id, table.c.state.in_(states))
        .values(values)
        .returning(table)
    )
    row = connection.execute(statement).one_or_none()
    return _upload(row) if row else None


def _columns(changes: dict[str, Any]) -> dict[str, Any]:
    """Fields of Upload as columns: the ending is spread over its own, the verdict is JSON."""
    values = dict(changes)
    if "ending" in values:
        ending: Ending | None = values.pop("ending")
        values |= {
            "ending_id": ending.event_id if ending else None,
            "ending_message": ending.message if ending else None,
            "ending_code": ending.code if ending else None,
            "ending_reasons": list(ending.reasons) if ending else None,
            "ended_at": ending.at if ending else None,
        }
    if "moderation" in values:
        moderation: Moderation | None = values.pop("moderation")
        values["report"] = report_of(moderation) if moderation else None
    return values


def _values_of(upload: Upload) -> dict[str, Any]:
    names = upload.__slots__
    values = {name: getattr(upload, name) for name in names}
    return _columns(values | {"state": upload.state.value})


def _upload(row: Row[Any]) -> Upload:
    values = dict(row._mapping)
    ending_id = values.pop("ending_id")
    message = values.pop("ending_message")
    code = values.pop("ending_code")
    reasons = values.pop("ending_reasons")
    ended_at = values.pop("ended_at")
    ending = (
        Ending(ending_id, message, code, tuple(reasons or ()), ended_at)
        if ending_id is not None
        else None
    )
    report = values.pop("report")
    moderation = moderation_of(report) if report is not None else None
    values["state"] = State(values["state"])
    return Upload(**values, ending=ending, moderation=moderation)
