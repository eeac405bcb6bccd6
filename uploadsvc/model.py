"""The life of an upload, as values: made once, passed along, never edited.

Nothing here knows Flask, a database or a socket. Names are those of the domain; the wire's
camelCase is made in :mod:`uploadsvc.wire` and nowhere else.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from types import MappingProxyType
from typing import Any

from uploadsvc.stages import BANDS, ORDER, RANK, TERMINAL, Stage, percent

UPLOAD_ID = re.compile(r"[A-Za-z0-9_-]{8,64}", re.ASCII)
EMPTY: Mapping[str, Any] = MappingProxyType({})


def new_upload_id() -> str:
    """An id of ours: 128 random bits, so that it can be neither met by chance nor guessed."""
    return f"upload_{secrets.token_hex(16)}"


def new_media_id() -> str:
    return f"media_{secrets.token_hex(16)}"


def now() -> datetime:
    return datetime.now(UTC)


class State(StrEnum):
    """Where an upload stands. The values are the ``status`` of the contract."""

    OPEN = "waiting"
    RECEIVING = "receiving"
    QUEUED = "queued"
    VERIFYING = "verifying"
    COMPLETE = "complete"
    FAILED = "failed"
    REJECTED = "rejected"
    CANCELLED = "cancelled"

    @property
    def final(self) -> bool:
        return not FOLLOWERS[self]


# Which state may follow which. OPEN comes back when a POST was refused in a way that invites
# another try; QUEUED comes back when whoever verified it died.
FOLLOWERS: dict[State, frozenset[State]] = {
    State.OPEN: frozenset({State.RECEIVING, State.CANCELLED}),
    State.RECEIVING: frozenset(
        {State.OPEN, State.QUEUED, State.FAILED, State.REJECTED, State.CANCELLED}
    ),
    State.QUEUED: frozenset(
        {State.OPEN, State.VERIFYING, State.FAILED, State.CANCELLED}
    ),
    State.VERIFYING: frozenset(
        {State.QUEUED, State.COMPLETE, State.FAILED, State.REJECTED, State.CANCELLED}
    ),
    State.COMPLETE: frozenset(),
    State.FAILED: frozenset(),
    State.REJECTED: frozenset(),
    State.CANCELLED: frozenset(),
}


@dataclass(frozen=True, slots=True)
class Progress:
    """What somebody at work has to say: a stage, a percent, a sentence, and facts beside it."""

    stage: Stage
    progress: int
    message: str
    detail: Mapping[str, Any] = field(default_factory=lambda: EMPTY)

    def __post_init__(self) -> None:
        band = BANDS[self.stage]
        if not band.first <= self.progress <= band.last:
            raise ValueError(
                f"{self.stage} owns {band.first}-{band.last}, not {self.progress}"
            )

    @property
    def terminal(self) -> bool:
        return self.stage in TERMINAL

    def follows(self, earlier: Progress) -> bool:
        """Whether this is news after ``earlier``: neither stage nor percent may go back.

        Only a queued file may say the same percent again, when its place in the queue changed.
        """
        here, there = RANK[self.stage], RANK[earlier.stage]
        if (here, self.progress) != (there, earlier.progress):
            return here > there or (here == there and self.progress > earlier.progress)
        return self.stage is Stage.FILE_RECEIVED and self.detail != earlier.detail


def opening(stage: Stage, **detail: Any) -> Progress:
    """The first thing a stage says."""
    band = BANDS[stage]
    return Progress(stage, band.first, band.opening, detail)


def advanced(stage: Stage, done: float, planned: float, /, **detail: Any) -> Progress:
    """What a stage says when ``done`` of ``planned`` units of its work are done."""
    reached = percent(stage, done, planned)
    return Progress(stage, reached, BANDS[stage].going.format(progress=reached), detail)


def failure(message: str, code: str, **detail: Any) -> Progress:
    """The ``error`` ending; ``code`` is the stable code of :mod:`uploadsvc.errors`."""
    sentence = BANDS[Stage.ERROR].going.format(message=message)
    return Progress(Stage.ERROR, 0, sentence, {"code": code, **detail})


@dataclass(frozen=True, slots=True)
class Event:
    """A progress with its place in the upload's story.

    ``id`` is a positive integer, growing by one from event to event of an upload. ``media``
    is carried by ``complete`` alone.
    """

    id: int
    upload_id: str
    progress: Progress
    timestamp: datetime
    media: Media | None = None

    @property
    def terminal(self) -> bool:
        return self.progress.terminal


class Verdict(StrEnum):
    APPROVE = "approve"
    REVIEW = "review"
    REJECT = "reject"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was found, and what it alone leads to.

    ``category`` is the stable word the uploader may be told; the rest is for moderators:
    ``source`` names the engine or list, ``where`` the place (``second 12.4``, ``page 3``,
    ``title``, ``file``), ``score`` and ``threshold`` are from 0 to 1 where there is a score,
    ``label`` is the source's own word for what it found.
    """

    category: str
    verdict: Verdict
    source: str
    where: str
    score: float | None = None
    threshold: float | None = None
    label: str = ""


@dataclass(frozen=True, slots=True)
class Moderation:
    """What was decided about the content.

    ``reasons`` are the stable words for the uploader. For moderators: ``findings`` (what led
    there), ``unexamined`` (what nobody looked at, in stable words such as ``speech``), the
    version of the ``policy`` and the names of the ``models``.
    """

    verdict: Verdict
    reasons: tuple[str, ...] = ()
    findings: tuple[Finding, ...] = ()
    unexamined: tuple[str, ...] = ()
    policy: str = ""
    models: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Facts:
    """What verification learned of the file that will be kept.

    ``size`` (bytes), ``sha256`` (hex) and ``mime_type`` describe the kept file, which is not
    the received one where metadata was stripped. ``width`` and ``height`` are pixels after
    orientation is applied, ``duration`` is seconds, ``codec`` is how a film's pictures or a
    sound are encoded (``h264``, ``vp9``, ``aac``), ``blurhash`` is the thumbnail in a few
    characters; None where the kind has none.
    """

    mime_type: str
    size: int
    sha256: str
    width: int | None = None
    height: int | None = None
    duration: float | None = None
    codec: str | None = None
    blurhash: str | None = None


@dataclass(frozen=True, slots=True)
class Verified:
    """A good ending of verification.

    ``original`` and ``thumbnail`` are file names inside the job's scratch folder.
    """

    facts: Facts
    moderation: Moderation
    original: str
    thumbnail: str | None = None


@dataclass(frozen=True, slots=True)
class Refused:
    """A bad ending of verification that is the file's own doing.

    ``moderation`` is the whole verdict where it was one that refused.
    """

    code: str
    message: str
    reasons: tuple[str, ...] = ()
    moderation: Moderation | None = None


Outcome = Verified | Refused


@dataclass(frozen=True, slots=True)
class Media:
    """The record of a verified file."""

    id: str
    upload_id: str
    user_id: str
    title: str
    description: str
    file_name: str
    facts: Facts
    moderation: Moderation
    has_thumbnail: bool
    created_at: datetime


@dataclass(frozen=True, slots=True)
class Decision:
    """What a moderator (a user id) decided about media held for review, when, and why.

    ``verdict`` is APPROVE or REJECT; ``note`` is for other moderators, never the uploader.
    """

    media_id: str
    upload_id: str
    moderator: str
    verdict: Verdict
    note: str
    at: datetime


@dataclass(frozen=True, slots=True)
class Ending:
    """The last event, as the row keeps it, so that it can be told again at any time.

    ``message`` is the error's own sentence; empty for ``complete``.
    """

    event_id: int
    message: str
    code: str | None
    reasons: tuple[str, ...]
    at: datetime


@dataclass(frozen=True, slots=True)
class Upload:
    """One row: state changes only. Progress lives in the hub.

    ``mark`` is a percent nothing was published above (written in steps of ten), so that a
    second attempt after a crash says nothing twice. ``generation`` counts the processes that
    owned the upload; event ids of a generation start above all of the one before.
    ``bound_until`` ends a provisional binding (state OPEN). ``moderation`` is the whole
    verdict on content that was refused; that on content that was not stands in its Media.
    """

    id: str
    user_id: str
    state: State
    created_at: datetime
    updated_at: datetime
    title: str = ""
    description: str = ""
    file_name: str = ""
    size: int = 0
    sha256: str = ""
    owner: str = ""
    attempts: int = 0
    generation: int = 0
    mark: int = 0
    bound_until: datetime | None = None
    media_id: str | None = None
    ending: Ending | None = None
    moderation: Moderation | None = None


def ending_event(upload: Upload, media: Media | None) -> Event:
    """The terminal event of a final upload, told from its row.

    ``media`` is None where the record was deleted since.
    """
    ending = upload.ending
    if ending is None:
        raise ValueError(f"{upload.id} has not ended")
    progress = (
        opening(Stage.COMPLETE)
        if ending.code is None
        else failure(ending.message, ending.code, reasons=ending.reasons)
    )
    return Event(ending.event_id, upload.id, progress, ending.at, media)


def remembered(upload: Upload) -> Progress | None:
    """How far an upload at work was, as its row knows it when the hub no longer does: within
    ten percent, and never less than was published."""
    if upload.state.final or not upload.mark:
        return None
    stage = max(
        (stage for stage in ORDER if BANDS[stage].first <= upload.mark),
        key=RANK.__getitem__,
    )
    band = BANDS[stage]
    progress = min(upload.mark, band.last)
    return Progress(stage, progress, band.going.format(progress=progress))


@dataclass(frozen=True, slots=True)
class Job:
    """Work for a verifier: everything it needs and nothing else."""

    upload_id: str
    title: str
    description: str
    file_name: str
    size: int
