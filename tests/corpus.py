"""Files of every kind, sound and otherwise, the same on every day: what the verifier has to end.

Each case has a name, makes its bytes when asked, and says what it may be verified as. Nothing
here is dangerous: what plays the intruder is :data:`MARK`, which no kept file may hold.
"""

from __future__ import annotations

import io
import random
import struct
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path

import pikepdf
from PIL import Image

from tests import media, media_av

MARK = b"<?php system('intruder'); ?>"
HTML = b"<html><body onload=alert(1)><script>" + MARK + b"</script></body></html>"
JAVASCRIPT = b"*/=1;alert('" + MARK + b"');/*"

ISO_FILM = frozenset({"video/mp4", "video/quicktime", "audio/mp4"})
MATROSKA = frozenset(
    {"video/webm", "video/x-matroska", "audio/webm", "audio/x-matroska"}
)
REFUSED: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Case:
    """``kinds`` are the types it may be verified as: none of them, and it has to be refused.

    ``sound`` says it has to be verified, ``quick`` that it is one of the few for every day.
    """

    name: str
    make: Callable[[], bytes]
    kinds: frozenset[str] = REFUSED
    sound: bool = False
    quick: bool = False


# --- sound files ----------------------------------------------------------------------------


def _film(maker: Callable[..., Path], **more: object) -> bytes:
    return _written(maker, seconds=1.5, size=(96, 64), fps=10, **more)


def _written(maker: Callable[..., Path], **more: object) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        return maker(Path(folder) / "made", **more).read_bytes()


def _pdf() -> bytes:
    """Without the time of writing, which qpdf's id and the attachment hold."""
    file = io.BytesIO()
    with pikepdf.open(io.BytesIO(media.pdf())) as made:
        for name in list(made.attachments):
            del made.attachments[name]
        del made.trailer["/ID"]
        made.save(file, static_id=True)
    return file.getvalue()


# Without it, Matroska and Ogg number their streams by chance.
ALIKE = {"options": {"fflags": "+bitexact"}}

BASES: dict[str, tuple[Callable[[], bytes], frozenset[str]]] = {
    "jpeg": (media.jpeg, frozenset({"image/jpeg"})),
    "progressive": (
        partial(media.jpeg, progressive=True, orientation=6),
        frozenset({"image/jpeg"}),
    ),
    "png": (partial(media.png, mode="RGBA"), frozenset({"image/png"})),
    "deep-png": (partial(media.png, mode="I;16"), frozenset({"image/png"})),
    "moving-png": (partial(media.animation, "PNG"), frozenset({"image/png"})),
    "gif": (media.gif, frozenset({"image/gif"})),
    "webp": (media.webp, frozenset({"image/webp"})),
    "moving-webp": (partial(media.animation, "WEBP"), frozenset({"image/webp"})),
    "avif": (media.avif, frozenset({"image/avif"})),
    "tiff": (partial(media.tiff, pages=2), frozenset({"image/tiff"})),
    "heic": (media.heic, frozenset({"image/jpeg"})),
    "pdf": (_pdf, frozenset({"application/pdf"})),
    "mp4": (partial(_film, media_av.mp4, faststart=True), ISO_FILM),
    "hevc": (
        partial(
            _film, media_av.film, muxer="mp4", video_codec="libx265", audio_codec=None
        ),
        ISO_FILM,
    ),
    "mov": (partial(_film, media_av.mov), ISO_FILM),
    "webm": (partial(_film, media_av.webm, **ALIKE), MATROSKA),
    "mkv": (partial(_film, media_av.mkv, **ALIKE), MATROSKA),
    "mp3": (partial(_written, media_av.mp3), frozenset({"audio/mpeg"})),
    "m4a": (partial(_written, media_av.m4a), ISO_FILM),
    "wav": (partial(_written, media_av.wav), frozenset({"audio/wav"})),
    "flac": (partial(_written, media_av.flac), frozenset({"audio/flac"})),
    "ogg": (partial(_written, media_av.ogg, **ALIKE), frozenset({"audio/ogg"})),
}


# Of a format that is among them already.
VARIANTS = frozenset({"progressive", "deep-png", "moving-png", "moving-webp", "hevc"})


@cache
def base(name: str) -> bytes:
    """A sound file. Encoding takes its time, and once is enough."""
    make, _kinds = BASES[name]
    return make()


def _sound() -> Iterator[Case]:
    for name, (_make, kinds) in BASES.items():
        made, quick = partial(base, name), name not in VARIANTS
        yield Case(f"sound {name}", made, kinds, sound=True, quick=quick)


# --- damage ---------------------------------------------------------------------------------


def _cut(data: bytearray, chance: random.Random) -> bytes:
    return bytes(data[: chance.randrange(1, len(data))])


def _flipped(data: bytearray, chance: random.Random) -> bytes:
    for _ in range(chance.randint(1, 20)):
        data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
    return bytes(data)


def _absurd_head(data: bytearray, chance: random.Random) -> bytes:
    for _ in range(chance.randint(1, 8)):
        data[chance.randrange(min(len(data), 512))] = chance.randrange(256)
    return bytes(data)


def _absurd_number(data: bytearray, chance: random.Random) -> bytes:
    """Four bytes of the first two thousand, where lengths and sizes are, say too much."""
    at = chance.randrange(4, min(len(data), 2000) - 4)
    number = chance.choice([0, 1, 0x7FFF_FFFF, 0x8000_0000, 0xFFFF_FFFF])
    data[at : at + 4] = number.to_bytes(4, chance.choice(["big", "little"]))
    return bytes(data)


def _zeroed(data: bytearray, chance: random.Random) -> bytes:
    start, end = _stretch(data, chance)
    data[start:end] = bytes(end - start)
    return bytes(data)


def _noisy(data: bytearray, chance: random.Random) -> bytes:
    start, end = _stretch(data, chance)
    data[start:end] = chance.randbytes(end - start)
    return bytes(data)


def _moved(data: bytearray, chance: random.Random) -> bytes:
    """A stretch twice, not at all, or elsewhere."""
    start, end = _stretch(data, chance)
    stretch = data[start:end]
    if chance.random() < 0.6:
        del data[start:end]
    if chance.random() < 0.6:
        at = chance.randrange(len(data) + 1)
        data[at:at] = stretch
    return bytes(data)


def _stretch(data: bytearray, chance: random.Random) -> tuple[int, int]:
    start = chance.randrange(8, len(data) - 1)
    return start, min(len(data), start + chance.randint(1, max(2, len(data) // 8)))


DAMAGES: dict[str, Callable[[bytearray, random.Random], bytes]] = {
    "cut": _cut,
    "flipped": _flipped,
    "absurd head": _absurd_head,
    "absurd number": _absurd_number,
    "zeroed": _zeroed,
    "noisy": _noisy,
    "moved": _moved,
}
TIMES = 2  # each damage to each sound file
QUICK_DAMAGES = frozenset(
    {"cut jpeg 0", "flipped png 0", "absurd number mp4 0", "noisy pdf 0"}
)


def _damaged(name: str, damage: str, number: int) -> bytes:
    chance = random.Random(f"{name} {damage} {number}")
    return DAMAGES[damage](bytearray(base(name)), chance)


def _mutations() -> Iterator[Case]:
    """Damage may hit what nobody needs, so either ending is right: refused, or what it was."""
    for name, (_make, kinds) in BASES.items():
        for damage in DAMAGES:
            for number in range(TIMES):
                made = partial(_damaged, name, damage, number)
                quick = f"{damage} {name} {number}" in QUICK_DAMAGES
                yield Case(f"{damage} {name} {number}", made, kinds, quick=quick)


# --- what is not what it says -----------------------------------------------------------------


def _zip() -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as made:
        made.writestr("shell.php", MARK)
    return file.getvalue()


STRANGERS: dict[str, bytes] = {
    "html": b"<!DOCTYPE html>" + HTML,
    "svg": b'<svg xmlns="http://www.w3.org/2000/svg"><script>'
    + MARK
    + b"</script></svg>",
    "xml": b'<?xml version="1.0"?><!DOCTYPE a [<!ENTITY b SYSTEM "file:///etc/passwd">]>',
    "elf": b"\x7fELF\x02\x01\x01" + bytes(57) + MARK,
    "exe": b"MZ" + bytes(58) + b"\x80\0\0\0" + bytes(64) + b"PE\0\0" + MARK,
    "script": b"#!/bin/sh\n" + MARK,
    "php": MARK,
    "gzip": b"\x1f\x8b\x08\0" + bytes(64),
    "7z": b"7z\xbc\xaf\x27\x1c" + bytes(64),
    "rar": b"Rar!\x1a\x07\x01\0" + bytes(64),
    "class": b"\xca\xfe\xba\xbe\0\0\0\x34" + bytes(64),
    "swf": b"FWS\x0a" + bytes(64),
    "bmp": b"BM" + bytes(100),
    "ico": b"\0\0\x01\0\x01\0" + bytes(64),
    "postscript": b"%!PS-Adobe-3.0\n(x) run\n",
    "playlist": b"#EXTM3U\n#EXTINF:1,\nfile:///etc/passwd\n#EXT-X-ENDLIST\n",
    "concat": b"ffconcat version 1.0\nfile /etc/passwd\n",
    "jpeg-2000": b"\0\0\0\x0cjP  \r\n\x87\n\0\0\0\x14ftypjp2 " + bytes(64),
    "one-byte": b"\xff",
    "zeros": bytes(5000),
    "noise": random.Random("noise").randbytes(5000),
}
SIGNATURES: dict[str, bytes] = {
    "jpeg": b"\xff\xd8\xff\xe0\0\x10JFIF\0",
    "png": b"\x89PNG\r\n\x1a\n",
    "gif": b"GIF89a/*" + JAVASCRIPT,
    "webp": b"RIFF\xff\xff\0\0WEBPVP8 ",
    "tiff": b"II*\0\x08\0\0\0",
    "avif": b"\0\0\0\x18ftypavif\0\0\0\0avifmif1",
    "heic": b"\0\0\0\x18ftypheic\0\0\0\0heicmif1",
    "mp4": b"\0\0\0\x18ftypisom\0\0\0\0isommp42",
    "webm": b"\x1aE\xdf\xa3\x9fB\x82\x84webm",
    "mp3": b"ID3\x04\0\0\0\0\0\0",
    "mp3-frame": b"\xff\xfb\x90\0",
    "wav": b"RIFF\xff\xff\0\0WAVEfmt ",
    "flac": b"fLaC\0\0\0\x22",
    "ogg": b"OggS\0\x02",
    "pdf": b"%PDF-1.7\n",
}


def _strangers() -> Iterator[Case]:
    yield Case("empty", bytes, quick=True)
    yield Case("zip named jpg", _zip, quick=True)
    for name, data in STRANGERS.items():
        quick = name in {"html", "svg", "exe"}
        yield Case(f"{name} named jpg", partial(bytes, data), quick=quick)
    for name, data in SIGNATURES.items():
        forged = data + HTML * 20
        yield Case(f"html that begins as {name}", partial(bytes, forged))


# --- two files in one -------------------------------------------------------------------------

TAILS: dict[str, Callable[[], bytes]] = {
    "zip": _zip,
    "html": lambda: HTML,
    "exe": lambda: STRANGERS["exe"],
    "javascript": lambda: JAVASCRIPT,
}


def _tailed(name: str, tail: str) -> bytes:
    return base(name) + TAILS[tail]()


def _riff_chunk(name: str, kind: bytes) -> bytes:
    data = bytearray(base(name))
    data += kind + struct.pack("<I", len(HTML)) + HTML + bytes(len(HTML) % 2)
    data[4:8] = struct.pack("<I", len(data) - 8)
    return bytes(data)


def _box(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", 8 + len(body)) + kind + body


def _jpeg_segment(kind: int) -> bytes:
    data = base("jpeg")
    segment = bytes([0xFF, kind]) + struct.pack(">H", 2 + len(HTML)) + HTML
    return data[:2] + segment + data[2:]


def _png_chunk(kind: bytes) -> bytes:
    data = base("png")
    body = kind + b"Comment\0" + HTML
    chunk = (
        struct.pack(">I", len(body) - 4) + body + struct.pack(">I", zlib.crc32(body))
    )
    return data[:33] + chunk + data[33:]


def _gif_comment() -> bytes:
    data = base("gif")
    return data[:-1] + b"\x21\xfe" + bytes([len(MARK)]) + MARK + b"\0;"


def _flac_block() -> bytes:
    """An APPLICATION block after the first one."""
    data = base("flac")
    block = b"\x02" + len(HTML).to_bytes(3, "big") + HTML
    return data[:42] + block + data[42:]


def _id3() -> bytes:
    text = b"\0eng\0" + MARK
    frame = b"COMM" + struct.pack(">I", len(text)) + b"\0\0" + text
    return (
        b"ID3\x03\0\0\0\0"
        + bytes([len(frame) >> 7, len(frame) & 127])
        + frame
        + base("mp3")
    )


def _pdf_with(change: Callable[[pikepdf.Pdf], None]) -> bytes:
    file = io.BytesIO()
    with pikepdf.open(io.BytesIO(base("pdf"))) as made:
        change(made)
        made.save(file, static_id=True)
    return file.getvalue()


def _attach(made: pikepdf.Pdf) -> None:
    made.attachments["setup.exe"] = STRANGERS["exe"]


def _script(made: pikepdf.Pdf) -> None:
    made.Root.OpenAction = pikepdf.Dictionary(
        S=pikepdf.Name.JavaScript, JS=pikepdf.String(MARK.decode())
    )


def _polyglots() -> Iterator[Case]:
    """Sound in front. Either the copy has no tail, or there is no copy."""
    quick = {"gif javascript", "jpeg zip", "png exe", "pdf html", "flac zip", "mp3 zip"}
    for name, (_make, kinds) in BASES.items():
        for tail in TAILS:
            both = f"{name} {tail}"
            if tail in ("zip", "html") or both in quick:
                made = partial(_tailed, name, tail)
                yield Case(
                    f"{name} with {tail} behind", made, kinds, quick=both in quick
                )
    inside: dict[str, tuple[str, Callable[[], bytes]]] = {
        "jpeg note": ("jpeg", partial(_jpeg_segment, 0xFE)),
        "jpeg application data": ("jpeg", partial(_jpeg_segment, 0xED)),
        "png text": ("png", partial(_png_chunk, b"tEXt")),
        "png unknown chunk": ("png", partial(_png_chunk, b"phPp")),
        "gif comment": ("gif", _gif_comment),
        "webp unknown chunk": ("webp", partial(_riff_chunk, "webp", b"PHP ")),
        "wav list": ("wav", partial(_riff_chunk, "wav", b"LIST")),
        "flac application": ("flac", _flac_block),
        "mp3 comment": ("mp3", _id3),
        "mp4 free box": ("mp4", lambda: base("mp4") + _box(b"free", HTML)),
        "mp4 unknown box": ("mp4", lambda: base("mp4") + _box(b"uuid", HTML)),
        "heic unknown box": ("heic", lambda: base("heic") + _box(b"free", HTML)),
        "avif unknown box": ("avif", lambda: base("avif") + _box(b"free", HTML)),
        "pdf attachment": ("pdf", partial(_pdf_with, _attach)),
        "pdf script": ("pdf", partial(_pdf_with, _script)),
    }
    for where, (name, make) in inside.items():
        _make, kinds = BASES[name]
        quick_too = where in {"jpeg note", "pdf attachment"}
        yield Case(f"intruder in {where}", make, kinds, quick=quick_too)
    yield Case("html before pdf", lambda: HTML + base("pdf"))


# --- bombs and absurd headers -------------------------------------------------------------------


def _patched(name: str, after: bytes, skip: int, new: bytes) -> bytes:
    data = bytearray(base(name))
    at = data.index(after) + len(after) + skip
    data[at : at + len(new)] = new
    return bytes(data)


def _png_header(width: int, height: int) -> bytes:
    body = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 6, 0, 0, 0)
    data = base("png")
    return data[:12] + body + struct.pack(">I", zlib.crc32(body)) + data[33:]


def _deflated(megabytes: int, piece: bytes = b" ") -> bytes:
    packer, block = zlib.compressobj(9), piece * (2**20 // len(piece))
    return b"".join(packer.compress(block) for _ in range(megabytes)) + packer.flush()


def _png_profile_bomb() -> bytes:
    data = base("png")
    body = b"iCCPbomb\0\0" + _deflated(200)
    chunk = (
        struct.pack(">I", len(body) - 4) + body + struct.pack(">I", zlib.crc32(body))
    )
    return data[:33] + chunk + data[33:]


def _pdf_bomb(filters: list[str], packed: bytes) -> bytes:
    def swell(made: pikepdf.Pdf) -> None:
        content = made.make_stream(b"")
        kinds = pikepdf.Array([pikepdf.Name(each) for each in filters])
        content.write(packed, filter=kinds)
        made.pages[0].Contents = content

    return _pdf_with(swell)


def _pdf_text(*objects: str) -> bytes:
    """A PDF by hand; object 1 is the catalogue."""
    data, places = b"%PDF-1.7\n", []
    for number, each in enumerate(objects, 1):
        places.append(len(data))
        data += f"{number} 0 obj\n{each}\nendobj\n".encode()
    table = f"xref\n0 {len(objects) + 1}\n0000000000 65535 f \n"
    table += "".join(f"{place:010} 00000 n \n" for place in places)
    end = f"trailer\n<</Size {len(objects) + 1}/Root 1 0 R>>\nstartxref\n{len(data)}\n%%EOF\n"
    return data + (table + end).encode()


CATALOGUE = "<</Type/Catalog/Pages 2 0 R>>"
PAGES = "<</Type/Pages/Kids[3 0 R]/Count 1>>"


def _page(box: str, more: str = "") -> str:
    return f"<</Type/Page/Parent 2 0 R/MediaBox{box}{more}>>"


def _flat(name: str, side: int, mode: str, **options: object) -> bytes:
    """Of one colour: small in bytes, large in memory."""
    file = io.BytesIO()
    Image.new(mode, (side, side)).save(file, name, **options)
    return file.getvalue()


def _flat_gif(side: int, frames: int) -> bytes:
    data = _flat("GIF", side, "P")
    start = data.index(b",\0\0\0\0")
    return data[:start] + data[start:-1] * frames + b";"


def _bombs() -> Iterator[Case]:
    """Beyond a limit, or just within it and heavy."""
    png, jpeg, tiff, gif, pdf = (
        frozenset({kind})
        for kind in (
            "image/png",
            "image/jpeg",
            "image/tiff",
            "image/gif",
            "application/pdf",
        )
    )
    huge = struct.pack(">II", 0x7FFF_FFFF, 0x7FFF_FFFF)
    yield Case("png of 144 megapixels", media.png_bomb, quick=True)
    yield Case("png just within", partial(media.png_bomb, 9_900), png)
    yield Case(
        "png turned just within",
        partial(_flat, "PNG", 9_900, "RGB", exif=media.exif(6), compress_level=1),
        png,
    )
    yield Case(
        "tiff just within",
        partial(_flat, "TIFF", 9_900, "1", compression="tiff_adobe_deflate"),
        tiff,
    )
    yield Case(
        "jpeg turned just within",
        partial(_flat, "JPEG", 9_900, "RGB", exif=media.exif(6)),
        jpeg,
    )
    yield Case("gif of three large frames", partial(_flat_gif, 9_000, 3), gif)
    yield Case("gif of too many frames", partial(_flat_gif, 8, 2_001))
    yield Case(
        "png header of 2 giga by 2 giga",
        partial(_png_header, 0x7FFF_FFFF, 0x7FFF_FFFF),
        quick=True,
    )
    yield Case("png header of no width", partial(_png_header, 0, 48))
    yield Case("png profile of 200 MB", _png_profile_bomb, png)
    yield Case(
        "jpeg header of 65,500 squared",
        partial(_patched, "jpeg", b"\xff\xc0", 3, struct.pack(">HH", 65_500, 65_500)),
        quick=True,
    )
    yield Case(
        "gif header of 65,535 squared",
        partial(_patched, "gif", b"GIF89a", 0, b"\xff\xff\xff\xff"),
    )
    yield Case(
        "webp header of 16 mega squared",
        partial(_patched, "moving-webp", b"VP8X", 8, b"\xff" * 6),
    )
    yield Case(
        "tiff header of 2 giga wide",
        partial(_patched, "tiff", b"\0\x01\x04\0\x01\0\0\0", 0, b"\xff\xff\xff\x7f"),
        tiff,
    )
    yield Case(
        "heic header of 2 giga squared", partial(_patched, "heic", b"ispe", 4, huge)
    )
    yield Case(
        "avif header of 2 giga squared", partial(_patched, "avif", b"ispe", 4, huge)
    )
    yield Case(
        "mp4 header of 65,535 squared",
        partial(_patched, "mp4", b"avc1", 24, b"\xff\xff\xff\xff"),
        ISO_FILM,
    )
    yield Case(
        "mp4 of 4 giga samples",
        partial(_patched, "mp4", b"stts", 8, b"\xff\xff\xff\xff"),
        ISO_FILM,
        quick=True,
    )
    yield Case("mp4 of 10,000 nested boxes", _nested_boxes)
    yield Case(
        "wav of 65,535 channels",
        partial(_patched, "wav", b"fmt ", 6, b"\xff\xff"),
        quick=True,
    )
    yield Case(
        "wav of 4 giga hertz",
        partial(_patched, "wav", b"fmt ", 8, b"\xff\xff\xff\xff"),
        frozenset({"audio/wav"}),
    )
    yield Case(
        "flac of 64 giga samples",
        partial(_patched, "flac", b"fLaC", 17, b"\x0f\xff\xff\xff\xff"),
        frozenset({"audio/flac"}),
    )
    yield Case(
        "pdf of 100 MB", lambda: _pdf_bomb(["/FlateDecode"], _deflated(100)), pdf
    )
    yield Case(
        "pdf of 1 GB packed twice",
        lambda: _pdf_bomb(["/FlateDecode"] * 2, zlib.compress(_deflated(1_000), 9)),
    )
    yield Case(
        "pdf of much to draw",
        lambda: _pdf_bomb(["/FlateDecode"], _deflated(3, b"0 0 m 9 9 l S\n  ")),
        pdf,
    )
    yield Case(
        "pdf page that is its own parent",
        lambda: _pdf_text(CATALOGUE, "<</Type/Pages/Kids[2 0 R]/Count 1>>"),
        quick=True,
    )
    yield Case(
        "pdf of 2 giga pages",
        lambda: _pdf_text(
            CATALOGUE, PAGES.replace("1>>", "2147483647>>"), _page("[0 0 9 9]")
        ),
        pdf,
    )
    yield Case(
        "pdf page of a light-second",
        lambda: _pdf_text(CATALOGUE, PAGES, _page("[0 0 3e38 3e38]")),
        pdf,
    )
    yield Case(
        "pdf page of nothing",
        lambda: _pdf_text(CATALOGUE, PAGES, _page("[0 0 0 0]")),
        pdf,
    )
    yield Case(
        "pdf of 100,000 nested arrays",
        lambda: _pdf_text(
            CATALOGUE, PAGES, _page("[0 0 9 9]", "/X" + "[" * 100_000 + "]" * 100_000)
        ),
        pdf,
    )


def _nested_boxes() -> bytes:
    body = b""
    for _ in range(10_000):
        body = _box(b"moov", body)
    return base("mp4")[:32] + body


CASES: tuple[Case, ...] = (
    *_sound(),
    *_strangers(),
    *_polyglots(),
    *_bombs(),
    *_mutations(),
)
