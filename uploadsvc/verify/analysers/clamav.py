"""ClamAV, asked over clamd's unix socket: the received file is streamed to it by INSTREAM.

Runs in the verifier child. A unix socket is a file, so it works in a process without network.

Only clamd's ``OK`` means nothing was found. All else it may say, and its silence, is
"not scanned". Two of its ways make a file look clean that nobody scanned, and are met here:

* A file above its ``MaxFileSize`` is answered ``OK`` unless ``AlertExceedsMax`` is on. Hence
  ``max_bytes``, which must not be above clamd's limit: what is larger is not sent at all.
* With ``AlertExceedsMax`` the same is ``Heuristics.Limits.Exceeded.… FOUND``, which names a
  limit and no virus.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from time import monotonic

from uploadsvc.verify import Evidence, Subject, Unexamined
from uploadsvc.verify.analysers import Silent

# The smaller chunks of clamd's usual clients (1 kB) were 7 times slower.
CHUNK_BYTES = 256 * 1024
# MaxFileSize and StreamMaxLength of clamd as it comes; Debian's package sets both to 25 MB,
# and says so by an error when they are met.
MAX_BYTES = 100 * 2**20
TIMEOUT_S = 120.0  # of one file; clamd's own MaxScanTime
PING_TIMEOUT_S = 2.0
MAX_REPLY_BYTES = 4096  # a reply is one line with a signature's name
LIMIT = "Heuristics.Limits.Exceeded"


class ClamAv(Silent):
    """``socket_path`` is clamd's LocalSocket, ``timeout_s`` bounds the scan of one file."""

    name = "clamav"

    def __init__(
        self,
        socket_path: Path,
        *,
        timeout_s: float = TIMEOUT_S,
        max_bytes: int = MAX_BYTES,
    ) -> None:
        self._socket_path = socket_path
        self._timeout_s = timeout_s
        self._max_bytes = max_bytes

    def ping(self) -> bool:
        """Whether clamd answers."""
        try:
            with _Connection(self._socket_path, PING_TIMEOUT_S) as clamd:
                clamd.send(b"zPING\0")
                return clamd.reply() == "PONG"
        except OSError:
            return False

    def file(self, subject: Subject, mime_type: str) -> Iterator[Evidence | Unexamined]:
        size = subject.path.stat().st_size
        if size > self._max_bytes:
            yield self._not_scanned(f"{size} bytes, the most is {self._max_bytes}")
            return
        try:
            with _Connection(self._socket_path, self._timeout_s) as clamd:
                # At a limit of its own clamd answers and hangs up while we still send.
                with suppress(BrokenPipeError, ConnectionResetError):
                    _stream(subject.path, clamd)
                reply = clamd.reply()
        except TimeoutError:
            yield self._not_scanned(f"no answer within {self._timeout_s:g} s")
        except OSError as error:
            yield self._not_scanned(f"unreachable: {error.strerror or error}")
        else:
            yield from self._read(reply)

    def _read(self, reply: str) -> Iterator[Evidence | Unexamined]:
        _, _, said = reply.partition(": ")
        if said == "OK":
            return
        signature = said.removesuffix(" FOUND")
        if signature == said or signature.startswith(LIMIT):
            yield self._not_scanned(reply or "hung up without an answer")
        else:
            yield Evidence(self.name, signature, 1.0, "file")

    def _not_scanned(self, why: str) -> Unexamined:
        return Unexamined(self.name, "not_scanned", "file", why)


class _Connection:
    """One conversation with clamd that ends in time, however slowly the other side goes on.

    Raises OSError, of which TimeoutError is one.
    """

    def __init__(self, path: Path, timeout_s: float) -> None:
        self._ends = monotonic() + timeout_s
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            self._in_time().connect(str(path))
        except BaseException:
            self._socket.close()
            raise

    def __enter__(self) -> _Connection:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def send(self, data: bytes) -> None:
        self._in_time().sendall(data)

    def reply(self) -> str:
        """What clamd says, without the NUL that ends it; empty if it hung up silently."""
        said = b""
        while len(said) < MAX_REPLY_BYTES:
            piece = self._in_time().recv(MAX_REPLY_BYTES)
            said += piece
            if not piece or said.endswith(b"\0"):
                break
        # A line that was cut off is no answer: "stream: OK" may have been going on.
        whole = said.removesuffix(b"\0") if said.endswith(b"\0") else b""
        return whole.decode("utf-8", "replace")

    def _in_time(self) -> socket.socket:
        left = self._ends - monotonic()
        if left <= 0:
            raise TimeoutError
        self._socket.settimeout(left)
        return self._socket


def _stream(path: Path, clamd: _Connection) -> None:
    """The commands' form with ``z`` ends lines with NUL; a chunk of no bytes ends the file."""
    clamd.send(b"zINSTREAM\0")
    with path.open("rb", buffering=0) as file:
        while chunk := file.read(CHUNK_BYTES):
            clamd.send(struct.pack("!I", len(chunk)) + chunk)
    clamd.send(struct.pack("!I", 0))
