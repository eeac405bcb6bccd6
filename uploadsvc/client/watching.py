"""Following an upload's progress stream across cuts, restarts and overload.

Rules:

- The cursor is the last id yielded. Ids only grow; what is not above the cursor is a repeat
  and is dropped, whoever caused it.
- A connection that ends is opened again after the service's last ``retry``; one that fails to
  open, after doubling pauses. Both are bounded by :class:`Patience`.
- Rest is reached by the terminal event, by 204, and by the long ``retry``, which says that
  nothing more comes on this stream. A long ``retry`` is obeyed when the connection ends, not
  when it is read: the ending it announces may stand in the next frame.
- httpx-sse repeats the last id on frames that carry none, so only ``progress`` messages, which
  always do, are taken to have one.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterator
from random import random as uniform
from typing import Any

import httpx
from httpx_sse import ServerSentEvent, SSEError, connect_sse

from uploadsvc.client.connection import CONNECT_S, Stop, connect, upload_path
from uploadsvc.client.errors import ClientError, refusal
from uploadsvc.client.patience import TRY_AGAIN, Patience, retry_after_s
from uploadsvc.stages import TERMINAL

PATIENCE_S = 300.0
FIRST_CONTACT_S = 10.0
# Heartbeats come every 15 s; four in a row missing is a dead connection.
SILENCE_S = 60.0
# A stream that stayed open this long proves the service well, though it had no news.
STEADY_S = 10.0
# The end is announced by a day; no service asks for an hour and means to be asked again.
LONG_RETRY_S = 3600.0
ID = re.compile(r"[0-9]{1,18}", re.ASCII)


def watch(
    url: str,
    token: str,
    upload_id: str,
    *,
    last_id: int | None = None,
    patience_s: float = PATIENCE_S,
    first_contact_s: float = FIRST_CONTACT_S,
    sleep: Callable[[float], object] = time.sleep,
    random: Callable[[], float] = uniform,
) -> Iterator[dict[str, Any]]:
    """Yields the JSON of each message, ``progress`` messages with their ``id``, to the end.

    Messages of all types are yielded, ``connected`` again after every reconnect. Returns
    after the terminal event, or without one where the service ended the stream for good.
    Raises :class:`ClientError`: ``expired``, ``reauth``, the service's refusal (401, 403 …),
    or what stood in the way for longer than ``patience_s`` (``first_contact_s`` if nothing
    ever answered).
    """
    patience = Patience(patience_s, first_contact_s, sleep, random)
    with connect(url, token) as client:
        yield from follow(client, upload_id, patience, last_id=last_id)


def follow(
    client: httpx.Client,
    upload_id: str,
    patience: Patience,
    *,
    last_id: int | None = None,
    stop: Stop | None = None,
) -> Iterator[dict[str, Any]]:
    """:func:`watch` on a given client; returns early once ``stop`` is set."""
    path = f"{upload_path(upload_id)}/progress"
    stop = Stop() if stop is None else stop
    retry_s: float | None = None
    while not stop.is_set():
        trouble: Exception | None = None
        advised_s: float | None = None
        opened_at: float | None = None
        try:
            with connect_sse(
                client,
                "GET",
                path,
                headers=_headers(last_id),
                timeout=httpx.Timeout(SILENCE_S, connect=CONNECT_S),
            ) as source:
                response = source.response
                patience.answered()
                if response.status_code == 204:
                    return
                if response.status_code in TRY_AGAIN:
                    trouble, advised_s = refusal(response), retry_after_s(response)
                elif response.status_code != 200:
                    raise refusal(response)
                else:
                    opened_at = time.monotonic()
                    stop.attach(response)
                    for frame in source.iter_sse():
                        if frame.retry is not None:
                            retry_s = frame.retry / 1000
                        message = _message(frame)
                        if message is None:
                            continue
                        found = message.get("id")
                        if found is not None:
                            if last_id is not None and found <= last_id:
                                continue
                            last_id = found
                            patience.rewarded()
                        yield message
                        if is_terminal(message):
                            return
        except SSEError as error:
            raise ClientError("unexpected_answer", str(error), 200) from error
        except httpx.RequestError as error:
            trouble = error
        finally:
            stop.detach()
        if stop.is_set() or (retry_s is not None and retry_s >= LONG_RETRY_S):
            return
        if opened_at is not None:
            advised_s = retry_s
            if time.monotonic() - opened_at >= STEADY_S:
                patience.rewarded()
        patience.pause(advised_s, trouble)


def is_terminal(message: dict[str, Any]) -> bool:
    return message.get("type") == "progress" and message.get("stage") in TERMINAL


def _headers(last_id: int | None) -> dict[str, str]:
    # A compressing proxy would hold events back until its block is full.
    plain = {"Accept-Encoding": "identity"}
    return plain if last_id is None else plain | {"Last-Event-ID": str(last_id)}


def _message(frame: ServerSentEvent) -> dict[str, Any] | None:
    """The message of a frame, or None for what a client has to overlook."""
    if not frame.data:
        return None
    try:
        message = json.loads(frame.data)
    except ValueError:
        return None
    if not isinstance(message, dict):
        return None
    match message.get("type"):
        case "expired":
            raise ClientError(
                "expired", "No upload came with this id; it is free again"
            )
        case "reauth":
            raise ClientError(
                "reauth", "The access token has expired; use a new one", 401
            )
        case "progress" if ID.fullmatch(frame.id):
            return {**message, "id": int(frame.id)}
    return message
