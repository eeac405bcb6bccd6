"""Frames, read back by a parser written from the HTML standard (9.2.6)."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from uploadsvc.web import sse


@dataclass(frozen=True)
class Dispatched:
    """What an EventSource hands to its listeners."""

    type: str
    data: str
    last_event_id: str


class EventSource:
    """The standard's interpretation of a stream; takes bytes however they are split."""

    def __init__(self) -> None:
        self.retries: list[int] = []
        self.comments: list[str] = []
        self.last_event_id = ""
        self._bytes = b""
        self._type = ""
        self._data: list[str] = []
        self._id = ""

    def feed(self, data: bytes) -> Iterator[Dispatched]:
        # Only whole lines are decoded, so that a character may be split as well.
        *lines, self._bytes = (self._bytes + data).split(b"\n")
        for line in lines:
            yield from self._line(line.decode())

    def _line(self, line: str) -> Iterator[Dispatched]:
        if not line:
            yield from self._dispatch()
            return
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if not name:
            self.comments.append(value)
        elif name == "event":
            self._type = value
        elif name == "data":
            self._data.append(value)
        elif name == "id" and "\0" not in value:
            self._id = value
        elif name == "retry" and value.isascii() and value.isdigit():
            self.retries.append(int(value))

    def _dispatch(self) -> Iterator[Dispatched]:
        self.last_event_id = self._id
        if self._data:
            yield Dispatched(
                self._type or "message", "\n".join(self._data), self.last_event_id
            )
        self._type, self._data = "", []


def parsed(chunks: Iterable[bytes]) -> tuple[list[Dispatched], EventSource]:
    source = EventSource()
    return [event for chunk in chunks for event in source.feed(chunk)], source


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=5,
)


@st.composite
def messages(draw: st.DrawFn) -> tuple[dict[str, Any], int | None, int | None]:
    return (
        draw(st.dictionaries(st.text(), json_values)),
        draw(st.none() | st.integers(1, 2**53)),
        draw(st.none() | st.integers(1, 86_400_000)),
    )


@st.composite
def split(draw: st.DrawFn, whole: bytes) -> list[bytes]:
    cuts = sorted(draw(st.lists(st.integers(0, len(whole)), max_size=8)))
    return [
        whole[start:end]
        for start, end in zip([0, *cuts], [*cuts, len(whole)], strict=True)
    ]


@given(st.lists(messages(), max_size=6), st.data())
def test_any_split_of_the_bytes_gives_the_same_events(
    said: list[tuple[dict[str, Any], int | None, int | None]], data: st.DataObject
) -> None:
    frames = [sse.message(each, event_id=i, retry_ms=r) for each, i, r in said]
    whole = sse.HEARTBEAT.join([sse.retry(sse.RETRY_MS), *frames])

    events, source = parsed(data.draw(split(whole)))

    ids, last = [], ""
    for _, event_id, _ in said:
        last = str(event_id) if event_id is not None else last
        ids.append(last)
    assert [json.loads(event.data) for event in events] == [each for each, _, _ in said]
    assert [event.last_event_id for event in events] == ids
    assert {event.type for event in events} <= {"message"}
    assert source.retries == [sse.RETRY_MS, *(r for _, _, r in said if r is not None)]
    assert set(source.comments) <= {"heartbeat"}


@given(messages())
def test_frame_has_line_feeds_only_no_mark_and_no_name(
    said: tuple[dict[str, Any], int | None, int | None],
) -> None:
    data, event_id, retry_ms = said

    frame = sse.message(data, event_id=event_id, retry_ms=retry_ms)

    fields = [line.split(b":")[0] for line in frame.removesuffix(b"\n\n").split(b"\n")]
    assert b"\r" not in frame
    assert not frame.startswith(b"\xef\xbb\xbf")
    assert frame.endswith(b"\n\n")
    assert set(fields) <= {b"retry", b"id", b"data"}
    assert fields.count(b"data") == 1


def test_stream_begins_with_a_retry_and_connected_without_an_id() -> None:
    events, source = parsed([sse.connected("upload_123")])

    assert sse.connected("upload_123") == (
        b"retry: 2000\n\n"
        b'data: {"type":"connected","uploadId":"upload_123",'
        b'"message":"Connected to progress stream"}\n\n'
    )
    assert source.retries == [2000]
    assert [event.last_event_id for event in events] == [""]


def test_terminal_frame_says_retry_id_and_data_in_one() -> None:
    frame = sse.message({"a": 1}, event_id=7, retry_ms=sse.RETRY_NEVER_MS)

    assert frame == b'retry: 86400000\nid: 7\ndata: {"a":1}\n\n'


def test_expired_stream_is_told_so_and_not_to_come_back() -> None:
    events, source = parsed([sse.expired("upload_123")])

    assert [json.loads(event.data)["type"] for event in events] == ["expired"]
    assert source.retries == [86_400_000]


def test_heartbeat_is_a_comment_and_nothing_else() -> None:
    events, source = parsed([sse.HEARTBEAT])

    assert events == []
    assert source.comments == ["heartbeat"]


def test_stream_that_may_come_back_is_told_two_to_ten_seconds() -> None:
    _, source = parsed(sse.retry_later() for _ in range(200))

    assert all(2000 <= retry <= 10_000 for retry in source.retries)
    assert len(set(source.retries)) > 100


@pytest.mark.parametrize("milliseconds", [0, -1])
def test_retry_of_nothing_is_never_said(milliseconds: int) -> None:
    """``retry: 0`` makes npm's eventsource open hundreds of connections a second."""
    said = [
        sse.RETRY_MS,
        sse.RETRY_NEVER_MS,
        *sse.RETRY_LATER_MS,
    ]

    assert milliseconds not in said


def test_headers_forbid_caches_and_buffers() -> None:
    assert sse.HEADERS == {
        "Content-Type": "text/event-stream; charset=utf-8",
        "Cache-Control": "no-cache, no-transform",
        "X-Accel-Buffering": "no",
    }
