"""Signed addresses of media: good for one file, for a while, and for nobody's guess."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from urllib.parse import parse_qs, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from uploadsvc.model import Facts, Media, Moderation, Verdict
from uploadsvc.web.signing import FILE, THUMBNAIL, SignedUrls

NOW = 1_700_000_000.0


@dataclass
class Clock:
    at: float = NOW

    def __call__(self) -> float:
        return self.at


def media(has_thumbnail: bool = True) -> Media:
    return Media(
        "media_1",
        "upload_1",
        "anna",
        "",
        "",
        "clip.mp4",
        Facts("video/mp4", 1, "f" * 64),
        Moderation(Verdict.APPROVE),
        has_thumbnail,
        datetime(2024, 1, 15, tzinfo=UTC),
    )


def signed(clock: Clock, kind: str = FILE, secret: str = "s" * 32) -> tuple[str, str]:
    """``exp`` and ``sig`` of a fresh address."""
    urls = SignedUrls(secret, lifetime_s=3600, clock=clock)
    url = urls(media())[0 if kind == FILE else 1]
    query = parse_qs(urlsplit(url or "").query)
    return query["exp"][0], query["sig"][0]


def good(
    clock: Clock, kind: str, exp: str, sig: str, media_id: str = "media_1"
) -> bool:
    urls = SignedUrls("s" * 32, lifetime_s=3600, clock=clock)
    return urls.good(media_id, kind, exp, sig)


def test_address_opens_its_file_until_it_expires() -> None:
    clock = Clock()
    exp, sig = signed(clock)

    clock.at = NOW + 3600

    assert good(clock, FILE, exp, sig)


def test_address_is_no_good_a_second_later() -> None:
    clock = Clock()
    exp, sig = signed(clock)

    clock.at = NOW + 3601

    assert not good(clock, FILE, exp, sig)


def test_address_opens_nothing_but_its_file() -> None:
    clock = Clock()
    exp, sig = signed(clock)

    assert not good(clock, THUMBNAIL, exp, sig)
    assert not good(clock, FILE, exp, sig, "media_2")
    assert not good(clock, FILE, str(int(exp) + 1), sig)


def test_other_secret_signs_otherwise() -> None:
    clock = Clock()

    exp, sig = signed(clock, secret="t" * 32)

    assert not good(clock, FILE, exp, sig)


def test_thumbnail_has_an_address_only_where_there_is_one() -> None:
    urls = SignedUrls("s" * 32, lifetime_s=3600, clock=Clock())

    assert urls(media(has_thumbnail=False))[1] is None
    assert "/media_1/thumbnail?" in (urls(media())[1] or "")


def test_addresses_begin_with_the_public_url() -> None:
    urls = SignedUrls("s", lifetime_s=60, base="https://a.example", clock=Clock())

    assert (urls(media())[0] or "").startswith(
        "https://a.example/api/media/media_1/file?exp=1700000060&sig="
    )


@given(st.text(), st.text())
def test_guesses_are_refused_and_no_error(exp: str, sig: str) -> None:
    assert not good(Clock(), FILE, exp, sig)


@pytest.mark.parametrize("exp", ["", "-1", "1e9", " 1700003600", "٣", "9" * 400])
def test_time_that_is_no_plain_number_is_refused(exp: str) -> None:
    _, sig = signed(Clock())

    assert not good(Clock(), FILE, exp, sig)
