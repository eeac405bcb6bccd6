"""A vendor of the tests: a real HTTP server on 127.0.0.1 that does what it was told."""

from __future__ import annotations

import json
import threading
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self

NUDITY = {"labels": [{"label": "nudity", "score": 0.93}], "model": "vendor-3"}


@dataclass(frozen=True)
class Request:
    path: str
    headers: Mapping[str, str]
    body: bytes


Reply = Callable[[BaseHTTPRequestHandler], None]


def says(
    body: Any, status: int = 200, headers: Mapping[str, str] | None = None
) -> Reply:
    """Answers with ``body``, as JSON unless it is bytes."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()

    def reply(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(status)
        for name, value in {**(headers or {}), "Content-Length": len(content)}.items():
            handler.send_header(name, str(value))
        handler.end_headers()
        handler.wfile.write(content)

    return reply


def hangs_up(handler: BaseHTTPRequestHandler) -> None:
    handler.close_connection = True


class Vendor:
    """A context manager. Does the next of ``replies`` to each request, the last one again and
    again; ``requests`` are those that came."""

    def __init__(self) -> None:
        self.replies: deque[Reply] = deque([says(NUDITY)])
        self.requests: list[Request] = []
        # Set at the end; a reply that must not come waits for it.
        self.ended = threading.Event()
        vendor = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def handle(self) -> None:
                with suppress(
                    ConnectionError
                ):  # the client would not wait for all of it
                    super().handle()

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                headers = {name.lower(): value for name, value in self.headers.items()}
                vendor.requests.append(Request(self.path, headers, body))
                reply = vendor.replies[0]
                if len(vendor.replies) > 1:
                    vendor.replies.popleft()
                reply(self)

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.01}
        )

    def will(self, *replies: Reply) -> None:
        self.replies = deque(replies)

    def never(self, handler: BaseHTTPRequestHandler) -> None:
        """Answers nothing while the test runs."""
        self.ended.wait()

    def drips(self, handler: BaseHTTPRequestHandler) -> None:
        """Begins its answer, and sends a byte now and then without end."""
        handler.send_response(200)
        handler.send_header("Content-Length", "60000")
        handler.end_headers()
        while not self.ended.wait(0.02):
            handler.wfile.write(b" ")

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}/look"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.ended.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
