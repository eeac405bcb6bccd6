"""Makers of small picture and PDF files for the tests. Sound and film: ``media_av``."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Iterable
from typing import Any

import av
import numpy as np
import pikepdf
from PIL import ExifTags, Image, ImageDraw, PngImagePlugin

LATITUDE = (48.0, 51.0, 29.5)
# Found in a file's bytes, these say that its metadata is still there.
SECRET = "Secret garden behind the house"
XMP = (
    '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/'
    '22-rdf-syntax-ns#"><rdf:Description xmlns:exif="http://ns.adobe.com/exif/1.0/" '
    f'exif:GPSLatitude="48,51.49N" exif:Note="{SECRET}"/></rdf:RDF></x:xmpmeta>'
).encode()
MARKS = (SECRET.encode(), b"GPSLatitude", b"Exif\0", b"exif:", b"Pocket Camera")


def picture(width: int = 64, height: int = 48, mode: str = "RGB") -> Image.Image:
    """Red in the upper left quarter, the rest a slope of greens and blues."""
    y, x = np.mgrid[0:height, 0:width]
    array = np.zeros((height, width, 3), np.uint8)
    array[..., 1] = 255 * x // width
    array[..., 2] = 255 * y // height
    array[: height // 2, : width // 2] = (250, 10, 10)
    image = Image.fromarray(array)
    if mode == "I;16":
        return Image.fromarray(np.asarray(image.convert("L"), np.uint16) * 257)
    return image.convert(mode)


def exif(orientation: int = 1, gps: bool = True) -> bytes:
    found = Image.Exif()
    found[ExifTags.Base.Make] = "Pocket Camera"
    found[ExifTags.Base.Orientation] = orientation
    if gps:
        place = found.get_ifd(ExifTags.IFD.GPSInfo)
        place[ExifTags.GPS.GPSLatitudeRef] = "N"
        place[ExifTags.GPS.GPSLatitude] = LATITUDE
        place[ExifTags.GPS.GPSAreaInformation] = SECRET.encode()
    return found.tobytes()


def _saved(image: Image.Image, name: str, **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, name, **options)
    return file.getvalue()


def jpeg(
    width: int = 64,
    height: int = 48,
    gps: bool = True,
    orientation: int = 1,
    mode: str = "RGB",
    **options: Any,
) -> bytes:
    if gps:
        options |= {"exif": exif(orientation), "xmp": XMP, "comment": SECRET}
    elif orientation != 1:
        options |= {"exif": exif(orientation, gps=False)}
    return _saved(picture(width, height, mode), "JPEG", **{"quality": 90} | options)


def png(
    width: int = 64,
    height: int = 48,
    gps: bool = True,
    orientation: int = 1,
    mode: str = "RGB",
    **options: Any,
) -> bytes:
    if gps:
        notes = PngImagePlugin.PngInfo()
        notes.add_text("Comment", SECRET)
        notes.add_itxt("XML:com.adobe.xmp", XMP.decode())
        options |= {"exif": exif(orientation), "pnginfo": notes}
    return _saved(picture(width, height, mode), "PNG", **options)


def webp(
    width: int = 64,
    height: int = 48,
    gps: bool = True,
    orientation: int = 1,
    mode: str = "RGB",
    **options: Any,
) -> bytes:
    if gps:
        options |= {"exif": exif(orientation), "xmp": XMP}
    return _saved(picture(width, height, mode), "WEBP", **options)


def avif(
    width: int = 64,
    height: int = 48,
    gps: bool = True,
    orientation: int = 1,
    **options: Any,
) -> bytes:
    if gps:
        options |= {"exif": exif(orientation), "xmp": XMP}
    return _saved(picture(width, height), "AVIF", **{"speed": 10} | options)


def tiff(
    width: int = 64,
    height: int = 48,
    gps: bool = True,
    orientation: int = 1,
    mode: str = "RGB",
    pages: int = 1,
    **options: Any,
) -> bytes:
    """``orientation`` and metadata only with one page."""
    if gps and pages == 1:
        tags = Image.Exif()
        tags.load(exif(orientation))
        tags[ExifTags.Base.ImageDescription] = SECRET
        tags[ExifTags.Base.XMLPacket] = XMP
        options |= {"exif": tags}
    first, *rest = frames(pages, width, height, mode)
    return _saved(first, "TIFF", save_all=True, append_images=rest, **options)


def frames(
    count: int, width: int = 64, height: int = 48, mode: str = "RGB"
) -> list[Image.Image]:
    """A bar wanders over the picture."""
    made = []
    for number in range(count):
        image = picture(width, height)
        left = (width - 4) * number // max(count, 1)
        ImageDraw.Draw(image).rectangle((left, 0, left + 3, height), "white")
        made.append(image.convert(mode))
    return made


def animation(
    name: str,
    count: int = 5,
    width: int = 64,
    height: int = 48,
    duration: int = 120,
    **options: Any,
) -> bytes:
    """An animated GIF, WEBP, PNG or AVIF with metadata."""
    first, *rest = frames(count, width, height)
    notes: dict[str, Any] = {
        "GIF": {"comment": SECRET.encode(), "loop": 3, "disposal": 2},
        "WEBP": {"exif": exif(), "xmp": XMP, "loop": 3},
        "PNG": {"exif": exif(), "loop": 3},
        "AVIF": {"exif": exif(), "xmp": XMP, "speed": 10},
    }[name]
    return _saved(
        first,
        name,
        save_all=True,
        append_images=rest,
        duration=duration,
        **notes | options,
    )


def gif(count: int = 5, **options: Any) -> bytes:
    return animation("GIF", count, **options)


def heic(
    width: int = 128, height: int = 96, gps: bool = True, quarter_turns: int = 0
) -> bytes:
    """A HEIF with one HEVC key frame by x265, the boxes written here (ISO 23008-12).

    ``quarter_turns`` anticlockwise, said by an irot box as phones do.
    """
    config, frame = _hevc(picture(width, height))
    note = struct.pack(">I", 6) + exif(6) if gps else b""
    items = [(b"hvc1", frame)] + ([(b"Exif", note)] if gps else [])
    infos = [
        _box(b"infe", struct.pack(">IHH", 2 << 24, n, 0), kind, b"\0")
        for n, (kind, _data) in enumerate(items, 1)
    ]
    properties = [
        _box(b"hvcC", config),
        _box(b"ispe", struct.pack(">III", 0, width, height)),
        _box(b"irot", bytes([quarter_turns])),
    ]
    uses = bytes([0x81, 0x02, 0x83])  # hvcC and irot are essential
    kind = _box(b"ftyp", b"heic", bytes(4), b"mif1", b"heic")

    def meta(start: int) -> bytes:
        places = b""
        for n, (_kind, data) in enumerate(items, 1):
            places += struct.pack(">HHHII", n, 0, 1, start, len(data))
            start += len(data)
        return _box(
            b"meta",
            bytes(4),
            _box(b"hdlr", bytes(8), b"pict", bytes(13)),
            _box(b"pitm", bytes(4), struct.pack(">H", 1)),
            _box(b"iloc", bytes(4), b"\x44\0", struct.pack(">H", len(items)), places),
            _box(b"iinf", bytes(4), struct.pack(">H", len(items)), *infos),
            _box(
                b"iref",
                bytes(4),
                *[_box(b"cdsc", struct.pack(">HHH", 2, 1, 1))] * gps,
            ),
            _box(
                b"iprp",
                _box(b"ipco", *properties),
                _box(b"ipma", bytes(4), struct.pack(">IHB", 1, 1, 3), uses),
            ),
        )

    start = len(kind) + len(meta(0)) + 8
    return kind + meta(start) + _box(b"mdat", *[data for _kind, data in items])


def _box(kind: bytes, *parts: bytes) -> bytes:
    body = b"".join(parts)
    return struct.pack(">I", 8 + len(body)) + kind + body


def _hevc(image: Image.Image) -> tuple[bytes, bytes]:
    """The hvcC record and the length-prefixed frame, as FFmpeg's MP4 muxer makes them."""
    file = io.BytesIO()
    with av.open(file, "w", format="mp4") as out:
        stream = out.add_stream("libx265", rate=1)
        stream.width, stream.height, stream.pix_fmt = *image.size, "yuv420p"
        stream.options = {"x265-params": "log-level=none:pools=1:bframes=0"}
        stream.codec_context.flags |= av.codec.context.Flags.global_header
        shown = av.VideoFrame.from_ndarray(np.asarray(image)).reformat(format="yuv420p")
        shown.pts = 0
        for packet in (*stream.encode(shown), *stream.encode(None)):
            out.mux(packet)
    file.seek(0)
    with av.open(file, "r") as container:
        config = container.streams.video[0].codec_context.extradata
        frame = next(container.demux(video=0))
        return bytes(config or b""), bytes(frame)


def pdf(
    pages: int = 3, size: tuple[float, float] = (300, 200), secrets: bool = True
) -> bytes:
    """Pages with a photo each. ``secrets``: metadata, an attachment and scripts."""
    file = io.BytesIO()
    with pikepdf.new() as made:
        photo = made.make_stream(
            jpeg(gps=secrets),
            Type=pikepdf.Name.XObject,
            Subtype=pikepdf.Name.Image,
            Width=64,
            Height=48,
            ColorSpace=pikepdf.Name.DeviceRGB,
            BitsPerComponent=8,
            Filter=pikepdf.Name.DCTDecode,
        )
        for _number in range(pages):
            page = made.add_blank_page()
            page.MediaBox = pikepdf.Array([0, 0, *size])
            page.Resources = pikepdf.Dictionary(XObject=pikepdf.Dictionary(AA=photo))
            page.Contents = made.make_stream(b"q 250 0 0 150 20 20 cm /AA Do Q")
        if secrets:
            _add_secrets(made)
        made.save(file)
    return file.getvalue()


def _add_secrets(made: pikepdf.Pdf) -> None:
    script = pikepdf.Dictionary(S=pikepdf.Name.JavaScript, JS=f"app.alert('{SECRET}')")
    made.docinfo["/Title"] = SECRET
    made.Root.Metadata = made.make_stream(
        XMP, Type=pikepdf.Name.Metadata, Subtype=pikepdf.Name.XML
    )
    made.Root.OpenAction = script
    made.attachments["note.txt"] = SECRET.encode()
    for page in made.pages:
        page.AA = pikepdf.Dictionary(O=script)
        page.Annots = pikepdf.Array(
            [
                pikepdf.Dictionary(
                    Type=pikepdf.Name.Annot,
                    Subtype=pikepdf.Name.Link,
                    Rect=[0, 0, 9, 9],
                    A=script,
                )
            ]
        )


def pdf_encrypted(password: str = "open sesame") -> bytes:
    file = io.BytesIO()
    with pikepdf.open(io.BytesIO(pdf())) as made:
        made.save(file, encryption=pikepdf.Encryption(user=password, owner="owner"))
    return file.getvalue()


def png_bomb(side: int = 12_000) -> bytes:
    """A true PNG of one bit a pixel: 144 MP in some 18 kB."""
    packer = zlib.compressobj(9)
    row = bytes(1 + (side + 7) // 8)
    pixels = b"".join(packer.compress(row) for _row in range(side)) + packer.flush()
    header = struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        _chunk(kind, data)
        for kind, data in ((b"IHDR", header), (b"IDAT", pixels), (b"IEND", b""))
    )


def _chunk(kind: bytes, data: bytes) -> bytes:
    checksum = zlib.crc32(kind + data)
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", checksum)


def truncated(data: bytes, share: float) -> bytes:
    return data[: int(len(data) * share)]


def text_as_jpeg() -> bytes:
    """What somebody named holiday.jpg."""
    return b"Dear all, the picture is not in this file. " * 40


def marks(data: bytes) -> Iterable[bytes]:
    """The metadata still found in a file's bytes."""
    return [mark for mark in MARKS if mark in data]


# Red, green and blue of a profile's space as CIE XYZ under D50, and its curve as an ICC tag.
DISPLAY_P3 = (
    (
        (0.51512, 0.2412, -0.00105),
        (0.29198, 0.69225, 0.04189),
        (0.1571, 0.06657, 0.78407),
    ),
    b"para" + struct.pack(">IHHiiiii", 0, 3, 0, 157286, 62119, 3417, 5072, 2651),
)
ADOBE_RGB = (
    (
        (0.60974, 0.31111, 0.01947),
        (0.20528, 0.62567, 0.06087),
        (0.14919, 0.06322, 0.74457),
    ),
    b"curv" + struct.pack(">IIH", 0, 1, 563),
)
D50 = (0.9642, 1.0, 0.82491)
Xyz = tuple[float, float, float]


def icc(space: tuple[tuple[Xyz, Xyz, Xyz], bytes]) -> bytes:
    """A colour profile as cameras and phones embed it (ICC.1:2010): three primaries, one curve."""
    primaries, curve = space
    words = b"mluc" + struct.pack(">III2s2sII", 0, 1, 12, b"en", b"US", 2, 28) + b"\0x"
    tags = {b"desc": words, b"cprt": words, b"wtpt": _xyz(D50)}
    for name, place in zip((b"r", b"g", b"b"), primaries, strict=True):
        tags |= {name + b"XYZ": _xyz(place), name + b"TRC": curve}
    at, table, body = 132 + 12 * len(tags), struct.pack(">I", len(tags)), b""
    for name, tag in tags.items():
        table += name + struct.pack(">II", at + len(body), len(tag))
        body += tag + bytes(-len(tag) % 4)
    head = struct.pack(">I4sI", at + len(body), b"test", 4 << 24) + b"mntrRGB XYZ "
    head += bytes(12) + b"acsp" + bytes(28) + _xyz(D50)[8:]
    return head.ljust(128, b"\0") + table + body


def _xyz(place: Xyz) -> bytes:
    return b"XYZ " + struct.pack(">Iiii", 0, *(round(each * 65536) for each in place))
