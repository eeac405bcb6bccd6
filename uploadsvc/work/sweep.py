"""What nobody else would notice: bindings that ended, uploads whose process died, left files.

One greenlet a process, a round every few seconds; the first round, before the first request,
is the recovery after a crash. Every step is a conditional change, so that several processes
may sweep at once.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from time import monotonic

import gevent

from uploadsvc import log
from uploadsvc.db import MediaRepository, UploadRepository
from uploadsvc.errors import IncompleteBody, VerificationCrashed
from uploadsvc.hub import ProgressHub
from uploadsvc.model import Job, State, Upload, now
from uploadsvc.storage import Storage
from uploadsvc.work import Dispatcher
from uploadsvc.work.ending import Endings
from uploadsvc.work.presence import Presence
from uploadsvc.work.run import MAX_ATTEMPTS

logger = log.get(__name__)

ROUND_S = 5.0
# A restart in the middle is not the file's doing; that every process dies of it may be.
MAX_GENERATIONS = 10
# A row of ours may for a moment be ahead of the greenlet that changed it.
OURS_AGE_S = 30.0
FILES_EVERY_S = 600.0
# A file younger than this may belong to an upload whose row we have not seen yet.
FILE_AGE_S = 3600.0
# A moderator's process may die between the decision and the bytes; it was one of the latest.
REJECTED_LOOKED_AT = 100


class Sweeper:
    def __init__(
        self,
        uploads: UploadRepository,
        media: MediaRepository,
        hub: ProgressHub,
        storage: Storage,
        dispatcher: Dispatcher,
        endings: Endings,
        presence: Presence,
        *,
        at_work: Callable[[str], bool],
        retention_days: int,
        clock: Callable[[], datetime] = now,
    ) -> None:
        self._uploads = uploads
        self._media = media
        self._hub = hub
        self._storage = storage
        self._dispatcher = dispatcher
        self._endings = endings
        self._presence = presence
        self._at_work = at_work
        self._retention_days = retention_days
        self._clock = clock
        self._files_at: float | None = None

    def keep_sweeping(self) -> None:
        while True:
            gevent.sleep(ROUND_S)
            try:
                self.sweep()
            except Exception:
                # The outer edge of this greenlet: a database that is gone comes back.
                logger.exception("sweep failed; trying again")

    def sweep(self) -> None:
        """One round."""
        for upload_id in self._uploads.release_expired(self._clock()):
            self._hub.release(upload_id)
        for upload in self._uploads.unmade():
            if upload.media_id is not None:
                self._storage.delete(upload.media_id)
                self._uploads.clear_media(upload.id)
        for upload in self._uploads.unfinished():
            if self._abandoned(upload):
                self._take_over(upload)
        if self._files_at is None or monotonic() - self._files_at > FILES_EVERY_S:
            self._files_at = monotonic()
            self._sweep_old()

    def _abandoned(self, upload: Upload) -> bool:
        """Its process is dead; or it is ours, and nobody here works on it any more because
        the database was gone when its ending should have been recorded."""
        if upload.owner != self._presence.id:
            return not self._presence.alive(upload.owner)
        age = self._clock() - upload.updated_at
        return age > timedelta(seconds=OURS_AGE_S) and not self._at_work(upload.id)

    def _take_over(self, upload: Upload) -> None:
        taken = self._uploads.take_over(upload, self._presence.id)
        if taken is None:
            return
        logger.warning("taking over", upload_id=upload.id, status=upload.state.value)
        self._hub.open(taken.id, generation=taken.generation, mark=taken.mark)
        if taken.media_id is not None:
            # The process died between the files and the record.
            self._storage.delete(taken.media_id)
        if taken.state is State.RECEIVING:
            error = IncompleteBody()
            self._endings.fail(taken.id, [State.RECEIVING], State.FAILED, error)
        elif taken.generation > MAX_GENERATIONS or taken.attempts >= MAX_ATTEMPTS:
            crashed = VerificationCrashed()
            self._endings.fail(taken.id, [State.QUEUED], State.FAILED, crashed)
        else:
            job = Job(
                taken.id, taken.title, taken.description, taken.file_name, taken.size
            )
            self._dispatcher.submit(job, forced=True)

    def _sweep_old(self) -> None:
        kept = {upload.id for upload in self._uploads.unfinished()}
        removed = self._storage.sweep(kept, FILE_AGE_S)
        # Media are never removed for want of a record: a database of yesterday, or a mistyped
        # one, would cost everything. What is to go, a row says.
        for media_id in self._media.latest_rejected(REJECTED_LOOKED_AT):
            self._storage.delete(media_id)
        if removed:
            logger.info("left files removed", count=removed)
        if self._retention_days:
            before = self._clock() - timedelta(days=self._retention_days)
            self._uploads.forget_ended(before)
