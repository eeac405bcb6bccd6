"""What moderators do: look at what is held for review, and decide it.

A use case; it knows contracts only and neither Flask nor a role: whoever calls has made sure
that a moderator asks. Moderators see what moderation concerns and nothing else: media that
are or were held for review, and uploads whose content was refused. What verification approved
is its owner's alone.

A rejection is committed before the bytes go. From that moment nobody is sent them, and should
the process die in between, ``work/sweep`` removes them.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from uploadsvc import log
from uploadsvc.db import MediaRepository, UploadRepository
from uploadsvc.errors import AlreadyDecided, NotFound
from uploadsvc.listeners import Decided, News
from uploadsvc.model import Decision, Media, Upload, Verdict, now
from uploadsvc.storage import Blob, Storage

logger = log.get(__name__)


class Moderate:
    """``tell`` hears of every decision, after it was committed."""

    def __init__(
        self,
        uploads: UploadRepository,
        media: MediaRepository,
        storage: Storage,
        tell: Callable[[News], None],
        clock: Callable[[], datetime] = now,
    ) -> None:
        self._uploads = uploads
        self._media = media
        self._storage = storage
        self._tell = tell
        self._clock = clock

    def queue(self, limit: int, after: tuple[datetime, str] | None) -> list[Media]:
        """What waits, oldest first, after the place (creation, id) in that order."""
        return self._media.waiting_for_review(limit, after)

    def find(self, media_id: str) -> tuple[Media, list[Decision]]:
        """Media that are or were held for review. Raises NotFound."""
        media = self._media.find(media_id)
        decisions = self._media.decisions_of(media_id)
        held = media is not None and media.moderation.verdict is Verdict.REVIEW
        if media is None or not (held or decisions):
            raise NotFound
        return media, decisions

    def open(self, media_id: str, stem: str) -> tuple[Media, Blob]:
        """Bytes to look at. Raises NotFound, also for what was rejected."""
        media, _ = self.find(media_id)
        blob = self._storage.open(media.id, stem)
        if blob is None or media.moderation.verdict is Verdict.REJECT:
            raise NotFound
        return media, blob

    def refused(self, upload_id: str) -> Upload:
        """An upload whose content verification refused. Raises NotFound."""
        upload = self._uploads.find(upload_id)
        if upload is None or upload.ending is None or upload.moderation is None:
            raise NotFound
        return upload

    def decide(
        self, media_id: str, moderator: str, verdict: Verdict, note: str
    ) -> None:
        """Approve or reject what is held for review. The first decision holds.

        Raises NotFound, or AlreadyDecided with the ``verdict`` that stands.
        """
        if verdict is Verdict.REVIEW:
            raise ValueError("what is held for review is decided by approve or reject")
        at = self._clock()
        media = self._media.decide(media_id, moderator, verdict, note, at)
        if media is None:
            standing, _ = self.find(media_id)
            raise AlreadyDecided(verdict=standing.moderation.verdict.value)
        if verdict is Verdict.REJECT:
            self._take_away(media)
        logger.info(
            "media decided",
            upload_id=media.upload_id,
            media_id=media.id,
            verdict=verdict.value,
            moderator=moderator,
        )
        decision = Decision(media.id, media.upload_id, moderator, verdict, note, at)
        self._tell(Decided(media, decision))

    def _take_away(self, media: Media) -> None:
        try:
            self._storage.delete(media.id)
        except OSError:
            # Decided it is all the same; the sweep tries again.
            logger.exception("bytes of rejected media left", media_id=media.id)
