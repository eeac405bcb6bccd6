"""gunicorn's gevent worker, with the manners an upload needs (contract, section 2).

Three things it does not do by itself:

- It says ``100 Continue`` before the application has run. Here it is said when the
  application first reads the body, so that a request that will be refused is not invited.
- It would read the rest of a refused body, however long, before the next request. Here the
  answer to a request whose body was not read to its end carries ``Connection: close``.
- Its plain close would reset the connection while the client still sends, and the reset
  overtakes the answer. Here the writing side is shut first, and what still comes is
  discarded for a while.
"""

from __future__ import annotations

import socket
from contextlib import suppress
from typing import Any

import gevent
from gunicorn.workers.ggevent import GeventWorker

LINGER_S = 2.0
LINGER_BYTES = 8 * 2**20
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


class UploadWorker(GeventWorker):  # type: ignore[misc]
    def handle_request(
        self, listener_name: Any, req: Any, sock: Any, addr: Any
    ) -> None:
        if req._expected_100_continue:
            req._expected_100_continue = False
            req.body.reader = _Inviting(req.body.reader, sock)
        closes = req.should_close
        # Asked when the answer's head is written: keep the connection only if the next
        # request begins where we are.
        req.should_close = lambda: closes() or _unread(req.body)
        try:
            super().handle_request(listener_name, req, sock, addr)
        finally:
            if _unread(req.body):
                _linger(sock)


class _Inviting:
    """A body's reader that says ``100 Continue`` once, when it is first read."""

    def __init__(self, reader: Any, sock: Any) -> None:
        self._reader = reader
        self._sock = sock
        self._invited = False

    def read(self, size: int) -> bytes:
        if not self._invited:
            self._invited = True
            self._sock.sendall(CONTINUE)
        data: bytes = self._reader.read(size)
        return data

    @property
    def length(self) -> int:
        """What gunicorn's LengthReader has left; 0 for a chunked body."""
        return int(getattr(self._reader, "length", 0))

    @property
    def parser(self) -> Any:
        """gunicorn's ChunkedReader has one until the last chunk was read."""
        return getattr(self._reader, "parser", None)


def _unread(body: Any) -> bool:
    if body is None:
        return False
    reader = body.reader
    left = getattr(reader, "length", 0) > 0 or getattr(reader, "parser", None)
    return bool(left or body.buf.tell() or body.failed)


def _linger(sock: Any) -> None:
    """Shut the writing side and discard what comes, for a bounded while."""
    with suppress(OSError), gevent.Timeout(LINGER_S, False):
        sock.shutdown(socket.SHUT_WR)
        left = LINGER_BYTES
        while left > 0:
            data = sock.recv(min(left, 2**18))
            if not data:
                return
            left -= len(data)
            gevent.sleep(0)
