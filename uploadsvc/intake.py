"""Taking an upload in: bind its id, receive it, hand it over, cancel it.

A use case; it knows contracts only (hub, storage, repository, dispatcher) and neither Flask
nor a socket. Runs in the greenlet of a request.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta

import gevent
from gevent import GreenletExit

from uploadsvc import log
from uploadsvc.db import BOUND_MAX_S, UploadRepository
from uploadsvc.errors import (
    AccessDenied,
    AlreadyEnded,
    Cancelled,
    IncompleteBody,
    Internal,
    InvalidUploadId,
    Overloaded,
    ShuttingDown,
    TooLarge,
    UploadError,
)
from uploadsvc.hub import ProgressHub, SubscriptionClosed
from uploadsvc.model import (
    UPLOAD_ID,
    Job,
    State,
    Upload,
    advanced,
    new_upload_id,
    now,
    opening,
)
from uploadsvc.stages import BANDS, Stage
from uploadsvc.storage import Incoming, Received, Storage
from uploadsvc.work import Dispatcher
from uploadsvc.work.ending import Endings

logger = log.get(__name__)

# A provisional binding outlives its last waiting stream by this, so that a phone that
# changes networks between connecting and posting keeps its id.
BOUND_AFTER_STREAM_S = 60
RETRY_AFTER_S = 5
# An ending is two statements of the database; longer than a busy one holds them up.
ENDING_S = 10.0

CANCELLABLE = [State.OPEN, State.RECEIVING, State.QUEUED, State.VERIFYING]


class Intake:
    """``owner`` is this process's name in :mod:`uploadsvc.work.presence`."""

    def __init__(
        self,
        uploads: UploadRepository,
        hub: ProgressHub,
        storage: Storage,
        dispatcher: Dispatcher,
        endings: Endings,
        owner: str,
        *,
        max_bytes: int,
        clock: Callable[[], datetime] = now,
    ) -> None:
        self._uploads = uploads
        self._hub = hub
        self._storage = storage
        self._dispatcher = dispatcher
        self._endings = endings
        self._owner = owner
        self._clock = clock
        # The greenlet of each POST; None while it hands over and cannot be interrupted.
        self._receiving: dict[str, gevent.Greenlet | None] = {}
        self.max_bytes = max_bytes
        self.closing = False

    def find(self, upload_id: str, user_id: str) -> Upload:
        """The user's upload. Raises AccessDenied for a foreign and for an unknown one."""
        upload = self._uploads.find(_checked(upload_id))
        if upload is None or upload.user_id != user_id:
            raise AccessDenied
        return upload

    def follow(self, upload_id: str, user_id: str) -> Upload:
        """The user's upload, its id bound to the user if nobody named it before."""
        upload = self._uploads.find(_checked(upload_id))
        if upload is None or upload.state is State.OPEN:
            until = self._clock() + timedelta(seconds=BOUND_MAX_S)
            upload = self._uploads.bind(upload_id, user_id, until)
        if upload.user_id != user_id:
            raise AccessDenied
        return upload

    def unfollow(self, upload_id: str) -> None:
        """A stream has closed: a binding nobody waits for any more ends soon."""
        last = self._hub.last(upload_id)
        begun = last is not None and last.progress.stage is not Stage.UPLOADING
        if self._hub.listeners(upload_id) == 0 and not begun:
            until = self._clock() + timedelta(seconds=BOUND_AFTER_STREAM_S)
            self._uploads.loosen(upload_id, until)

    @contextmanager
    def receive(self, upload_id: str | None, user_id: str) -> Iterator[Reception]:
        """The reception of one POST. Inside the ``with``, faults end the upload.

        Raises ShuttingDown, Overloaded, InvalidUploadId, AccessDenied or IdTaken before
        anything was read. An UploadError raised inside ends the upload with its code,
        unless it invites another try: then id and waiting streams stay as they were. Any
        fault leaves no bytes behind. Cancelled is raised inside when the owner cancels.
        """
        upload_id = new_upload_id() if upload_id is None else _checked(upload_id)
        if self.closing:
            raise ShuttingDown(retry_after=RETRY_AFTER_S)
        if not self._dispatcher.has_room():
            raise Overloaded(retry_after=RETRY_AFTER_S)
        upload = self._uploads.begin(upload_id, user_id, self._owner)
        if upload.generation:
            said = BANDS[Stage.UPLOADING].last
            self._hub.open(upload_id, generation=upload.generation, mark=said)
        self._receiving[upload_id] = gevent.getcurrent()
        reception = Reception(self, upload_id, self._storage, self._hub)
        try:
            yield reception
        except UploadError as error:
            reception.abort()
            self._undo(upload_id, error)
            raise
        except GreenletExit:
            # The process goes away and its grace time is over.
            reception.abort()
            self._undo(upload_id, IncompleteBody())
            raise
        except BaseException:
            # A fault of ours; it is logged by whoever answers.
            reception.abort()
            self._undo(upload_id, Internal())
            raise
        finally:
            self._receiving.pop(upload_id, None)

    def receiving(self, upload_id: str) -> bool:
        return upload_id in self._receiving

    @property
    def busy(self) -> bool:
        return bool(self._receiving)

    def cut_off(self) -> None:
        """The grace time is over: what is still being received ends as incomplete."""
        for receiver in list(self._receiving.values()):
            if receiver is not None:
                receiver.kill(IncompleteBody(), block=False)

    def cancel(self, upload_id: str, user_id: str) -> Upload:
        """End the upload as cancelled, stop whoever works on it, remove its bytes.

        May be called again. Raises AccessDenied, or AlreadyEnded after another ending.
        """
        upload = self.find(upload_id, user_id)
        if upload.owner not in {"", self._owner} and not upload.state.final:
            # A reload leaves it to the old worker, whose ids we did not hear.
            after = upload.generation + 1
            self._hub.open(upload_id, generation=after, mark=upload.mark)
        ended = self._endings.fail(
            upload_id,
            CANCELLABLE,
            State.CANCELLED,
            Cancelled(),
            stop=lambda: self._stop(upload_id),
        )
        if ended is None:
            # Somebody else is just ending it: what it came to is known in a moment.
            self._await_ending(upload_id)
            upload = self.find(upload_id, user_id)
            if upload.state is not State.CANCELLED:
                raise AlreadyEnded(status=upload.state.value)
            return upload
        return ended

    def _await_ending(self, upload_id: str) -> None:
        subscription = self._hub.subscribe(upload_id, None, limited=False)
        try:
            if self._ended(upload_id):
                return
            event = subscription.take(ENDING_S)
            while event is not None and not event.terminal:
                event = subscription.take(ENDING_S)
        except SubscriptionClosed:
            pass
        finally:
            subscription.close()

    def _ended(self, upload_id: str) -> bool:
        upload = self._uploads.find(upload_id)
        return upload is None or upload.state.final

    def _stop(self, upload_id: str) -> None:
        receiver = self._receiving.get(upload_id)
        if receiver is not None:
            receiver.kill(Cancelled(), block=False)
        self._dispatcher.cancel(upload_id)

    def hand_over(self, job: Job, sha256: str) -> Upload:
        """Durable: say so, and queue it."""
        # From here on a cancel finds the row queued; an exception thrown into this greenlet
        # would come too late to undo what others already see.
        self._receiving[job.upload_id] = None
        queued = self._uploads.advance(
            job.upload_id,
            [State.RECEIVING],
            State.QUEUED,
            title=job.title,
            description=job.description,
            file_name=job.file_name,
            size=job.size,
            sha256=sha256,
            mark=opening(Stage.FILE_RECEIVED).progress,
        )
        if queued is None:
            raise Cancelled
        if not self._dispatcher.has_room():
            raise Overloaded(retry_after=RETRY_AFTER_S)
        received = opening(Stage.FILE_RECEIVED, size=job.size, sha256=sha256)
        self._hub.publish(job.upload_id, received)
        self._dispatcher.submit(job)
        return queued

    def _undo(self, upload_id: str, error: UploadError) -> None:
        if isinstance(error, Cancelled):
            return  # whoever cancelled has ended it
        expected = [State.RECEIVING, State.QUEUED]
        if error.invites_retry:
            until = self._clock() + timedelta(seconds=BOUND_MAX_S)
            self._uploads.advance(
                upload_id, expected, State.OPEN, bound_until=until, mark=0
            )
            self.unfollow(upload_id)
        else:
            self._endings.fail(upload_id, expected, State.FAILED, error)


class Reception:
    """One file on its way in: bounded while it is read, and heard of as it comes."""

    def __init__(
        self, intake: Intake, upload_id: str, storage: Storage, hub: ProgressHub
    ) -> None:
        self.upload_id = upload_id
        self._intake = intake
        self._storage = storage
        self._hub = hub
        self._incoming: Incoming | None = None
        self._received: Received | None = None

    def came(self, body_bytes: int, of: int | None) -> None:
        """Say how far the body is: ``body_bytes`` read, of the declared number if any."""
        if of:
            percent = advanced(
                Stage.UPLOADING,
                body_bytes,
                of,
                received_bytes=body_bytes,
                total_bytes=of,
            )
        else:
            # Nobody knows how much is to come, so no percent is claimed.
            percent = opening(Stage.UPLOADING)
        self._hub.publish(self.upload_id, percent)

    def write(self, data: bytes) -> None:
        """Add to the file. Raises TooLarge beyond the limit, StorageFull."""
        if self._incoming is None:
            self._incoming = self._storage.receive(self.upload_id)
        if self._incoming.size + len(data) > self._intake.max_bytes:
            raise too_large(self._intake.max_bytes)
        self._incoming.write(data)

    def close_file(self) -> None:
        """The file's part is complete; make it durable."""
        if self._incoming is None:
            self._incoming = self._storage.receive(self.upload_id)
        self._received = self._incoming.commit()

    @property
    def begun(self) -> bool:
        """Whether a byte of the file has come."""
        return self._incoming is not None

    @property
    def has_file(self) -> bool:
        return self._received is not None

    def hand_over(self, *, title: str, description: str, file_name: str) -> Upload:
        """Everything is here: the upload is queued for verification. Raises Overloaded."""
        if self._received is None:
            raise ValueError("no file was received")
        size, sha256 = self._received.size, self._received.sha256
        job = Job(self.upload_id, title, description, file_name, size)
        return self._intake.hand_over(job, sha256)

    def abort(self) -> None:
        if self._incoming is not None:
            self._incoming.abort()


def too_large(limit: int) -> TooLarge:
    return TooLarge(limit_bytes=limit)


def _checked(upload_id: str) -> str:
    if not UPLOAD_ID.fullmatch(upload_id):
        raise InvalidUploadId
    return upload_id
