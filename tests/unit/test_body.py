"""Multipart bodies, however they are ordered, split, cut or malformed."""

from __future__ import annotations

import io
import unicodedata
from collections.abc import Callable
from typing import Any, cast

import gevent
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from uploadsvc.errors import (
    IncompleteBody,
    InvalidRequest,
    MalformedMultipart,
    MissingFile,
    TooLarge,
    UnsupportedContentType,
    UploadError,
)
from uploadsvc.intake import Reception
from uploadsvc.web.body import (
    FORM_ALLOWANCE,
    MAX_FIELD,
    MAX_HEAD,
    MAX_NAME,
    MAX_PARTS,
    MOST_READ,
    Form,
    boundary_of,
    plain,
    receive,
)
from uploadsvc.wire import DESCRIPTION_MAX, TITLE_MAX

BOUNDARY = b"----WebKitFormBoundaryAa0"
LIMIT = 5 * 2**20


class Recorded:
    """A reception that keeps the file in memory."""

    def __init__(self, max_bytes: int = LIMIT) -> None:
        self.file = bytearray()
        self.writes = 0
        self.has_file = False
        self.said: list[tuple[int, int | None]] = []
        self._max_bytes = max_bytes

    def came(self, body_bytes: int, of: int | None) -> None:
        self.said.append((body_bytes, of))

    def write(self, data: bytes) -> None:
        if len(self.file) + len(data) > self._max_bytes:
            raise TooLarge(limit_bytes=self._max_bytes)
        self.file += data
        self.writes += 1

    def close_file(self) -> None:
        self.has_file = True


class Pieces:
    """A body that arrives in pieces of given sizes, whatever was asked for; the last size
    is used for all that is left."""

    def __init__(self, whole: bytes, sizes: list[int]) -> None:
        self._stream = io.BytesIO(whole)
        self._sizes = sizes
        self.read_bytes = 0

    def read1(self, size: int, /) -> bytes:
        here = self._sizes.pop(0) if len(self._sizes) > 1 else self._sizes[0]
        data = self._stream.read(min(size, max(here, 1)))
        self.read_bytes += len(data)
        return data


class Endless:
    """A body that never ends, after ``start``."""

    def __init__(self, start: bytes, filler: bytes = b"a") -> None:
        self._start = start
        self._filler = filler
        self.read_bytes = 0

    def read1(self, size: int, /) -> bytes:
        data, self._start = self._start[:size], self._start[size:]
        data = data or self._filler * (size // len(self._filler))
        self.read_bytes += len(data)
        return data


class Broken:
    """A connection that is gone once ``start`` was read."""

    def __init__(self, start: bytes) -> None:
        self._stream = io.BytesIO(start)

    def read1(self, size: int, /) -> bytes:
        data = self._stream.read(size)
        if not data:
            raise ConnectionResetError
        return data


class Silent:
    """A client that sends nothing more and does not close."""

    def read1(self, size: int, /) -> bytes:
        gevent.sleep(60)
        return b""


def part(disposition: str, data: bytes, more: bytes = b"") -> bytes:
    head = f"Content-Disposition: form-data; {disposition}\r\n".encode()
    return b"--" + BOUNDARY + b"\r\n" + head + more + b"\r\n" + data + b"\r\n"


def file_part(data: bytes, file_name: str = "clip.mp4") -> bytes:
    kind = b"Content-Type: video/mp4\r\n"
    return part(f'name="file"; filename="{file_name}"', data, kind)


def field(name: str, text: str | bytes) -> bytes:
    data = text.encode() if isinstance(text, str) else text
    return part(f'name="{name}"', data)


def body(*parts: bytes) -> bytes:
    return b"".join(parts) + b"--" + BOUNDARY + b"--\r\n"


def received(
    stream: Any,
    declared: int | None,
    reception: Recorded | None = None,
    *,
    max_bytes: int = LIMIT,
    idle_s: float = 10,
) -> Form:
    return receive(
        stream,
        cast(Reception, reception or Recorded()),
        boundary=BOUNDARY,
        declared=declared,
        max_bytes=max_bytes,
        idle_s=idle_s,
    )


def received_whole(whole: bytes, reception: Recorded | None = None) -> Form:
    return received(io.BytesIO(whole), len(whole), reception)


# Bytes that look like the beginnings and ends of parts, among others.
near_boundaries = st.lists(
    st.sampled_from(
        [
            b"\r",
            b"\n",
            b"\r\n",
            b"-",
            b"--",
            b"--" + BOUNDARY[:-1],
            b"\r\n--" + BOUNDARY[:-2],
            BOUNDARY,
            b"\r\n--",
            b"\0",
            b"x",
        ]
    )
    | st.binary(max_size=8),
    max_size=12,
).map(b"".join)
files = near_boundaries.filter(lambda data: b"--" + BOUNDARY not in data)
texts = st.text(st.characters(exclude_categories=["C", "Z"]), max_size=20)


@st.composite
def forms(draw: st.DrawFn) -> tuple[bytes, bytes, str, str]:
    """A body, and the file, title and description in it."""
    data, title, description = draw(files), draw(texts), draw(texts)
    parts = [
        file_part(data),
        field("title", title),
        field("description", description),
        field("other", "ignored"),
    ]
    preamble = draw(st.sampled_from([b"", b"\r\n", b"A preamble\r\n"]))
    epilogue = draw(st.sampled_from([b"", b"\r\n", b"An epilogue"]))
    whole = preamble + body(*draw(st.permutations(parts))) + epilogue
    return whole, data, title, description


@given(forms(), st.lists(st.integers(1, 200), min_size=1), st.booleans())
def test_any_order_and_any_split_gives_the_same_form_and_file(
    form: tuple[bytes, bytes, str, str], sizes: list[int], chunked: bool
) -> None:
    whole, data, title, description = form
    reception = Recorded()

    found = received(Pieces(whole, sizes), None if chunked else len(whole), reception)

    assert bytes(reception.file) == data
    assert found.title == unicodedata.normalize("NFC", title)
    assert found.description == unicodedata.normalize("NFC", description)
    assert found.file_name == "clip.mp4"


def test_body_split_anywhere_gives_the_same_file() -> None:
    """Werkzeug's decoder gave the file a carriage return more where a read ended between
    the two hyphens after the last boundary."""
    data = b"line\r\n-\r"
    whole = body(field("title", "T"), file_part(data))

    for cut in range(1, len(whole)):
        reception = Recorded()
        received(Pieces(whole, [cut, len(whole)]), len(whole), reception)
        assert bytes(reception.file) == data, cut


def test_hyphens_at_the_end_of_every_read_are_not_gathered() -> None:
    """What is held back for the next read is bounded, whoever chooses where reads end."""
    near = b"\r\n--" + BOUNDARY + b"-"
    data = near * 200
    whole = body(file_part(data))
    start = whole.index(data)
    reception = Recorded()

    received(
        Pieces(whole, [start, *[len(near)] * 200, len(whole)]), len(whole), reception
    )

    assert bytes(reception.file) == data
    assert reception.writes >= 199


@given(forms(), st.integers(1, 50), st.data())
def test_body_cut_off_anywhere_is_incomplete(
    form: tuple[bytes, bytes, str, str], size: int, data: st.DataObject
) -> None:
    whole, *_ = form
    cut = data.draw(st.integers(0, len(whole) - 1))

    with pytest.raises(IncompleteBody):
        received(Pieces(whole[:cut], [size]), len(whole))


def test_body_cut_at_every_byte_is_incomplete() -> None:
    whole = body(field("title", "T"), file_part(b"data"), field("description", "D"))

    for cut in range(len(whole)):
        with pytest.raises(IncompleteBody):
            received(io.BytesIO(whole[:cut]), len(whole))


def test_body_of_unknown_length_without_its_last_boundary_is_malformed() -> None:
    whole = body(field("title", "T"), file_part(b"data"))
    needed = len(whole) - len("\r\n")

    for cut in range(needed):
        with pytest.raises((MalformedMultipart, IncompleteBody)):
            received(io.BytesIO(whole[:cut]), None)


def test_connection_that_breaks_is_incomplete() -> None:
    with pytest.raises(IncompleteBody):
        received(Broken(file_part(b"data")), 10_000)


def test_client_that_stands_still_is_incomplete() -> None:
    with pytest.raises(IncompleteBody):
        received(Silent(), 10_000, idle_s=0.01)


@pytest.mark.parametrize(
    "whole",
    [
        body(field("title", "T")),
        body(field("file", "a field, no file")),
        body(part('name="other"; filename="a.png"', b"data")),
        body(),
    ],
    ids=["no part", "a field of the name", "another name", "no parts"],
)
def test_form_without_a_file_is_missing_it(whole: bytes) -> None:
    with pytest.raises(MissingFile):
        received_whole(whole)


@pytest.mark.parametrize(
    "whole",
    [
        b"",
        b"not multipart at all",
        b"--other\r\n\r\n--other--\r\n",
        b"--"
        + BOUNDARY
        + b"\r\nNo-Disposition: x\r\n\r\ndata\r\n--"
        + BOUNDARY
        + b"--",
        b"--" + BOUNDARY + b"\r\n\xff\xfe: x\r\n\r\ndata\r\n--" + BOUNDARY + b"--",
        body(file_part(b"one"), file_part(b"two")),
        body(*[field("other", "x")] * (MAX_PARTS + 1), file_part(b"data")),
    ],
    ids=[
        "empty",
        "text",
        "other boundary",
        "no disposition",
        "headers that are no text",
        "two files",
        "too many parts",
    ],
)
def test_body_of_another_shape_is_malformed(whole: bytes) -> None:
    with pytest.raises(MalformedMultipart):
        received_whole(whole)


@given(st.binary(max_size=300), st.integers(1, 50))
def test_any_bytes_are_a_form_or_an_error_with_a_code(data: bytes, size: int) -> None:
    whole = b"--" + BOUNDARY + b"\r\n" + data

    with pytest.raises(UploadError) as caught:
        received(Pieces(whole, [size]), len(whole))

    assert caught.value.status == 400


def test_empty_file_is_a_file() -> None:
    reception = Recorded()

    received_whole(body(file_part(b"")), reception)

    assert reception.has_file
    assert reception.file == b""


def test_file_beyond_the_limit_is_too_large_before_all_of_it_was_read() -> None:
    stream = Endless(file_part(b"")[:-2])

    with pytest.raises(TooLarge):
        received(stream, None, Recorded(max_bytes=100), max_bytes=100)

    assert stream.read_bytes <= FORM_ALLOWANCE + 2 * MOST_READ


@pytest.mark.parametrize(
    "start",
    [
        b"--" + BOUNDARY + b"\r\n" + field("x", "y")[:-2],
        part('name="o"; filename="o"', b"")[:-2],
    ],
    ids=["a field", "a file"],
)
def test_part_nobody_asked_for_is_bounded_too(start: bytes) -> None:
    stream = Endless(start)

    with pytest.raises(TooLarge):
        received(stream, None, max_bytes=100)

    assert stream.read_bytes <= FORM_ALLOWANCE + 2 * MOST_READ


@pytest.mark.parametrize(
    "start",
    [
        b"",
        b"--" + BOUNDARY + b"\r\nX-Long: ",
        file_part(b"data") + b"--" + BOUNDARY + b"\r\nX-Long: ",
        body(file_part(b"data")),
    ],
    ids=["preamble", "first header", "header after the file", "epilogue"],
)
@pytest.mark.parametrize(
    "filler", [b"a", b"\r\n", b"--"], ids=["text", "lines", "dashes"]
)
def test_what_never_ends_is_not_gathered_in_memory(start: bytes, filler: bytes) -> None:
    """A header after the file's part was once gathered up to the file's own limit."""
    stream = Endless(start, filler)
    limit = 64 * 2**20

    with pytest.raises(MalformedMultipart):
        received(stream, None, Recorded(limit), max_bytes=limit)

    assert stream.read_bytes <= MAX_HEAD + 3 * MOST_READ


@pytest.mark.parametrize(
    ("name", "limit"), [("title", TITLE_MAX), ("description", DESCRIPTION_MAX)]
)
def test_text_of_the_greatest_length_is_taken(name: str, limit: int) -> None:
    found = received_whole(body(field(name, "🦆" * limit), file_part(b"data")))

    assert getattr(found, name) == "🦆" * limit


@pytest.mark.parametrize(
    ("name", "limit"), [("title", TITLE_MAX), ("description", DESCRIPTION_MAX)]
)
def test_longer_text_is_refused_by_its_name(name: str, limit: int) -> None:
    with pytest.raises(InvalidRequest) as caught:
        received_whole(body(field(name, "a" * (limit + 1)), file_part(b"data")))

    assert caught.value.facts == {"field": name, "limit": limit}


def test_text_without_end_is_refused_while_it_is_read() -> None:
    stream = Endless(field("title", "")[:-2])

    with pytest.raises(InvalidRequest):
        received(stream, None)

    assert stream.read_bytes <= MAX_FIELD + MOST_READ


def test_bytes_that_are_no_utf8_become_replacement_characters() -> None:
    found = received_whole(body(field("title", b"caf\xe9"), file_part(b"data")))

    assert found.title == "caf\ufffd"


def test_last_of_two_titles_counts() -> None:
    found = received_whole(
        body(field("title", "one"), field("title", "two"), file_part(b""))
    )

    assert found.title == "two"


@pytest.mark.parametrize(
    ("given_name", "kept"),
    [
        ("clip.mp4", "clip.mp4"),
        ("caf\u0065\u0301.jpg", "caf\u00e9.jpg"),
        ("a\u0000b.png", "ab.png"),
        ("  clip.mp4 ", "clip.mp4"),
        ("n" * 300 + ".mp4", "n" * (MAX_NAME - 4) + ".mp4"),
    ],
)
def test_file_name_is_kept_as_plain_text(given_name: str, kept: str) -> None:
    found = received_whole(body(file_part(b"data", given_name)))

    assert found.file_name == kept


def test_progress_is_heard_of_from_nothing_to_all() -> None:
    whole = body(file_part(b"a" * 1000))
    reception = Recorded()

    received(Pieces(whole, [100]), len(whole), reception)

    assert reception.said[0] == (0, len(whole))
    assert reception.said[-1] == (len(whole), len(whole))
    assert reception.said == sorted(reception.said)


@given(st.text())
@example("\u202eevil\r\nX: y\0")
@example("\ud800")
@example("e\0\u0301")
def test_plain_text_has_no_control_characters_and_fits_utf8(text: str) -> None:
    cleaned = plain(text)

    assert not [c for c in cleaned if unicodedata.category(c) in {"Cc", "Cs"}]
    assert cleaned == plain(cleaned)
    assert cleaned.encode().decode() == cleaned


def test_description_keeps_its_lines_and_a_title_does_not() -> None:
    found = received_whole(
        body(
            field("title", "a\r\nb"), field("description", "a\r\nb\tc"), file_part(b"")
        )
    )

    assert (found.title, found.description) == ("ab", "a\nb\tc")


@pytest.mark.parametrize(
    "content_type",
    [
        "",
        "application/json",
        "multipart/mixed; boundary=a",
        "multipart/form-data",
        "multipart/form-data; boundary=",
        "multipart/form-data; boundary=" + "a" * 201,
    ],
)
def test_other_content_types_are_refused(content_type: str) -> None:
    with pytest.raises(UnsupportedContentType):
        boundary_of(content_type)


@pytest.mark.parametrize(
    ("content_type", "boundary"),
    [
        ("multipart/form-data; boundary=abc", b"abc"),
        ('Multipart/Form-Data; charset=utf-8; boundary="a b:c"', b"a b:c"),
    ],
)
def test_boundary_is_read(content_type: str, boundary: bytes) -> None:
    assert boundary_of(content_type) == boundary


readers: list[Callable[[bytes], Any]] = [io.BytesIO, Broken]


@pytest.mark.parametrize("reader", readers)
def test_nothing_is_read_beyond_the_declared_length(
    reader: Callable[[bytes], Any],
) -> None:
    whole = body(file_part(b"data"))
    stream = reader(whole + b"GET / HTTP/1.1\r\n")

    received(stream, len(whole))

    assert stream.read1(100) == b"GET / HTTP/1.1\r\n"
