"""News of uploads, to whoever listens.

The contract of every hub; ``story`` holds the law of one upload's events, ``fanout`` the
listeners and their gevent queues, ``memory`` the hub of a single process.

The order a reader must keep: subscribe first, then read the row, then take. An event
published between the last two is in the subscription; in any other order it would be lost.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Protocol

from uploadsvc.model import Event, Progress

# Event ids of one generation of an upload's owner. No upload has near as many events, so
# the ids of the next generation lie above all of this one, whatever was lost with it.
IDS_A_GENERATION = 1_000_000


class Reason(StrEnum):
    """Why a subscription was closed from our side."""

    EXPIRED = "expired"  # nobody posted to the id in time
    REPLACED = "replaced"  # the same user opened too many streams of the same upload
    DRAINING = "draining"  # the process is going away


class SubscriptionClosed(Exception):
    def __init__(self, reason: Reason) -> None:
        self.reason = reason
        super().__init__(reason.value)


class HubFull(Exception):
    """No further subscription can be had in this process; come back later."""


class Subscription(Protocol):
    upload_id: str

    def take(self, timeout_s: float) -> Event | None:
        """The next event, waiting for at most ``timeout_s`` seconds; None if none came.

        Ids are strictly increasing. A reader that keeps up gets every event; one that does
        not still gets the first of every stage and the ending. Raises SubscriptionClosed.
        """

    def close(self) -> None:
        """Stop listening. May be called twice."""


class ProgressHub(Protocol):
    def open(self, upload_id: str, *, generation: int, mark: int) -> None:
        """Take the upload over from a process that died: ids go on above all of its own,
        and nothing at or below ``mark`` percent is published again."""

    def publish(self, upload_id: str, progress: Progress) -> Event | None:
        """Number ``progress`` and hand it to all subscribers, waiting for none of them.

        Returns None, and publishes nothing, if it is no news after what was already said,
        or if the upload's ending is sealed. Never an ending: see :meth:`seal`.
        """

    def seal(self, upload_id: str) -> int | None:
        """Reserve the ending: from here on nothing but it is published.

        Returns the id the terminal event will carry, or None if somebody else sealed it.
        Whoever sealed calls :meth:`finish`, or :meth:`unseal` if the ending did not come
        about.
        """

    def unseal(self, upload_id: str) -> None: ...

    def finish(self, event: Event) -> None:
        """Publish the terminal event, whose id :meth:`seal` gave."""

    def last(self, upload_id: str) -> Event | None:
        """The newest event still held."""

    def since(self, upload_id: str, after: int | None) -> list[Event]:
        """All held events after the cursor, oldest first. See :meth:`subscribe`."""

    def subscribe(
        self, upload_id: str, after: int | None, *, limited: bool = True
    ) -> Subscription:
        """Listen. What is held after the cursor comes first.

        ``after`` is the id of the last event the reader has; None gives all that is held. A
        cursor above every id we know counts as lost and gives the newest event. An upload
        nobody has spoken of yet can be listened to. ``limited=False`` is for our own
        readers, which limits on streams do not count. Raises HubFull.
        """

    def release(self, upload_id: str) -> None:
        """Close every subscription with Reason.EXPIRED and forget the upload."""

    def listeners(self, upload_id: str) -> int:
        """How many limited subscriptions the upload has here."""

    def drain(self) -> None:
        """Close every limited subscription, and each later one at once, with DRAINING."""

    def ping(self) -> None:
        """Raises if news would not get through."""
