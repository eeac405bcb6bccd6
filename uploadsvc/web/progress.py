"""``GET /api/media/upload/<id>/progress``: the stream (contract, section 3).

The order closes the gap between history and news: subscribe, then read the row, then take.
The close is registered before the response leaves, for a generator that was never started
(HEAD, a client already gone) never runs its ``finally``.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from time import monotonic

from flask import Blueprint, Response, request

from uploadsvc import wire
from uploadsvc.hub import HubFull, Reason, Subscription, SubscriptionClosed
from uploadsvc.model import Event, Media, Upload, ending_event
from uploadsvc.web import auth, current, sse
from uploadsvc.web.current import services

blueprint = Blueprint("progress", __name__, url_prefix="/api/media/upload")

LOST = 2**63  # a cursor above every id: "newest state, please"
HEARTBEAT_JITTER = 0.2


@blueprint.get("/<upload_id>/progress")
def stream(upload_id: str) -> Response:
    current.speak_of(upload_id)
    user = auth.user_id(in_query=True)
    app = services()
    upload = app.intake.follow(upload_id, user)
    after = cursor()
    try:
        subscription = app.hub.subscribe(upload_id, after)
    except HubFull:
        app.intake.unfollow(upload_id)
        return Response([sse.retry_later()], headers=sse.HEADERS)

    try:
        upload = app.uploads.find(upload_id) or upload
    except BaseException:
        subscription.close()
        raise
    if upload.ending is not None and upload.ending.event_id == after:
        subscription.close()
        return Response(status=204)

    opened = Stream(
        subscription,
        upload,
        app.urls,
        find=lambda: app.find(upload_id),
        foreign=bool(upload.owner) and upload.owner != app.presence.id,
        heartbeat_s=app.settings.heartbeat_s,
        max_s=app.settings.stream_max_s,
    )
    response = Response(opened.frames(), headers=sse.HEADERS)
    # In this order: unfollow counts who still listens.
    response.call_on_close(subscription.close)
    if upload.ending is None:
        response.call_on_close(lambda: app.intake.unfollow(upload_id))
    return response


def cursor() -> int | None:
    """The reader's cursor: the header wins over ``?lastEventId=`` and ``?last_event_id=``,
    for a browser repeats its first URL for ever. One that cannot be read counts as lost."""
    given = (
        request.headers.get("Last-Event-ID")
        or request.args.get("lastEventId")
        or request.args.get("last_event_id")
    )
    return number(given) if given else None


def number(given: str) -> int:
    """The id in a cursor's text; LOST if there is none."""
    readable = given.isascii() and given.isdigit() and len(given) < 19
    return int(given) if readable else LOST


@dataclass(frozen=True)
class Stream:
    """One open stream: what it reads from, and how long it may be silent.

    ``find`` reads the row again; it is asked only for an upload that another process works
    on (a reload lets the old worker finish), whose news this process does not hear.
    """

    subscription: Subscription
    upload: Upload
    urls: wire.MediaUrls
    find: Callable[[], tuple[Upload, Media | None] | None]
    foreign: bool
    heartbeat_s: float
    max_s: float

    def frames(self) -> Iterator[bytes]:
        """The bytes, from ``connected`` to the ending. Waits between them."""
        yield sse.connected(self.upload.id)
        try:
            yield from self._events()
        except SubscriptionClosed as closed:
            yield self._closing(closed.reason)

    def _events(self) -> Iterator[bytes]:
        started = monotonic()
        ended = self.upload.ending is not None
        while True:
            event = self.subscription.take(0 if ended else self._patience())
            if event is not None:
                yield self._frame(event)
                if event.terminal:
                    return
            elif ended or self.foreign:
                # The hub has no more to say: it may have forgotten the story, or never
                # have heard it. The row has the ending, if there is one.
                ending = self._ending()
                if ending is not None:
                    yield self._frame(ending)
                    return
                yield sse.HEARTBEAT
            else:
                yield sse.HEARTBEAT
            if self.max_s and monotonic() - started > self.max_s:
                yield sse.retry_later()
                return

    def _patience(self) -> float:
        jitter = random.uniform(1 - HEARTBEAT_JITTER, 1 + HEARTBEAT_JITTER)  # noqa: S311
        return self.heartbeat_s * jitter

    def _frame(self, event: Event) -> bytes:
        return sse.message(
            wire.event_json(event, self.urls),
            event_id=event.id,
            retry_ms=sse.RETRY_NEVER_MS if event.terminal else None,
        )

    def _ending(self) -> Event | None:
        found = self.find()
        if found is None or found[0].ending is None:
            return None
        return ending_event(*found)

    def _closing(self, reason: Reason) -> bytes:
        if reason is Reason.EXPIRED:
            return sse.expired(self.upload.id)
        if reason is Reason.REPLACED:
            return sse.retry(sse.RETRY_NEVER_MS)
        return sse.retry_later()
