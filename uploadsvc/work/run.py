"""One verification from claim to record.

Claims the upload (the loser stops quietly), lets a verifier work, publishes what it says,
and ends the upload. Local or distributed decides only where this is called; isolation,
deadline, attempts and crash handling are the same code.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from pathlib import Path

from uploadsvc import log
from uploadsvc.db import UploadRepository
from uploadsvc.errors import (
    BY_CODE,
    Internal,
    StorageFull,
    UploadError,
    VerificationCrashed,
)
from uploadsvc.hub import ProgressHub
from uploadsvc.model import (
    Job,
    Media,
    Progress,
    Refused,
    State,
    Upload,
    Verified,
    new_media_id,
    now,
    opening,
)
from uploadsvc.stages import Stage
from uploadsvc.storage import Storage
from uploadsvc.work import Verifier
from uploadsvc.work.ending import Endings

logger = log.get(__name__)

# A file that killed its verifier this often is given up; the first death may be chance (the
# kernel out of memory, an operator), the third is the file.
MAX_ATTEMPTS = 3

# The mark (Upload.mark) is written ahead of the percent in steps of this, so that a whole
# upload costs some nine small writes, and a crash of this process at most ten percent of
# silence on the second attempt.
MARK_STEP = 10


class Runner:
    """``owner`` is this process's name in :mod:`uploadsvc.work.presence`."""

    def __init__(
        self,
        uploads: UploadRepository,
        hub: ProgressHub,
        storage: Storage,
        endings: Endings,
        owner: str,
        clock: Callable[[], datetime] = now,
    ) -> None:
        self._uploads = uploads
        self._hub = hub
        self._storage = storage
        self._endings = endings
        self._owner = owner
        self._clock = clock

    def run(self, job: Job, verifier: Verifier) -> None:
        """Verify the job's file. Returns when the upload has ended, by us or by others."""
        upload = self._uploads.claim(job.upload_id, self._owner)
        if upload is None:
            return
        try:
            self._verify(upload, job, verifier)
        except StorageFull:
            # As a terminal code it must not invite to send the same id again.
            logger.warning("no room to keep the file", upload_id=upload.id)
            self._fail(upload, Internal("There was no room to keep the file"))
        except UploadError as error:
            self._fail(upload, error)
        except Exception:
            logger.exception("verification failed on our side", upload_id=upload.id)
            self._fail(upload, Internal())

    def _verify(self, upload: Upload, job: Job, verifier: Verifier) -> None:
        current: Upload | None = upload
        while current is not None:
            try:
                self._attempt(current, job, verifier)
                return
            except VerificationCrashed:
                logger.warning(
                    "verifier died", upload_id=upload.id, attempt=current.attempts
                )
                if current.attempts >= MAX_ATTEMPTS:
                    raise
                current = self._uploads.retry(upload.id)

    def _attempt(self, upload: Upload, job: Job, verifier: Verifier) -> None:
        mark = upload.mark
        with (
            self._storage.fetch(upload.id) as path,
            self._storage.scratch(upload.id) as scratch,
        ):
            for news in verifier.verify(job, path, scratch):
                if isinstance(news, Progress):
                    mark = self._publish(upload.id, news, mark)
                elif isinstance(news, Refused):
                    self._refuse(upload, news)
                else:
                    self._publish(upload.id, opening(Stage.FINALIZING), mark)
                    self._record(upload, news, scratch)

    def _publish(self, upload_id: str, progress: Progress, mark: int) -> int:
        """Publish, the mark first; the mark as it is now."""
        if progress.progress > mark:
            mark = min(99, -(-progress.progress // MARK_STEP) * MARK_STEP)
            self._uploads.mark(upload_id, mark)
        self._hub.publish(upload_id, progress)
        return mark

    def _record(self, upload: Upload, verified: Verified, scratch: Path) -> None:
        media = Media(
            id=new_media_id(),
            upload_id=upload.id,
            user_id=upload.user_id,
            title=upload.title,
            description=upload.description,
            file_name=upload.file_name,
            facts=verified.facts,
            moderation=verified.moderation,
            has_thumbnail=verified.thumbnail is not None,
            created_at=self._clock(),
        )
        names = [name for name in (verified.original, verified.thumbnail) if name]
        self._uploads.intend(upload.id, media.id)
        self._storage.promote(scratch, media.id, names)
        # Where this raises, nobody knows here whether the record was committed: the files
        # stay, and whoever takes the upload over removes what was only intended.
        if self._endings.complete(upload, media) is None:
            self._storage.delete(media.id)

    def _refuse(self, upload: Upload, refused: Refused) -> None:
        kind = BY_CODE.get(refused.code, Internal)
        facts = {"reasons": refused.reasons} if refused.reasons else {}
        # 4xx is the file's own doing; a full scratch folder, say, is not.
        to = State.REJECTED if kind.status < 500 else State.FAILED
        error = kind(refused.message, **facts)
        self._endings.fail(upload.id, [State.VERIFYING], to, error, refused.moderation)

    def _fail(self, upload: Upload, error: UploadError) -> None:
        self._endings.fail(upload.id, [State.VERIFYING], State.FAILED, error)
