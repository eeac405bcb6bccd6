"""AVIF and HEIC: boxes of ISO media (ISO 14496-12), in which metadata are items among others.

Serves ``strip``; the rules are told there.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from mmap import mmap

from uploadsvc.errors import InvalidMedia

Data = bytes | mmap

CUT = "The file ends too early"
_BLOCK = 1 << 20  # bytes copied at once

# Items of an AVIF that are not pixels, and what else might tell a story. The items are
# blanked where they lie, since other boxes point into the file by offset; their type becomes
# one no reader looks for.
_AVIF_BOXES = frozenset({b"ftyp", b"meta", b"moov", b"mdat"})
_AVIF_ITEMS = frozenset({b"Exif", b"mime", b"uri "})
_BLANK = b"skip"
_AVIF_OTHER_NOTES = re.compile(rb"uuid|udta|xml |bxml|ilst")


def avif(data: Data) -> Iterator[bytes]:
    at = 0
    for start, end, instead in sorted(_avif_blanks(data)):
        yield from _copied(data, at, start)
        yield instead or bytes(end - start)
        at = end
    yield from _copied(data, at, len(data))


def heic(data: Data) -> Iterator[bytes]:
    """Nothing taken out: only proves that the boxes are whole."""
    for _kind, start, _body, end in _boxes(data, 0, len(data)):
        yield from _copied(data, start, end)


def _copied(data: Data, start: int, end: int) -> Iterator[bytes]:
    for at in range(start, end, _BLOCK):
        yield data[at : min(at + _BLOCK, end)]


def _boxes(data: Data, at: int, end: int) -> Iterator[tuple[bytes, int, int, int]]:
    """Kind, start, body and end of each box of an ISO media file between two offsets."""
    while at < end:
        size, body = int.from_bytes(data[at : at + 4], "big"), at + 8
        if size == 1:
            size, body = int.from_bytes(data[at + 8 : at + 16], "big"), at + 16
        after = at + size if size else end
        if after > end or after < body:
            raise InvalidMedia(CUT)
        yield data[at + 4 : at + 8], at, body, after
        at = after


def _avif_blanks(data: Data) -> set[tuple[int, int, bytes]]:
    """Start, end and (unless zeros) new content of what is to be blanked."""
    blanks: set[tuple[int, int, bytes]] = set()
    for body, end in _metas(data, 0, len(data)):
        inside = {k: (b, e) for k, _s, b, e in _boxes(data, body + 4, end)}
        notes = set()
        for item, at, after in _items(data, *inside.get(b"iinf", (0, 0))):
            if data[at : at + 4] in _AVIF_ITEMS:
                notes.add(item)
                # With the type goes what follows it: the item's name and content type.
                blanks.add((at, after, _BLANK.ljust(after - at, b"\0")))
        stored = inside.get(b"idat", (0, 0))[0]
        for item, start, after in _extents(data, *inside.get(b"iloc", (0, 0)), stored):
            if item in notes:
                if after > len(data):
                    raise InvalidMedia(CUT)
                blanks.add((start, after, b""))
    return blanks


def _metas(data: Data, start: int, end: int) -> Iterator[tuple[int, int]]:
    """The meta boxes: of the file and, in an animation, of each track."""
    for kind, _start, body, after in _boxes(data, start, end):
        if kind == b"meta":
            yield body, after
        elif kind in (b"moov", b"trak"):
            yield from _metas(data, body, after)


def _items(data: Data, body: int, end: int) -> Iterator[tuple[int, int, int]]:
    """Id of each item, where its type starts and where its entry ends (box iinf)."""
    if body == end:
        return
    for _kind, _start, entry, after in _boxes(
        data, body + (6 if not data[body] else 8), end
    ):
        width = 4 if data[entry] >= 3 else 2
        item = int.from_bytes(data[entry + 4 : entry + 4 + width], "big")
        yield item, entry + 4 + width + 2, after


def _extents(
    data: Data, body: int, end: int, stored: int
) -> Iterator[tuple[int, int, int]]:
    """Id, start and end of each piece of each item (box iloc); ``stored``: body of idat."""
    at = body + 4

    def take(width: int) -> int:
        nonlocal at
        at += width
        if at > end:
            raise InvalidMedia(CUT)
        return int.from_bytes(data[at - width : at], "big")

    if body == end:
        return
    version, widths = data[body], take(2)
    offset_width, length_width, base_width, index_width = (
        widths >> shift & 0xF for shift in (12, 8, 4, 0)
    )
    for _item in range(take(4 if version == 2 else 2)):
        item = take(4 if version == 2 else 2)
        method = take(2) & 0xF if version else 0
        take(2)
        base = take(base_width) + (stored if method == 1 else 0)
        for _extent in range(take(2)):
            take(index_width if version else 0)
            start = base + take(offset_width)
            yield item, start, start + take(length_width)


def without_notes(data: Data) -> bytes:
    """A HEIC in which no item is said to describe a picture, for libheif to read.

    pi-heif 1.4.0 ended the process on a description whose type is not ASCII, met on one
    damaged file in a thousand. May go when ``tests/unit/test_image.py`` passes without it.
    """
    copy = bytearray(data)
    for meta, meta_end in _metas(data, 0, len(data)):
        for kind, start, _body, end in _boxes(data, meta + 4, meta_end):
            if kind == b"iref":
                copy[start:end] = copy[start:end].replace(b"cdsc", _BLANK)
    return bytes(copy)


def has_other_notes(data: Data) -> bool:
    """Whether metadata lie where :func:`avif` does not blank them.

    The search may find a word by chance; that costs time and quality, not privacy.
    """
    return any(
        kind not in _AVIF_BOXES
        or (kind != b"mdat" and _AVIF_OTHER_NOTES.search(data, start, end))
        for kind, start, _body, end in _boxes(data, 0, len(data))
    )
