"""Who runs verification, and where: the contract between intake and whoever does the work.

``run`` claims and records, ``supervisor`` keeps the warm children, ``local`` queues for them
in this process, ``ending`` is the one place an upload ends in, ``presence`` tells which
processes are alive, ``sweep`` takes over what a dead one left.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

from uploadsvc.model import Job, Outcome, Progress


class Dispatcher(Protocol):
    def has_room(self) -> bool:
        """Whether a job submitted now would be taken."""

    def submit(self, job: Job, *, forced: bool = False) -> None:
        """Queue the job. Raises Overloaded if there is no room; a forced one (taken over
        from a process that died) is always taken."""

    def cancel(self, upload_id: str) -> None:
        """Forget the job if it waits, kill its verifier if it runs. The row has ended."""


class Verifier(Protocol):
    """Someone who verifies one file at a time in isolation."""

    def verify(
        self, job: Job, path: Path, scratch: Path
    ) -> Iterator[Progress | Outcome]:
        """Progress, and at last one Outcome.

        Raises VerificationCrashed if the process died, VerificationTimeout after the
        deadline; then nothing of it runs any more.
        """

    def kill(self) -> None:
        """End the job that runs, if one does: its ``verify`` raises VerificationCrashed."""
