"""Bad input, and files that are their verifier's end: each gets its code of the contract, the same one in the answer, the
snapshot and the stream, and leaves nothing behind."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest
from service import (
    BOUNDARY,
    DEADLINE_S,
    Answer,
    Json,
    RawPost,
    Service,
    User,
    assert_one_story,
    eventually,
    form,
    new_id,
)

from nginx import Nginx
from tests import media, media_av

SMALL_LIMIT = 100_000
FORM_ALLOWANCE = 2**20
MEBIBYTE = bytes(2**20)


@pytest.fixture(scope="module")
def strict() -> Iterator[Service]:
    """Takes little, and few at a time."""
    with Service(max_upload_bytes=SMALL_LIMIT, max_queue=1) as service:
        yield service


@pytest.fixture(scope="module")
def impatient() -> Iterator[Service]:
    with Service(verify_deadline_s=2) as service:
        yield service


def said(answer: httpx.Response | Answer) -> tuple[int, str]:
    """Status and code of an error answer, whose other fields are as they should be."""
    if isinstance(answer, Answer):
        status, told = answer.status, answer.json
    else:
        status, told = answer.status_code, answer.json()
    assert told["success"] is False
    assert told["error"]
    return status, told["code"]


def assert_ended(user: User, id: str, events: list[Json], code: str) -> None:
    """Stream and snapshot say it too, and the stream says it once."""
    snapshot = user.snapshot(id)
    assert_one_story(events)
    assert (events[-1]["stage"], events[-1]["progress"]) == ("error", 0)
    assert (events[-1]["code"], snapshot["code"]) == (code, code)
    assert snapshot["status"] in {"failed", "rejected"}


# --- Who is asking ---------------------------------------------------------------------

BAD_TOKENS = {
    "none": lambda service: {},
    "nonsense": lambda service: {"Authorization": "Bearer nonsense"},
    "other scheme": lambda service: {"Authorization": "Basic YTpi"},
    "foreign": lambda service: bearer(service.token("ann", secret="x" * 32)),
    "expired": lambda service: bearer(service.token("ann", expires_s=-60)),
}


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


@pytest.mark.parametrize("kind", BAD_TOKENS)
def test_post_without_a_good_token_is_refused_before_its_body(
    service: Service, id: str, kind: str
) -> None:
    headers = {"X-Upload-ID": id, **BAD_TOKENS[kind](service)}
    with RawPost(service.port, headers, length=10_000) as post:
        answer = post.answer()

    assert said(answer) == (401, "unauthorized")
    assert answer.headers["www-authenticate"].startswith("Bearer")
    assert id not in service.rows()


@pytest.mark.parametrize("kind", BAD_TOKENS)
@pytest.mark.parametrize(
    "path", ["upload/{id}/progress", "upload/{id}", "upload", "media_1"]
)
def test_nothing_is_read_without_a_good_token(
    service: Service, id: str, path: str, kind: str
) -> None:
    answer = httpx.get(
        f"{service.url}/api/media/{path.format(id=id)}",
        headers=BAD_TOKENS[kind](service),
    )

    assert said(answer) == (401, "unauthorized")
    assert id not in service.rows()


def test_token_in_the_query_opens_the_stream_alone(user: User, id: str) -> None:
    posted = httpx.post(f"{user.url}/api/media/upload?token={user.token}")
    looked = httpx.get(f"{user.url}/api/media/upload/{id}?token={user.token}")

    assert (said(posted), said(looked)) == ((401, "unauthorized"),) * 2


def test_no_token_reaches_the_log(service: Service, user: User, id: str) -> None:
    with user.stream(id, in_query=True):
        httpx.get(f"{user.url}/api/media/upload/{id}?token={user.token}")

    assert user.token not in service.logs()


# --- Whose upload it is ----------------------------------------------------------------


@pytest.mark.parametrize("bad", ["short", "a" * 65, "with space", "../../etc/passwd"])
def test_id_against_the_rule_is_refused_before_the_body(
    service: Service, user: User, bad: str
) -> None:
    with user.begin(bad, length=10_000) as post:
        answer = post.answer()

    assert said(answer) == (400, "invalid_upload_id")
    assert bad not in service.rows()


def test_stream_of_an_id_against_the_rule_is_refused(user: User) -> None:
    answer = user.get("/api/media/upload/short/progress")

    assert said(answer) == (400, "invalid_upload_id")


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "upload/{id}"),
        ("GET", "upload/{id}?after=0"),
        ("GET", "upload/{id}/progress"),
        ("DELETE", "upload/{id}"),
        ("GET", "{media}"),
        ("DELETE", "{media}"),
        ("GET", "{media}/file"),
        ("GET", "{media}/thumbnail"),
    ],
)
def test_what_belongs_to_somebody_else_looks_like_what_never_was(
    service: Service, user: User, id: str, image: bytes, method: str, path: str
) -> None:
    owner = service.user()
    record = owner.upload(image, id).json()["data"]["media"]
    known = path.format(id=id, media=record["_id"])
    unknown = path.format(id=new_id(), media="media_" + "0" * 32)

    foreign = user.request(method, f"/api/media/{known}")

    assert said(foreign) == (403, "access_denied")
    assert foreign.json()["error"] == "Access denied"
    # A stream of an unknown id is a waiting one.
    if "progress" not in path:
        never = user.request(method, f"/api/media/{unknown}")
        assert foreign.json() == never.json()
    assert owner.snapshot(id)["media"]["_id"] == record["_id"]


def test_post_with_somebody_elses_id_is_refused_before_its_body(
    service: Service, user: User, id: str
) -> None:
    owner = service.user()
    with owner.stream(id) as stream:
        eventually(lambda: stream.frames, "the first frames")
        with user.begin(id, length=10_000) as post:
            answer = post.answer()
        told = stream.events

    assert said(answer) == (403, "access_denied")
    assert told == []
    assert owner.snapshot(id)["status"] == "waiting"


def test_second_post_with_an_id_finds_its_upload(
    service: Service, user: User, id: str, image: bytes
) -> None:
    user.upload(image, id)

    with user.begin(id, length=10_000) as post:
        answer = post.answer()

    assert said(answer) == (409, "upload_id_taken")
    assert answer.json["status"] == "complete"
    assert answer.json["statusUrl"] == f"/api/media/upload/{id}"
    assert answer.json["progressUrl"] == f"/api/media/upload/{id}/progress"
    assert answer.headers["x-upload-id"] == answer.json["uploadId"] == id
    assert user.snapshot(id)["status"] == "complete"


def test_refusal_leaves_no_traceback_in_the_log(
    service: Service, user: User, id: str, image: bytes
) -> None:
    # gevent's thread pool printed one of every IdTaken and AccessDenied.
    user.upload(image, id)

    user.upload(image, id)

    assert "Traceback" not in service.logs()


def test_eleventh_waiting_id_is_refused_for_a_while(user: User) -> None:
    with ExitStack() as opened:
        for _ in range(10):
            opened.enter_context(user.stream(new_id()))

        answer = user.get(f"/api/media/upload/{new_id()}/progress")

    assert said(answer) == (429, "too_many_uploads")
    assert int(answer.headers["Retry-After"]) > 0


# --- The body --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("no file", "missing_file"),
        ("other field", "missing_file"),
        ("two files", "malformed_multipart"),
        ("no end", "malformed_multipart"),
        ("other boundary", "malformed_multipart"),
        ("nothing", "malformed_multipart"),
    ],
)
def test_form_that_is_none_ends_the_upload(
    service: Service, user: User, id: str, image: bytes, name: str, code: str
) -> None:
    whole = form(image)
    end = f"--{BOUNDARY}--\r\n".encode()
    text = (
        f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="title"\r\n\r\nHello\r\n'
    )
    body = {
        "no file": text.encode() + end,
        "other field": form(image, field="picture"),
        "two files": whole.removesuffix(end) + whole,
        "no end": whole.removesuffix(end),
        "other boundary": whole.replace(BOUNDARY.encode(), b"another"),
        "nothing": b"",
    }[name]

    with user.stream(id) as stream, user.begin(id, len(body)) as post:
        post.send(body)
        answer = post.answer()
        events = stream.wait_for_end()

    assert said(answer) == (400, code)
    assert_ended(user, id, events, code)
    service.assert_nothing_left()


def test_body_that_is_no_form_is_refused_unread(
    service: Service, user: User, id: str
) -> None:
    headers = {"Content-Type": "application/json"}
    with user.stream(id) as stream, user.begin(id, 10_000, headers) as post:
        answer = post.answer()
        events = stream.wait_for_end()

    assert said(answer) == (415, "unsupported_content_type")
    assert answer.headers["connection"] == "close"
    assert_ended(user, id, events, "unsupported_content_type")


def test_body_cut_off_is_answered_and_leaves_nothing(
    service: Service, user: User, id: str
) -> None:
    body = form(bytes(400_000))
    with user.stream(id) as stream, user.begin(id, len(body)) as post:
        post.send(body[:200_000])
        post.half_close()
        answer = post.answer()
        events = stream.wait_for_end()

    assert said(answer) == (400, "incomplete_body")
    assert_ended(user, id, events, "incomplete_body")
    service.assert_nothing_left()


@pytest.mark.parametrize("length", [None, 10_000_000], ids=["chunked", "declared"])
def test_client_that_vanishes_while_it_sends_leaves_nothing(
    service: Service, user: User, id: str, length: int | None
) -> None:
    part = form(bytes(400_000))[:200_000]
    with user.stream(id) as stream:
        with user.begin(id, length) as post:
            if length is None:
                post.chunk(part)
            else:
                post.send(part)
            user.wait_for_status(id, "receiving")
        events = stream.wait_for_end()

    assert_ended(user, id, events, "incomplete_body")
    service.assert_nothing_left()


# --- The file --------------------------------------------------------------------------


def truncated_film(folder: Path) -> bytes:
    film = media_av.mp4(folder / "film.mp4", 4).read_bytes()
    return media.truncated(film, 0.6)


def truncated_faststart_film(folder: Path) -> bytes:
    film = media_av.mp4(folder / "film.mp4", 4, faststart=True).read_bytes()
    return media.truncated(film, 0.6)


BAD_FILES = {
    "a program": (lambda folder: b"\x7fELF" + bytes(5000), 415),
    "an archive": (lambda folder: b"PK\x03\x04" + bytes(5000), 415),
    "a page": (lambda folder: b"<html><script>alert(1)</script></html>", 415),
    "text named .jpg": (lambda folder: media.text_as_jpeg(), 415),
    "truncated mp4": (truncated_film, 422),
    "truncated faststart mp4": (truncated_faststart_film, 422),
    "truncated jpeg": (lambda folder: media.truncated(media.jpeg(), 0.5), 422),
    "png bomb": (lambda folder: media.png_bomb(), 422),
    "encrypted pdf": (lambda folder: media.pdf_encrypted(), 422),
    "nothing": (lambda folder: b"", 422),
}
CODES = {415: "unsupported_media_type", 422: "invalid_media"}


@pytest.mark.parametrize("kind", BAD_FILES)
def test_file_that_is_no_good_is_rejected(
    service: Service, user: User, id: str, kind: str, tmp_path: Path
) -> None:
    make, status = BAD_FILES[kind]
    with user.stream(id) as stream:
        answer = user.upload(make(tmp_path), id, name="holiday.jpg")
        events = stream.wait_for_end()

    assert said(answer) == (status, CODES[status])
    assert_ended(user, id, events, CODES[status])
    assert user.snapshot(id)["status"] == "rejected"
    service.assert_nothing_left()


def test_title_against_the_guidelines_is_rejected_with_its_reasons(
    service: Service, user: User, id: str, image: bytes
) -> None:
    with user.stream(id) as stream:
        answer = user.upload(image, id, title="kill all niggers")
        events = stream.wait_for_end()

    assert said(answer) == (422, "content_rejected")
    assert answer.json()["reasons"]
    assert events[-1]["reasons"] == answer.json()["reasons"]
    assert user.snapshot(id)["reasons"] == answer.json()["reasons"]
    assert_ended(user, id, events, "content_rejected")
    service.assert_nothing_left()


# --- Too large -------------------------------------------------------------------------


def test_file_declared_too_large_is_refused_before_its_body(
    service: Service, user: User, id: str
) -> None:
    with user.stream(id) as stream, user.begin(id, 501 * 2**20 + 300) as post:
        answer = post.answer()
        events = stream.wait_for_end()

    assert said(answer) == (413, "file_too_large")
    assert answer.json["limitBytes"] == 500 * 2**20
    assert answer.headers["connection"] == "close"
    assert_ended(user, id, events, "file_too_large")
    service.assert_nothing_left()


@pytest.mark.parametrize("front", ["alone", "behind nginx"])
def test_refusal_reaches_a_client_that_keeps_sending(
    service: Service, id: str, front: str
) -> None:
    head, end = form(b"|").split(b"|")
    length = len(head) + 501 * 2**20 + len(end)

    def body() -> Iterator[bytes]:
        yield head
        for _ in range(501):
            yield MEBIBYTE
        yield end

    with ExitStack() as opened:
        nginx = Nginx(f"127.0.0.1:{service.port}") if front != "alone" else None
        url = opened.enter_context(nginx).url if nginx else ""
        user = service.user(url=url)
        answer = user.request(
            "POST",
            "/api/media/upload",
            headers={
                "X-Upload-ID": id,
                "Content-Type": f"multipart/form-data; boundary={BOUNDARY}",
                "Content-Length": str(length),
            },
            content=body(),
        )

    assert said(answer) == (413, "file_too_large")
    service.assert_nothing_left()


def test_chunked_file_is_bounded_while_it_is_read(strict: Service, id: str) -> None:
    user = strict.user()
    sent = 0

    def body() -> Iterator[bytes]:
        nonlocal sent
        yield form(b"|").split(b"|")[0]
        for _ in range(100):
            sent += 1
            yield MEBIBYTE

    with user.stream(id) as stream:
        answer = user.request(
            "POST",
            "/api/media/upload",
            headers={
                "X-Upload-ID": id,
                "Content-Type": f"multipart/form-data; boundary={BOUNDARY}",
            },
            content=body(),
        )
        events = stream.wait_for_end()

    assert said(answer) == (413, "file_too_large")
    assert answer.json()["limitBytes"] == SMALL_LIMIT
    assert sent < 50
    assert_ended(user, id, events, "file_too_large")
    strict.assert_nothing_left()


def test_limit_counts_the_bytes_of_the_file_not_of_the_form(strict: Service) -> None:
    user = strict.user()
    image = media.jpeg(gps=False)
    padded = image + bytes(SMALL_LIMIT - len(image))

    at_the_limit = user.upload(padded, title="x" * 200)
    beyond = user.upload(padded + b"\0")

    assert said(beyond) == (413, "file_too_large")
    assert at_the_limit.status_code in {200, 422}
    strict.assert_nothing_left()


def test_form_of_many_fields_is_bounded_too(strict: Service, id: str) -> None:
    user = strict.user()
    text = b"x" * (SMALL_LIMIT + FORM_ALLOWANCE + 10)
    body = form(text, field="unasked")

    with user.begin(id, None) as post:
        for start in range(0, len(body), 2**16):
            post.chunk(body[start : start + 2**16])
        post.chunk(b"")
        answer = post.answer()

    assert said(answer) == (413, "file_too_large")


# --- 100 Continue ----------------------------------------------------------------------


def test_good_request_is_invited_to_send_its_body(
    user: User, id: str, image: bytes
) -> None:
    body = form(image)
    with user.begin(id, len(body), {"Expect": "100-continue"}) as post:
        first = post.first_line()
        post.send(b"")
        assert post.first_line() == ""
        post.send(body)
        answer = post.answer()

    assert first == "HTTP/1.1 100 Continue"
    assert answer.status == 200


@pytest.mark.parametrize(
    ("headers", "length", "status"),
    [
        ({"Authorization": "Bearer nonsense"}, 1000, 401),
        ({"X-Upload-ID": "short"}, 1000, 400),
        ({"Content-Type": "text/plain"}, 1000, 415),
        ({}, 501 * 2**20 + 300, 413),
    ],
    ids=["token", "id", "type", "size"],
)
def test_request_that_will_be_refused_is_not_invited(
    user: User, id: str, headers: dict[str, str], length: int, status: int
) -> None:
    with user.begin(id, length, {"Expect": "100-continue", **headers}) as post:
        first = post.first_line()

    assert first.startswith(f"HTTP/1.1 {status} ")


# --- A service that is full ------------------------------------------------------------


def test_post_to_a_full_queue_leaves_its_id_for_another_try(
    strict: Service, id: str
) -> None:
    user = strict.user()
    image = media.jpeg(gps=False)
    with strict.verifiers_held(), user.stream(id) as stream:
        ahead = [new_id(), new_id()]
        user.upload(image, ahead[0], prefer="respond-async")
        user.wait_for_status(ahead[0], "verifying")
        user.upload(image, ahead[1], prefer="respond-async")

        refused = user.upload(image, id)

        between = user.snapshot(id)["status"], list(stream.events)
        strict.resume_verifiers()
        user.wait_for_status(ahead[1], "complete")
        accepted = user.upload(image, id)
        events = stream.wait_for_end()

    assert said(refused) == (503, "overloaded")
    assert int(refused.headers["Retry-After"]) > 0
    assert between == ("waiting", [])
    assert accepted.status_code == 200
    assert_one_story(events)
    strict.assert_nothing_left()


# --- A file that is its verifier's end -------------------------------------------------


def test_verifier_killed_once_is_replaced_and_nothing_said_twice(
    service: Service, user: User, id: str, long_film: bytes
) -> None:
    with user.stream(id) as stream:
        posting = user.upload_later(long_film, id)
        stream.wait_for("analyzing", 40)
        os.kill(service.wait_for_verifier(), signal.SIGKILL)
        answer = posting.result(DEADLINE_S)
        events = stream.wait_for_end()

    assert answer.status_code == 200
    assert service.rows()[id]["attempts"] == 2
    assert_one_story(events)
    assert [event["id"] for event in events] == list(range(1, len(events) + 1))
    assert events[-1]["stage"] == "complete"
    service.assert_nothing_left()


def test_verifier_that_dies_idle_is_replaced_before_a_job_needs_it(
    service: Service,
) -> None:
    # readyz said no until the next job, which a balancer that asks readyz never sends.
    killed = service.wait_for_verifier()

    os.kill(killed, signal.SIGKILL)

    assert service.wait_for_verifier(other_than=killed)
    eventually(lambda: httpx.get(f"{service.url}/readyz").is_success, "readyz")


def test_file_that_kills_every_verifier_is_given_up(
    service: Service, user: User, id: str, image: bytes
) -> None:
    with user.stream(id) as stream:
        with service.verifiers_held():
            posting = user.upload_later(image, id)
            user.wait_for_status(id, "verifying")
            while not posting.done():
                for pid in service.verifier_pids():
                    os.kill(pid, signal.SIGKILL)
        answer = posting.result(DEADLINE_S)
        events = stream.wait_for_end()

    assert said(answer) == (500, "verification_crashed")
    assert service.rows()[id]["attempts"] == 3
    assert_ended(user, id, events, "verification_crashed")
    service.assert_nothing_left()
    assert user.upload(image).status_code == 200


def test_verifier_that_hangs_is_ended_at_its_deadline(
    impatient: Service, id: str, image: bytes
) -> None:
    user = impatient.user()
    with user.stream(id) as stream, impatient.verifiers_held():
        hanging = impatient.wait_for_verifier()
        answer = user.upload(image, id)
        events = stream.wait_for_end()

    assert said(answer) == (500, "verification_timeout")
    assert_ended(user, id, events, "verification_timeout")
    assert hanging not in impatient.verifier_pids()
    impatient.assert_nothing_left()
    assert user.upload(image).status_code == 200
