"""What becomes of the connections themselves."""

from __future__ import annotations

import signal
import socket
import time
from collections.abc import Iterator

import pytest
from service import DEADLINE_S, Service, User, eventually, form, in_background, new_id


@pytest.fixture(scope="module")
def strict() -> Iterator[Service]:
    """A body may stand still for a second, and no longer."""
    with Service(body_idle_s=1) as service:
        yield service


def ask(service: Service, path: str, token: str) -> socket.socket:
    """A request that would keep its connection, on a socket of our own."""
    connection = socket.create_connection(("127.0.0.1", service.port), DEADLINE_S)
    connection.sendall(
        f"GET {path} HTTP/1.1\r\nHost: tests\r\nAuthorization: Bearer {token}\r\n\r\n".encode()
    )
    return connection


def test_service_closes_the_connection_of_a_stream_that_has_ended(
    service: Service, user: User, id: str, image: bytes
) -> None:
    """It was kept for 75 s, among the connections that streams and requests share."""
    user.upload(image, id)

    with ask(service, f"/api/media/upload/{id}/progress", user.token) as connection:
        received = b""
        while data := connection.recv(65536):
            received += data

    assert b"Connection: close" in received
    assert b'"stage":"complete"' in received


def test_connection_nobody_uses_does_not_hold_the_service_back() -> None:
    """One idle connection turned every stop into a kill at the end of the grace time."""
    with Service() as service:
        user = service.user()
        with ask(service, "/healthz", user.token) as idle:
            assert b"200 OK" in idle.recv(65536)

            service.signal(signal.SIGTERM)
            service.wait_until_gone()

        assert "graceful timeout" not in service.logs().lower()
        assert list((service.data_dir / "run").iterdir()) == []


def test_body_that_moves_slowly_is_not_taken_for_one_that_stands_still(
    strict: Service,
) -> None:
    """A read used to wait for a whole mebibyte, which a slow line does not fill in time."""
    user, id = strict.user(), new_id()
    start, rest = bytes(4 * 2**20), bytes(64 * 2**10)
    pieces = 30
    body = form(start + rest * pieces)
    with user.begin(id, len(body)) as post:
        post.send(body[: -len(rest) * pieces])

        for sent in range(pieces):
            end = len(body) - len(rest) * (pieces - sent)
            post.send(body[end : end + len(rest)])
            time.sleep(0.1)  # the line: 640 kB a second, for three times the idle time
        answer = post.answer()

    assert answer.json["code"] == "unsupported_media_type"


def test_progress_is_told_by_what_has_come_not_by_what_was_asked_for(
    strict: Service,
) -> None:
    user, id = strict.user(), new_id()
    body = form(bytes(3000))
    with user.stream(id) as stream, user.begin(id, len(body)) as post:
        post.send(body[:1500])

        event = stream.wait_for("uploading", 3)

        assert event["detail"]["receivedBytes"] == 1500
        post.send(body[1500:])
        post.answer()


def test_two_who_cancel_at_once_are_both_told_it_is_cancelled(
    service: Service, user: User, image: bytes
) -> None:
    with service.verifiers_held():
        for _ in range(5):
            id = new_id()
            user.upload(image, id, prefer="respond-async")

            both = [in_background(user.cancel, id) for _ in range(2)]

            assert [each.result(DEADLINE_S).status_code for each in both] == [202, 202]
    eventually(lambda: service.verifier_pids(), "a verifier")
