"""JSON out to clients within its bounds; lines of the verifier child in, whatever they hold."""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from uploadsvc import errors, wire
from uploadsvc.model import (
    Ending,
    Event,
    Facts,
    Job,
    Media,
    Moderation,
    Progress,
    Refused,
    State,
    Upload,
    Verdict,
    Verified,
    advanced,
    failure,
    opening,
)
from uploadsvc.stages import BANDS, ORDER, Stage

EPOCH = datetime.fromtimestamp(0, UTC)
AT = datetime(2024, 1, 15, 10, 30, 0, 123_999, tzinfo=UTC)
FACTS = Facts(
    "video/mp4", 2**53, "f" * 64, 65_535, 65_535, 14_399.123456789, "h264", "L" * 28
)
MEDIA = Media(
    "media_" + "0" * 32,
    "u" * 64,
    "anna",
    "A title",
    "A description",
    "clip.mp4",
    FACTS,
    Moderation(Verdict.APPROVE),
    True,
    AT,
)
LONGEST_ID = "u" * 64
WIDEST = ["🦆", '"', "\\", "\n", "é", "\u2028", "\U0010fffd"]


def signed(media: Media) -> tuple[str, str]:
    long = "https://" + "uploads." * 20 + f"example/api/media/{media.id}/thumbnail?"
    return long + "s" * 60, long + "s" * 60


def unsigned(media: Media) -> tuple[None, None]:
    return None, None


def event(progress: Progress, media: Media | None = None) -> Event:
    return Event(2**53, LONGEST_ID, progress, AT, media)


def size(event: Event) -> int:
    return len(wire.compact(wire.event_json(event, signed)).encode())


@st.composite
def progresses(draw: st.DrawFn) -> Progress:
    stage = draw(st.sampled_from(Stage))
    percent = draw(st.integers(BANDS[stage].first, BANDS[stage].last))
    values = st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text()
    detail = draw(st.dictionaries(st.text(), values))
    return Progress(stage, percent, draw(st.text()), detail)


sizes = st.none() | st.integers(0, 2**31)
facts = st.builds(
    Facts,
    st.text(),
    st.integers(0, 2**53),
    st.text(),
    sizes,
    sizes,
    st.none() | st.floats(0, 1e9),
)
reasons = st.lists(st.text(), max_size=3).map(tuple)
moderations = st.builds(Moderation, st.sampled_from(Verdict), reasons)
outcomes = st.builds(
    Verified, facts, moderations, st.text(), st.none() | st.text()
) | st.builds(Refused, st.text(), st.text(), reasons)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)


@pytest.mark.parametrize(
    "stage", [each for each in ORDER if each is not Stage.COMPLETE]
)
def test_progress_event_is_at_most_a_kilobyte(stage: Stage) -> None:
    said = advanced(
        stage, 1, 1, received_bytes=2**53, total_bytes=2**53, sha256="f" * 64
    )

    assert size(event(said)) <= wire.MAX_EVENT_BYTES


@pytest.mark.parametrize(
    "error", errors.BY_CODE.values(), ids=lambda error: str(error.code)
)
def test_error_event_is_at_most_a_kilobyte(error: type[errors.UploadError]) -> None:
    reasons = ("sexual_content", "suggestive_content", "text_profanity", "known_bad")
    said = failure(error().message, error.code, reasons=reasons)

    assert size(event(said)) <= wire.MAX_EVENT_BYTES


@pytest.mark.parametrize("char", WIDEST)
def test_complete_event_is_bounded_with_the_longest_texts(char: str) -> None:
    media = replace(
        MEDIA,
        title=char * wire.TITLE_MAX,
        description=char * wire.DESCRIPTION_MAX,
        moderation=Moderation(Verdict.APPROVE, ("suggestive_content",) * 5),
    )

    assert size(event(opening(Stage.COMPLETE), media)) <= wire.MAX_COMPLETE_BYTES


def test_event_has_the_guides_fields() -> None:
    said = Event(7, "upload_123", advanced(Stage.ANALYZING, 3, 8, frames_done=3), AT)

    assert wire.event_json(said, unsigned) == {
        "type": "progress",
        "uploadId": "upload_123",
        "progress": 45,
        "stage": "analyzing",
        "message": "AI verification in progress... 45%",
        "timestamp": "2024-01-15T10:30:00.123Z",
        "detail": {"framesDone": 3},
    }


def test_error_event_carries_code_and_reasons_beside_its_message() -> None:
    said = failure("No", "content_rejected", reasons=("nudity",), retry_after=5)

    told = wire.event_json(event(said), unsigned)

    assert (told["code"], told["reasons"]) == ("content_rejected", ["nudity"])
    assert (told["progress"], told["detail"]) == (0, {"retryAfter": 5})


@pytest.mark.parametrize("verdict", [Verdict.REVIEW, Verdict.REJECT])
def test_media_that_is_not_approved_has_no_urls(verdict: Verdict) -> None:
    media = replace(MEDIA, moderation=Moderation(verdict, ("text_profanity",)))

    told = wire.media_json(media, signed)

    assert (told["fileUrl"], told["thumbnailUrl"]) == (None, None)
    assert told["moderation"] == {
        "verdict": verdict.value,
        "reasons": ["text_profanity"],
    }


def test_record_has_the_contracts_fields() -> None:
    assert list(wire.media_json(MEDIA, signed)) == [
        "_id",
        "title",
        "description",
        "fileUrl",
        "thumbnailUrl",
        "mimeType",
        "size",
        "sha256",
        "width",
        "height",
        "duration",
        "codec",
        "blurhash",
        "moderation",
        "createdAt",
    ]


def test_snapshot_before_any_event_says_where_the_upload_stands() -> None:
    upload = Upload("upload_123", "anna", State.OPEN, AT, AT)

    told = wire.snapshot_json(upload, None, None, unsigned)

    assert (told["status"], told["progress"], told["stage"]) == ("waiting", 0, None)
    assert "media" not in told


def test_snapshot_of_a_complete_upload_without_its_media_says_null() -> None:
    ending = Ending(9, "", None, (), AT)
    upload = Upload("upload_123", "anna", State.COMPLETE, AT, AT, ending=ending)

    told = wire.snapshot_json(
        upload, event(opening(Stage.COMPLETE), MEDIA), None, signed
    )

    assert told["media"] is None
    assert told["status"] == "complete"


def test_error_answer_spells_facts_in_camel_case() -> None:
    told = wire.error_json(errors.TooLarge(limit_bytes=5, retry_after=1), "upload_123")

    assert told == {
        "success": False,
        "error": "The file is too large",
        "code": "file_too_large",
        "uploadId": "upload_123",
        "limitBytes": 5,
        "retryAfter": 1,
    }


@given(st.integers(0, 4 * 10**15).map(lambda us: EPOCH + timedelta(microseconds=us)))
def test_timestamp_is_what_javascript_writes(moment: datetime) -> None:
    written = wire.timestamp(moment)

    read = datetime.strptime(written, "%Y-%m-%dT%H:%M:%S.%fZ").replace(tzinfo=UTC)
    assert len(written) == len("2024-01-15T10:30:00.000Z")
    assert timedelta(0) <= moment - read < timedelta(milliseconds=1)


def test_timestamp_of_another_zone_is_told_in_utc() -> None:
    berlin = timezone(timedelta(hours=1))

    written = wire.timestamp(datetime(2024, 1, 15, 11, 30, tzinfo=berlin))

    assert written == "2024-01-15T10:30:00.000Z"


@given(st.dictionaries(st.text(), json_values))
def test_json_is_one_line(data: dict[str, Any]) -> None:
    line = wire.compact(data)

    assert not {"\r", "\n"} & set(line)


@given(progresses() | outcomes)
def test_line_of_the_child_is_read_as_it_was_said(news: Any) -> None:
    line = wire.to_line(news)

    assert "\n" not in line
    assert wire.from_line(line) == news
    assert wire.from_line(line.encode("utf-8", "surrogatepass")) == news


@given(st.binary())
def test_bytes_that_are_no_line_are_a_value_error(line: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011
        wire.from_line(line)


@given(
    st.sampled_from(["progress", "verified", "refused", "ready", None]),
    st.dictionaries(
        st.sampled_from(
            [
                "stage",
                "progress",
                "message",
                "detail",
                "code",
                "reasons",
                "facts",
                "moderation",
                "original",
                "thumbnail",
            ]
        ),
        json_values
        | st.sampled_from(["analyzing", 45, {"verdict": "approve", "reasons": []}]),
    ),
)
def test_line_with_foreign_values_is_read_or_a_value_error(
    kind: str | None, data: dict[str, Any]
) -> None:
    line = json.dumps({"kind": kind, **data})

    with suppress(ValueError):
        assert wire.from_line(line) is not None


@pytest.mark.parametrize("line", ["[" * 60_000, '{"kind":' * 10_000, "null", "[]", "1"])
def test_line_of_another_shape_is_a_value_error(line: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011
        wire.from_line(line)


def test_job_line_holds_the_job_and_its_two_paths() -> None:
    job = Job("upload_123", 'A "title"\n', "🦆", "clip.mp4", 5)

    line = wire.job_line(job, "/in/upload_123", "/scratch/upload_123")

    assert json.loads(line) == {
        "upload_id": "upload_123",
        "title": 'A "title"\n',
        "description": "🦆",
        "file_name": "clip.mp4",
        "size": 5,
        "path": "/in/upload_123",
        "scratch": "/scratch/upload_123",
    }
    assert "\n" not in line
