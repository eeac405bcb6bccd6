"""The stream of an upload that has ended, or cannot be had: what ends without a server."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from tests.site import Site, bearer
from uploadsvc.model import Refused
from uploadsvc.web import sse

STREAM = "/api/media/upload/upload_123/progress"
REFUSED = Refused("content_rejected", "No", ("nudity",))

MakeSite = Callable[..., Site]


def frames(body: bytes) -> list[dict[str, Any]]:
    """The fields of every frame that has data, its data as JSON."""
    found = []
    for frame in body.decode().split("\n\n"):
        fields = dict(line.split(": ", 1) for line in frame.split("\n") if line)
        if "data" in fields:
            found.append(fields | {"data": json.loads(fields["data"])})
    return found


def test_stream_of_an_ended_upload_tells_its_story_and_closes(site: Site) -> None:
    site.send()
    site.verify("upload_123", REFUSED)

    answer = site.client.get(STREAM, headers=bearer())

    hello, *events = frames(answer.data)
    assert hello["data"]["type"] == "connected"
    assert [int(event["id"]) for event in events] == list(range(1, len(events) + 1))
    assert events[-1]["retry"] == "86400000"
    assert events[-1]["data"]["code"] == "content_rejected"
    assert answer.headers["Content-Type"] == "text/event-stream; charset=utf-8"
    assert answer.headers["X-Upload-ID"] == "upload_123"


def test_ending_is_told_from_the_row_when_the_hub_forgot_it(site: Site) -> None:
    site.media()

    answer = site.client.get(STREAM, headers=bearer())

    _, *events = frames(answer.data)
    assert [event["data"]["stage"] for event in events] == ["complete"]
    assert events[0]["id"] == "9"
    assert events[0]["data"]["media"]["_id"] == "media_of_upload_123"


def test_reader_that_has_the_ending_is_sent_away_for_good(site: Site) -> None:
    site.media()

    answer = site.client.get(STREAM, headers=bearer() | {"Last-Event-ID": "9"})

    assert (answer.status_code, answer.data) == (204, b"")


@pytest.mark.parametrize(
    "query", ["lastEventId=9", "last_event_id=9"], ids=["camel", "snake"]
)
def test_cursor_may_stand_in_the_address(site: Site, query: str) -> None:
    site.media()

    assert site.client.get(f"{STREAM}?{query}", headers=bearer()).status_code == 204


def test_cursor_of_the_header_wins(site: Site) -> None:
    """A browser repeats its first address for ever."""
    site.media()

    answer = site.client.get(
        f"{STREAM}?lastEventId=3", headers=bearer() | {"Last-Event-ID": "9"}
    )

    assert answer.status_code == 204


@pytest.mark.parametrize("cursor", ["8", "10", "abc", "-9", "9 9", "9" * 50, "٩"])
def test_any_other_cursor_gets_the_ending_again(site: Site, cursor: str) -> None:
    site.media()

    answer = site.client.get(
        STREAM, query_string={"lastEventId": cursor}, headers=bearer()
    )

    assert [event["id"] for event in frames(answer.data)[1:]] == ["9"]


def test_stream_beyond_the_limit_is_told_to_come_back_later(
    make_site: MakeSite,
) -> None:
    site = make_site(max_streams=1)
    first = site.client.get("/api/media/upload/upload_first/progress", headers=bearer())

    answer = site.client.get(STREAM, headers=bearer())

    first.close()
    least, most = sse.RETRY_LATER_MS
    assert answer.status_code == 200
    assert least <= int(answer.data.decode().strip().removeprefix("retry: ")) <= most


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_closed_stream_is_not_listened_to_any_more(site: Site, method: str) -> None:
    """A generator that was never started never runs its ``finally``."""
    answer = site.client.open(STREAM, method=method, headers=bearer())

    answer.close()

    assert site.services.hub.fanout.streams == 0


def test_stream_is_told_when_the_process_goes_away(site: Site) -> None:
    answer = site.client.get(STREAM, headers=bearer())

    site.services.hub.drain()

    body = answer.data.decode()
    assert [frame["data"]["type"] for frame in frames(answer.data)] == ["connected"]
    assert body.rstrip().rpartition("\n")[2].startswith("retry: ")


def test_stream_nobody_posted_to_is_told_that_it_expired(site: Site) -> None:
    answer = site.client.get(STREAM, headers=bearer())

    site.services.hub.release("upload_123")

    told = frames(answer.data)
    assert told[-1]["data"]["type"] == "expired"
    assert told[-1]["retry"] == "86400000"
