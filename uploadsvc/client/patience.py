"""How long to go on trying, and how long to wait in between.

Counted is the time lost since the last success: pauses, and attempts that led to nothing. A
service that never answered at all is given up on sooner, for then the address is likely wrong.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from random import random as uniform

import httpx

from uploadsvc.client.errors import ClientError

FIRST_PAUSE_S = 0.5
LONGEST_PAUSE_S = 30.0  # whatever the service advises, or the doubling comes to
SHORTEST_PAUSE_S = 0.1  # a service that says 0 is not taken at its word
# Statuses that say nothing about the request itself, only about this moment.
TRY_AGAIN = frozenset({429, 500, 502, 503, 504})


class Patience:
    """Bounded tries. ``sleep`` and ``random`` are arguments so that a test needs no time."""

    def __init__(
        self,
        limit_s: float,
        first_contact_s: float,
        sleep: Callable[[float], object] = time.sleep,
        random: Callable[[], float] = uniform,
    ) -> None:
        self._limit_s = limit_s
        self._first_contact_s = min(first_contact_s, limit_s)
        self._sleep = sleep
        self._random = random
        self._contact = False
        self._lost_s = 0.0
        self._failures = 0
        self._since = time.monotonic()

    def answered(self) -> None:
        """There is a service at that address. It may still have refused."""
        self._contact = True

    def rewarded(self) -> None:
        """It was worth the wait: start counting anew."""
        self._contact = True
        self._lost_s = 0.0
        self._failures = 0
        self._since = time.monotonic()

    def pause(self, advised_s: float | None, trouble: Exception | None) -> None:
        """Waits before the next try, or raises when the limit would be passed.

        ``advised_s`` is the service's own wish; without one the pauses double. ``trouble``
        is what went wrong, if anything: its words end up in the error.
        """
        pause_s = self._pause_s(advised_s)
        self._lost_s += time.monotonic() - self._since + pause_s
        if self._lost_s > (self._limit_s if self._contact else self._first_contact_s):
            raise _given_up(trouble) from trouble
        self._sleep(pause_s)
        self._since = time.monotonic()

    def _pause_s(self, advised_s: float | None) -> float:
        if advised_s is None:
            pause_s = FIRST_PAUSE_S * 2.0 ** min(self._failures, 16)
            self._failures += 1
            return min(pause_s, LONGEST_PAUSE_S) * (0.5 + 0.5 * self._random())
        # Never sooner than asked, and not all clients of a restarted service at once.
        pause_s = advised_s * (1 + 0.25 * self._random())
        return min(max(pause_s, SHORTEST_PAUSE_S), LONGEST_PAUSE_S)


def retry_after_s(response: httpx.Response) -> float | None:
    """The seconds of ``Retry-After``; the form with a date is not used by the service."""
    value = response.headers.get("Retry-After", "")
    return float(value) if value.isascii() and value.isdigit() else None


def _given_up(trouble: Exception | None) -> ClientError:
    if isinstance(trouble, ClientError):
        return ClientError(trouble.code, trouble.message, trouble.status, trouble.facts)
    if trouble is None:
        return ClientError("unreachable", "The service closes every stream at once")
    said = str(trouble) or type(trouble).__name__
    return ClientError("unreachable", f"The service does not answer: {said}")
