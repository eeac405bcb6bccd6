"""What is remembered: who owns an upload, where it stands, and the records of media.

State changes only; progress lives in the hub. This page is the contract of the two
repositories, ``uploads`` and ``media`` are their SQLAlchemy implementation, ``engine`` is how
a statement reaches the database without stopping the greenlets.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from typing import Any, Protocol

from uploadsvc.model import Decision, Ending, Media, State, Upload, Verdict

# Provisional bindings a user may hold: ids named before anything was posted to them.
MAX_BOUND = 10
# Seconds a provisional binding may last in any case.
BOUND_MAX_S = 15 * 60


class UploadRepository(Protocol):
    def find(self, upload_id: str) -> Upload | None: ...

    def bind(self, upload_id: str, user_id: str, until: datetime) -> Upload:
        """The user's row of this id; a provisional one (OPEN) is made if there is none.

        An OPEN row's ``bound_until`` becomes ``until``, but never later than
        BOUND_MAX_S after it was made. Raises AccessDenied (somebody
        else's), TooManyUploads (MAX_BOUND provisional rows).
        """

    def begin(self, upload_id: str, user_id: str, owner: str) -> Upload:
        """The row in state RECEIVING, new or from OPEN: this POST is the one.

        Raises AccessDenied, or IdTaken with ``status``.
        """

    def advance(
        self, upload_id: str, expected: Collection[State], to: State, **changes: Any
    ) -> Upload | None:
        """One conditional UPDATE: the row in its new state, or None if you lost.

        ``changes`` are fields of Upload to set with it.
        """

    def complete(self, upload_id: str, ending: Ending, media: Media) -> Upload | None:
        """VERIFYING to COMPLETE with its ending, and the record, in one transaction; None
        (and no record) if you lost."""

    def claim(self, upload_id: str, owner: str) -> Upload | None:
        """QUEUED to VERIFYING, one attempt more; None if somebody else has it."""

    def take_over(self, upload: Upload, owner: str) -> Upload | None:
        """An upload whose owner died becomes ``owner``'s: VERIFYING goes back to QUEUED, its
        attempt does not count, and the generation grows. None if somebody else was first."""

    def retry(self, upload_id: str) -> Upload | None:
        """Count one attempt more of a verification that goes on in the same hands; None if
        it does not go on, for the upload has ended."""

    def intend(self, upload_id: str, media_id: str) -> None:
        """Remember which media is about to be made of a VERIFYING upload, so that it can be
        removed if it never comes to a record."""

    def unmade(self) -> list[Upload]:
        """Uploads that ended without a record and still name the media they were to become:
        the files of it may be there."""

    def clear_media(self, upload_id: str) -> None:
        """An upload of :meth:`unmade` names its media no more; their files are gone."""

    def mark(self, upload_id: str, percent: int) -> None:
        """Remember that nothing above ``percent`` has been published."""

    def loosen(self, upload_id: str, until: datetime) -> None:
        """An OPEN row's binding ends at ``until`` at the latest."""

    def release_expired(self, at: datetime) -> list[str]:
        """Delete the OPEN rows whose binding has ended; their ids."""

    def forget_ended(self, before: datetime) -> int:
        """Delete ended rows older than ``before``; how many."""

    def unfinished(self) -> list[Upload]:
        """RECEIVING, QUEUED and VERIFYING rows, oldest first."""

    def newest(
        self, user_id: str, limit: int, before: tuple[datetime, str] | None
    ) -> list[Upload]:
        """The user's rows, newest first, after the place ``before`` in that order."""

    def ping(self) -> None:
        """Raises if the database does not answer."""


class MediaRepository(Protocol):
    def find(self, media_id: str) -> Media | None: ...

    def find_many(self, media_ids: Collection[str]) -> dict[str, Media]: ...

    def delete(self, media_id: str) -> bool:
        """Whether this call deleted it. What was decided about it stays."""

    def latest_rejected(self, limit: int) -> list[str]:
        """Ids of the media that moderators rejected last, at most ``limit``."""

    def waiting_for_review(
        self, limit: int, after: tuple[datetime, str] | None
    ) -> list[Media]:
        """What is held for review, oldest first, after the place ``after`` (creation, id) in
        that order."""

    def decide(
        self, media_id: str, moderator: str, verdict: Verdict, note: str, at: datetime
    ) -> Media | None:
        """REVIEW becomes ``verdict`` and the decision is recorded, in one conditional change:
        the media as they are now, or None if they do not wait for review (any more).

        The findings stay as they were; the reasons only for what is rejected.
        """

    def decisions_of(self, media_id: str) -> list[Decision]:
        """What was decided about the media, oldest first; also after they were deleted."""
