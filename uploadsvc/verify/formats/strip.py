"""Copies a picture file without its metadata, piece by piece, pixels untouched.

Chosen over decoding and encoding anew because nothing is lost: not quality, not an
animation's timing, loop and disposal, not a colour depth Pillow would flatten. A list of
what may stay, never of what must go: whatever is unknown is dropped, and so is anything
after the file's end (second pictures and notes of phones).

Each cleaner also proves the structure is whole; whoever only wants that consumes it.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from mmap import ACCESS_READ, mmap
from pathlib import Path

from uploadsvc.errors import InvalidMedia
from uploadsvc.verify.formats.boxes import CUT, Data, avif, has_other_notes, heic


@contextmanager
def mapped(path: Path) -> Iterator[mmap]:
    """The file as if it were bytes, without reading it into memory. Must not be empty."""
    with path.open("rb") as file, mmap(file.fileno(), 0, access=ACCESS_READ) as data:
        yield data


def pieces(data: Data, mime_type: str) -> Iterator[bytes]:
    """The pieces of the clean copy, in order. Raises InvalidMedia where the file breaks."""
    try:
        yield from CLEANERS[mime_type](data)
    except IndexError as error:
        raise InvalidMedia(CUT) from error


# A marker inside a scan: 0xFF followed by neither a stuffed zero, nor a restart, nor a fill.
_MARKER = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]", re.DOTALL)
_SOI, _EOI, _SOS, _COM = 0xD8, 0xD9, 0xDA, 0xFE
_APP = range(0xE0, 0xF0)
_JPEG_APPS = (b"\xff\xe0JFIF\0", b"\xff\xe2ICC_PROFILE\0", b"\xff\xeeAdobe")
# What may interrupt or follow a scan: tables (DHT, DAC, DQT, DNL, DRI), the next scan, notes.
_AFTER_SCAN = frozenset({0xC4, 0xCC, _EOI, _SOS, 0xDB, 0xDC, 0xDD, _COM, *_APP})


def _jpeg(data: Data) -> Iterator[bytes]:
    yield data[:2]
    at, in_scan, scans = 2, False, 0
    while marker := _MARKER.search(data, at):
        kind = data[marker.start() + 1]
        if in_scan:
            if kind not in _AFTER_SCAN:
                raise InvalidMedia()
            yield data[at : marker.start()]
        if kind == _EOI and scans:
            yield data[marker.start() : marker.end()]
            return
        if kind in (_SOI, _EOI):
            raise InvalidMedia()
        end = marker.end() + int.from_bytes(
            data[marker.end() : marker.end() + 2], "big"
        )
        if end > len(data) or end < marker.end() + 2:
            break
        segment = data[marker.start() : end]
        if _stays(kind, segment):
            yield segment
        at, in_scan = end, kind == _SOS
        scans += in_scan
    raise InvalidMedia(CUT)


def _stays(kind: int, segment: bytes) -> bool:
    if kind in _APP:
        return (segment[:2] + segment[4:]).startswith(_JPEG_APPS)
    return kind != _COM


_PNG_CHUNKS = frozenset(
    b"IHDR PLTE IDAT IEND acTL fcTL fdAT tRNS "
    b"cHRM gAMA iCCP sRGB cICP mDCV cLLI sBIT bKGD hIST pHYs".split()
)


def _png(data: Data) -> Iterator[bytes]:
    yield data[:8]
    at, kind = 8, b""
    while kind != b"IEND":
        kind = data[at + 4 : at + 8]
        end = at + 12 + int.from_bytes(data[at : at + 4], "big")
        if end > len(data):
            raise InvalidMedia(CUT)
        # Pillow skips the checksums of pixel data, so a flipped bit would go unseen.
        stated = int.from_bytes(data[end - 4 : end], "big")
        if zlib.crc32(data[at + 4 : end - 4]) != stated:
            raise InvalidMedia()
        if kind in _PNG_CHUNKS:
            yield data[at:end]
        at = end


_GIF_FRAME, _GIF_EXTENSION, _GIF_END = 0x2C, 0x21, 0x3B
_GIF_CONTROL, _GIF_TEXT, _GIF_APPLICATION = 0xF9, 0x01, 0xFF
# The first two say how often to loop, the last holds the colour profile.
_GIF_APPLICATIONS = (b"NETSCAPE2.0", b"ANIMEXTS1.0", b"ICCRGBG1012")


def _gif(data: Data) -> Iterator[bytes]:
    at = 13 + _gif_palette(data[10])
    yield data[:at]
    while data[at] != _GIF_END:
        start = at
        if data[at] == _GIF_FRAME:
            at = _gif_blocks_end(data, at + 11 + _gif_palette(data[at + 9]))
            yield data[start:at]
        elif data[at] == _GIF_EXTENSION:
            label, at = data[at + 1], _gif_blocks_end(data, at + 2)
            application = data[start + 3 : start + 14] in _GIF_APPLICATIONS
            if label in (_GIF_CONTROL, _GIF_TEXT) or (
                label == _GIF_APPLICATION and application
            ):
                yield data[start:at]
        else:
            raise InvalidMedia()
    yield data[at : at + 1]


def _gif_palette(flags: int) -> int:
    return 3 << ((flags & 0x07) + 1) if flags & 0x80 else 0


def _gif_blocks_end(data: Data, at: int) -> int:
    while size := data[at]:
        at += 1 + size
    return at + 1


_WEBP_CHUNKS = frozenset(
    {b"VP8X", b"VP8 ", b"VP8L", b"ALPH", b"ANIM", b"ANMF", b"ICCP"}
)
_WEBP_HAS_METADATA = 0x08 | 0x04  # EXIF, XMP: flags of VP8X


def _webp(data: Data) -> Iterator[bytes]:
    end = 8 + int.from_bytes(data[4:8], "little")
    if end > len(data):
        raise InvalidMedia(CUT)
    kept, at = [], 12
    while at < end:
        size = int.from_bytes(data[at + 4 : at + 8], "little")
        after = at + 8 + size + size % 2
        # Some writers leave out the last padding byte.
        if after > end + 1:
            raise InvalidMedia(CUT)
        if data[at : at + 4] in _WEBP_CHUNKS:
            kept.append((at, min(after, end)))
        at = after
    total = 4 + sum(after - start for start, after in kept)
    yield b"RIFF" + total.to_bytes(4, "little") + b"WEBP"
    for start, after in kept:
        chunk = data[start:after]
        if chunk.startswith(b"VP8X"):
            chunk = chunk[:8] + bytes([chunk[8] & ~_WEBP_HAS_METADATA]) + chunk[9:]
        yield chunk


def strippable(data: Data, mime_type: str) -> bool:
    """Whether :func:`pieces` makes a copy free of metadata."""
    if mime_type == "image/avif":
        return not has_other_notes(data)
    return mime_type in CLEANERS and mime_type != "image/heic"


CLEANERS: dict[str, Callable[[Data], Iterator[bytes]]] = {
    "image/jpeg": _jpeg,
    "image/png": _png,
    "image/gif": _gif,
    "image/webp": _webp,
    "image/avif": avif,
    "image/heic": heic,
}
