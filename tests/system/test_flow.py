"""The ordinary way of an upload, and every way of reading along."""

from __future__ import annotations

import json
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest
from httpx_sse import connect_sse
from service import (
    DEADLINE_S,
    RETRY_NEVER_MS,
    STAGES,
    Json,
    Service,
    Stream,
    User,
    assert_one_story,
    eventually,
    form,
    frames,
    in_background,
    new_id,
)

from tests import media, media_av

TOO_NEW = 2**40


def stages(events: list[Json]) -> list[str]:
    return list(dict.fromkeys(event["stage"] for event in events))


def told(events: list[Json]) -> list[Json]:
    """The events without what is signed anew each time they are told: the media's URLs."""
    return [{k: v for k, v in event.items() if k != "media"} for event in events]


# --- Files of every kind ---------------------------------------------------------------


@pytest.mark.parametrize("kind", ["image", "video", "audio", "pdf"])
def test_upload_passes_every_stage_from_below_ten_to_a_hundred(
    service: Service, user: User, id: str, kind: str, film: bytes, tmp_path: Path
) -> None:
    content, mime_type = {
        "image": lambda: (media.png(320, 240), "image/png"),
        "video": lambda: (film, "video/mp4"),
        "audio": lambda: (media_av.mp3(tmp_path / "a.mp3").read_bytes(), "audio/mpeg"),
        "pdf": lambda: (media.pdf(), "application/pdf"),
    }[kind]()

    with user.stream(id) as stream:
        answer = user.upload(content, id, title="Garden", description="Behind")
        events = stream.wait_for_end()

    record = answer.json()["data"]["media"]
    assert (answer.status_code, answer.json()["uploadId"]) == (200, id)
    assert (record["mimeType"], record["title"]) == (mime_type, "Garden")
    assert_one_story(events)
    assert stages(events) == STAGES
    assert events[0]["progress"] < 10
    assert events[-1]["progress"] == 100
    assert [event["id"] for event in events] == list(range(1, len(events) + 1))
    assert events[-1]["media"]["_id"] == record["_id"]
    service.assert_nothing_left()


def test_media_can_be_fetched_by_the_signed_addresses_of_its_record(
    user: User, image: bytes
) -> None:
    record = user.upload(image).json()["data"]["media"]

    file = httpx.get(user.url + record["fileUrl"])
    thumbnail = httpx.get(user.url + record["thumbnailUrl"])

    assert (file.status_code, len(file.content)) == (200, record["size"])
    assert (thumbnail.status_code, thumbnail.headers["Content-Type"]) == (
        200,
        "image/webp",
    )


def test_upload_without_an_id_is_given_one(user: User, image: bytes) -> None:
    answer = user.upload(image)

    assert answer.headers["X-Upload-ID"] == answer.json()["uploadId"]
    assert user.snapshot(answer.json()["uploadId"])["status"] == "complete"


def test_chunked_body_is_taken(user: User, id: str, image: bytes) -> None:
    body = form(image)
    with user.begin(id, None) as post:
        for start in range(0, len(body), 1000):
            post.chunk(body[start : start + 1000])
        post.chunk(b"")

        answer = post.answer()

    assert (answer.status, answer.json["success"]) == (200, True)


# --- How long the POST waits -----------------------------------------------------------


def test_post_that_prefers_it_answers_as_soon_as_the_bytes_are_durable(
    service: Service, user: User, id: str, image: bytes
) -> None:
    with service.verifiers_held():
        answer = user.upload(image, id, prefer="respond-async")

    accepted = answer.json()
    assert (answer.status_code, accepted["success"]) == (202, True)
    assert answer.headers["Preference-Applied"] == "respond-async"
    assert answer.headers["Location"] == accepted["statusUrl"]
    assert accepted["uploadId"] == answer.headers["X-Upload-ID"] == id
    assert accepted["status"] in {"queued", "verifying"}
    assert accepted["statusUrl"] == f"/api/media/upload/{id}"
    assert accepted["progressUrl"] == f"/api/media/upload/{id}/progress"
    assert user.wait_for_status(id, "complete")["progress"] == 100


def test_post_waits_no_longer_than_it_prefers(
    service: Service, user: User, id: str, image: bytes
) -> None:
    with service.verifiers_held():
        answer = user.upload(image, id, prefer="wait=1")

    assert (answer.status_code, answer.json()["uploadId"]) == (202, id)
    assert answer.headers["Preference-Applied"] == "wait=1"
    assert user.wait_for_status(id, "complete")["media"]["_id"]


def test_post_that_would_wait_longer_answers_when_verification_has_ended(
    user: User, id: str, image: bytes
) -> None:
    answer = user.upload(image, id, prefer="wait=60")

    assert answer.status_code == 200
    assert answer.json()["data"]["media"]["_id"].startswith("media_")


def test_client_that_goes_away_while_it_waits_changes_nothing(
    service: Service, user: User, id: str, image: bytes
) -> None:
    body = form(image)
    with service.verifiers_held(), user.begin(id, len(body)) as post:
        post.send(body)
        user.wait_for_status(id, "verifying")

    assert user.wait_for_status(id, "complete")["progress"] == 100


# --- Ways of reading along -------------------------------------------------------------


def test_stream_opened_before_the_post_waits_for_it(
    user: User, id: str, image: bytes
) -> None:
    with user.stream(id, in_query=True) as stream:
        eventually(lambda: stream.frames, "the first frames")
        before = user.snapshot(id)["status"]
        user.upload(image, id)
        events = stream.wait_for_end()

    assert before == "waiting"
    assert stages(events) == STAGES


def test_stream_has_the_headers_and_first_frames_of_the_contract(
    user: User, id: str
) -> None:
    with user.stream(id) as stream:
        eventually(lambda: len(stream.frames) > 1, "connected")

    assert stream.status == 200
    assert stream.headers["Content-Type"] == "text/event-stream; charset=utf-8"
    assert stream.headers["Cache-Control"] == "no-cache, no-transform"
    assert stream.headers["X-Accel-Buffering"] == "no"
    assert "Content-Encoding" not in stream.headers
    assert stream.text.startswith("retry: 2000\n\n")
    assert stream.frames[1].data == {
        "type": "connected",
        "uploadId": id,
        "message": "Connected to progress stream",
    }


def test_only_progress_events_carry_an_id(user: User, id: str, image: bytes) -> None:
    with user.stream(id) as stream:
        user.upload(image, id)
        stream.wait_for_end()

    for frame in stream.frames:
        is_progress = frame.data is not None and frame.data["type"] == "progress"
        assert (frame.id is not None) is is_progress


def test_late_reader_gets_the_whole_story(user: User, id: str, film: bytes) -> None:
    user.upload(film, id)

    with user.stream(id) as stream:
        events = stream.wait_for_end()

    assert_one_story(events)
    assert stages(events) == STAGES


def test_parser_of_a_library_reads_the_same_story(
    user: User, id: str, image: bytes
) -> None:
    user.upload(image, id)

    with (
        httpx.Client(base_url=user.url, timeout=DEADLINE_S) as client,
        connect_sse(
            client, "GET", f"/api/media/upload/{id}/progress", headers=user.bearer
        ) as source,
    ):
        messages = [json.loads(event.data) for event in source.iter_sse() if event.data]

    assert messages[0]["type"] == "connected"
    assert stages(messages[1:]) == STAGES


RESUMES = {
    "header": lambda user, id, cursor: user.stream(id, cursor),
    "lastEventId": lambda user, id, cursor: user.stream(
        id, query=f"lastEventId={cursor}"
    ),
    "last_event_id": lambda user, id, cursor: user.stream(
        id, query=f"last_event_id={cursor}"
    ),
    "header_over_query": lambda user, id, cursor: user.stream(
        id, cursor, query="lastEventId=1"
    ),
}


@pytest.mark.parametrize("way", RESUMES)
def test_reader_resumes_behind_its_cursor(
    user: User, id: str, image: bytes, way: str
) -> None:
    user.upload(image, id)
    with user.stream(id) as whole:
        events = whole.wait_for_end()
    cursor = events[3]["id"]

    with RESUMES[way](user, id, cursor) as stream:
        rest = stream.wait_for_end()

    assert told(rest) == told(events[4:])


def test_reader_cut_off_in_the_middle_misses_and_repeats_nothing(
    user: User, id: str, long_film: bytes
) -> None:
    with user.stream(id) as whole:
        posting = user.upload_later(long_film, id)
        with user.stream(id) as first:
            first.wait_for("analyzing", 35)
        with user.stream(id, first.cursor) as second:
            second.wait_for_end()
        everything = whole.wait_for_end()
        posting.result(DEADLINE_S)

    assert told(first.events + second.events) == told(everything)


@pytest.mark.parametrize("cursor", ["nonsense", "-1", str(TOO_NEW), "9" * 40])
def test_cursor_nobody_gave_gets_the_newest_state(
    user: User, id: str, image: bytes, cursor: str
) -> None:
    user.upload(image, id)

    with user.stream(id, cursor) as stream:
        events = stream.wait_for_end()

    assert stream.status == 200
    assert [event["stage"] for event in events] == ["complete"]


def test_reader_that_has_the_ending_is_told_not_to_come_back(
    user: User, id: str, image: bytes
) -> None:
    user.upload(image, id)
    ending = user.snapshot(id)["id"]

    with user.stream(id, ending) as stream:
        stream.wait_for_end()

    assert (stream.status, stream.text) == (204, "")


def test_ending_stands_in_one_frame_with_the_long_retry(
    user: User, id: str, image: bytes
) -> None:
    user.upload(image, id)
    ending = user.snapshot(id)["id"]

    with user.stream(id, ending - 1) as stream:
        stream.wait_for_end()

    last = stream.frames[-1]
    assert (last.retry, last.id) == (RETRY_NEVER_MS, ending)
    assert last.data is not None
    assert last.data["stage"] == "complete"


def test_silence_is_filled_with_heartbeats(user: User, id: str) -> None:
    with user.stream(id) as stream:
        eventually(lambda: stream.text.count(": heartbeat\n\n") >= 2, "heartbeats")

    assert frames(stream.text)[-1].comment == "heartbeat"


def test_two_streams_of_one_upload_tell_the_same(
    user: User, id: str, film: bytes
) -> None:
    with user.stream(id) as one, user.stream(id) as other:
        user.upload(film, id)

        assert told(one.wait_for_end()) == told(other.wait_for_end())

    assert one.events[-1]["stage"] == "complete"


def test_sixth_stream_replaces_the_oldest(user: User, id: str, image: bytes) -> None:
    with ExitStack() as opened:
        streams = [opened.enter_context(user.stream(id)) for _ in range(6)]
        streams[0].wait_for_end()
        replaced = streams[0].frames[-1]
        user.upload(image, id)
        endings = [stream.wait_for_end()[-1]["stage"] for stream in streams[1:]]

    assert (replaced.retry, replaced.data) == (RETRY_NEVER_MS, None)
    assert endings == ["complete"] * 5


def test_stream_is_told_when_nobody_posted_to_its_id_in_time(
    service: Service, user: User, id: str
) -> None:
    with user.stream(id) as stream:
        eventually(lambda: stream.frames, "the first frames")
        service.change(
            "UPDATE uploads SET bound_until = '2000-01-01 00:00:00.000000'"
            " WHERE id = ?",
            id,
        )
        stream.wait_for_end()

    last = stream.frames[-1]
    assert last.retry == RETRY_NEVER_MS
    assert last.data is not None
    assert (last.data["type"], last.data["uploadId"]) == ("expired", id)
    assert id not in service.rows()


# --- Without a stream ------------------------------------------------------------------


def test_snapshot_is_the_last_event_with_status_and_record(
    user: User, id: str, image: bytes
) -> None:
    record = user.upload(image, id).json()["data"]["media"]

    found = user.get(f"/api/media/upload/{id}")
    again = user.request(
        "GET",
        f"/api/media/upload/{id}",
        headers={"If-None-Match": found.headers["ETag"]},
    )

    snapshot = found.json()
    assert (snapshot["status"], snapshot["stage"]) == ("complete", "complete")
    assert (snapshot["progress"], snapshot["media"]["_id"]) == (100, record["_id"])
    assert again.status_code == 304


def test_long_poll_tells_all_events_after_the_cursor(
    user: User, id: str, image: bytes
) -> None:
    user.upload(image, id)
    with user.stream(id) as stream:
        events = stream.wait_for_end()

    polled = user.get(f"/api/media/upload/{id}", after=2, wait=0).json()

    assert told(polled["events"]) == told(events[2:])


def test_long_poll_waits_for_the_next_event(
    service: Service, user: User, id: str, image: bytes
) -> None:
    with service.verifiers_held():
        user.upload(image, id, prefer="respond-async")
        user.wait_for_status(id, "verifying")
        cursor = user.snapshot(id)["id"]
        nothing = user.get(f"/api/media/upload/{id}", after=cursor, wait=0).json()
        polling = in_background(
            user.get, f"/api/media/upload/{id}", after=cursor, wait=30
        )

    polled = polling.result(DEADLINE_S).json()
    assert nothing["events"] == []
    assert polled["events"][0]["id"] == cursor + 1
    assert polled["events"][0]["stage"] == "validating"


def test_uploads_are_listed_newest_first_to_their_owner(
    service: Service, user: User, image: bytes
) -> None:
    other = service.user()
    sent = [user.upload(image).json()["uploadId"] for _ in range(3)]
    other.upload(image)

    first = user.get("/api/media/upload", limit=2).json()
    rest = user.get("/api/media/upload", cursor=first["nextCursor"]).json()

    listed = [each["uploadId"] for each in first["uploads"] + rest["uploads"]]
    assert listed == sent[::-1]
    assert rest["nextCursor"] is None


# --- Cancelling and deleting -----------------------------------------------------------


def assert_cancelled(service: Service, user: User, id: str, stream: Stream) -> None:
    events = stream.wait_for_end()
    again = user.cancel(id)
    assert_one_story(events)
    assert (events[-1]["stage"], events[-1]["code"]) == ("error", "cancelled")
    assert user.snapshot(id)["status"] == "cancelled"
    assert (again.status_code, again.json()["status"]) == (202, "cancelled")
    service.assert_nothing_left()


def test_upload_is_cancelled_while_it_is_received(
    service: Service, user: User, id: str
) -> None:
    body = form(bytes(200_000))
    with user.stream(id) as stream, user.begin(id, len(body)) as post:
        post.send(body[:100_000])
        user.wait_for_status(id, "receiving")

        cancelled = user.cancel(id)
        answer = post.answer()

        assert (cancelled.status_code, cancelled.json()["status"]) == (202, "cancelled")
        assert (answer.status, answer.json["code"]) == (409, "cancelled")
        assert_cancelled(service, user, id, stream)


def test_upload_is_cancelled_while_it_is_queued(
    service: Service, user: User, id: str, image: bytes
) -> None:
    with service.verifiers_held(), user.stream(id) as stream:
        ahead = user.upload_later(image, prefer="respond-async")
        user.wait_for_status(ahead.result(DEADLINE_S).json()["uploadId"], "verifying")
        posting = user.upload_later(image, id)
        user.wait_for_status(id, "queued")

        cancelled = user.cancel(id)

        answer = posting.result(DEADLINE_S)
        assert cancelled.status_code == 202
        assert (answer.status_code, answer.json()["code"]) == (409, "cancelled")
    user.wait_for_status(ahead.result().json()["uploadId"], "complete")
    assert_cancelled(service, user, id, stream)


def test_upload_is_cancelled_while_it_is_verified(
    service: Service, user: User, id: str, image: bytes
) -> None:
    with service.verifiers_held(), user.stream(id) as stream:
        held = service.wait_for_verifier()
        posting = user.upload_later(image, id)
        user.wait_for_status(id, "verifying")

        cancelled = user.cancel(id)

        answer = posting.result(DEADLINE_S)
        assert cancelled.status_code == 202
        assert (answer.status_code, answer.json()["code"]) == (409, "cancelled")
        assert_cancelled(service, user, id, stream)
        assert held not in service.verifier_pids()
    assert user.upload(image).status_code == 200


def test_upload_that_has_ended_is_not_cancelled(
    user: User, id: str, image: bytes
) -> None:
    user.upload(image, id)

    answer = user.cancel(id)

    assert (answer.status_code, answer.json()["code"]) == (409, "already_ended")
    assert user.snapshot(id)["status"] == "complete"


def test_deleted_media_is_gone_with_its_bytes(
    service: Service, user: User, id: str, image: bytes
) -> None:
    record = user.upload(image, id).json()["data"]["media"]
    folder = service.data_dir / "media" / record["_id"]
    stood = folder.is_dir()

    answer = user.request("DELETE", f"/api/media/{record['_id']}")

    assert (answer.status_code, stood, folder.exists()) == (204, True, False)
    assert user.get(f"/api/media/{record['_id']}").status_code == 403
    assert httpx.get(user.url + record["fileUrl"]).status_code == 403
    assert user.snapshot(id)["media"] is None


# --- Many at once ----------------------------------------------------------------------


def test_twenty_uploads_at_once_are_told_to_their_own_streams_only(
    service: Service,
) -> None:
    users = [service.user() for _ in range(4)]
    sent = [(users[n % 4], new_id(), media.jpeg(100 + n, 80)) for n in range(20)]

    with ExitStack() as opened:
        streams = [opened.enter_context(user.stream(id)) for user, id, _ in sent]
        posting = [user.upload_later(content, id) for user, id, content in sent]
        answers = [each.result(DEADLINE_S) for each in posting]
        stories = [stream.wait_for_end() for stream in streams]

    for (_, id, _), answer, events in zip(sent, answers, stories, strict=True):
        assert answer.status_code == 200
        assert {event["uploadId"] for event in events} == {id}
        assert_one_story(events)
        assert stages(events) == STAGES
        assert events[-1]["media"]["_id"] == answer.json()["data"]["media"]["_id"]
    service.assert_nothing_left()


def test_queued_upload_is_told_its_place(
    service: Service, user: User, image: bytes
) -> None:
    ids = [new_id() for _ in range(3)]
    with service.verifiers_held():
        for id in ids:
            user.upload(image, id, prefer="respond-async")
        user.wait_for_status(ids[0], "verifying")
        place = user.snapshot(ids[2])["detail"]["queuePosition"]

    assert place == 2
    for id in ids:
        user.wait_for_status(id, "complete")
