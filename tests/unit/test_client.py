"""The Python client and its two commands, against a real HTTP server with scripted answers."""

from __future__ import annotations

import io
import json
import signal
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from rich.console import Console

from uploadsvc.cli import main
from uploadsvc.cli.terminal import as_json, display, neutral
from uploadsvc.client import ClientError, await_end, upload, watch

UPLOAD_ID = "upload_123"
MEDIA = {"_id": "media_1", "title": "A clip"}
LONG_RETRY = b"retry: 86400000\n"
CONNECTED = b'retry: 2000\n\ndata: {"type":"connected","uploadId":"upload_123"}\n\n'
HEARTBEAT = b": heartbeat\n\n"


def event(id: int, stage: str = "analyzing", progress: int = 45, **more: Any) -> bytes:
    body = {
        "type": "progress",
        "uploadId": UPLOAD_ID,
        "progress": progress,
        "stage": stage,
        "message": f"{stage}...",
        **more,
    }
    return f"id: {id}\ndata: {json.dumps(body)}\n\n".encode()


def complete(id: int) -> bytes:
    return LONG_RETRY + event(id, "complete", 100, media=MEDIA)


def failed(id: int, code: str, message: str = "Upload failed", **more: Any) -> bytes:
    return LONG_RETRY + event(
        id, "error", 0, code=code, **(more | {"message": message})
    )


@dataclass(frozen=True)
class Answer:
    """A scripted answer. An Event among the parts is waited for; ``cut`` ends it midway.

    ``sets`` is set when the answer begins.
    """

    parts: tuple[bytes | threading.Event, ...] = ()
    status: int = 200
    type: str = "text/event-stream; charset=utf-8"
    headers: dict[str, str] = field(default_factory=dict)
    cut: bool = False
    sets: threading.Event | None = None


LOST = Answer(cut=True, status=0)  # the connection is closed instead


def stream(*parts: bytes | threading.Event, cut: bool = False) -> Answer:
    return Answer(parts, cut=cut)


def answer(status: int, body: dict[str, Any], **headers: str) -> Answer:
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    return Answer((json.dumps(body).encode(),), status, "application/json", names)


def refused(http: int, code: str, **facts: Any) -> Answer:
    body = {"success": False, "error": "A sentence", "code": code}
    return answer(http, body | facts)


BUSY = {"success": False, "error": "Busy", "code": "overloaded"}
ACCEPTED = answer(202, {"success": True, "uploadId": UPLOAD_ID, "status": "queued"})


@dataclass
class Request:
    method: str
    path: str
    headers: dict[str, str]
    body: bytes


class Script:
    """What the service will answer to each kind of request, in order, and what it was asked.

    The last answer of a kind is given for ever.
    """

    def __init__(self) -> None:
        self.streams: deque[Answer] = deque()
        self.posts: deque[Answer] = deque()
        self.snapshots: deque[Answer] = deque()
        self.requests: list[Request] = []
        self.url = ""

    def asked(self, method: str, ending: str) -> list[Request]:
        return [
            request
            for request in self.requests
            if request.method == method and request.path.endswith(ending)
        ]

    def next(self, request: Request) -> Answer:
        self.requests.append(request)
        if request.method == "POST":
            answers = self.posts
        elif request.path.endswith("/progress"):
            answers = self.streams
        else:
            answers = self.snapshots
        return answers.popleft() if len(answers) > 1 else answers[0]


@pytest.fixture
def service() -> Iterator[Script]:
    script = Script()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def handle_one_request(self) -> None:
            try:
                super().handle_one_request()
            except ConnectionError:
                self.close_connection = True

        def do_GET(self) -> None:
            self.reply(b"")

        def do_POST(self) -> None:
            self.reply(self.rfile.read(int(self.headers["Content-Length"])))

        def reply(self, body: bytes) -> None:
            headers = {name.lower(): value for name, value in self.headers.items()}
            reply = script.next(Request(self.command, self.path, headers, body))
            self.close_connection = True
            if reply.sets is not None:
                reply.sets.set()
            if reply.status == 0:
                return
            self.send_response(reply.status)
            self.send_header("Content-Type", reply.type)
            self.send_header("Transfer-Encoding", "chunked")
            self.send_header("Connection", "close")
            for name, value in reply.headers.items():
                self.send_header(name, value)
            self.end_headers()
            if reply.status == 204:
                return
            for part in reply.parts:
                if isinstance(part, threading.Event):
                    part.wait(10)
                elif part:
                    self.wfile.write(b"%x\r\n%s\r\n" % (len(part), part))
                    self.wfile.flush()
            if not reply.cut:
                self.wfile.write(b"0\r\n\r\n")

        def log_message(self, *args: object) -> None:
            return None

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    script.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield script
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def never() -> Iterator[threading.Event]:
    """What a stream waits for that has nothing more to say."""
    event = threading.Event()
    yield event
    event.set()


@pytest.fixture
def nobody() -> str:
    """An address at which nothing listens."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler)
    server.server_close()
    return f"http://127.0.0.1:{server.server_port}"


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    path = tmp_path / "clip.mp4"
    path.write_bytes(b"0123456789" * 20_000)
    return path


@pytest.fixture
def pauses() -> list[float]:
    return []


@pytest.fixture
def quick(pauses: list[float]) -> dict[str, Any]:
    """Arguments that make every pause one of no time, written down."""
    return {"sleep": pauses.append, "random": lambda: 0.0}


def ids(messages: list[dict[str, Any]]) -> list[int]:
    return [message["id"] for message in messages if "id" in message]


# --- watching ----------------------------------------------------------------------------


def test_messages_are_yielded_with_their_ids_and_end_with_the_terminal_event(
    service: Script, quick: dict[str, Any]
) -> None:
    service.streams.append(stream(CONNECTED, event(1), HEARTBEAT, complete(2)))

    messages = list(watch(service.url, "secret", UPLOAD_ID, **quick))

    assert [message["type"] for message in messages] == [
        "connected",
        "progress",
        "progress",
    ]
    assert ids(messages) == [1, 2]
    assert messages[-1]["media"] == MEDIA


def test_token_travels_in_the_header_and_not_in_the_address(
    service: Script, quick: dict[str, Any]
) -> None:
    service.streams.append(stream(complete(1)))

    list(watch(service.url, "secret", UPLOAD_ID, **quick))

    (request,) = service.requests
    assert request.headers["authorization"] == "Bearer secret"
    assert request.path == f"/api/media/upload/{UPLOAD_ID}/progress"
    assert "last-event-id" not in request.headers


@pytest.mark.parametrize("cut", [True, False], ids=["cut", "closed"])
def test_ended_connection_is_resumed_with_the_last_id(
    service: Script, quick: dict[str, Any], cut: bool
) -> None:
    service.streams.append(stream(CONNECTED, event(1), event(2), cut=cut))
    service.streams.append(stream(CONNECTED, event(3), complete(4)))

    messages = list(watch(service.url, "secret", UPLOAD_ID, **quick))

    assert ids(messages) == [1, 2, 3, 4]
    assert service.requests[1].headers["last-event-id"] == "2"


def test_event_cut_in_its_middle_is_not_taken_for_read(
    service: Script, quick: dict[str, Any]
) -> None:
    service.streams.append(stream(event(1), event(2)[:-1], cut=True))
    service.streams.append(stream(event(2), complete(3)))

    messages = list(watch(service.url, "secret", UPLOAD_ID, **quick))

    assert ids(messages) == [1, 2, 3]
    assert service.requests[1].headers["last-event-id"] == "1"


def test_no_id_is_yielded_twice_although_the_service_repeats(
    service: Script, quick: dict[str, Any]
) -> None:
    service.streams.append(stream(event(1), event(2), event(2), cut=True))
    service.streams.append(stream(event(1), event(2), event(3), complete(7)))

    messages = list(watch(service.url, "secret", UPLOAD_ID, **quick))

    assert ids(messages) == [1, 2, 3, 7]


def test_given_cursor_is_sent_and_what_it_covers_is_dropped(
    service: Script, quick: dict[str, Any]
) -> None:
    service.streams.append(stream(event(5), complete(6)))

    messages = list(watch(service.url, "secret", UPLOAD_ID, last_id=5, **quick))

    assert ids(messages) == [6]
    assert service.requests[0].headers["last-event-id"] == "5"


def test_close_without_news_waits_as_long_as_the_service_asked(
    service: Script, quick: dict[str, Any], pauses: list[float]
) -> None:
    service.streams.append(stream(b"retry: 7300\n\n"))
    service.streams.append(stream(complete(1)))

    list(watch(service.url, "secret", UPLOAD_ID, **quick))

    assert pauses == [7.3]


@pytest.mark.parametrize(("asked_ms", "paused_s"), [(0, 0.1), (900_000, 30.0)])
def test_retry_is_kept_within_reason(
    service: Script,
    quick: dict[str, Any],
    pauses: list[float],
    asked_ms: int,
    paused_s: float,
) -> None:
    service.streams.append(stream(f"retry: {asked_ms}\n\n".encode()))
    service.streams.append(stream(complete(1)))

    list(watch(service.url, "secret", UPLOAD_ID, **quick))

    assert pauses == [paused_s]


def test_204_ends_the_watch(service: Script, quick: dict[str, Any]) -> None:
    service.streams.append(stream(CONNECTED, event(1)))
    service.streams.append(Answer(status=204))

    messages = list(watch(service.url, "secret", UPLOAD_ID, **quick))

    assert ids(messages) == [1]
    assert len(service.requests) == 2


def test_long_retry_without_an_ending_ends_the_watch(
    service: Script, quick: dict[str, Any]
) -> None:
    service.streams.append(stream(CONNECTED, event(1), LONG_RETRY + b"\n"))

    messages = list(watch(service.url, "secret", UPLOAD_ID, **quick))

    assert ids(messages) == [1]
    assert len(service.requests) == 1


def test_terminal_event_ends_the_watch_though_the_connection_stays_open(
    service: Script, never: threading.Event, quick: dict[str, Any]
) -> None:
    service.streams.append(stream(failed(1, "invalid_media"), never))

    messages = list(watch(service.url, "secret", UPLOAD_ID, **quick))

    assert ids(messages) == [1]


@pytest.mark.parametrize(
    ("kind", "code", "status"), [("expired", "expired", 0), ("reauth", "reauth", 401)]
)
def test_expiry_is_an_error_with_a_code(
    service: Script, quick: dict[str, Any], kind: str, code: str, status: int
) -> None:
    body = f'data: {{"type":"{kind}","uploadId":"{UPLOAD_ID}"}}\n\n'.encode()
    service.streams.append(stream(event(3), LONG_RETRY + body))

    with pytest.raises(ClientError) as caught:
        list(watch(service.url, "secret", UPLOAD_ID, **quick))

    assert (caught.value.code, caught.value.status) == (code, status)


@pytest.mark.parametrize(
    ("status", "code"), [(401, "unauthorized"), (403, "access_denied")]
)
def test_refused_watch_raises_at_once(
    service: Script, quick: dict[str, Any], status: int, code: str
) -> None:
    service.streams.append(refused(status, code, uploadId=UPLOAD_ID))

    with pytest.raises(ClientError) as caught:
        list(watch(service.url, "secret", UPLOAD_ID, **quick))

    assert (caught.value.code, caught.value.status) == (code, status)
    assert caught.value.message == "A sentence"
    assert len(service.requests) == 1


def test_unreachable_service_is_tried_with_doubling_pauses_and_given_up(
    nobody: str, quick: dict[str, Any], pauses: list[float]
) -> None:
    with pytest.raises(ClientError) as caught:
        list(watch(nobody, "secret", UPLOAD_ID, first_contact_s=5, **quick))

    assert caught.value.code == "unreachable"
    assert pauses == [0.25, 0.5, 1.0, 2.0]


def test_service_that_closes_every_stream_is_given_up_when_patience_ends(
    service: Script, quick: dict[str, Any], pauses: list[float]
) -> None:
    service.streams.append(stream(b"retry: 3000\n\n"))

    with pytest.raises(ClientError) as caught:
        list(watch(service.url, "secret", UPLOAD_ID, patience_s=10, **quick))

    assert caught.value.code == "unreachable"
    assert pauses == [3.0, 3.0, 3.0]


def test_new_event_renews_the_patience(
    service: Script, quick: dict[str, Any], pauses: list[float]
) -> None:
    for id in range(1, 9):
        service.streams.append(stream(b"retry: 3000\n\n", event(id)))
    service.streams.append(stream(complete(9)))

    messages = list(watch(service.url, "secret", UPLOAD_ID, patience_s=4, **quick))

    assert ids(messages) == list(range(1, 10))
    assert pauses == [3.0] * 8


def test_overloaded_stream_is_tried_again_when_it_says(
    service: Script, quick: dict[str, Any], pauses: list[float]
) -> None:
    service.streams.append(answer(503, BUSY, Retry_After="4"))
    service.streams.append(stream(complete(1)))

    messages = list(watch(service.url, "secret", UPLOAD_ID, **quick))

    assert ids(messages) == [1]
    assert pauses == [4.0]


@pytest.mark.parametrize(
    "frame", [b"data: {\n\n", b"data: 5\n\n", b"data: []\n\n", b"data:\n\n"]
)
def test_frame_that_is_no_message_is_overlooked(
    service: Script, quick: dict[str, Any], frame: bytes
) -> None:
    service.streams.append(stream(event(1), frame, complete(2)))

    messages = list(watch(service.url, "secret", UPLOAD_ID, **quick))

    assert len(messages) == 2


def test_page_of_something_else_is_not_taken_for_the_service(
    service: Script, quick: dict[str, Any]
) -> None:
    service.streams.append(Answer((b"<html>",), type="text/html"))

    with pytest.raises(ClientError) as caught:
        list(watch(service.url, "secret", UPLOAD_ID, **quick))

    assert caught.value.code == "unexpected_answer"


@pytest.mark.parametrize(
    ("url", "token", "upload_id", "code"),
    [
        ("ftp://example.org", "t", UPLOAD_ID, "invalid_url"),
        ("http://", "t", UPLOAD_ID, "invalid_url"),
        ("http://user:word@127.0.0.1", "t", UPLOAD_ID, "invalid_url"),
        ("http://127.0.0.1", " ", UPLOAD_ID, "invalid_token"),
        ("http://127.0.0.1", "a\r\nX: y", UPLOAD_ID, "invalid_token"),
        ("http://127.0.0.1", "пропуск", UPLOAD_ID, "invalid_token"),
        ("http://127.0.0.1", "t", "../../../healthz", "invalid_upload_id"),
    ],
)
def test_unusable_argument_is_refused_before_anything_is_sent(
    url: str, token: str, upload_id: str, code: str
) -> None:
    with pytest.raises(ClientError) as caught:
        list(watch(url, token, upload_id))

    assert caught.value.code == code


# --- uploading ---------------------------------------------------------------------------


@dataclass
class Told:
    """Callbacks that write down what they were told."""

    bytes: list[tuple[int, int]] = field(default_factory=list)
    events: list[dict[str, Any]] = field(default_factory=list)
    threads: set[int] = field(default_factory=set)

    def on_bytes(self, sent: int, total: int) -> None:
        self.threads.add(threading.get_ident())
        self.bytes.append((sent, total))

    def on_event(self, event: dict[str, Any]) -> None:
        self.threads.add(threading.get_ident())
        self.events.append(event)


@pytest.fixture
def send(service: Script, clip: Path, quick: dict[str, Any]) -> Callable[..., Any]:
    def send(told: Told | None = None, **more: Any) -> dict[str, Any]:
        told = told or Told()
        options = {"title": "", **quick, **more}
        return upload(
            service.url,
            "secret",
            clip,
            on_bytes=told.on_bytes,
            on_event=told.on_event,
            **options,
        )

    return send


def after_the_post(service: Script, *frames: bytes) -> None:
    """The POST is accepted, and then the stream tells ``frames``."""
    posted = threading.Event()
    service.posts.append(replace(ACCEPTED, sets=posted))
    service.streams.append(stream(CONNECTED, posted, *frames))


def test_upload_returns_the_complete_event(
    service: Script, send: Callable[..., Any]
) -> None:
    after_the_post(service, event(1), complete(2))

    ending = send()

    assert (ending["stage"], ending["media"]) == ("complete", MEDIA)


def test_post_carries_file_fields_id_and_the_wish_for_an_early_answer(
    service: Script, clip: Path, send: Callable[..., Any]
) -> None:
    after_the_post(service, complete(1))

    send(title="Überschrift 見出し", upload_id=UPLOAD_ID)

    (request,) = service.asked("POST", "/upload")
    assert request.headers["x-upload-id"] == UPLOAD_ID
    assert request.headers["prefer"] == "respond-async"
    assert int(request.headers["content-length"]) == len(request.body)
    assert 'name="title"\r\n\r\nÜberschrift 見出し\r\n'.encode() in request.body
    assert b'name="file"; filename="clip.mp4"' in request.body
    assert b"\r\n" + clip.read_bytes() + b"\r\n" in request.body
    assert b'name="description"' not in request.body


def test_bytes_are_counted_to_the_end_and_all_callbacks_come_in_the_callers_thread(
    service: Script, clip: Path, send: Callable[..., Any]
) -> None:
    size = clip.stat().st_size
    told = Told()
    after_the_post(service, event(1), complete(2))

    send(told)

    sent = [count for count, total in told.bytes]
    assert sent == sorted(sent)
    assert told.bytes[-1] == (size, size)
    assert ids(told.events) == [1, 2]
    assert told.threads == {threading.get_ident()}


def test_rejection_told_by_the_stream_is_an_error_with_code_and_reasons(
    service: Script, send: Callable[..., Any]
) -> None:
    after_the_post(service, failed(1, "content_rejected", reasons=["nudity"]))

    with pytest.raises(ClientError) as caught:
        send()

    assert (caught.value.code, caught.value.status) == ("content_rejected", 422)
    assert caught.value.reasons == ("nudity",)
    assert caught.value.rejected


def test_refusal_of_the_post_is_raised_with_its_facts(
    service: Script, never: threading.Event, send: Callable[..., Any]
) -> None:
    service.posts.append(refused(413, "file_too_large", limitBytes=1000))
    service.streams.append(stream(CONNECTED, never))

    with pytest.raises(ClientError) as caught:
        send()

    assert (caught.value.code, caught.value.status) == ("file_too_large", 413)
    assert caught.value.facts == {"limitBytes": 1000}


def test_refusal_of_the_post_ends_the_thread_that_reads_a_silent_stream(
    service: Script, never: threading.Event, send: Callable[..., Any]
) -> None:
    # The stream was stopped by an object that was false while unset, and so replaced.
    connected = threading.Event()
    service.posts.append(Answer((connected, b"{}"), 413, "application/json"))
    service.streams.append(replace(stream(CONNECTED, never), sets=connected))

    with pytest.raises(ClientError):
        send()

    names = [thread.name for thread in threading.enumerate()]
    assert not [name for name in names if "listen" in name]


def test_lost_answer_is_found_again_through_the_snapshot(
    service: Script, send: Callable[..., Any]
) -> None:
    asked = threading.Event()
    service.posts.append(LOST)
    service.snapshots.append(replace(answer(200, {"status": "verifying"}), sets=asked))
    service.streams.append(stream(CONNECTED, asked, complete(1)))

    ending = send(upload_id=UPLOAD_ID)

    assert ending["media"] == MEDIA
    assert len(service.asked("POST", "/upload")) == 1
    assert len(service.asked("GET", UPLOAD_ID)) == 1


@pytest.mark.parametrize(
    "unknown",
    [answer(200, {"status": "waiting"}), refused(403, "access_denied")],
    ids=["waiting", "unknown"],
)
def test_file_that_did_not_arrive_is_sent_again_under_the_same_id(
    service: Script, clip: Path, send: Callable[..., Any], unknown: Answer
) -> None:
    service.posts.append(LOST)
    after_the_post(service, complete(1))
    service.snapshots.append(unknown)

    send()

    first, second = service.asked("POST", "/upload")
    assert first.headers["x-upload-id"] == second.headers["x-upload-id"]
    assert clip.read_bytes() in second.body


def test_file_still_being_received_is_asked_about_again_and_not_sent_twice(
    service: Script, send: Callable[..., Any]
) -> None:
    asked = threading.Event()
    service.posts.append(LOST)
    service.snapshots.append(answer(200, {"status": "receiving"}))
    service.snapshots.append(replace(answer(200, {"status": "queued"}), sets=asked))
    service.streams.append(stream(CONNECTED, asked, complete(1)))

    send(upload_id=UPLOAD_ID)

    assert len(service.asked("POST", "/upload")) == 1


def test_taken_id_means_that_an_earlier_try_arrived(
    service: Script, send: Callable[..., Any]
) -> None:
    asked = threading.Event()
    service.posts.append(refused(409, "upload_id_taken", status="queued"))
    service.snapshots.append(replace(answer(200, {"status": "queued"}), sets=asked))
    service.streams.append(stream(CONNECTED, asked, complete(1)))

    ending = send(upload_id=UPLOAD_ID)

    assert ending["media"] == MEDIA
    assert len(service.asked("POST", "/upload")) == 1


def test_busy_service_is_posted_to_again_when_it_says(
    service: Script, send: Callable[..., Any], pauses: list[float]
) -> None:
    service.posts.append(answer(503, BUSY, Retry_After="4"))
    after_the_post(service, complete(1))

    send()

    assert pauses == [4.0]


def test_service_that_stays_busy_is_given_up_after_a_few_times(
    service: Script, never: threading.Event, send: Callable[..., Any]
) -> None:
    service.posts.append(answer(503, BUSY, Retry_After="1"))
    service.streams.append(stream(CONNECTED, never))

    with pytest.raises(ClientError) as caught:
        send()

    assert caught.value.code == "overloaded"
    assert len(service.asked("POST", "/upload")) == 5


def test_wait_that_is_too_long_is_not_waited_for(
    service: Script,
    never: threading.Event,
    send: Callable[..., Any],
    pauses: list[float],
) -> None:
    limited = {"success": False, "error": "Slow down", "code": "rate_limited"}
    service.posts.append(answer(429, limited, Retry_After="3600"))
    service.streams.append(stream(CONNECTED, never))

    with pytest.raises(ClientError) as caught:
        send()

    assert (caught.value.code, pauses) == ("rate_limited", [])


@pytest.mark.parametrize("first", ["stream", "post"])
def test_stream_refused_beside_the_post_is_opened_again_after_it(
    service: Script, send: Callable[..., Any], first: str
) -> None:
    # The order in which the two answers are read is not ours to choose; both must do.
    other = threading.Event()
    refusal, accepted = refused(403, "access_denied"), ACCEPTED
    if first == "stream":
        refusal = replace(refusal, sets=other)
        accepted = replace(accepted, parts=(other, *accepted.parts))
    else:
        accepted = replace(accepted, sets=other)
        refusal = replace(refusal, parts=(other, *refusal.parts))
    service.posts.append(accepted)
    service.streams.extend([refusal, stream(CONNECTED, complete(1))])

    ending = send()

    assert ending["media"] == MEDIA


def test_upload_to_nobody_is_unreachable(
    nobody: str, clip: Path, quick: dict[str, Any]
) -> None:
    with pytest.raises(ClientError) as caught:
        upload(nobody, "secret", clip, **quick)

    assert caught.value.code == "unreachable"


@pytest.mark.parametrize("name", ["missing.mp4", ""], ids=["missing", "folder"])
def test_file_that_cannot_be_read_is_an_error_before_anything_is_sent(
    service: Script, tmp_path: Path, name: str
) -> None:
    with pytest.raises(ClientError) as caught:
        upload(service.url, "secret", tmp_path / name)

    assert caught.value.code == "file_unreadable"
    assert service.requests == []


def test_file_that_shrinks_while_it_is_sent_is_an_error(
    service: Script, never: threading.Event, tmp_path: Path, quick: dict[str, Any]
) -> None:
    path = tmp_path / "clip.mp4"
    path.write_bytes(b"x" * 8_000_000)
    service.posts.append(ACCEPTED)
    service.streams.append(stream(CONNECTED, never))

    def shrink(sent: int, total: int) -> None:
        path.write_bytes(b"")

    with pytest.raises(ClientError) as caught:
        upload(service.url, "secret", path, on_bytes=shrink, **quick)

    assert caught.value.code == "file_unreadable"


def test_error_in_a_callback_ends_the_upload(
    service: Script, clip: Path, quick: dict[str, Any]
) -> None:
    service.posts.append(ACCEPTED)
    service.streams.append(stream(CONNECTED, complete(1)))

    def broken(event: dict[str, Any]) -> None:
        raise RuntimeError("shown to the caller")

    with pytest.raises(RuntimeError, match="shown to the caller"):
        upload(service.url, "secret", clip, on_event=broken, **quick)


def test_stream_that_ends_without_an_ending_is_completed_from_the_snapshot(
    service: Script, quick: dict[str, Any]
) -> None:
    service.streams.append(Answer(status=204))
    service.snapshots.append(
        answer(200, {"status": "complete", "stage": "complete", "media": MEDIA})
    )

    ending = await_end(service.url, "secret", UPLOAD_ID, **quick)

    assert ending["media"] == MEDIA


def test_stream_ended_from_outside_says_that_the_upload_goes_on(
    service: Script, quick: dict[str, Any]
) -> None:
    service.streams.append(stream(CONNECTED, LONG_RETRY + b"\n"))
    service.snapshots.append(
        answer(200, {"status": "verifying", "stage": "analyzing", "progress": 45})
    )

    with pytest.raises(ClientError) as caught:
        await_end(service.url, "secret", UPLOAD_ID, **quick)

    assert caught.value.code == "stream_closed"


# --- commands ----------------------------------------------------------------------------


def run(*args: object, **env: str) -> Result:
    return CliRunner().invoke(main, [str(arg) for arg in args], env=env)


def test_upload_prints_plain_lines_on_stderr_and_the_media_on_stdout(
    service: Script, clip: Path
) -> None:
    after_the_post(service, event(1), complete(2))

    result = run("upload", clip, "--url", service.url, "--token", "secret")

    assert result.exit_code == 0
    assert json.loads(result.stdout) == MEDIA
    first, *lines = result.stderr.splitlines()
    assert first.startswith("Upload upload_")
    assert first.endswith(": clip.mp4")
    assert lines == [
        " 45%  analyzing      analyzing...",
        "100%  complete       complete...",
    ]


def test_watch_prints_the_media_of_the_upload(service: Script) -> None:
    service.streams.append(stream(CONNECTED, event(1), complete(2)))

    result = run("watch", UPLOAD_ID, "--url", service.url, "--token", "secret")

    assert (result.exit_code, json.loads(result.stdout)) == (0, MEDIA)


def test_url_and_token_come_from_the_environment(service: Script) -> None:
    service.streams.append(stream(complete(1)))

    result = run(
        "watch", UPLOAD_ID, UPLOADSVC_URL=service.url, UPLOADSVC_TOKEN="secret"
    )

    assert result.exit_code == 0
    assert service.requests[0].headers["authorization"] == "Bearer secret"


@pytest.mark.parametrize(
    ("code", "status"),
    [
        ("content_rejected", 1),
        ("invalid_media", 1),
        ("unsupported_media_type", 1),
        ("file_too_large", 1),
        ("cancelled", 2),
        ("verification_crashed", 2),
        ("verification_timeout", 2),
        ("a_code_of_tomorrow", 2),
    ],
)
def test_exit_status_tells_rejected_from_failed(
    service: Script, code: str, status: int
) -> None:
    service.streams.append(stream(failed(1, code, reasons=["because"])))

    result = run("watch", UPLOAD_ID, "--url", service.url, "--token", "secret")

    assert result.exit_code == status
    assert result.stdout == ""
    assert f"({code}, because)" in result.stderr


def test_refused_post_exits_as_rejected(
    service: Script, never: threading.Event, clip: Path
) -> None:
    service.posts.append(refused(415, "unsupported_media_type"))
    service.streams.append(stream(CONNECTED, never))

    result = run("upload", clip, "--url", service.url, "--token", "secret")

    assert result.exit_code == 1
    assert "Rejected: A sentence (unsupported_media_type)" in result.stderr


@pytest.mark.parametrize(
    "answered", [refused(401, "unauthorized"), refused(403, "access_denied")]
)
def test_refused_token_exits_as_failed(service: Script, answered: Answer) -> None:
    service.streams.append(answered)

    result = run("watch", UPLOAD_ID, "--url", service.url, "--token", "secret")

    assert result.exit_code == 2


def test_missing_file_exits_as_failed(tmp_path: Path) -> None:
    result = run("upload", tmp_path / "missing.mp4", "--token", "secret")

    assert result.exit_code == 2
    assert "file_unreadable" in result.stderr


def test_interrupted_command_says_how_to_go_on(
    service: Script, never: threading.Event
) -> None:
    service.streams.append(stream(CONNECTED, event(1), never))
    command = [sys.executable, "-c", "from uploadsvc.cli import main; main()"]
    arguments = ["watch", UPLOAD_ID, "--url", service.url, "--token", "secret"]

    with subprocess.Popen(
        command + arguments, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stderr is not None
        assert "analyzing" in process.stderr.readline()
        process.send_signal(signal.SIGINT)
        rest = process.stderr.read()

    assert process.returncode == 130
    assert rest == f"What has arrived goes on: uploadsvc watch {UPLOAD_ID}\n"


def test_nothing_of_the_service_or_the_file_name_reaches_the_terminal_as_control(
    service: Script, tmp_path: Path
) -> None:
    path = tmp_path / "\x1b]0;title\x07\u202efile[bold].mp4"
    path.write_bytes(b"x")
    after_the_post(
        service,
        event(1, "an\x1balyzing", message="\x1b[2J[red]hi\r\n\x9b"),
        failed(2, "bad\x1bcode", "no\x07\x1b[31m", reasons=["\x1b[1m"]),
    )

    result = run("upload", path, "--url", service.url, "--token", "secret")

    shown = result.stderr.replace("\n", "")
    assert shown.isprintable()
    assert "[red]hi" in shown
    assert "\\x1b[2J" in shown
    assert "file[bold].mp4" in shown


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain [bold] text", "plain [bold] text"),
        ("\x1b[31m", "\\x1b[31m"),
        ("a\r\nb\tc\x00\x7f\x9b", "a\\r\\nb\\tc\\x00\\x7f\\x9b"),
        ("gpj.\u202eexe", "gpj.\\u202eexe"),
        ("\udcff", "\\udcff"),
        ("Überschrift 見出し 👩\u200d🚀", "Überschrift 見出し 👩\u200d🚀"),
    ],
)
def test_control_characters_are_spelt_out(text: str, shown: str) -> None:
    assert neutral(text) == shown


def test_printed_json_is_ascii_without_controls_and_reads_back() -> None:
    record = {"title": "\x1b[31m\x7f\x9b\u202eÜberschrift 見出し\udcff"}

    text = as_json(record)

    assert text.isascii()
    assert text.replace("\n", "").isprintable()
    assert json.loads(text) == record


def test_terminal_shows_a_bar_for_each_half_and_no_markup() -> None:
    screen = io.StringIO()
    console = Console(file=screen, force_terminal=True, color_system=None, width=100)

    with display(sending=True, console=console) as shown:
        shown.show_bytes(500, 1000)
        shown.show_event({"type": "connected"})
        shown.show_event(
            {
                "type": "progress",
                "stage": "analyzing",
                "progress": 45,
                "message": "[red]look[/red]\x1b]0;x\x07",
            }
        )

    last = screen.getvalue()
    assert "Sending" in last
    assert "0.5/1.0 kB" in last
    assert "Verification" in last
    assert "45%" in last
    assert "[red]look[/red]\\x1b]0;x\\x07" in last
    assert "\x1b]0" not in last


def test_failed_verification_leaves_its_bar_where_it_was() -> None:
    screen = io.StringIO()
    console = Console(file=screen, force_terminal=True, color_system=None, width=100)

    with display(sending=False, console=console) as shown:
        shown.show_event({"type": "progress", "stage": "analyzing", "progress": 45})
        shown.show_event({"type": "progress", "stage": "error", "progress": 0})

    assert screen.getvalue().count(" 45%") >= 1
    assert "  0%" not in screen.getvalue().splitlines()[-1]
