"""The one place in which an upload ends.

Every ending (verified, rejected, failed, cancelled) goes the same way: seal the story so
that nobody else ends it, commit the row with the ending in it, publish the terminal event,
remove the received bytes. What the event says can therefore be read back before it is sent,
and there is exactly one, whoever races: the conditional UPDATE decides.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from datetime import datetime

from uploadsvc import log
from uploadsvc.db import UploadRepository
from uploadsvc.errors import UploadError
from uploadsvc.hub import ProgressHub
from uploadsvc.model import Ending, Media, State, Upload, ending_event, now
from uploadsvc.storage import Storage

logger = log.get(__name__)


class Endings:
    def __init__(
        self,
        uploads: UploadRepository,
        hub: ProgressHub,
        storage: Storage,
        clock: Callable[[], datetime] = now,
    ) -> None:
        self._uploads = uploads
        self._hub = hub
        self._storage = storage
        self._clock = clock

    def complete(self, upload: Upload, media: Media) -> Upload | None:
        """Record the media and end well; None if the upload has ended otherwise."""

        def commit(ending: Ending) -> Upload | None:
            return self._uploads.complete(upload.id, ending, media)

        return self._end(upload.id, None, (), commit, media)

    def fail(
        self,
        upload_id: str,
        expected: Collection[State],
        to: State,
        error: UploadError,
    ) -> Upload | None:
        """End with ``error``; None if the upload is in none of the expected states."""

        def commit(ending: Ending) -> Upload | None:
            return self._uploads.advance(upload_id, expected, to, ending=ending)

        return self._end(upload_id, error, error.reasons, commit, None)

    def _end(
        self,
        upload_id: str,
        error: UploadError | None,
        reasons: tuple[str, ...],
        commit: Callable[[Ending], Upload | None],
        media: Media | None,
    ) -> Upload | None:
        event_id = self._hub.seal(upload_id)
        if event_id is None:
            return None
        ended: Upload | None = None
        try:
            ended = commit(
                Ending(
                    event_id,
                    error.message if error else "",
                    error.code if error else None,
                    reasons,
                    self._clock(),
                )
            )
        finally:
            if ended is None:
                self._hub.unseal(upload_id)
        if ended is None:
            return None
        self._hub.finish(ending_event(ended, media))
        self._storage.discard(upload_id)
        logger.info(
            "upload ended",
            upload_id=upload_id,
            status=ended.state.value,
            code=error.code if error else None,
        )
        return ended
