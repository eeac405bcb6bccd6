"""The file as httpx reads it: counted, and of the size it had when it was opened."""

from __future__ import annotations

import io
import os
import stat
from collections.abc import Callable
from pathlib import Path

from uploadsvc.client.connection import Stop
from uploadsvc.client.errors import ClientError

STEPS = 1000  # calls of ``on_sent`` a pass, at most


class SendingFile(io.BufferedIOBase):
    """Reads an opened file, which it then owns, and says how much httpx has sent of it.

    The announced length was taken at the start: a file that grows is sent up to there, one
    that shrinks is an error. Sending it again begins with ``seek(0)``, which counts from 0.
    """

    def __init__(
        self, file: io.FileIO, name: str, on_sent: Callable[[int], object], stop: Stop
    ) -> None:
        super().__init__()
        self.name = name
        self.size = os.fstat(file.fileno()).st_size
        self._file = file
        self._on_sent = on_sent
        self._stop = stop
        self._step = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._file.tell()

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        if whence == os.SEEK_END:
            offset, whence = self.size + offset, os.SEEK_SET
        return self._file.seek(offset, whence)

    def read(self, size: int | None = -1, /) -> bytes:
        if self._stop.is_set():
            raise ClientError("cancelled", "Sending was stopped")
        at = self._file.tell()
        left = max(self.size - at, 0)
        wanted = left if size is None or size < 0 else min(size, left)
        try:
            data = self._file.read(wanted) or b""
        except OSError as error:
            raise _unreadable(error) from error
        if wanted and not data:
            raise ClientError("file_unreadable", "The file shrank while it was sent")
        self._report(at)
        return data

    def close(self) -> None:
        self._file.close()
        super().close()

    def _report(self, sent: int) -> None:
        """Called with what lay before this read: httpx has sent that much."""
        step = STEPS if sent >= self.size else sent * STEPS // self.size
        if step != self._step:
            self._step = step
            self._on_sent(sent)


def opened(path: Path) -> io.FileIO:
    """The file, if it is one: a pipe has no length to announce and cannot be sent again."""
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise ClientError("file_unreadable", "That is not a regular file")
        return path.open("rb", buffering=0)
    except OSError as error:
        raise _unreadable(error) from error


def _unreadable(error: OSError) -> ClientError:
    return ClientError(
        "file_unreadable", f"The file cannot be read: {error.strerror or error}"
    )
