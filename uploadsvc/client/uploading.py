"""Sending a file and seeing it through to its end.

Two threads, one sending the file and one following the stream, put notes into one queue; the
caller's thread reads it, so that both callbacks are called there and nowhere else. The stream
is opened together with the POST: what the service received is shown while it is received.

The stream's terminal event decides, and so does the POST's refusal, whichever comes first.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue
from random import random as uniform
from typing import Any, cast

from uploadsvc.client.connection import Stop, connect
from uploadsvc.client.errors import ClientError, failure
from uploadsvc.client.patience import Patience
from uploadsvc.client.posting import send
from uploadsvc.client.sending import SendingFile, opened
from uploadsvc.client.snapshot import ask
from uploadsvc.client.watching import (
    FIRST_CONTACT_S,
    PATIENCE_S,
    follow,
    is_terminal,
)
from uploadsvc.model import new_upload_id
from uploadsvc.stages import Stage

Event = dict[str, Any]


@dataclass(frozen=True, slots=True)
class _Sent:
    count: int


@dataclass(frozen=True, slots=True)
class _Posted:
    """The service has the file, or ``error`` says why it never will."""

    error: Exception | None


@dataclass(frozen=True, slots=True)
class _Told:
    event: Event


@dataclass(frozen=True, slots=True)
class _StreamOver:
    error: Exception | None


# Bounded by what is put in: SendingFile's steps, the service's events.
_News = SimpleQueue[_Sent | _Posted | _Told | _StreamOver]


def upload(
    url: str,
    token: str,
    path: Path,
    title: str = "",
    description: str = "",
    on_bytes: Callable[[int, int], object] = lambda sent, total: None,
    on_event: Callable[[Event], object] = lambda event: None,
    *,
    upload_id: str | None = None,
    patience_s: float = PATIENCE_S,
    first_contact_s: float = FIRST_CONTACT_S,
    sleep: Callable[[float], object] | None = None,
    random: Callable[[], float] = uniform,
) -> Event:
    """Uploads the file at ``path`` and returns its ``complete`` event, ``media`` in it.

    ``on_bytes(sent, total)`` and ``on_event(message)`` are called in the caller's thread.
    Raises :class:`ClientError` for every other ending, with the service's code and reasons.
    """
    upload_id = upload_id or new_upload_id()
    stop = Stop()
    pause = sleep or stop.wait

    def patience() -> Patience:
        return Patience(patience_s, first_contact_s, pause, random)

    news: _News = SimpleQueue()
    with (
        connect(url, token) as client,
        SendingFile(
            opened(path), path.name, lambda sent: news.put(_Sent(sent)), stop
        ) as file,
        _stopping(stop) as threads,
    ):

        def post() -> None:
            try:
                send(client, upload_id, file, title, description, patience())
            except Exception as error:
                # The thread's outer edge: the caller's thread raises it.
                news.put(_Posted(error))
            else:
                news.put(_Posted(None))

        def listen(last_id: int | None) -> None:
            try:
                for event in follow(
                    client, upload_id, patience(), last_id=last_id, stop=stop
                ):
                    news.put(_Told(event))
            except Exception as error:
                news.put(_StreamOver(error))
            else:
                news.put(_StreamOver(None))

        threads.start(listen, None)
        threads.start(post)
        posted, listening, fresh, last_id = False, True, False, None
        while True:
            match news.get():
                case _Sent(count):
                    on_bytes(count, file.size)
                case _Told(event):
                    last_id = event.get("id", last_id)
                    on_event(event)
                    if is_terminal(event):
                        return _concluded(event)
                case _Posted(None):
                    posted = True
                    if not listening:
                        threads.start(listen, last_id)
                        fresh = True
                case _Posted(error):
                    raise cast(Exception, error)
                case _StreamOver(error) if not posted:
                    # The POST will tell whether this matters.
                    listening = False
                case _StreamOver(None):
                    return _concluded(ask(client, upload_id, patience()))
                case _StreamOver(error) if not fresh and _was_premature(error):
                    threads.start(listen, last_id)
                    fresh = True
                case _StreamOver(error):
                    raise cast(Exception, error)


def await_end(
    url: str,
    token: str,
    upload_id: str,
    on_event: Callable[[Event], object] = lambda event: None,
    *,
    patience_s: float = PATIENCE_S,
    first_contact_s: float = FIRST_CONTACT_S,
    sleep: Callable[[float], object] = time.sleep,
    random: Callable[[], float] = uniform,
) -> Event:
    """Follows an upload somebody sends; returns and raises as :func:`upload` does."""
    patience = Patience(patience_s, first_contact_s, sleep, random)
    with connect(url, token) as client:
        for event in follow(client, upload_id, patience):
            on_event(event)
            if is_terminal(event):
                return _concluded(event)
        return _concluded(ask(client, upload_id, patience))


def _was_premature(error: Exception | None) -> bool:
    """Whether a stream opened before the POST may get a better answer after it.

    Waiting streams have narrower limits than those of an upload that exists.
    """
    return isinstance(error, ClientError) and (
        error.status in (403, 429) or error.code == "expired"
    )


def _concluded(ending: Mapping[str, Any]) -> Event:
    """What a terminal event, or a snapshot where the stream gave none, comes to."""
    match ending.get("stage"):
        case Stage.COMPLETE:
            return dict(ending)
        case Stage.ERROR:
            raise failure(ending)
    raise ClientError(
        "stream_closed", "The service ended the stream; the upload goes on"
    )


class _Threads:
    def __init__(self) -> None:
        self._started: list[threading.Thread] = []

    def start(self, work: Callable[..., None], *args: Any) -> None:
        # Daemons: one that waits for an answer must not keep an interrupted program alive.
        thread = threading.Thread(target=work, args=args, daemon=True)
        thread.start()
        self._started.append(thread)

    def join(self, seconds: float) -> None:
        for thread in self._started:
            thread.join(seconds)


@contextmanager
def _stopping(stop: Stop) -> Iterator[_Threads]:
    """Ends the threads with the block, however it is left."""
    threads = _Threads()
    try:
        yield threads
    finally:
        stop.set()
        threads.join(1.0)
