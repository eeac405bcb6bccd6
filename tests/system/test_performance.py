"""Large files, slow lines, many requests: that they work, not how long they take."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import Future

import httpx
import pytest
from service import BOUNDARY, DEADLINE_S, Service, User, form, in_background, new_id

LARGEST = 500 * 2**20
PIECE = 2**20
# What one upload may add to the worker, whatever the file's size: a piece of it, threads, and the allocator's own.
MEMORY_BYTES = 32 * 2**20


@pytest.fixture(scope="module")
def fresh() -> Iterator[Service]:
    """Nothing else has grown its memory."""
    with Service() as service:
        yield service


def upload_zeros(user: User, id: str, size: int) -> httpx.Response:
    head, end = form(b"|").split(b"|")

    def body() -> Iterator[bytes]:
        yield head
        piece = bytes(PIECE)
        for _ in range(size // PIECE):
            yield piece
        yield end

    return user.request(
        "POST",
        "/api/media/upload",
        headers={
            "X-Upload-ID": id,
            "Content-Type": f"multipart/form-data; boundary={BOUNDARY}",
            "Content-Length": str(len(head) + size + len(end)),
        },
        content=body(),
    )


def test_largest_file_goes_through_with_flat_memory_while_others_are_answered(
    fresh: Service, image: bytes
) -> None:
    user, other = fresh.user(), fresh.user()
    id = new_id()
    other.upload(image)
    before = fresh.memory_bytes()
    answered = 0

    with user.stream(id) as stream:
        posting: Future[httpx.Response] = in_background(upload_zeros, user, id, LARGEST)
        while not posting.done():
            assert other.get("/healthz").is_success
            answered += 1
        answer = posting.result()
        events = stream.wait_for_end()

    uploading = [each for each in events if each["stage"] == "uploading"]
    assert (answer.status_code, answer.json()["code"]) == (
        415,
        "unsupported_media_type",
    )
    assert fresh.rows()[id]["size"] == LARGEST
    assert answered >= 10
    assert [each["progress"] for each in uploading] == list(range(10))
    assert fresh.memory_bytes("VmHWM") - before < MEMORY_BYTES
    fresh.assert_nothing_left()


def test_small_upload_is_verified_while_a_large_one_is_received(
    fresh: Service, image: bytes
) -> None:
    user, other = fresh.user(), fresh.user()
    id = new_id()
    body = form(bytes(PIECE))
    with user.begin(id, len(body)) as post:
        post.send(body[:500_000])
        user.wait_for_status(id, "receiving")

        answer = other.upload(image)

        between = user.snapshot(id)["status"]
        post.send(body[500_000:])
        last = post.answer()

    assert (answer.status_code, between, last.status) == (200, "receiving", 415)


def test_slow_client_sees_its_bytes_arrive(fresh: Service, image: bytes) -> None:
    user = fresh.user()
    id = new_id()
    body = form(image + bytes(500_000))
    with user.stream(id) as stream, user.begin(id, len(body)) as post:
        for start in range(0, len(body), 10_000):
            post.send(body[start : start + 10_000])
            time.sleep(0.02)  # the line's slowness, not a wait for anything
        post.answer()
        stream.wait_for_end()

    uploading = [each for each in stream.events if each["stage"] == "uploading"]
    received = [each["detail"]["receivedBytes"] for each in uploading]
    assert len({each["progress"] for each in uploading}) >= 4
    assert received == sorted(set(received))
    assert received[-1] == len(body)


def test_connection_that_stands_still_in_its_body_is_cut_off() -> None:
    with Service(body_idle_s=0.5) as service:
        user = service.user()
        id = new_id()
        with user.stream(id) as stream, user.begin(id, 10_000) as post:
            post.send(form(bytes(9000))[:5000])
            answer = post.answer()
            events = stream.wait_for_end()

        assert (answer.status, answer.json["code"]) == (400, "incomplete_body")
        assert events[-1]["code"] == "incomplete_body"
        service.assert_nothing_left()


def test_many_users_read_along_at_once(fresh: Service, image: bytes) -> None:
    users = [fresh.user() for _ in range(10)]
    ids = [new_id() for _ in users]
    posting = [
        user.upload_later(image, id) for user, id in zip(users, ids, strict=True)
    ]

    answers = [each.result(DEADLINE_S) for each in posting]

    owners = {row["user_id"] for row in fresh.rows("media").values()}
    assert [answer.status_code for answer in answers] == [200] * 10
    assert {user.name for user in users} <= owners
    for user, id in zip(users, ids, strict=True):
        listed = user.get("/api/media/upload").json()["uploads"]
        assert [each["uploadId"] for each in listed] == [id]
