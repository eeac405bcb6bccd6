"""Bytes in a local folder::

    incoming/<upload id>              being received, or received and waiting
    scratch/<upload id>/              what verification makes
    media/<media id>/original.<ext>   verified, renamed into place, thumbnail.webp beside it

``media`` holds nothing else, so that a front may serve it by an alias. All three are on one
file system: promotion is a rename. Writing and removing run on a thread of gevent's pool: a busy
disk holds a write back for as long as it likes, unlinking 500 MB takes half a second, and the
other greenlets must not wait.
"""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import stat
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from gevent.event import AsyncResult
from gevent.threadpool import ThreadPool

from uploadsvc.errors import StorageFull
from uploadsvc.storage import Blob, Received

# Writers at once; a transfer is one short job a mebibyte, so a few serve many uploads.
THREADS = 8
NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


class LocalIncoming:
    def __init__(self, path: Path, threads: ThreadPool) -> None:
        self.size = 0
        self._path = path
        self._threads = threads
        self._sha256 = hashlib.sha256()
        self._file = path.open("wb", buffering=0)
        self._pending: AsyncResult | None = None

    def write(self, data: bytes) -> None:
        self._do(self._write, data)

    def commit(self) -> Received:
        self._do(self._make_durable)
        return Received(self.size, self._sha256.hexdigest())

    def abort(self) -> None:
        # A greenlet that is killed leaves its thread at work: closing under its hands would
        # let it write to whatever file is given the same descriptor next.
        if self._pending is not None:
            self._pending.wait()
        self._threads.apply(self._remove)

    def _do(self, work: Callable[..., None], *arguments: Any) -> None:
        self._pending = self._threads.spawn(work, *arguments)
        self._pending.get()

    def _remove(self) -> None:
        self._file.close()
        self._path.unlink(missing_ok=True)

    def _write(self, data: bytes) -> None:
        view = memoryview(data)
        with _room():
            while view:
                view = view[self._file.write(view) :]
        self._sha256.update(data)
        self.size += len(data)

    def _make_durable(self) -> None:
        with _room():
            os.fsync(self._file.fileno())
            self._file.close()
            _sync_folder(self._path.parent)


class LocalStorage:
    def __init__(self, folder: Path) -> None:
        self._incoming = folder / "incoming"
        self._scratch = folder / "scratch"
        self._media = folder / "media"
        self._threads = ThreadPool(THREADS)
        for made in (self._incoming, self._scratch, self._media):
            made.mkdir(parents=True, exist_ok=True)

    def receive(self, upload_id: str) -> LocalIncoming:
        with _room():
            return LocalIncoming(self._incoming / upload_id, self._threads)

    @contextmanager
    def fetch(self, upload_id: str) -> Iterator[Path]:
        path = self._incoming / upload_id
        if not path.is_file():
            raise FileNotFoundError(upload_id)
        yield path

    @contextmanager
    def scratch(self, upload_id: str) -> Iterator[Path]:
        folder = self._scratch / upload_id
        self._threads.apply(shutil.rmtree, (folder, True))
        folder.mkdir(parents=True)
        try:
            yield folder
        finally:
            self._threads.apply(shutil.rmtree, (folder, True))

    def promote(self, scratch: Path, media_id: str, names: Collection[str]) -> None:
        self._threads.apply(self._promote, (scratch, media_id, names))

    def discard(self, upload_id: str) -> None:
        self._threads.apply(self._discard, (upload_id,))

    def _discard(self, upload_id: str) -> None:
        (self._incoming / upload_id).unlink(missing_ok=True)
        # Left by an attempt whose whole process died, if no other came after it.
        shutil.rmtree(self._scratch / upload_id, ignore_errors=True)

    def open(self, media_id: str, stem: str) -> Blob | None:
        for path in (self._media / media_id).glob(f"{stem}.*"):
            return Blob(path, f"{media_id}/{path.name}")
        return None

    def delete(self, media_id: str) -> None:
        self._threads.apply(self._delete, (media_id,))

    def _delete(self, media_id: str) -> None:
        with suppress(FileNotFoundError):
            shutil.rmtree(self._media / media_id)

    def sweep(self, uploads: Collection[str], older_than_s: float) -> int:
        removed: int = self._threads.apply(self._sweep, (uploads, older_than_s))
        return removed

    def _sweep(self, uploads: Collection[str], older_than_s: float) -> int:
        removed = 0
        for path in [*self._incoming.iterdir(), *self._scratch.iterdir()]:
            if path.name in uploads or not _older(path, older_than_s):
                continue
            removed += 1
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)
        return removed

    def ping(self) -> None:
        probe = self._incoming / ".writable"
        probe.write_bytes(b"")
        probe.unlink(missing_ok=True)

    def _promote(self, scratch: Path, media_id: str, names: Collection[str]) -> None:
        # One rename makes all files appear together; the folder is made beside the job's
        # scratch folder so that a crash before it leaves only what sweep removes.
        made = scratch / ".promoted"
        made.mkdir()
        with _room():
            for name in names:
                _sync_file(scratch, name)
                (scratch / name).rename(made / name)
            _sync_folder(made)
            made.rename(self._media / media_id)
            _sync_folder(self._media)


@contextmanager
def _room() -> Iterator[None]:
    """A full disk or quota is StorageFull; any other fault flies as it is."""
    try:
        yield
    except OSError as error:
        if error.errno in NO_ROOM:
            raise StorageFull(retry_after=60) from error
        raise


def _sync_file(folder: Path, name: str) -> None:
    """The names come from the verifier, which has read a stranger's file: a plain file of
    this very folder, or nothing."""
    if name != Path(name).name:
        raise ValueError("a name with a path")
    descriptor = os.open(folder / name, os.O_RDONLY | os.O_NOFOLLOW)
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise ValueError("not a plain file")
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _older(path: Path, seconds: float) -> bool:
    try:
        return time.time() - path.stat().st_mtime > seconds
    except FileNotFoundError:
        return False
