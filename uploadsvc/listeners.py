"""The hook for a team's own code: callables that hear how uploads end and what moderators decide.

A distribution names them in its metadata, and being installed beside the service is enough::

    [options.entry_points]
    uploadsvc.listeners =
        ours = our_package.hooks:heard

``heard(news)`` is called with an :class:`Ended` or a :class:`Decided`, after the change was
committed, in the web process that made it. At most once: news that waits when the process
dies, or beyond the bounds below, is lost. Whoever must know everything asks the HTTP
interface as well.

Each listener has a greenlet and a bounded queue of its own, so that neither the service nor
another listener waits for it, and what it raises is logged and goes no further. Waiting for a
socket is fine in there (it is gevent's); long computing is not, it would hold the event loop.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import entry_points

import gevent

from uploadsvc import log
from uploadsvc.model import Decision, Media, Upload

logger = log.get(__name__)

GROUP = "uploadsvc.listeners"
# News a listener may be behind; some minutes of a busy service, and a few megabytes.
MAX_WAITING = 1000
# A call that takes longer is given up, lest one that hangs ends the listening for good.
CALL_MAX_S = 30.0


@dataclass(frozen=True, slots=True)
class Ended:
    """An upload has ended, well or not: ``upload.state``, ``upload.ending``. ``media`` is its
    record if it is complete, perhaps held for review."""

    upload: Upload
    media: Media | None


@dataclass(frozen=True, slots=True)
class Decided:
    """A moderator has decided about media that were held; ``media`` is the record as it is now."""

    media: Media
    decision: Decision


News = Ended | Decided
Listener = Callable[[News], object]


class Listeners:
    """Everybody who listens. ``call_max_s`` is in seconds."""

    def __init__(self, *, call_max_s: float = CALL_MAX_S) -> None:
        self._call_max_s = call_max_s
        self._ears: list[_Ear] = []

    @property
    def names(self) -> list[str]:
        return [ear.name for ear in self._ears]

    def load(self) -> None:
        """Add those that installed distributions name. One that cannot be loaded is logged
        and left out: a team's own code must not keep uploads from coming in."""
        for point in entry_points(group=GROUP):
            try:
                listener = point.load()
                if not callable(listener):
                    raise TypeError(f"{point.value} cannot be called")
            except (Exception, SystemExit):
                logger.exception("listener cannot be loaded", listener=point.name)
            else:
                self.add(point.name, listener)
        if self._ears:
            logger.info("listeners loaded", listeners=self.names)

    def add(self, name: str, listener: Listener) -> None:
        self._ears.append(_Ear(name, listener, self._call_max_s))

    def tell(self, news: News) -> None:
        """Pass the news on. Waits for nothing and raises nothing."""
        for ear in self._ears:
            ear.tell(news)

    def finish(self, timeout_s: float) -> None:
        """Give what waits this long to be heard; the rest is lost."""
        gevent.joinall(self._busy(), timeout=timeout_s)

    def close(self) -> None:
        gevent.killall(self._busy())

    def _busy(self) -> list[gevent.Greenlet]:
        return [ear.greenlet for ear in self._ears if ear.greenlet is not None]


class _Ear:
    """One listener, its queue, and the greenlet that is there while something waits."""

    def __init__(self, name: str, listener: Listener, call_max_s: float) -> None:
        self.name = name
        self.greenlet: gevent.Greenlet | None = None
        self._listener = listener
        self._call_max_s = call_max_s
        self._waiting: deque[News] = deque()

    def tell(self, news: News) -> None:
        if len(self._waiting) >= MAX_WAITING:
            logger.warning("listener lags, news dropped", listener=self.name)
            return
        self._waiting.append(news)
        if self.greenlet is None:
            self.greenlet = gevent.spawn(self._listen)

    def _listen(self) -> None:
        try:
            while self._waiting:
                self._call(self._waiting.popleft())
        finally:
            self.greenlet = None

    def _call(self, news: News) -> None:
        try:
            with gevent.Timeout(self._call_max_s, TimeoutError("it took too long")):
                self._listener(news)
        except (Exception, SystemExit):
            # SystemExit too: gevent would end the whole process with it.
            logger.exception("listener failed", listener=self.name)
