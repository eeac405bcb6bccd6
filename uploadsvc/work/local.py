"""Verification on this machine: a bounded queue and a greenlet for each warm child.

All state here is touched by the greenlets of one process only.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

import gevent
from gevent.event import Event as Signal

from uploadsvc import log
from uploadsvc.errors import Overloaded, UploadError
from uploadsvc.hub import ProgressHub
from uploadsvc.model import Job, opening
from uploadsvc.stages import Stage
from uploadsvc.work.run import Runner
from uploadsvc.work.supervisor import ChildVerifier

logger = log.get(__name__)

RETRY_AFTER_S = 5  # told to a client that met a full queue
# How often an idle verifier is looked at: one that died is replaced before a job needs it,
# and before readyz, which would say no, keeps the jobs away that would have replaced it.
IDLE_LOOK_S = 2.0
RESTART_PAUSE_S = 2.0  # before a verifier that does not come up is tried again


class LocalDispatcher:
    """``max_queue`` bounds the waiting jobs, ``verifiers`` work them off in order."""

    def __init__(
        self,
        runner: Runner,
        hub: ProgressHub,
        verifiers: Sequence[ChildVerifier],
        *,
        max_queue: int,
    ) -> None:
        self._runner = runner
        self._hub = hub
        self.verifiers = tuple(verifiers)
        self._max_queue = max_queue
        self._waiting: OrderedDict[str, Job] = OrderedDict()
        self._running: dict[str, ChildVerifier] = {}
        self._idle = 0
        self._news = Signal()
        self._greenlets: list[gevent.Greenlet] = []
        self._stopped = False

    def start(self) -> None:
        self._greenlets = [gevent.spawn(self._work, each) for each in self.verifiers]

    def has_room(self) -> bool:
        return len(self._waiting) < self._max_queue

    def submit(self, job: Job, *, forced: bool = False) -> None:
        if not forced and not self.has_room():
            raise Overloaded(retry_after=RETRY_AFTER_S)
        if self._stopped:
            return  # it stays queued in the database, for the next start
        self._waiting[job.upload_id] = job
        self._news.set()
        if len(self._waiting) > self._idle:
            self._tell_positions()

    def at_work(self, upload_id: str) -> bool:
        """Whether the job waits or runs here."""
        return upload_id in self._waiting or upload_id in self._running

    def cancel(self, upload_id: str) -> None:
        if self._waiting.pop(upload_id, None) is not None:
            self._tell_positions()
        if upload_id in self._running:
            self._running[upload_id].kill()

    @property
    def busy(self) -> bool:
        return bool(self._waiting or self._running)

    def stop_taking(self) -> None:
        """Begin nothing more; what waits stays queued in the database for the next start."""
        self._stopped = True
        self._waiting.clear()
        self._news.set()

    def kill(self) -> None:
        """End at once; what ran is taken over by the next start."""
        self.stop_taking()
        gevent.killall(self._greenlets, block=False)
        for verifier in self.verifiers:
            verifier.kill()

    def _work(self, verifier: ChildVerifier) -> None:
        while not self._stopped:
            if not self._warmed(verifier):
                continue
            job = self._next()
            if job is None:
                continue
            self._running[job.upload_id] = verifier
            try:
                self._runner.run(job, verifier)
            except Exception:
                # The outer edge of this greenlet: the database was gone even for the
                # ending. The row stays VERIFYING in our name; sweep looks for such.
                logger.exception("run failed", upload_id=job.upload_id)
            finally:
                del self._running[job.upload_id]

    def _warmed(self, verifier: ChildVerifier) -> bool:
        try:
            verifier.warm()
        except (UploadError, OSError, ValueError):
            logger.exception("verifier does not start")
            gevent.sleep(RESTART_PAUSE_S)
            return False
        return True

    def _next(self) -> Job | None:
        """The next job; None when the verifier should be looked at, or at a stop."""
        if not self._waiting:
            self._news.clear()
            self._idle += 1
            try:
                self._news.wait(IDLE_LOOK_S)
            finally:
                self._idle -= 1
        if not self._waiting:
            return None
        _, job = self._waiting.popitem(last=False)
        self._tell_positions()
        return job

    def _tell_positions(self) -> None:
        for position, job in enumerate(self._waiting.values(), start=1):
            # Everyone near the front hears of each step, those far behind of every tenth.
            if position <= 10 or position % 10 == 0:
                self._hub.publish(
                    job.upload_id,
                    opening(Stage.FILE_RECEIVED, queue_position=position),
                )
