"""What has been said of one upload, and the law of what may be said next.

Pure: no queue, no clock, no socket. The law (contract, section 3): ids grow by one; neither
stage nor percent goes back; one ending, last; a bounded history that always holds the first
event of every stage said in it.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from uploadsvc.hub import IDS_A_GENERATION
from uploadsvc.model import Event, Progress
from uploadsvc.stages import Stage

# Events kept of one upload. An upload has some 60 (one a percent); more come only of a
# long queue. About 400 bytes each, so at most 100 kB.
HISTORY = 256


class Story:
    def __init__(self, upload_id: str) -> None:
        self.upload_id = upload_id
        self.ended = False
        self._events: list[Event] = []
        self._last_id = 0
        self._mark = -1
        self._sealed = False

    def resume(self, generation: int, mark: int) -> None:
        """Go on above every id of earlier generations and above ``mark`` percent."""
        self._last_id = max(self._last_id, generation * IDS_A_GENERATION)
        self._mark = max(self._mark, mark)

    def add(self, progress: Progress, at: datetime) -> Event | None:
        """The numbered event, or None if it is no news or the ending is sealed."""
        if progress.terminal:
            raise ValueError("an ending is sealed, then finished")
        if self._sealed or progress.progress <= self._mark:
            return None
        if self._events and not progress.follows(self._events[-1].progress):
            return None
        return self._append(Event(self._last_id + 1, self.upload_id, progress, at))

    def seal(self) -> int | None:
        if self._sealed:
            return None
        self._sealed = True
        return self._last_id + 1

    def unseal(self) -> None:
        if not self.ended:
            self._sealed = False

    def finish(self, ending: Event) -> None:
        if not self._sealed or self.ended or ending.id != self._last_id + 1:
            raise ValueError("an ending comes once, with the id it was sealed with")
        self.ended = True
        self._append(ending)

    @property
    def untold(self) -> bool:
        """Nothing was said and nothing is remembered: the story may be forgotten."""
        return self._last_id == 0 and self._mark < 0

    @property
    def last(self) -> Event | None:
        return self._events[-1] if self._events else None

    def since(self, after: int | None) -> list[Event]:
        if after is None:
            return list(self._events)
        if after > self._last_id:
            return self._events[-1:]
        return [event for event in self._events if event.id > after]

    def _append(self, event: Event) -> Event:
        self._last_id = event.id
        self._events.append(event)
        if len(self._events) > HISTORY:
            self._events = coalesced(self._events, HISTORY // 2)
        return event


def coalesced(events: Iterable[Event], newest: int) -> list[Event]:
    """The first event of every stage and the ``newest`` last ones, in their order."""
    listed = list(events)
    first: dict[Stage, int] = {}
    for event in listed:
        first.setdefault(event.progress.stage, event.id)
    kept = set(first.values())
    tail = listed[-newest:]
    return [event for event in listed[:-newest] if event.id in kept] + tail
