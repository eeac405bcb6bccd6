"""The one place in which an upload ends.

Every ending (verified, rejected, failed, cancelled) goes the same way: seal the story so
that nobody else ends it, commit the row with the ending in it, publish the terminal event,
remove the received bytes. What the event says can therefore be read back before it is sent,
and there is exactly one, whoever races: the conditional UPDATE decides. The in-process hook
(:mod:`uploadsvc.listeners`) is told once the row is committed.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from datetime import datetime

from uploadsvc import log
from uploadsvc.db import UploadRepository
from uploadsvc.errors import UploadError
from uploadsvc.hub import ProgressHub
from uploadsvc.listeners import Ended, News
from uploadsvc.model import (
    Ending,
    Media,
    Moderation,
    State,
    Upload,
    ending_event,
    now,
)
from uploadsvc.storage import Storage

logger = log.get(__name__)


def _nobody(news: News) -> None:
    pass


class Endings:
    """``tell`` hears of every ending, after it was committed; it must neither wait nor raise."""

    def __init__(
        self,
        uploads: UploadRepository,
        hub: ProgressHub,
        storage: Storage,
        clock: Callable[[], datetime] = now,
        *,
        tell: Callable[[News], None] = _nobody,
    ) -> None:
        self._uploads = uploads
        self._hub = hub
        self._storage = storage
        self._clock = clock
        self._tell = tell

    def complete(self, upload: Upload, media: Media) -> Upload | None:
        """Record the media and end well; None if the upload has ended otherwise."""

        def commit(ending: Ending) -> Upload | None:
            return self._uploads.complete(upload.id, ending, media)

        return self._end(upload.id, None, (), commit, media, lambda: None)

    def fail(
        self,
        upload_id: str,
        expected: Collection[State],
        to: State,
        error: UploadError,
        moderation: Moderation | None = None,
        *,
        stop: Callable[[], None] = lambda: None,
    ) -> Upload | None:
        """End with ``error``; None if the upload is in none of the expected states.

        ``moderation`` is the verdict that refused the content, where that was the reason.
        ``stop`` ends whoever still works on the upload; called once it has ended, before its
        bytes go from under their hands.
        """

        def commit(ending: Ending) -> Upload | None:
            return self._uploads.advance(
                upload_id, expected, to, ending=ending, moderation=moderation
            )

        return self._end(upload_id, error, error.reasons, commit, None, stop)

    def _end(
        self,
        upload_id: str,
        error: UploadError | None,
        reasons: tuple[str, ...],
        commit: Callable[[Ending], Upload | None],
        media: Media | None,
        stop: Callable[[], None],
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
        self._tell(Ended(ended, media))
        self._hub.finish(ending_event(ended, media))
        stop()
        try:
            self._clean_up(ended, media)
        except Exception:
            # It has ended and everybody knows; the sweep comes by again.
            logger.exception("bytes not removed", upload_id=upload_id)
        logger.info(
            "upload ended",
            upload_id=upload_id,
            status=ended.state.value,
            code=error.code if error else None,
        )
        return ended

    def _clean_up(self, ended: Upload, media: Media | None) -> None:
        self._storage.discard(ended.id)
        if media is None and ended.media_id is not None:
            # Files were made for a record that did not come about.
            self._storage.delete(ended.media_id)
            self._uploads.clear_media(ended.id)
