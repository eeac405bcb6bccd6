"""What a file really is, by its first bytes. Its name and its declared type are never asked.

Only says what a file claims to be; whether it keeps the promise is for ``formats`` to find
out by decoding it.
"""

from __future__ import annotations

import re
from pathlib import Path

from uploadsvc.errors import InvalidMedia, UnsupportedMedia

# Where every signature, an ftyp box with all its brands and an EBML header have ended.
HEAD_BYTES = 4096

# Type by family, the key of ``formats.FORMATS``.
FAMILIES: dict[str, str] = {
    "image/jpeg": "image",
    "image/png": "image",
    "image/gif": "image",
    "image/webp": "image",
    "image/avif": "image",
    "image/tiff": "image",
    "image/heic": "image",
    "video/mp4": "video",
    "video/quicktime": "video",
    "video/webm": "video",
    "video/x-matroska": "video",
    "audio/mp4": "audio",
    "audio/mpeg": "audio",
    "audio/wav": "audio",
    "audio/flac": "audio",
    "audio/ogg": "audio",
    "application/pdf": "pdf",
}

# How a kept file's name ends.
EXTENSIONS: dict[str, str] = {
    "image/jpeg": "jpg",
    "image/png": "png",
    "image/gif": "gif",
    "image/webp": "webp",
    "image/avif": "avif",
    "image/tiff": "tiff",
    "image/heic": "heic",
    "video/mp4": "mp4",
    "video/quicktime": "mov",
    "video/webm": "webm",
    "video/x-matroska": "mkv",
    "audio/mp4": "m4a",
    "audio/mpeg": "mp3",
    "audio/wav": "wav",
    "audio/flac": "flac",
    "audio/ogg": "ogg",
    "application/pdf": "pdf",
}

# Third byte of a frame of layer III: a bit rate and a sampling rate that exist.
_MP3_RATES = b"[%s]" % re.escape(
    bytes(bits << 4 | sampling for bits in range(1, 15) for sampling in range(12))
)

# Read from the top, the first match wins. ISO media, EBML and Ogg need a second look, below.
SIGNATURES: tuple[tuple[str, re.Pattern[bytes]], ...] = tuple(
    (mime_type, re.compile(pattern, re.DOTALL))
    for mime_type, pattern in (
        ("image/jpeg", rb"\xff\xd8\xff"),
        ("image/png", rb"\x89PNG\r\n\x1a\n"),
        ("image/gif", rb"GIF8[79]a"),
        ("image/webp", rb"RIFF.{4}WEBP"),
        ("image/tiff", rb"II[*+]\0|MM\0[*+]"),
        ("audio/wav", rb"RIFF.{4}WAVE"),
        ("audio/flac", rb"fLaC"),
        ("audio/mpeg", rb"ID3[\x02-\x04]"),
        ("audio/mpeg", rb"\xff[\xe2\xe3\xf2\xf3\xfa\xfb]" + _MP3_RATES),
        ("application/pdf", rb"%PDF-"),
    )
)

# The codec brands first: a HEIC says mif1 too, an M4A says isom or mp42 too.
BRANDS: tuple[tuple[str, frozenset[bytes]], ...] = (
    ("image/avif", frozenset({b"avif", b"avis"})),
    (
        "image/heic",
        frozenset(
            {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs"}
        ),
    ),
    ("audio/mp4", frozenset({b"M4A ", b"M4B "})),
    ("video/quicktime", frozenset({b"qt  "})),
    (
        "video/mp4",
        frozenset(
            {b"isom", b"mp41", b"mp42", b"avc1", b"M4V ", b"MSNV", b"dash", b"f4v "}
            | {b"iso%d" % n for n in range(2, 10)}
            | {b"3gp%d" % n for n in range(4, 8)}
        ),
    ),
)

# Say only "a HEIF of some codec"; the compatible brands tell which.
GENERIC_HEIF = frozenset({b"mif1", b"msf1", b"mif2"})

# Canon's raw photos and JPEG 2000 share the box structure and even the brand isom.
OTHER_ISO = frozenset({b"crx ", b"jp2 ", b"jpx ", b"jxl "})

# EBML's DocType: its id, its length in one of the ways to write one, the word.
_DOC_TYPE = re.compile(
    rb"\x42\x82(?:[\x80-\x8f]|\x40.|\x20..|\x10...|\x08.{4}|\x01.{7})([a-z]+)",
    re.DOTALL,
)

# How a film from before the ftyp box (2001) begins; some cameras still write them.
OLD_QUICKTIME = frozenset({b"moov", b"mdat", b"wide"})


def identify(path: Path) -> str:
    """The MIME type of the file at ``path``, one of :data:`FAMILIES`.

    Raises InvalidMedia for an empty file and UnsupportedMedia for anything unknown.
    """
    size = path.stat().st_size
    if not size:
        raise InvalidMedia("The file is empty")
    with path.open("rb") as file:
        head = file.read(HEAD_BYTES)
    found = _by_signature(head) or _iso(head, size) or _ebml(head) or _ogg(head)
    if found is None:
        raise UnsupportedMedia()
    return found


def _by_signature(head: bytes) -> str | None:
    for mime_type, pattern in SIGNATURES:
        if pattern.match(head):
            return mime_type
    return None


def _iso(head: bytes, size: int) -> str | None:
    length, kind = int.from_bytes(head[:4], "big"), head[4:8]
    if kind in OLD_QUICKTIME and (length == 1 or 8 <= length <= size):
        return "video/quicktime"
    if kind != b"ftyp" or length < 16:
        return None
    major = head[8:12]
    compatible = {head[at : at + 4] for at in range(16, min(length, len(head)) - 3, 4)}
    if major in OTHER_ISO:
        return None
    if major not in GENERIC_HEIF and (named := _by_brand({major})):
        return named
    if named := _by_brand(compatible):
        return named
    # Left to libheif: a generic HEIF that names no codec is most often HEVC all the same.
    return "image/heic" if major in GENERIC_HEIF else None


def _by_brand(brands: set[bytes]) -> str | None:
    for mime_type, known in BRANDS:
        if known & brands:
            return mime_type
    return None


def _ebml(head: bytes) -> str | None:
    if not head.startswith(b"\x1aE\xdf\xa3"):
        return None
    doc_type = _DOC_TYPE.search(head)
    known = {b"webm": "video/webm", b"matroska": "video/x-matroska"}
    return known.get(doc_type[1]) if doc_type else None


def _ogg(head: bytes) -> str | None:
    # Ogg with Theora inside is film, which nothing here plays.
    return "audio/ogg" if head.startswith(b"OggS") and b"theora" not in head else None
