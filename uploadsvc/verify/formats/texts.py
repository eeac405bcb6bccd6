"""The words inside files, and what of each family nobody examines.

Read is what was sent, not what will be kept: a slur in a field that is taken out says something
all the same. All of it is bounded; a file that passed probing gives no error here, for words that
cannot be read are unexamined.
"""

from __future__ import annotations

import html
import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

import pi_heif
import pypdfium2
from av.container import InputContainer
from av.stream import Discard, Stream
from PIL import ExifTags, Image

from uploadsvc.verify import Limits, Probed, Reader, Subject, Unexamined, Writing
from uploadsvc.verify.formats.containers import opened, wrapping_of
from uploadsvc.verify.formats.image import PILLOW_NAMES
from uploadsvc.verify.formats.picture import DECODER_ERRORS
from uploadsvc.verify.formats.video import TEXT_SUBTITLES

# Of one file, in all. The word lists take some 15 ms for a thousand of them.
TEXT_CHARS = 30_000
TEXT_PAGES = 200  # a page without text takes a millisecond too
FIELDS = 50  # of metadata; a file may have a million
FIELD_CHARS = 2000
BOOKMARKS = 500
XMP_BYTES = 256 * 1024
SUBTITLE_CHARS = 1000  # given at a time, so that a finding says where

SOURCE = "verification"
SPEECH, WORDS_IN_PICTURES = "speech", "words_in_pictures"
BEYOND_BOUND, TEXT_BEYOND_BOUND = "beyond_bound", "text_beyond_bound"
UNREADABLE_METADATA, UNREADABLE_TEXT = "unreadable_metadata", "unreadable_text"

Read = Iterator[Writing | Unexamined]

# A field's name is the file's own; one that is none of these is not repeated to anybody.
_NAME = re.compile(r"[a-z][a-z0-9 _-]{0,31}")
_EXIF = {
    ExifTags.Base.ImageDescription: "description",
    ExifTags.Base.Artist: "artist",
    ExifTags.Base.Copyright: "copyright",
    ExifTags.Base.UserComment: "comment",
    ExifTags.Base.XPTitle: "title",
    ExifTags.Base.XPComment: "comment",
    ExifTags.Base.XPAuthor: "artist",
    ExifTags.Base.XPKeywords: "keywords",
    ExifTags.Base.XPSubject: "subject",
}
_WIDE = frozenset(range(ExifTags.Base.XPTitle, ExifTags.Base.XPSubject + 1))
_XMP_NAMES = frozenset({"xmp", "xml:com.adobe.xmp"})
_XMP = re.compile(
    r"<(?:dc:(title|description|subject|creator)|photoshop:(Headline))\b[^>]*>(.*?)</"
    r"(?:dc|photoshop):(?:\1|\2)>",
    re.DOTALL,
)
_TAG = re.compile(r"<[^>]*>|\{[^}]*\}")


class _Budget:
    """Cuts texts to what is left, and knows whether it had to."""

    def __init__(self, chars: int = TEXT_CHARS) -> None:
        self.left = chars
        self.met = False

    def cut(self, text: str) -> str:
        self.met = self.met or len(text) > self.left
        cut = text[: self.left]
        self.left -= len(cut)
        return cut

    def told(self, where: str) -> Iterator[Unexamined]:
        if self.met:
            yield _not(TEXT_BEYOND_BOUND, where, f"more than {TEXT_CHARS} characters")


def read_image(subject: Subject, probed: Probed, limits: Limits) -> Read:
    try:
        fields = list(_image_fields(subject, probed.mime_type))
    except DECODER_ERRORS as error:
        yield _not(UNREADABLE_METADATA, "metadata", repr(error)[:200])
    else:
        yield from _metadata(fields)
    yield _not(WORDS_IN_PICTURES, "picture")
    if not probed.whole:
        yield _not(BEYOND_BOUND, "frames", f"{probed.plan} were looked at")


def read_audio(subject: Subject, probed: Probed, limits: Limits) -> Read:
    wrapping = wrapping_of(probed.mime_type)
    with opened(subject.path, wrapping.demuxer, limits.max_pixels) as container:
        yield from _metadata(_tags(container))
    yield _not(SPEECH, "sound")


def read_video(subject: Subject, probed: Probed, limits: Limits) -> Read:
    wrapping = wrapping_of(probed.mime_type)
    with opened(subject.path, wrapping.demuxer, limits.max_pixels) as container:
        yield from _metadata(_tags(container))
        speaks = bool(container.streams.audio)
        yield from _subtitles(container)
    if speaks:
        yield _not(SPEECH, "sound")
    yield _not(WORDS_IN_PICTURES, "pictures")
    if not probed.whole:
        yield _not(BEYOND_BOUND, "pictures", f"{probed.plan} were looked at")


def read_pdf(subject: Subject, probed: Probed, limits: Limits) -> Read:
    budget = _Budget()
    with pypdfium2.PdfDocument(subject.path) as document:
        pages = len(document)
        yield from _metadata(document.get_metadata_dict(skip_empty=True).items())
        yield from _bookmarks(document, budget)
        for number in range(min(pages, TEXT_PAGES)):
            where = f"page {number + 1}"
            try:
                text = _page_text(document, number, budget)
            except (pypdfium2.PdfiumError, AssertionError, LookupError) as error:
                yield _not(UNREADABLE_TEXT, where, repr(error)[:200])
                continue
            if text.strip():
                yield Writing(where, text)
            if budget.met:
                yield from budget.told(where)
                break
    if pages > TEXT_PAGES and not budget.met:
        where = f"page {TEXT_PAGES + 1}"
        yield _not(TEXT_BEYOND_BOUND, where, f"of {pages} pages")
    yield _not(WORDS_IN_PICTURES, "pages")
    if not probed.whole:
        why = f"{probed.plan} pages and pictures were looked at"
        yield _not(BEYOND_BOUND, "pages", why)


# The families of ``probe.FAMILIES``.
READERS: dict[str, Reader] = {
    "image": read_image,
    "video": read_video,
    "audio": read_audio,
    "pdf": read_pdf,
}


def _not(what: str, where: str, why: str = "") -> Unexamined:
    return Unexamined(SOURCE, what, where, why)


def _metadata(fields: Any) -> Read:
    """Fields as (name, text); of a name that comes again with the same text once."""
    budget = _Budget(FIELDS * FIELD_CHARS)
    seen: set[tuple[str, str]] = set()
    for name, text in fields:
        plain = str(name).strip().lower().replace("\0", "")
        field = f"metadata {plain if _NAME.fullmatch(plain) else 'field'}"
        text = text.replace("\0", " ").strip()
        if not text or (field, text) in seen:
            continue
        if len(seen) == FIELDS:
            yield _not(TEXT_BEYOND_BOUND, "metadata", f"more than {FIELDS} fields")
            return
        seen.add((field, text))
        if len(text) > FIELD_CHARS:
            yield _not(TEXT_BEYOND_BOUND, field, f"more than {FIELD_CHARS} characters")
        yield Writing(field, budget.cut(text[:FIELD_CHARS]))


def _tags(container: InputContainer) -> Iterator[tuple[str, str]]:
    """Ogg keeps its tags with the stream, the others with the container."""
    holders: Sequence[Mapping[str, str]] = [
        container.metadata,
        *(stream.metadata for stream in container.streams),
        *(dict(chapter["metadata"]) for chapter in container.chapters()),
    ]
    for holder in holders:
        yield from holder.items()


def _subtitles(container: InputContainer) -> Read:
    texts = [
        stream
        for stream in container.streams.subtitles
        if stream.codec_context and stream.codec_context.name in TEXT_SUBTITLES
    ]
    if not texts:
        return
    for stream in container.streams:
        stream.discard = Discard.none if stream in texts else Discard.all
    budget = _Budget()
    lines: list[str] = []
    since = 0.0
    for packet in container.demux(texts):
        if not packet.size:
            continue
        if not lines:
            since = float((packet.pts or 0) * (packet.time_base or 0))
        if line := _line(bytes(packet), packet.stream).strip():
            lines.append(budget.cut(line))
        if sum(map(len, lines)) >= SUBTITLE_CHARS or budget.met:
            yield Writing(f"subtitles, second {since:.0f}", "\n".join(lines))
            lines = []
        if budget.met:
            break
    if lines:
        yield Writing(f"subtitles, second {since:.0f}", "\n".join(lines))
    yield from budget.told("subtitles")


def _line(data: bytes, stream: Stream) -> str:
    """What of a subtitle's packet is shown."""
    name = stream.codec_context.name if stream.codec_context else ""
    if name == "mov_text":
        data = data[2 : 2 + int.from_bytes(data[:2], "big")]
    text = data.decode("utf-8", "replace")
    if name in {"ass", "ssa"}:
        text = text.split(",", 8)[-1].replace(r"\N", "\n")
    return html.unescape(_TAG.sub("", text))


def _bookmarks(document: pypdfium2.PdfDocument, budget: _Budget) -> Read:
    marks = islice(document.get_toc(), BOOKMARKS + 1)
    titles = [str(mark.get_title()) for mark in marks]
    if titles:
        yield Writing("bookmarks", budget.cut("\n".join(titles[:BOOKMARKS])))
    if len(titles) > BOOKMARKS:
        why = f"more than {BOOKMARKS}"
        yield _not(TEXT_BEYOND_BOUND, "bookmarks", why)


def _page_text(document: pypdfium2.PdfDocument, number: int, budget: _Budget) -> str:
    page = document[number]
    try:
        text_page = page.get_textpage()
        try:
            # The whole page is asked for in another way, which alone knows every character; that
            # of a page with megabytes of text is not.
            if text_page.count_chars() <= budget.left:
                return budget.cut(str(text_page.get_text_bounded()))
            text = str(text_page.get_text_range(0, budget.left))
            budget.left, budget.met = 0, True
            return text
        finally:
            text_page.close()
    finally:
        page.close()


def _image_fields(subject: Subject, mime_type: str) -> Iterator[tuple[str, str]]:
    # Opening reads the head alone. Its size was checked by probing; Pillow's remark on it is not
    # wanted again.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if mime_type == "image/heic":
            heif = pi_heif.open_heif(subject.path)
            yield from _info_fields(heif.info, heif.info.get("exif"))
            return
        with Image.open(subject.path, formats=[PILLOW_NAMES[mime_type]]) as image:
            yield from _info_fields(dict(image.info), None)
            yield from _exif_fields(image.getexif())


def _info_fields(
    info: Mapping[Any, Any], exif: bytes | None
) -> Iterator[tuple[str, str]]:
    if exif:
        loaded = Image.Exif()
        loaded.load(exif)
        yield from _exif_fields(loaded)
    for key, value in info.items():
        name, text = str(key).lower(), _text(value)
        if name in _XMP_NAMES:
            for found in _XMP.finditer(text[:XMP_BYTES]):
                plain = html.unescape(_TAG.sub(" ", found[3]))
                yield found[1] or found[2].lower(), plain
        elif name == "comment" or isinstance(value, str):
            yield name, text


def _exif_fields(exif: Image.Exif) -> Iterator[tuple[str, str]]:
    inner = exif.get_ifd(ExifTags.IFD.Exif)
    for tag, name in _EXIF.items():
        value = exif.get(tag, inner.get(tag))
        if isinstance(value, bytes) and tag in _WIDE:
            yield name, value.decode("utf-16-le", "replace")
        elif value is not None:
            text = _text(value)
            # A comment begins with the name of its encoding, eight characters wide.
            known = text[:8].rstrip("\0 ") in {"ASCII", "UNICODE", "JIS", ""}
            yield name, text[8:] if tag == ExifTags.Base.UserComment and known else text


def _text(value: Any) -> str:
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    return value if isinstance(value, str) else ""
