"""Who listens to which upload, and how an event reaches each of them.

Runs in the greenlets of one web process and is touched by no other thread. It knows nothing
of what drains a subscription: a response generator, a socket, a long-poll. An event is
offered to each subscriber's gevent queue and never waited for: when a reader is so far
behind that its queue is full, the queue is coalesced, so that it still gets the first event
of every stage and the ending, and its memory stays bounded.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

from gevent.queue import Empty, Queue

from uploadsvc.hub import HubFull, Reason, SubscriptionClosed
from uploadsvc.hub.story import HISTORY, coalesced
from uploadsvc.model import Event

# A queue holds a whole replay, so that only a reader that does not read is coalesced.
MAILBOX = HISTORY


class Mailbox:
    """One reader's subscription: a gevent queue from the publisher to whoever takes."""

    def __init__(self, fanout: Fanout, upload_id: str, limited: bool) -> None:
        self.upload_id = upload_id
        self.limited = limited
        self._fanout = fanout
        self._queue: Queue[Event | SubscriptionClosed] = Queue()

    def offer(self, event: Event) -> None:
        if self._queue.qsize() >= MAILBOX:
            waiting = [item for item in self._emptied() if isinstance(item, Event)]
            for kept in coalesced(waiting, MAILBOX // 2):
                self._queue.put_nowait(kept)
        self._queue.put_nowait(event)

    def take(self, timeout_s: float) -> Event | None:
        try:
            item: Event | SubscriptionClosed = self._queue.get(timeout=timeout_s)
        except Empty:
            return None
        if isinstance(item, SubscriptionClosed):
            raise item
        return item

    def end(self, reason: Reason) -> None:
        """Close from our side. What was not taken is dropped: the cursor will ask for it."""
        self.close()
        self._emptied()
        self._queue.put_nowait(SubscriptionClosed(reason))

    def close(self) -> None:
        self._fanout.leave(self)

    def _emptied(self) -> Iterable[Event | SubscriptionClosed]:
        items = []
        while not self._queue.empty():
            items.append(self._queue.get_nowait())
        return items


class Fanout:
    """The mailboxes of this process, by upload.

    ``max_streams`` bounds the limited ones in all (HubFull beyond it), ``per_upload`` those
    of one upload: a further one replaces the oldest, for a phone that changed networks
    still counts its dead stream.
    """

    def __init__(self, *, max_streams: int, per_upload: int) -> None:
        self._max_streams = max_streams
        self._per_upload = per_upload
        self._boxes: dict[str, deque[Mailbox]] = {}
        self._limited = 0
        self._draining = False

    def join(
        self, upload_id: str, replay: Iterable[Event], *, limited: bool
    ) -> Mailbox:
        if limited:
            self._make_room(upload_id)
        box = Mailbox(self, upload_id, limited)
        for event in replay:
            box.offer(event)
        if limited and self._draining:
            box.end(Reason.DRAINING)
            return box
        self._boxes.setdefault(upload_id, deque()).append(box)
        self._limited += limited
        return box

    def leave(self, box: Mailbox) -> None:
        boxes = self._boxes.get(box.upload_id)
        if boxes is None or box not in boxes:
            return
        boxes.remove(box)
        self._limited -= box.limited
        if not boxes:
            del self._boxes[box.upload_id]

    def deliver(self, event: Event) -> None:
        for box in self._boxes.get(event.upload_id, ()):
            box.offer(event)

    def end(self, upload_id: str, reason: Reason) -> None:
        for box in list(self._boxes.get(upload_id, ())):
            box.end(reason)

    def drain(self) -> None:
        self._draining = True
        for boxes in list(self._boxes.values()):
            for box in list(boxes):
                if box.limited:
                    box.end(Reason.DRAINING)

    def limited(self, upload_id: str) -> int:
        return sum(box.limited for box in self._boxes.get(upload_id, ()))

    @property
    def streams(self) -> int:
        """Limited subscriptions open in this process."""
        return self._limited

    def _make_room(self, upload_id: str) -> None:
        own = [box for box in self._boxes.get(upload_id, ()) if box.limited]
        if len(own) >= self._per_upload:
            own[0].end(Reason.REPLACED)
        elif self._limited >= self._max_streams:
            raise HubFull
