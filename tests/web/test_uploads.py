"""Sending, looking, listing and cancelling over HTTP."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import pytest

from tests.house import VERIFIED
from tests.site import Site, bearer
from uploadsvc.model import Refused, State, advanced
from uploadsvc.stages import Stage

ONE = "/api/media/upload/upload_123"
LIST = "/api/media/upload"
DENIED = {"success": False, "error": "Access denied", "code": "access_denied"}

MakeSite = Callable[..., Site]


# --- whose upload ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "path"), [("GET", ONE), ("DELETE", ONE), ("GET", f"{ONE}?after=0")]
)
def test_foreign_and_unknown_upload_get_the_same_answer(
    site: Site, method: str, path: str
) -> None:
    unknown = site.client.open(path, method=method, headers=bearer())
    site.services.uploads.begin("upload_123", "ben", "me")

    foreign = site.client.open(path, method=method, headers=bearer())

    assert unknown.status_code == foreign.status_code == 403
    assert unknown.json == foreign.json == DENIED
    assert unknown.headers == foreign.headers


@pytest.mark.parametrize("path", ["", "/file", "/thumbnail"])
def test_foreign_and_unknown_media_get_the_same_answer(site: Site, path: str) -> None:
    media = site.media(user_id="ben")

    foreign = site.client.get(f"/api/media/{media.id}{path}", headers=bearer())
    unknown = site.client.get(f"/api/media/media_456{path}", headers=bearer())

    assert unknown.status_code == foreign.status_code == 403
    assert unknown.json == foreign.json == DENIED
    assert unknown.headers == foreign.headers


@pytest.mark.parametrize("suffix", ["", "/progress"])
def test_foreign_upload_is_neither_posted_to_nor_followed(
    site: Site, suffix: str
) -> None:
    site.services.uploads.begin("upload_123", "ben", "me")

    answer = site.client.get(ONE + suffix, headers=bearer()) if suffix else site.send()

    assert answer.status_code == 403
    assert answer.json["code"] == "access_denied"


def test_stream_of_an_unknown_id_binds_it_to_its_user(site: Site) -> None:
    stream = site.client.get(f"{ONE}/progress", headers=bearer())

    foreign = site.send(user="ben")
    own = site.send(user="anna")

    stream.close()
    assert (stream.status_code, foreign.status_code, own.status_code) == (200, 403, 202)


# --- ids -------------------------------------------------------------------------------


@pytest.mark.parametrize("upload_id", ["short12", "a" * 65, "has space", "dot.dot.dot"])
def test_bad_upload_id_is_refused(site: Site, upload_id: str) -> None:
    sent = site.send(upload_id)
    looked = site.client.get(f"{LIST}/{upload_id}", headers=bearer())

    assert (sent.status_code, looked.status_code) == (400, 400)
    assert sent.json["code"] == looked.json["code"] == "invalid_upload_id"  # type: ignore[index]


@pytest.mark.parametrize("upload_id", ["a" * 8, "A-_0" * 16])
def test_shortest_and_longest_id_are_good(site: Site, upload_id: str) -> None:
    answer = site.send(upload_id)

    assert answer.status_code == 202
    assert answer.json["uploadId"] == upload_id


def test_upload_without_an_id_gets_one_of_ours(site: Site) -> None:
    one, other = site.send(None), site.send(None)

    assert one.json["uploadId"].startswith("upload_")
    assert one.json["uploadId"] != other.json["uploadId"]
    assert one.headers["X-Upload-ID"] == one.json["uploadId"]


def test_second_post_with_an_id_is_told_where_to_find_the_first(site: Site) -> None:
    """A client whose answer got lost finds its upload."""
    site.send()

    again = site.send()

    assert again.status_code == 409
    assert again.json == {
        "success": False,
        "error": "An upload with this id was already sent",
        "code": "upload_id_taken",
        "uploadId": "upload_123",
        "status": "queued",
        "statusUrl": ONE,
        "progressUrl": f"{ONE}/progress",
    }
    assert again.headers["X-Upload-ID"] == "upload_123"


# --- sending ---------------------------------------------------------------------------


def test_upload_sent_asynchronously_is_accepted_with_its_addresses(site: Site) -> None:
    answer = site.send()

    assert answer.status_code == 202
    assert answer.json == {
        "success": True,
        "uploadId": "upload_123",
        "status": "queued",
        "progressUrl": f"{ONE}/progress",
        "statusUrl": ONE,
    }
    assert answer.headers["Location"] == ONE
    assert answer.headers["Preference-Applied"] == "respond-async"
    assert answer.headers["X-Upload-ID"] == "upload_123"


def test_wait_that_ends_before_verification_is_accepted(site: Site) -> None:
    answer = site.send(Prefer="wait=0")

    assert answer.status_code == 202
    assert answer.headers["Preference-Applied"] == "wait=0"


@pytest.mark.parametrize(
    ("form", "status", "code"),
    [
        ({"title": "T"}, 400, "missing_file"),
        ({"file": (b"x" * 11, "a.png")}, 413, "file_too_large"),
        ({"file": (b"x", "a.png"), "title": "a" * 301}, 400, "invalid_request"),
    ],
)
def test_form_that_cannot_be_taken_ends_the_upload_with_its_code(
    make_site: MakeSite, form: dict[str, Any], status: int, code: str
) -> None:
    site = make_site(max_upload_bytes=10)
    if "file" in form:
        data, name = form["file"]
        form = form | {"file": (io.BytesIO(data), name)}

    answer = site.client.post(
        LIST,
        data=form,
        content_type="multipart/form-data",
        headers=bearer() | {"X-Upload-ID": "upload_123"},
    )

    snapshot = site.client.get(ONE, headers=bearer()).json
    assert answer.json is not None
    assert snapshot is not None
    assert (answer.status_code, answer.json["code"]) == (status, code)
    assert answer.json["uploadId"] == "upload_123"
    assert (snapshot["status"], snapshot["stage"], snapshot["code"]) == (
        "failed",
        "error",
        code,
    )


def test_body_that_is_no_form_is_refused(site: Site) -> None:
    answer = site.client.post(LIST, json={"file": "x"}, headers=bearer())

    assert answer.json is not None
    assert (answer.status_code, answer.json["code"]) == (
        415,
        "unsupported_content_type",
    )


def test_declared_length_beyond_the_limit_is_refused_unread(
    make_site: MakeSite,
) -> None:
    site = make_site(max_upload_bytes=10)
    body = io.BytesIO(b"x" * 100)

    answer = site.client.post(
        LIST,
        input_stream=body,
        content_type="multipart/form-data; boundary=b",
        environ_overrides={"CONTENT_LENGTH": str(2**20 + 11)},
        headers=bearer(),
    )

    assert answer.json is not None
    assert (answer.status_code, answer.json["code"]) == (413, "file_too_large")
    assert answer.json["limitBytes"] == 10
    assert body.tell() == 0


@pytest.mark.parametrize(
    ("closing", "code"), [(True, "shutting_down"), (False, "overloaded")]
)
def test_refusal_of_a_busy_service_says_when_to_come_back_and_leaves_the_id_free(
    make_site: MakeSite, closing: bool, code: str
) -> None:
    site = make_site(max_queue=1)
    site.send("upload_first")
    site.services.intake.closing = closing

    refused = site.send()

    site.services.intake.closing = False
    site.services.dispatcher.cancel("upload_first")
    assert (refused.status_code, refused.json["code"]) == (503, code)
    assert int(refused.headers["Retry-After"]) == refused.json["retryAfter"] > 0
    assert site.send().status_code == 202


# --- looking ---------------------------------------------------------------------------


def test_snapshot_is_the_last_event_and_the_status(site: Site) -> None:
    site.send()
    site.services.hub.publish("upload_123", advanced(Stage.ANALYZING, 3, 8))

    answer = site.client.get(ONE, headers=bearer())

    assert answer.json is not None
    told = {
        name: answer.json[name]
        for name in ("uploadId", "status", "stage", "progress", "message")
    }
    assert told == {
        "uploadId": "upload_123",
        "status": "queued",
        "stage": "analyzing",
        "progress": 45,
        "message": "AI verification in progress... 45%",
    }
    assert "media" not in answer.json


def test_snapshot_of_a_complete_upload_carries_its_media(site: Site) -> None:
    site.send()
    site.verify("upload_123")

    answer = site.client.get(ONE, headers=bearer()).json

    assert answer is not None
    assert (answer["status"], answer["progress"]) == ("complete", 100)
    assert answer["media"]["title"] == "T"
    assert "sig=" in answer["media"]["fileUrl"]


def test_snapshot_of_a_rejected_upload_carries_code_and_reasons(site: Site) -> None:
    site.send()
    site.verify("upload_123", Refused("content_rejected", "No", ("nudity",)))

    answer = site.client.get(ONE, headers=bearer()).json

    assert answer is not None
    assert (answer["status"], answer["code"], answer["reasons"]) == (
        "rejected",
        "content_rejected",
        ["nudity"],
    )


def test_unchanged_snapshot_is_not_sent_again(site: Site) -> None:
    site.send()
    first = site.client.get(ONE, headers=bearer())

    again = site.client.get(
        ONE, headers=bearer() | {"If-None-Match": first.headers["ETag"]}
    )

    assert (again.status_code, again.data) == (304, b"")
    assert again.headers["ETag"] == first.headers["ETag"]


def test_changed_snapshot_is_sent(site: Site) -> None:
    site.send()
    first = site.client.get(ONE, headers=bearer())
    site.services.hub.publish("upload_123", advanced(Stage.ANALYZING, 3, 8))

    again = site.client.get(
        ONE, headers=bearer() | {"If-None-Match": first.headers["ETag"]}
    )

    assert again.status_code == 200


def test_snapshot_changes_when_its_media_is_deleted(site: Site) -> None:
    media = site.media()
    first = site.client.get(ONE, headers=bearer())
    site.client.delete(f"/api/media/{media.id}", headers=bearer())

    again = site.client.get(
        ONE, headers=bearer() | {"If-None-Match": first.headers["ETag"]}
    )

    assert again.status_code == 200
    assert again.json is not None
    assert again.json["media"] is None


def test_long_poll_gives_all_later_events_oldest_first(site: Site) -> None:
    site.send()
    site.verify("upload_123", advanced(Stage.ANALYZING, 1, 4), VERIFIED)

    answer = site.client.get(f"{ONE}?after=0", headers=bearer()).json
    newest = site.client.get(
        f"{ONE}?after={(answer or {})['id']}", headers=bearer()
    ).json

    assert answer is not None
    assert newest is not None
    ids = [event["id"] for event in answer["events"]]
    assert ids == list(range(1, len(ids) + 1))
    assert answer["events"][-1]["media"]
    assert newest["events"] == []


def test_long_poll_that_hears_nothing_ends_empty(site: Site) -> None:
    site.send()
    newest = site.client.get(ONE, headers=bearer()).json

    answer = site.client.get(
        f"{ONE}?after={(newest or {})['id']}&wait=0", headers=bearer()
    )

    assert answer.json is not None
    assert answer.json["events"] == []
    assert answer.json["status"] == "queued"


@pytest.mark.parametrize("after", ["99", "abc", "-1", "", "9" * 40])
def test_long_poll_with_a_lost_cursor_gets_the_newest_state(
    site: Site, after: str
) -> None:
    site.send()

    answer = site.client.get(f"{ONE}?after={after}", headers=bearer())

    assert answer.status_code == 200
    assert answer.json is not None
    assert [event["id"] for event in answer.json["events"]] == [answer.json["id"]]


@pytest.mark.parametrize("wait", ["abc", "-1", "1.5"])
def test_wait_that_is_no_number_is_refused(site: Site, wait: str) -> None:
    site.send()

    answer = site.client.get(f"{ONE}?after=0&wait={wait}", headers=bearer())

    assert answer.status_code == 400
    assert answer.json is not None
    assert answer.json["field"] == "wait"


# --- listing ---------------------------------------------------------------------------


def ids_of(answer: Any) -> list[str]:
    return [upload["uploadId"] for upload in answer.json["uploads"]]


def test_list_is_my_own_newest_first_in_pages(site: Site) -> None:
    for number in range(5):
        site.services.uploads.begin(f"upload_{number}", "anna", "me")
    site.services.uploads.begin("upload_of_ben", "ben", "me")

    pages, cursor = [], ""
    while cursor is not None:
        answer = site.client.get(f"{LIST}?limit=2&cursor={cursor}", headers=bearer())
        assert answer.json is not None
        pages.append(ids_of(answer))
        cursor = answer.json["nextCursor"]

    assert pages == [["upload_4", "upload_3"], ["upload_2", "upload_1"], ["upload_0"]]


def test_list_of_nobody_is_empty(site: Site) -> None:
    answer = site.client.get(LIST, headers=bearer())

    assert answer.json == {"success": True, "uploads": [], "nextCursor": None}


def test_listed_uploads_carry_status_and_media(site: Site) -> None:
    site.media()
    site.send("upload_456")

    answer = site.client.get(LIST, headers=bearer())

    assert answer.json is not None
    by_id = {upload["uploadId"]: upload for upload in answer.json["uploads"]}
    assert by_id["upload_123"]["media"]["_id"] == "media_of_upload_123"
    assert by_id["upload_456"]["status"] == "queued"


@pytest.mark.parametrize(
    "cursor",
    [
        "abc",
        "%00",
        "W10",  # []
        "WzEsMl0",  # [1,2]
        "WyIyMDI0LTAxLTE1IiwgImEiXQ",  # a day without zone
        "WyIyMDI0LTAxLTE1VDAwOjAwOjAwKzAwOjAwIiwgMV0",  # a number for an id
        "e30",  # {}
        "W1tb" * 900,  # [[[ and so on
        "WyIwMDAxLTAxLTAxVDAwOjAwOjAwKzE0OjAwIiwgImEiXQ",  # before all years in UTC
        "🦆",
        "A" * 10_000,
    ],
)
def test_cursor_that_is_none_of_ours_is_refused(site: Site, cursor: str) -> None:
    answer = site.client.get(LIST, query_string={"cursor": cursor}, headers=bearer())

    assert answer.status_code == 400
    assert answer.json is not None
    assert (answer.json["code"], answer.json["field"]) == ("invalid_request", "cursor")


@pytest.mark.parametrize(("limit", "shown"), [("0", 1), ("1", 1), ("1000", 3)])
def test_limit_is_kept_within_bounds(site: Site, limit: str, shown: int) -> None:
    for number in range(3):
        site.services.uploads.begin(f"upload_{number}", "anna", "me")

    answer = site.client.get(f"{LIST}?limit={limit}", headers=bearer())

    assert len(ids_of(answer)) == shown


# --- cancelling ------------------------------------------------------------------------


def test_upload_is_cancelled_and_cancelled_again(site: Site) -> None:
    site.send()

    answers = [site.client.delete(ONE, headers=bearer()) for _ in range(2)]

    assert [answer.status_code for answer in answers] == [202, 202]
    assert [(answer.json or {})["status"] for answer in answers] == ["cancelled"] * 2
    assert site.services.storage.sweep((), -1) == 0


def test_ended_upload_cannot_be_cancelled(site: Site) -> None:
    site.send()
    site.verify("upload_123")

    answer = site.client.delete(ONE, headers=bearer())

    assert answer.json is not None
    assert (answer.status_code, answer.json["code"]) == (409, "already_ended")
    assert answer.json["status"] == "complete"


def test_waiting_id_can_be_cancelled(site: Site) -> None:
    site.services.intake.follow("upload_123", "anna")

    answer = site.client.delete(ONE, headers=bearer())

    row = site.services.uploads.find("upload_123")
    assert answer.status_code == 202
    assert row is not None
    assert row.state is State.CANCELLED
