"""gunicorn's gevent worker, with the manners an upload needs (contract, section 2).

Things it does not do by itself:

- It says ``100 Continue`` before the application has run. Here it is said when the
  application first reads the body, so that a request that will be refused is not invited.
- It would read the rest of a refused body, however long, before the next request. Here the
  answer to a request whose body was not read to its end carries ``Connection: close``.
- Its plain close would reset the connection while the client still sends, and the reset
  overtakes the answer. Here the writing side is shut first, and what still comes is
  discarded for a while.
- It keeps the connection of a stream that has ended, which then counts among the open ones
  until the client closes it. Here a stream is the last answer on its connection.
- At a stop it waits for idle connections as for busy ones. Here :meth:`end_idle` ends them.
- Its body waits until all bytes asked for are there. Here ``wsgi.input`` also has ``read1``,
  which gives what has come, so that progress and the idle time are told by arrival.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import gevent
from gunicorn.workers.ggevent import GeventWorker

StartResponse = Callable[..., Any]

LINGER_S = 2.0
LINGER_BYTES = 8 * 2**20
STREAM = "text/event-stream"
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


class UploadWorker(GeventWorker):  # type: ignore[misc]
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # By the greenlet of each connection: its socket; and those that wait for a request.
        self._sockets: dict[gevent.Greenlet, Any] = {}
        self._idle: set[gevent.Greenlet] = set()

    def load_wsgi(self) -> None:
        super().load_wsgi()
        self.flask: Any = self.wsgi
        self.wsgi: Any = _closing_streams(self.flask)

    def handle(self, listener: Any, client: Any, addr: Any) -> None:
        greenlet = gevent.getcurrent()
        self._sockets[greenlet] = client
        try:
            super().handle(listener, client, addr)
        finally:
            del self._sockets[greenlet]

    @contextmanager
    def timeout_ctx(self) -> Iterator[None]:
        greenlet = gevent.getcurrent()
        self._idle.add(greenlet)
        try:
            with gevent.Timeout(self.cfg.keepalive, False):
                yield
        finally:
            self._idle.discard(greenlet)

    def end_idle(self) -> None:
        """Close the connections on which nobody has asked anything yet."""
        for greenlet in list(self._idle):
            with suppress(OSError):
                self._sockets[greenlet].shutdown(socket.SHUT_RD)

    def handle_request(
        self, listener_name: Any, req: Any, sock: Any, addr: Any
    ) -> None:
        if req._expected_100_continue:
            req._expected_100_continue = False
            req.body.reader = _Inviting(req.body.reader, sock)
        req.body.read1 = lambda size: _read1(req.body, size)
        closes = req.should_close
        # Asked when the answer's head is written: keep the connection only if the next
        # request begins where we are.
        req.should_close = lambda: closes() or _unread(req.body)
        try:
            super().handle_request(listener_name, req, sock, addr)
        finally:
            if _unread(req.body):
                _linger(sock)


def _closing_streams(app: Callable[..., Iterable[bytes]]) -> StartResponse:
    """``app``, its event streams closing their connection when they end."""

    def application(
        environ: dict[str, Any], start_response: StartResponse
    ) -> Iterable[bytes]:
        def start(status: str, headers: list[tuple[str, str]], *error: Any) -> Any:
            for name, value in headers:
                if name.lower() == "content-type" and value.startswith(STREAM):
                    start_response.__self__.force_close()  # type: ignore[attr-defined]
            return start_response(status, headers, *error)

        return app(environ, start)

    return application


def _read1(body: Any, size: int) -> bytes:
    """At most ``size`` bytes of the body, as soon as there are any; none at its end.

    The length is gunicorn's to count, so this works on its readers: what it holds already
    first, else one read of the socket.
    """
    held = body.buf.tell()
    if held:
        data: bytes = body.read(min(size, held))
        return data
    try:
        return _from_reader(body.reader, size)
    except Exception:
        body.failed = True
        raise


def _from_reader(reader: Any, size: int) -> bytes:
    if isinstance(reader, _Inviting):
        reader.invite()
        reader = reader.reader
    if not hasattr(reader, "length"):
        return _from_chunks(reader, size)
    size = min(size, reader.length)
    if size <= 0:
        return b""
    data: bytes = reader.unreader.read(None, read_ahead=size)
    if len(data) > size:
        reader.unreader.unread(data[size:])
        data = data[:size]
    reader.length -= len(data)
    return data


def _from_chunks(reader: Any, size: int) -> bytes:
    """gunicorn's ChunkedReader: its parser gives the pieces of chunks as they come."""
    if not reader.buf.tell() and reader.parser is not None:
        try:
            reader.buf.write(next(reader.parser))
        except StopIteration:
            reader.parser = None
    held = reader.buf.getvalue()
    reader.buf.seek(0)
    reader.buf.truncate()
    reader.buf.write(held[size:])
    data: bytes = held[:size]
    return data


class _Inviting:
    """A body's reader that says ``100 Continue`` once, when it is first read."""

    def __init__(self, reader: Any, sock: Any) -> None:
        self.reader = reader
        self._sock = sock
        self._invited = False

    def invite(self) -> None:
        if not self._invited:
            self._invited = True
            self._sock.sendall(CONTINUE)

    def read(self, size: int) -> bytes:
        self.invite()
        data: bytes = self.reader.read(size)
        return data

    @property
    def length(self) -> int:
        """What gunicorn's LengthReader has left; 0 for a chunked body."""
        return int(getattr(self.reader, "length", 0))

    @property
    def parser(self) -> Any:
        """gunicorn's ChunkedReader has one until the last chunk was read."""
        return getattr(self.reader, "parser", None)


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
