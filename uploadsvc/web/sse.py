"""How an event is written on the wire: ``text/event-stream`` of the HTML standard.

Pure functions from values to bytes. LF only, no BOM, unnamed events (the guide's client
listens with ``onmessage``), one line of JSON each.
"""

from __future__ import annotations

import secrets
from typing import Any

from uploadsvc import wire

HEADERS = {
    "Content-Type": "text/event-stream; charset=utf-8",
    "Cache-Control": "no-cache, no-transform",
    "X-Accel-Buffering": "no",
}

RETRY_MS = 2000
# "Do not come back": react-native-sse ignores the 204 that stops others and reconnects
# until it is told a long retry; retry: 0 makes eventsource open hundreds a second.
RETRY_NEVER_MS = 86_400_000
# After overload or drain; jittered, so that everybody does not come back at once.
RETRY_LATER_MS = (2000, 10_000)

HEARTBEAT = b": heartbeat\n\n"


def message(
    data: dict[str, Any], *, event_id: int | None = None, retry_ms: int | None = None
) -> bytes:
    """One frame. ``event_id`` is given on progress events only."""
    lines = []
    if retry_ms is not None:
        lines.append(f"retry: {retry_ms}")
    if event_id is not None:
        lines.append(f"id: {event_id}")
    lines.append(f"data: {wire.compact(data)}")
    return ("\n".join(lines) + "\n\n").encode()


def retry(milliseconds: int) -> bytes:
    return b"retry: %d\n\n" % milliseconds


def retry_later() -> bytes:
    least, most = RETRY_LATER_MS
    return retry(least + secrets.randbelow(most - least + 1))


def connected(upload_id: str) -> bytes:
    """What every stream begins with."""
    hello = {
        "type": "connected",
        "uploadId": upload_id,
        "message": "Connected to progress stream",
    }
    return retry(RETRY_MS) + message(hello)


def expired(upload_id: str) -> bytes:
    """The end of a waiting stream nobody posted to."""
    data = {
        "type": "expired",
        "uploadId": upload_id,
        "message": "No file was sent for this upload id",
    }
    return message(data, retry_ms=RETRY_NEVER_MS)
