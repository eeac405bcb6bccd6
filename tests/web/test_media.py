"""Approved media over HTTP: the record, the bytes, and headers that make them harmless."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any
from urllib.parse import parse_qs, quote, urlsplit

import pytest
from werkzeug.http import parse_options_header

from tests.house import FACTS
from tests.site import SECRET, Site, bearer
from uploadsvc.model import Moderation, Verdict
from uploadsvc.web.body import plain
from uploadsvc.web.signing import SignedUrls

MakeSite = Callable[..., Site]

NASTY = [
    "../../etc/passwd",
    'quote".png',
    "back\\slash.png",
    "semi;colon; filename=evil.html.png",
    "line\r\nX-Evil: 1.png",
    "Grüße 🦆.png",
    "\u202egnp.exe.png",
    "%2e%2e%2f.png",
    ".png",
    "nul\0.png",
    "a" * 255 + ".png",
]


def test_record_is_its_owners_with_fresh_addresses(site: Site) -> None:
    media = site.media()

    answer = site.get(f"/api/media/{media.id}", headers=bearer())

    assert answer.json is not None
    assert answer.json["_id"] == media.id
    assert answer.headers["Cache-Control"] == "private, no-store"
    assert site.get(answer.json["fileUrl"]).data == b"0123456789"
    assert site.get(answer.json["thumbnailUrl"]).data == b"small picture"


@pytest.mark.parametrize("kind", ["file", "thumbnail"])
def test_owner_gets_the_bytes_by_token(site: Site, kind: str) -> None:
    media = site.media()

    answer = site.get(f"/api/media/{media.id}/{kind}", headers=bearer())

    assert answer.status_code == 200
    assert (
        answer.headers["Content-Type"]
        == {
            "file": "image/png",
            "thumbnail": "image/webp",
        }[kind]
    )


@pytest.mark.parametrize("place", [0, 1], ids=["file", "thumbnail"])
def test_bytes_come_with_headers_that_make_them_harmless(
    site: Site, place: int
) -> None:
    url = site.urls(site.media())[place]

    answer = site.get(url)

    policy = answer.headers["Content-Security-Policy"]
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert "default-src 'none'" in policy
    assert "sandbox" in policy
    assert answer.headers["Cache-Control"].startswith("private")
    assert answer.headers["ETag"]


@pytest.mark.parametrize(
    ("mime_type", "disposition"),
    [
        ("image/png", "inline"),
        ("video/mp4", "inline"),
        ("audio/mpeg", "inline"),
        ("application/pdf", "attachment"),
        ("text/html", "attachment"),
    ],
)
def test_only_pictures_sound_and_film_are_shown_in_a_page(
    site: Site, mime_type: str, disposition: str
) -> None:
    media = site.media(facts=replace(FACTS, mime_type=mime_type))

    answer = site.get(site.urls(media)[0])

    assert answer.headers["Content-Disposition"].startswith(disposition)
    assert answer.headers["Content-Type"].split(";")[0] == mime_type


@pytest.mark.parametrize("name", NASTY)
def test_file_name_cannot_break_out_of_its_header(site: Site, name: str) -> None:
    media = site.media(file_name=plain(name)[-255:])

    answer = site.get(site.urls(media)[0])

    disposition = answer.headers["Content-Disposition"]
    kind, options = parse_options_header(disposition)
    assert answer.status_code == 200
    assert kind == "inline"
    assert set(options) <= {"filename", "filename*"}
    assert not re.search(r"[\r\n\0]", disposition)
    assert disposition.isascii()
    assert "X-Evil" not in answer.headers


def test_kept_file_of_another_kind_is_named_for_what_it_is(site: Site) -> None:
    """HEIC comes out as JPEG."""
    media = site.media(
        file_name="photo.heic", facts=replace(FACTS, mime_type="image/jpeg")
    )

    answer = site.get(site.urls(media)[0])

    assert "photo.heic.jpg" in answer.headers["Content-Disposition"]


# --- ranges and conditions -------------------------------------------------------------


@pytest.mark.parametrize(
    ("asked", "sent", "content_range"),
    [
        ("bytes=0-3", b"0123", "bytes 0-3/10"),
        ("bytes=4-", b"456789", "bytes 4-9/10"),
        ("bytes=-2", b"89", "bytes 8-9/10"),
        ("bytes=8-99", b"89", "bytes 8-9/10"),
    ],
)
def test_range_of_the_bytes_is_sent(
    site: Site, asked: str, sent: bytes, content_range: str
) -> None:
    url = site.urls(site.media())[0]

    answer = site.get(url, headers={"Range": asked})

    assert (answer.status_code, answer.data) == (206, sent)
    assert answer.headers["Content-Range"] == content_range
    assert answer.headers["Accept-Ranges"] == "bytes"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"


def test_range_beyond_the_end_cannot_be_sent(site: Site) -> None:
    url = site.urls(site.media())[0]

    answer = site.get(url, headers={"Range": "bytes=10-"})

    assert answer.status_code == 416
    assert answer.headers["Content-Range"] == "bytes */10"


def test_head_tells_the_length_and_sends_nothing(site: Site) -> None:
    url = site.urls(site.media())[0]

    answer = site.get(url, method="HEAD")

    assert (answer.status_code, answer.data) == (200, b"")
    assert answer.headers["Content-Length"] == "10"
    assert answer.headers["Content-Type"] == "image/png"


def test_unchanged_bytes_are_not_sent_again(site: Site) -> None:
    url = site.urls(site.media())[0]
    first = site.get(url)

    again = site.get(url, headers={"If-None-Match": first.headers["ETag"]})

    assert (again.status_code, again.data) == (304, b"")


# --- signed addresses ------------------------------------------------------------------


def test_expired_address_is_denied(site: Site) -> None:
    long_ago = SignedUrls(SECRET, lifetime_s=3600, clock=lambda: 1_000_000.0)
    url, _ = long_ago(site.media())

    answer = site.get(url or "")

    assert (answer.status_code, answer.json["code"]) == (403, "access_denied")


def tampered(url: str, **changes: str) -> str:
    parts = urlsplit(url)
    query = {
        name: values[0] for name, values in parse_qs(parts.query).items()
    } | changes
    return parts.path + "?" + "&".join(f"{k}={quote(v)}" for k, v in query.items())


@pytest.mark.parametrize(
    "changes",
    [
        {"exp": "99999999999"},
        {"exp": ""},
        {"exp": "abc"},
        {"sig": ""},
        {"sig": "A" * 43},
        {"sig": "🦆"},
    ],
    ids=str,
)
def test_tampered_address_is_denied(site: Site, changes: dict[str, str]) -> None:
    url = site.urls(site.media())[0]

    answer = site.get(tampered(url, **changes))

    assert answer.status_code == 403


def test_address_of_the_thumbnail_does_not_open_the_file(site: Site) -> None:
    file_url, thumbnail_url = site.urls(site.media())
    query = urlsplit(thumbnail_url).query

    answer = site.get(f"{urlsplit(file_url).path}?{query}")

    assert answer.status_code == 403


def test_address_of_one_media_does_not_open_another(site: Site) -> None:
    one, other = (site.urls(site.media(f"upload_{n}_of_2"))[0] for n in (1, 2))

    answer = site.get(f"{urlsplit(other).path}?{urlsplit(one).query}")

    assert answer.status_code == 403


def test_token_does_not_make_a_bad_signature_good(site: Site) -> None:
    url = site.urls(site.media())[0]

    answer = site.get(tampered(url, sig="A" * 43), headers=bearer())

    assert answer.status_code == 403


@pytest.mark.parametrize("verdict", [Verdict.REVIEW, Verdict.REJECT])
def test_media_that_is_not_approved_is_sent_to_nobody(
    site: Site, verdict: Verdict
) -> None:
    media = site.media(moderation=Moderation(verdict, ("text_profanity",)))
    signed = site.services.urls(media)[0]
    assert signed is not None

    by_token = site.get(f"/api/media/{media.id}/file", headers=bearer())
    by_address = site.get(signed)

    assert (by_token.status_code, by_address.status_code) == (403, 403)


# --- behind nginx ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("place", "name"), [(0, "original.png"), (1, "thumbnail.webp")]
)
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_front_sends_the_bytes_when_the_setting_is_on(
    make_site: MakeSite, place: int, name: str, method: str
) -> None:
    site = make_site(accel_prefix="/_media/")
    media = site.media()

    answer = site.get(site.urls(media)[place], method=method)

    assert answer.headers["X-Accel-Redirect"] == f"/_media/{media.id}/{name}"
    assert answer.data == b""
    assert "ETag" not in answer.headers
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert "sandbox" in answer.headers["Content-Security-Policy"]


@pytest.mark.parametrize(
    "header", ["X-Accel-Redirect", "X-Accel-Mapping", "X-Sendfile-Type"]
)
def test_request_cannot_ask_for_the_front_to_send(site: Site, header: str) -> None:
    url = site.urls(site.media())[0]

    answer = site.get(url, headers={header: "/_media/"})

    assert "X-Accel-Redirect" not in answer.headers
    assert answer.data == b"0123456789"


# --- deleting --------------------------------------------------------------------------


def test_deleted_media_is_gone_with_its_bytes(site: Site) -> None:
    media = site.media()
    url = site.urls(media)[0]

    answer = site.client.delete(f"/api/media/{media.id}", headers=bearer())

    assert (answer.status_code, answer.data) == (204, b"")
    assert site.get(url).status_code == 403
    assert site.get(f"/api/media/{media.id}", headers=bearer()).status_code == 403
    assert list((site.services.settings.storage_dir / "media").iterdir()) == []


def test_foreign_media_cannot_be_deleted(site: Site) -> None:
    media = site.media(user_id="ben")

    answer = site.client.delete(f"/api/media/{media.id}", headers=bearer())

    assert answer.status_code == 403
    assert site.services.media.find(media.id) is not None


@pytest.mark.parametrize(
    "media_id", ["..%2f..%2fsecret", "%2e%2e", "media_of_upload_123%00", "*", "?"]
)
def test_name_of_media_is_never_a_path(site: Site, media_id: str) -> None:
    site.media()

    answer: Any = site.get(f"/api/media/{media_id}/file", headers=bearer())

    assert answer.status_code in {403, 404}
