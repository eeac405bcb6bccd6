"""How soon a stream says something, and how soon an event arrives through nginx."""

from __future__ import annotations

import json
import statistics
import threading
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import httpx

from bench.service import Running

OPENINGS = 50
UPLOADS = 5


def first_byte(running: Running, url: str) -> list[float]:
    """Seconds from asking to the first byte of the body, for fresh ids on a kept connection."""
    seconds = []
    with httpx.Client(headers=running.headers, timeout=30) as client:
        client.get(f"{url}/healthz")
        for number in range(OPENINGS):
            # A user may name ten ids ahead of their POST; cancelling gives the place back.
            upload_id = f"bench-open-{number}-{time.time_ns()}"
            path = f"{url}/api/media/upload/{upload_id}"
            asked = time.perf_counter()
            with client.stream("GET", f"{path}/progress") as response:
                next(response.iter_raw())
                seconds.append(time.perf_counter() - asked)
            client.delete(path)
    return seconds


def floor(running: Running, url: str) -> list[float]:
    """The same for ``/healthz``: a request that does nothing."""
    seconds = []
    with httpx.Client(headers=running.headers, timeout=30) as client:
        client.get(f"{url}/healthz")
        for _ in range(OPENINGS):
            asked = time.perf_counter()
            client.get(f"{url}/healthz")
            seconds.append(time.perf_counter() - asked)
    return seconds


def delivery(running: Running, url: str, film: Path) -> list[float]:
    """Seconds from an event's publication (its timestamp) to its arrival here."""
    seconds: list[float] = []
    for number in range(UPLOADS):
        upload_id = f"bench-deliver-{number}-{time.time_ns()}"
        reader = threading.Thread(
            target=lambda upload_id=upload_id: seconds.extend(
                _delays(running, f"{url}/api/media/upload/{upload_id}/progress")
            )
        )
        reader.start()
        time.sleep(0.3)  # the stream is open before the first event
        with film.open("rb") as file, httpx.Client(timeout=120) as client:
            client.post(
                f"{url}/api/media/upload",
                headers=running.headers | {"X-Upload-ID": upload_id},
                files={"file": ("film.mp4", file)},
            )
        reader.join()
    return seconds


def _delays(running: Running, url: str) -> Iterator[float]:
    with httpx.stream("GET", url, headers=running.headers, timeout=120) as response:
        for line in response.iter_lines():
            if not line.startswith("data:"):
                continue
            arrived = time.time()
            event = json.loads(line.removeprefix("data:"))
            if "timestamp" in event:
                said = datetime.fromisoformat(event["timestamp"]).timestamp()
                # The timestamp is cut to a millisecond; half of one is what is lost.
                yield max(0.0, arrived - said - 0.0005)


def median_ms(seconds: list[float]) -> float:
    return statistics.median(seconds) * 1000


def worst_ms(seconds: list[float]) -> float:
    return max(seconds) * 1000
