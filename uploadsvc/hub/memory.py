"""The hub of a single process: stories in a dictionary. See the package for the promises."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from datetime import datetime
from time import monotonic

from uploadsvc.hub import Reason, Subscription
from uploadsvc.hub.fanout import Fanout
from uploadsvc.hub.story import Story
from uploadsvc.model import Event, Progress, now

# An ended story is kept so that a late or returning reader gets all of it; after that the
# row tells the ending. Bounded in time and number.
ENDED_KEPT_S = 300.0
ENDED_KEPT = 10_000


class MemoryHub:
    def __init__(
        self,
        fanout: Fanout,
        *,
        clock: Callable[[], datetime] = now,
        monotonic: Callable[[], float] = monotonic,
    ) -> None:
        self.fanout = fanout
        self._clock = clock
        self._monotonic = monotonic
        self._stories: dict[str, Story] = {}
        self._ended: OrderedDict[str, float] = OrderedDict()

    def open(self, upload_id: str, *, generation: int, mark: int) -> None:
        self._story(upload_id).resume(generation, mark)

    def publish(self, upload_id: str, progress: Progress) -> Event | None:
        event = self._story(upload_id).add(progress, self._clock())
        if event is not None:
            self.fanout.deliver(event)
        return event

    def seal(self, upload_id: str) -> int | None:
        return self._story(upload_id).seal()

    def unseal(self, upload_id: str) -> None:
        story = self._stories.get(upload_id)
        if story is None:
            return
        story.unseal()
        if story.untold:
            del self._stories[upload_id]

    def finish(self, event: Event) -> None:
        self._story(event.upload_id).finish(event)
        self.fanout.deliver(event)
        self._ended[event.upload_id] = self._monotonic()
        self._forget_ended()

    def last(self, upload_id: str) -> Event | None:
        story = self._stories.get(upload_id)
        return story.last if story else None

    def since(self, upload_id: str, after: int | None) -> list[Event]:
        story = self._stories.get(upload_id)
        return story.since(after) if story else []

    def subscribe(
        self, upload_id: str, after: int | None, *, limited: bool = True
    ) -> Subscription:
        return self.fanout.join(
            upload_id, self.since(upload_id, after), limited=limited
        )

    def release(self, upload_id: str) -> None:
        self._stories.pop(upload_id, None)
        self._ended.pop(upload_id, None)
        self.fanout.end(upload_id, Reason.EXPIRED)

    def listeners(self, upload_id: str) -> int:
        return self.fanout.limited(upload_id)

    def drain(self) -> None:
        self.fanout.drain()

    def ping(self) -> None:
        pass  # in this process there is nothing between us and the readers

    def _story(self, upload_id: str) -> Story:
        return self._stories.setdefault(upload_id, Story(upload_id))

    def _forget_ended(self) -> None:
        oldest = self._monotonic() - ENDED_KEPT_S
        while self._ended:
            upload_id, ended = next(iter(self._ended.items()))
            if ended > oldest and len(self._ended) <= ENDED_KEPT:
                return
            del self._ended[upload_id]
            self._stories.pop(upload_id, None)
