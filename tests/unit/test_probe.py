from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests import media
from uploadsvc.errors import InvalidMedia, UnsupportedMedia, UploadError
from uploadsvc.verify.probe import EXTENSIONS, FAMILIES, SIGNATURES, identify


def ftyp(major: bytes, *compatible: bytes) -> bytes:
    brands = major + bytes(4) + b"".join(compatible)
    return (8 + len(brands)).to_bytes(4, "big") + b"ftyp" + brands + bytes(64)


HEADS = {
    "jpeg": (media.jpeg(), "image/jpeg"),
    "png": (media.png(), "image/png"),
    "gif": (media.gif(), "image/gif"),
    "webp": (media.webp(), "image/webp"),
    "avif": (media.avif(), "image/avif"),
    "tiff": (media.tiff(), "image/tiff"),
    "big-endian tiff": (b"MM\0*" + bytes(60), "image/tiff"),
    "heic": (media.heic(), "image/heic"),
    "pdf": (media.pdf(1), "application/pdf"),
    "generic heif with hevc": (ftyp(b"mif1", b"mif1", b"heic"), "image/heic"),
    "generic heif with av1": (ftyp(b"mif1", b"miaf", b"avif"), "image/avif"),
    "heif sequence": (ftyp(b"msf1", b"hevc", b"iso8"), "image/heic"),
    "avif sequence": (ftyp(b"avis", b"avif", b"msf1", b"iso8"), "image/avif"),
    "mp4": (ftyp(b"isom", b"isom", b"iso2", b"avc1", b"mp41"), "video/mp4"),
    "phone mp4": (ftyp(b"mp42", b"isom", b"mp42"), "video/mp4"),
    "unknown major brand": (ftyp(b"XAVC", b"XAVC", b"mp42", b"iso2"), "video/mp4"),
    "mov": (ftyp(b"qt  ", b"qt  "), "video/quicktime"),
    "mov without ftyp": (b"\0\0\0\x08wide" + bytes(90), "video/quicktime"),
    "m4a": (ftyp(b"M4A ", b"mp42", b"isom"), "audio/mp4"),
    "webm": (b"\x1aE\xdf\xa3\x9fB\x86\x81\x01B\x82\x84webmB\x87\x81\x04", "video/webm"),
    "mkv": (
        b"\x1aE\xdf\xa3\x01\0\0\0\0\0\0#B\x86\x81\x01B\x82\x88matroskaB\x87\x81\x04",
        "video/x-matroska",
    ),
    "mp3 with tags": (b"ID3\x04" + bytes(60), "audio/mpeg"),
    "mp3": (b"\xff\xfb\x90\x64" + bytes(60), "audio/mpeg"),
    "wav": (b"RIFF\x24\0\0\0WAVEfmt ", "audio/wav"),
    "flac": (b"fLaC\0\0\0\x22", "audio/flac"),
    "ogg": (b"OggS\0\x02" + bytes(22) + b"\x01vorbis", "audio/ogg"),
}

STRANGERS = {
    "text": media.text_as_jpeg(),
    "one byte": b"\xff",
    "utf-16 text": "text".encode("utf-16"),
    "svg": b'<svg xmlns="http://www.w3.org/2000/svg"/>',
    "html": b"<!doctype html><title>x</title>",
    "avi": b"RIFF\x24\0\0\0AVI LIST",
    "canon raw": ftyp(b"crx ", b"crx ", b"isom"),
    "jpeg 2000": ftyp(b"jp2 ", b"jp2 "),
    "film in ogg": b"OggS\0\x02" + bytes(22) + b"\x80theora",
    "aac without a container": b"\xff\xf1\x50\x80" + bytes(60),
    "pdf after a script": b"#!/bin/sh\n%PDF-1.7\n",
    "ebml of another kind": b"\x1aE\xdf\xa3\x9fB\x82\x84else",
    "bmp": b"BM" + bytes(60),
    "executable": b"\x7fELF" + bytes(60),
}


@pytest.mark.parametrize(("head", "mime_type"), HEADS.values(), ids=HEADS)
def test_content_tells_the_type(head: bytes, mime_type: str, tmp_path: Path) -> None:
    path = tmp_path / "misleading.txt"
    path.write_bytes(head)

    found = identify(path)

    assert found == mime_type


@pytest.mark.parametrize("head", STRANGERS.values(), ids=STRANGERS)
def test_unknown_content_is_unsupported_whatever_its_name(
    head: bytes, tmp_path: Path
) -> None:
    path = tmp_path / "holiday.jpg"
    path.write_bytes(head)

    with pytest.raises(UnsupportedMedia):
        identify(path)


def test_empty_file_is_called_empty(tmp_path: Path) -> None:
    path = tmp_path / "empty.png"
    path.touch()

    with pytest.raises(InvalidMedia, match="empty"):
        identify(path)


@given(
    st.one_of(
        st.binary(max_size=200),
        st.tuples(
            st.sampled_from([head[:24] for head, _mime_type in HEADS.values()]),
            st.binary(max_size=80),
        ).map(b"".join),
    )
)
def test_any_bytes_get_a_known_type_or_an_upload_error(data: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "any")
        path.write_bytes(data)

        try:
            found = identify(path)
        except UploadError:
            return

    assert found in FAMILIES


def test_every_type_has_an_extension_and_every_signature_a_family() -> None:
    types = {mime_type for mime_type, _pattern in SIGNATURES}

    assert set(EXTENSIONS) == set(FAMILIES)
    assert types <= set(FAMILIES)
