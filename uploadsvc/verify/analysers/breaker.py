"""A circuit breaker: after some failures in a row nobody is sent there for a while."""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic


class Breaker:
    """Closed until ``failures`` in a row, then open for ``rest_s``, then half-open: one goes
    through, and what becomes of it closes the breaker or gives it another rest.

    Nothing is held for the one that goes through; were it lost (its verifier killed), the
    next goes after another rest.
    """

    def __init__(
        self,
        failures: int,
        rest_s: float,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self._most = failures
        self._rest_s = rest_s
        self._clock = clock
        self._failures = 0
        self._rests_until = 0.0

    @property
    def open(self) -> bool:
        return self._failures >= self._most

    def allows(self) -> bool:
        """Whether to go there now. One that may go says afterwards how it went."""
        if not self.open:
            return True
        if self._clock() < self._rests_until:
            return False
        self._rest()
        return True

    def succeeded(self) -> None:
        self._failures = 0

    def failed(self) -> None:
        self._failures += 1
        if self.open:
            self._rest()

    def _rest(self) -> None:
        self._rests_until = self._clock() + self._rest_s
