"""The queue of what is held for review, over HTTP: who may look, what is shown, what is decided."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from datetime import timedelta
from typing import Any

import gevent
import pytest
from PIL import Image

from tests.house import START, VERIFIED
from tests.site import Site, bearer
from uploadsvc import wire
from uploadsvc.listeners import Decided, News
from uploadsvc.model import Decision, Finding, Media, Moderation, Refused, Verdict
from uploadsvc.web.blur import MAX_SIDE

MODERATOR = bearer("mia", role="moderator")
DENIED = {"success": False, "error": "Access denied", "code": "access_denied"}
HELD = Moderation(
    Verdict.REVIEW,
    ("suggestive_content",),
    (Finding("suggestive_content", Verdict.REVIEW, "nsfw", "second 12.4", 0.93, 0.9),),
    ("speech",),
    "7",
    ("nsfw_mobilenet_v2",),
)
REPORT = json.loads(json.dumps(wire.report_of(HELD)))


def held(site: Site, upload_id: str = "upload_123", **changes: Any) -> Media:
    """Media of anna's that wait for a moderator."""
    return site.media(upload_id, **({"moderation": HELD} | changes))


def decide(site: Site, media: Media, body: Any, **options: Any) -> Any:
    return site.client.post(
        f"/api/moderation/{media.id}/decision",
        json=body,
        headers=options.pop("headers", MODERATOR),
        **options,
    )


def put_thumbnail(site: Site, media: Media, picture: Image.Image) -> bytes:
    """A real one in place of the stand-in's bytes."""
    blob = site.services.storage.open(media.id, "thumbnail")
    assert blob is not None
    picture.save(blob.path, "WEBP", lossless=True)
    return blob.path.read_bytes()


def checkered(side: int = 128, square: int = 4) -> Image.Image:
    """Black and white squares, finer than what a blur may leave."""
    picture = Image.new("L", (side, side))
    picture.putdata(
        [
            255 * ((x // square + y // square) % 2)
            for y in range(side)
            for x in range(side)
        ]
    )
    return picture.convert("RGB")


# --- who may ---------------------------------------------------------------------------

ROUTES = [
    ("GET", "/queue"),
    ("GET", "/{id}"),
    ("GET", "/{id}/file"),
    ("GET", "/{id}/thumbnail"),
    ("GET", "/{id}/thumbnail?clear=1"),
    ("POST", "/{id}/decision"),
    ("GET", "/upload/upload_123"),
]


@pytest.mark.parametrize(("method", "path"), ROUTES)
@pytest.mark.parametrize(
    "role",
    [
        None,
        "",
        "Moderator",
        "moderators",
        "admin",
        True,
        {"moderator": 1},
        [],
        ["admin"],
    ],
    ids=str,
)
def test_only_a_moderator_is_let_in(
    site: Site, method: str, path: str, role: Any
) -> None:
    media = held(site)
    path = "/api/moderation" + path.format(id=media.id)

    answer = site.get(
        path,
        method=method,
        headers=bearer(role=role),
        json={"verdict": "approve"} if method == "POST" else None,
    )

    assert (answer.status_code, answer.json) == (403, DENIED)
    assert site.services.media.find(media.id) == media


@pytest.mark.parametrize(("method", "path"), ROUTES)
def test_nobody_is_let_in_without_a_token(site: Site, method: str, path: str) -> None:
    media = held(site)

    answer = site.get("/api/moderation" + path.format(id=media.id), method=method)

    assert answer.status_code == 401


@pytest.mark.parametrize("role", ["moderator", ["moderator"], ["admin", "moderator"]])
def test_role_is_a_word_or_a_list_with_the_word_in_it(site: Site, role: Any) -> None:
    answer = site.get("/api/moderation/queue", headers=bearer("mia", role=role))

    assert answer.status_code == 200


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/api/media/upload/upload_123"),
        ("GET", "/api/media/upload/upload_123/progress"),
        ("DELETE", "/api/media/upload/upload_123"),
        ("GET", "/api/media/{id}"),
        ("GET", "/api/media/{id}/file"),
        ("GET", "/api/media/{id}/thumbnail"),
        ("DELETE", "/api/media/{id}"),
    ],
)
def test_moderator_has_no_further_powers_over_uploads_and_media(
    site: Site, method: str, path: str
) -> None:
    media = site.media()

    answer = site.get(path.format(id=media.id), method=method, headers=MODERATOR)

    assert (answer.status_code, answer.json["code"]) == (403, "access_denied")


@pytest.mark.parametrize("path", ["", "/file", "/thumbnail"])
def test_approved_media_are_no_concern_of_moderators(site: Site, path: str) -> None:
    """What verification approved by itself is its owner's alone."""
    media = site.media()

    known = site.get(f"/api/moderation/{media.id}{path}", headers=MODERATOR)
    unknown = site.get(f"/api/moderation/media_456{path}", headers=MODERATOR)

    assert known.status_code == unknown.status_code == 404
    assert known.json == unknown.json


# --- the queue -------------------------------------------------------------------------


def test_queue_shows_what_waits_oldest_first(site: Site) -> None:
    for number in (3, 1, 2):
        moment = START + timedelta(seconds=number)
        held(site, f"upload_number_{number}", created_at=moment)
    site.media("upload_approved")
    site.media("upload_rejected", moderation=replace(HELD, verdict=Verdict.REJECT))

    answer = site.get("/api/moderation/queue", headers=MODERATOR)

    waiting = [each["uploadId"] for each in answer.json["media"]]
    assert waiting == [f"upload_number_{number}" for number in (1, 2, 3)]
    assert answer.json["nextCursor"] is None
    assert answer.headers["Cache-Control"] == "private, no-store"


def test_pages_of_the_queue_give_everything_once_while_it_is_worked_off(
    site: Site,
) -> None:
    """A decision takes its media out of the list: a page by number would skip the next."""
    made = [held(site, f"upload_number_{number}").id for number in range(5)]

    seen: list[str] = []
    cursor: str | None = ""
    while cursor is not None:
        query = {"limit": "2", "cursor": cursor}
        answer = site.get(
            "/api/moderation/queue", headers=MODERATOR, query_string=query
        )
        seen += [each["_id"] for each in answer.json["media"]]
        cursor = answer.json["nextCursor"]
        site.services.moderate.decide(seen[-1], "mia", Verdict.APPROVE, "")

    assert seen == made


@pytest.mark.parametrize("query", ["cursor=x", "cursor=W10", "limit=many"])
def test_queue_refuses_what_it_cannot_read(site: Site, query: str) -> None:
    answer = site.get(f"/api/moderation/queue?{query}", headers=MODERATOR)

    assert (answer.status_code, answer.json["code"]) == (400, "invalid_request")


def test_moderator_sees_all_of_the_verdict_and_whose_it_is(site: Site) -> None:
    media = held(site)

    answer = site.get(f"/api/moderation/{media.id}", headers=MODERATOR)

    assert answer.json["moderation"] == REPORT
    assert answer.json["decisions"] == []
    assert (answer.json["userId"], answer.json["uploadId"]) == ("anna", "upload_123")
    assert (answer.json["title"], answer.json["fileName"]) == (
        "A title",
        "picture.png",
    )
    assert answer.headers["Cache-Control"] == "private, no-store"


def test_uploader_is_told_the_reasons_and_nothing_more(site: Site) -> None:
    media = held(site)

    record = site.get(f"/api/media/{media.id}", headers=bearer())

    assert record.json["moderation"] == {
        "verdict": "review",
        "reasons": ["suggestive_content"],
    }
    assert (record.json["fileUrl"], record.json["thumbnailUrl"]) == (None, None)


# --- looking ---------------------------------------------------------------------------


def test_addresses_in_the_record_open_the_bytes_for_a_moderator(site: Site) -> None:
    media = held(site)
    record = site.get(f"/api/moderation/{media.id}", headers=MODERATOR).json

    file = site.get(record["fileUrl"], headers=MODERATOR)
    part = site.get(record["fileUrl"], headers=MODERATOR | {"Range": "bytes=2-4"})

    assert (file.status_code, file.data) == (200, b"0123456789")
    assert (part.status_code, part.data) == (206, b"234")
    assert file.headers["Cache-Control"] == "private, no-store"
    assert file.headers["X-Content-Type-Options"] == "nosniff"
    assert "sandbox" in file.headers["Content-Security-Policy"]
    assert record["thumbnailUrl"] == f"/api/moderation/{media.id}/thumbnail"


def test_thumbnail_is_blurred_until_asked(site: Site) -> None:
    media = held(site)
    clear_bytes = put_thumbnail(site, media, checkered())
    path = f"/api/moderation/{media.id}/thumbnail"

    blurred = site.get(path, headers=MODERATOR)
    clear = site.get(f"{path}?clear=1", headers=MODERATOR)

    picture = Image.open(io.BytesIO(blurred.data))
    contrasts = [high - low for low, high in picture.convert("RGB").getextrema()]  # type: ignore[misc]
    assert picture.size == (128, 128)
    assert max(contrasts) < 64, "the squares can still be told apart"
    assert clear.data == clear_bytes
    for answer in (blurred, clear):
        assert answer.headers["Content-Type"] == "image/webp"
        assert answer.headers["Cache-Control"] == "private, no-store"
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert "sandbox" in answer.headers["Content-Security-Policy"]


@pytest.mark.parametrize("size", [(512, 1), (1, 512), (1, 1)], ids=str)
@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
def test_thumbnail_of_any_shape_can_be_blurred(
    site: Site, size: tuple[int, int], mode: str
) -> None:
    media = held(site)
    put_thumbnail(site, media, Image.new(mode, size))

    answer = site.get(f"/api/moderation/{media.id}/thumbnail", headers=MODERATOR)

    assert Image.open(io.BytesIO(answer.data)).size == size


@pytest.mark.parametrize("kind", ["no picture", "another format", "too large"])
def test_thumbnail_that_is_none_of_ours_is_not_decoded(site: Site, kind: str) -> None:
    media = held(site)
    blob = site.services.storage.open(media.id, "thumbnail")
    assert blob is not None
    if kind == "another format":
        Image.new("RGB", (9, 9)).save(blob.path, "PNG")
    elif kind == "too large":
        Image.new("L", (MAX_SIDE + 1, 1)).save(blob.path, "WEBP")

    answer = site.get(f"/api/moderation/{media.id}/thumbnail", headers=MODERATOR)

    assert (answer.status_code, answer.json["code"]) == (404, "not_found")


def test_bytes_that_are_not_there_are_not_found(site: Site) -> None:
    media = held(site, has_thumbnail=False)
    site.services.storage.delete(media.id)

    record = site.get(f"/api/moderation/{media.id}", headers=MODERATOR)
    answer = site.get(f"/api/moderation/{media.id}/thumbnail", headers=MODERATOR)

    assert record.json["thumbnailUrl"] is None
    assert answer.status_code == 404


def test_front_sends_the_bytes_to_a_moderator_too(make_site: Any) -> None:
    site = make_site(accel_prefix="/_media/")
    media = held(site)

    answer = site.get(f"/api/moderation/{media.id}/file", headers=MODERATOR)

    assert answer.headers["X-Accel-Redirect"] == f"/_media/{media.id}/original.png"
    assert answer.headers["Cache-Control"] == "private, no-store"


def test_moderator_sees_why_content_was_refused(site: Site) -> None:
    site.send("upload_123")
    verdict = replace(HELD, verdict=Verdict.REJECT)
    site.verify(
        "upload_123", Refused("content_rejected", "No", verdict.reasons, verdict)
    )

    answer = site.get("/api/moderation/upload/upload_123", headers=MODERATOR)

    assert answer.json["moderation"] == REPORT | {"verdict": "reject"}
    assert (answer.json["userId"], answer.json["title"]) == ("anna", "T")
    assert (answer.json["status"], answer.json["code"]) == (
        "rejected",
        "content_rejected",
    )


@pytest.mark.parametrize("ending", [VERIFIED, Refused("invalid_media", "Damaged")])
def test_upload_whose_content_was_not_refused_is_no_concern_of_moderators(
    site: Site, ending: Any
) -> None:
    site.send("upload_123")
    site.verify("upload_123", ending)

    known = site.get("/api/moderation/upload/upload_123", headers=MODERATOR)
    unknown = site.get("/api/moderation/upload/upload_456", headers=MODERATOR)

    assert known.status_code == unknown.status_code == 404
    assert known.json == unknown.json


# --- deciding --------------------------------------------------------------------------


def test_approved_media_are_served_from_then_on(site: Site) -> None:
    media = held(site)
    before = site.get(f"/api/media/{media.id}/file", headers=bearer())

    answer = decide(site, media, {"verdict": "approve", "note": "a beach"})

    record = site.get(f"/api/media/{media.id}", headers=bearer()).json
    assert before.status_code == 403
    assert answer.status_code == 200
    assert record["moderation"] == {"verdict": "approve", "reasons": []}
    assert site.get(record["fileUrl"]).data == b"0123456789"
    assert site.get(record["thumbnailUrl"]).status_code == 200


def test_rejected_media_are_gone_and_record_and_snapshot_say_so(site: Site) -> None:
    media = held(site)
    signed = site.urls(media)[0]

    answer = decide(site, media, {"verdict": "reject", "note": "no beach"})

    record = site.get(f"/api/media/{media.id}", headers=bearer()).json
    snapshot = site.get("/api/media/upload/upload_123", headers=bearer()).json
    rejected = {"verdict": "reject", "reasons": ["suggestive_content"]}
    assert answer.status_code == 200
    assert record["moderation"] == snapshot["media"]["moderation"] == rejected
    assert (snapshot["status"], snapshot["stage"]) == ("complete", "complete")
    assert snapshot["media"]["fileUrl"] is record["fileUrl"] is None
    assert site.get(signed).status_code == 403
    assert site.get(f"/api/media/{media.id}/file", headers=bearer()).status_code == 403
    assert list((site.services.settings.storage_dir / "media").iterdir()) == []


def test_moderator_still_sees_what_was_rejected_but_not_its_bytes(site: Site) -> None:
    media = held(site)
    decide(site, media, {"verdict": "reject"})
    path = f"/api/moderation/{media.id}"

    record = site.get(path, headers=MODERATOR)

    assert record.json["moderation"] == REPORT | {"verdict": "reject"}
    assert (record.json["fileUrl"], record.json["thumbnailUrl"]) == (None, None)
    assert site.get(f"{path}/file", headers=MODERATOR).status_code == 404
    assert site.get("/api/moderation/queue", headers=MODERATOR).json["media"] == []


@pytest.mark.parametrize("verdict", ["approve", "reject"])
def test_decision_is_recorded_with_who_and_when(site: Site, verdict: str) -> None:
    media = held(site)

    answer = decide(site, media, {"verdict": verdict, "note": "a\x00 b\r\n🦆 "})

    found = site.services.media.decisions_of(media.id)
    assert [(each.moderator, each.note) for each in found] == [("mia", "a b\n🦆")]
    assert answer.json["decisions"] == [
        {
            "verdict": verdict,
            "moderator": "mia",
            "note": found[0].note,
            "at": answer.json["decisions"][0]["at"],
        }
    ]
    assert answer.json["moderation"]["findings"] == REPORT["findings"]


@pytest.mark.parametrize("second", ["approve", "reject"])
def test_first_decision_holds(site: Site, second: str) -> None:
    media = held(site)
    decide(site, media, {"verdict": "approve"})

    answer = decide(site, media, {"verdict": second})

    assert answer.status_code == 409
    assert answer.json["code"] == "already_decided"
    assert answer.json["verdict"] == "approve"
    assert site.get(f"/api/media/{media.id}/file", headers=bearer()).status_code == 200
    assert len(site.services.media.decisions_of(media.id)) == 1


def test_snapshot_a_client_holds_is_stale_after_a_decision(site: Site) -> None:
    """Its version once had no verdict in it: the decision would never have been heard of."""
    media = held(site)
    path = "/api/media/upload/upload_123"
    before = site.get(path, headers=bearer()).headers["ETag"]

    decide(site, media, {"verdict": "approve"})

    again = site.get(path, headers=bearer() | {"If-None-Match": before})
    assert again.status_code == 200
    assert again.json["media"]["moderation"]["verdict"] == "approve"


def test_media_their_owner_deleted_cannot_be_decided(site: Site) -> None:
    media = held(site)
    site.client.delete(f"/api/media/{media.id}", headers=bearer())

    answer = decide(site, media, {"verdict": "approve"})

    assert (answer.status_code, answer.json["code"]) == (404, "not_found")


@pytest.mark.parametrize(
    "body",
    [
        None,
        [],
        "approve",
        {},
        {"verdict": "review"},
        {"verdict": "Approve"},
        {"verdict": None},
        {"verdict": ["approve"]},
        {"verdict": "approve", "note": 5},
        {"verdict": "approve", "note": None},
        {"verdict": "approve", "note": "n" * 1001},
        {"verdict": "approve", "other": "n" * 20_000},
    ],
    ids=lambda body: str(body)[:40],
)
def test_decision_that_cannot_be_read_changes_nothing(site: Site, body: Any) -> None:
    media = held(site)

    answer = decide(site, media, body)

    assert (answer.status_code, answer.json["code"]) == (400, "invalid_request")
    assert site.services.media.find(media.id) == media


@pytest.mark.parametrize(
    "data", [b"", b"{", b"\xff\xfe", b"[" * 10_000, b'{"verdict": "approve"} x']
)
def test_body_that_is_no_json_changes_nothing(site: Site, data: bytes) -> None:
    media = held(site)

    answer = site.client.post(
        f"/api/moderation/{media.id}/decision", data=data, headers=MODERATOR
    )

    assert (answer.status_code, answer.json and answer.json["code"]) == (
        400,
        "invalid_request",
    )
    assert site.services.media.find(media.id) == media


def test_body_without_a_length_is_bounded_while_it_is_read(site: Site) -> None:
    media = held(site)
    body = b'{"verdict": "approve", "x": "' + b"x" * 20_000

    answer = site.client.post(
        f"/api/moderation/{media.id}/decision",
        input_stream=io.BytesIO(body),
        environ_overrides={"wsgi.input_terminated": True},
        headers=MODERATOR,
    )

    assert (answer.status_code, answer.json and answer.json["code"]) == (
        400,
        "invalid_request",
    )


def test_note_may_be_as_long_as_it_is_said_to_be(site: Site) -> None:
    media = held(site)

    answer = decide(site, media, {"verdict": "reject", "note": "🦆" * 1000})

    assert answer.json["decisions"][0]["note"] == "🦆" * 1000


def test_listeners_hear_of_a_decision(site: Site) -> None:
    media = held(site)
    heard: list[News] = []
    site.services.listeners.add("ours", heard.append)

    decide(site, media, {"verdict": "reject", "note": "no beach"})

    gevent.sleep(0)
    (news,) = heard
    assert isinstance(news, Decided)
    assert news.media == site.services.media.find(media.id)
    assert news.decision == Decision(
        media.id, "upload_123", "mia", Verdict.REJECT, "no beach", news.decision.at
    )
