"""A whole service without Flask and without verifier processes, for the tests: the real hub,
database and storage, and a verifier that does what a test has written down for it."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast

import gevent
from gevent.event import Event as Signal

from uploadsvc.db.engine import Database
from uploadsvc.db.media import SqlMedia
from uploadsvc.db.uploads import SqlUploads
from uploadsvc.errors import VerificationCrashed
from uploadsvc.hub.fanout import Fanout
from uploadsvc.hub.memory import MemoryHub
from uploadsvc.intake import Intake
from uploadsvc.model import (
    Facts,
    Job,
    Media,
    Moderation,
    Outcome,
    Progress,
    Upload,
    Verdict,
    Verified,
)
from uploadsvc.storage.local import LocalStorage
from uploadsvc.work.ending import Endings
from uploadsvc.work.local import LocalDispatcher
from uploadsvc.work.presence import Presence
from uploadsvc.work.run import Runner
from uploadsvc.work.supervisor import ChildVerifier
from uploadsvc.work.sweep import Sweeper

# A wait is for a condition; this is when it is given up.
DEADLINE_S = 20.0
START = datetime(2024, 1, 15, 10, 30, tzinfo=UTC)

FACTS = Facts(
    "image/png",
    7,
    "a" * 64,
    64,
    48,
    codec="vp9",
    blurhash="LDTSUA_3fQ_3~qoffQoffQfQfQfQ",
)
VERIFIED = Verified(
    FACTS, Moderation(Verdict.APPROVE), "original.png", "thumbnail.webp"
)
MEDIA = Media(
    "media_1",
    "upload_1",
    "anna",
    "A title",
    "A description",
    "picture.png",
    FACTS,
    Moderation(Verdict.APPROVE),
    True,
    START,
)


@dataclass
class Clock:
    """A clock that stands until it is set."""

    at: datetime = START

    def __call__(self) -> datetime:
        return self.at

    def pass_(self, seconds: float) -> None:
        self.at += timedelta(seconds=seconds)


Step = Progress | Outcome | Exception | Signal


@dataclass
class ScriptedVerifier:
    """Each verification does the next of ``attempts``: says what is to be said, raises what
    is an exception, waits at a Signal. The last one is done again when they are used up."""

    attempts: deque[Iterable[Step]]
    jobs: list[Job] = field(default_factory=list)
    layers: dict[str, bool] = field(default_factory=lambda: {"scripted": True})
    ready: bool = True
    _killed: Signal = field(default_factory=Signal)

    def warm(self) -> None:
        pass

    def verify(
        self, job: Job, path: Path, scratch: Path
    ) -> Iterator[Progress | Outcome]:
        self._killed.clear()
        self.jobs.append(job)
        steps = self.attempts[0]
        if len(self.attempts) > 1:
            self.attempts.popleft()
        assert path.read_bytes() is not None
        for step in steps:
            gevent.sleep(0)
            if isinstance(step, Signal):
                gevent.wait([step, self._killed], timeout=DEADLINE_S, count=1)
            if self._killed.is_set():
                raise VerificationCrashed
            if isinstance(step, Exception):
                raise step
            if isinstance(step, Verified):
                (scratch / step.original).write_bytes(path.read_bytes())
                if step.thumbnail:
                    (scratch / step.thumbnail).write_bytes(b"thumbnail")
            if isinstance(step, Signal):
                continue
            yield step

    def kill(self) -> None:
        self._killed.set()


def scripted(*attempts: Iterable[Step]) -> ScriptedVerifier:
    return ScriptedVerifier(deque(attempts))


class House:
    """One process's services over ``folder``; a second House on it is a second process."""

    def __init__(
        self,
        folder: Path,
        verifiers: Iterable[ScriptedVerifier] = (),
        max_queue: int = 10,
    ) -> None:
        self.clock = Clock()
        self.database = Database(f"sqlite:///{folder / 'uploads.sqlite3'}")
        self.database.migrate()
        self.uploads = SqlUploads(self.database, self.clock)
        self.media = SqlMedia(self.database)
        self.hub = MemoryHub(Fanout(max_streams=100, per_upload=5), clock=self.clock)
        self.storage = LocalStorage(folder)
        self.folder = folder
        self.presence = Presence(folder / "run")
        self.endings = Endings(self.uploads, self.hub, self.storage, self.clock)
        self.runner = Runner(
            self.uploads,
            self.hub,
            self.storage,
            self.endings,
            self.presence.id,
            self.clock,
        )
        self.dispatcher = LocalDispatcher(
            self.runner,
            self.hub,
            cast("list[ChildVerifier]", list(verifiers)),
            max_queue=max_queue,
        )
        self.intake = Intake(
            self.uploads,
            self.hub,
            self.storage,
            self.dispatcher,
            self.endings,
            self.presence.id,
            max_bytes=1000,
            clock=self.clock,
        )
        self.sweeper = self.sweeping()

    def sweeping(self, retention_days: int = 0) -> Sweeper:
        """A sweeper that has not swept yet."""
        return Sweeper(
            self.uploads,
            self.media,
            self.hub,
            self.storage,
            self.dispatcher,
            self.endings,
            self.presence,
            at_work=self.dispatcher.at_work,
            retention_days=retention_days,
            clock=self.clock,
        )

    def queued(
        self, upload_id: str, data: bytes = b"picture", user: str = "anna"
    ) -> Job:
        """An upload that was received and waits; its job is given to nobody."""
        with self.intake.receive(upload_id, user) as reception:
            reception.write(data)
            reception.close_file()
            reception.hand_over(title="T", description="D", file_name="a.png")
        self.dispatcher.cancel(upload_id)
        return Job(upload_id, "T", "D", "a.png", len(data))

    def row(self, upload_id: str) -> Upload:
        upload = self.uploads.find(upload_id)
        assert upload is not None
        return upload

    def files(self) -> set[str]:
        """Everything the storage holds, by its first two folders."""
        return {
            f"{path.parent.name}/{path.name}"
            for kind in ("incoming", "scratch", "media")
            for path in (self.folder / kind).iterdir()
        }

    def crash(self) -> None:
        """Die as by kill -9: nothing is told, recorded or removed; the lock is let go."""
        self.presence.leave()

    def close(self) -> None:
        self.dispatcher.kill()
        self.presence.leave()
        self.database.close()


def record(media_id: str, upload_id: str, **changes: Any) -> Media:
    return replace(MEDIA, id=media_id, upload_id=upload_id, **changes)
