"""PDF: structure by qpdf (pikepdf), pages drawn by pdfium."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import pikepdf
import pypdfium2
from PIL import Image

from uploadsvc.errors import InvalidMedia
from uploadsvc.model import Facts
from uploadsvc.verify import Kept, Limits, Probed, Sample, Subject
from uploadsvc.verify.formats import strip
from uploadsvc.verify.formats.embedded import Embedded, pixels
from uploadsvc.verify.formats.inflating import check_streams
from uploadsvc.verify.formats.likeness import Shown
from uploadsvc.verify.formats.picture import (
    SAMPLE_SIDE,
    digest,
    sample,
    write_thumbnail,
)

# Drawn at twice the size and scaled down: pdfium smoothes text better than hairlines.
DRAWN_SIDE = 2 * SAMPLE_SIDE

# Metadata (GPS is in XMP as well as in EXIF) and what may run or unpack at a reader's:
# actions nobody clicked for, scripts, attached files. Taken out of every dictionary, for
# pages, pictures and annotations carry their own. Long names only: a font may be called /AA.
DROPPED_KEYS = (
    "/Metadata",
    "/PieceInfo",
    "/LastModified",
    "/OpenAction",
    "/JavaScript",
    "/EmbeddedFiles",
    "/RichMediaContent",
)
DROPPED_ACTIONS = (
    "/JavaScript",
    "/Launch",
    "/SubmitForm",
    "/ImportData",
    "/GoToE",
    "/Rendition",
)


class PdfFormat:
    def probe(self, subject: Subject, mime_type: str, limits: Limits) -> Probed:
        with _opened(subject) as pdf:
            pages = len(pdf.pages)
            if not pages:
                raise InvalidMedia("The PDF has no pages")
            if pages > limits.max_pages:
                raise InvalidMedia(f"The PDF has more than {limits.max_pages:,} pages")
            # As large as the pixels of the largest picture.
            check_streams(pdf, 3 * limits.max_pixels)
            if pdf.check_pdf_syntax():
                raise InvalidMedia()
        drawn = min(pages, limits.sampled_pages)
        with _drawable(subject) as document:
            embedded = Embedded(document, limits)
            pictures = sum(1 for _ in embedded.pictures())
        whole = embedded.whole and drawn == pages
        # No width and height: a PDF is measured in points, and each page may differ.
        return Probed("pdf", mime_type, drawn + pictures, whole=whole)

    def samples(
        self, subject: Subject, probed: Probed, limits: Limits
    ) -> Iterator[Sample]:
        """Pages drawn, then the pictures in them; without a picture where it was seen before
        or cannot be decoded."""
        shown = Shown()
        with _drawable(subject) as document:
            pages = len(document)
            drawn = min(pages, limits.sampled_pages)
            for n in range(drawn):
                number = round(n * (pages - 1) / max(drawn - 1, 1))
                yield _sample(number, _drawn(document, number), shown)
            for number, picture in Embedded(document, limits).pictures():
                yield _sample(number, pixels(picture), shown)

    def keep(self, subject: Subject, probed: Probed) -> Iterator[float | Kept]:
        original = "original.pdf"
        with _opened(subject) as pdf:
            _clean(pdf)
            yield 0.4
            pdf.save(subject.scratch / original)
        yield 0.8
        with _drawable(subject) as document:
            thumbnail = write_thumbnail(_drawn(document, 0), subject.scratch)
        yield 1.0
        size, sha256 = digest(subject.scratch / original)
        facts = Facts(probed.mime_type, size, sha256, blurhash=thumbnail.blurhash)
        yield Kept(facts, original, thumbnail.name)


def _sample(number: int, image: Image.Image | None, shown: Shown) -> Sample:
    frame = None if image is None else sample(image)
    new = frame is not None and shown.is_new(frame)
    return Sample(float(number), frame if new else None)


@contextmanager
def _opened(subject: Subject) -> Iterator[pikepdf.Pdf]:
    try:
        # Without recovery: qpdf would silently rebuild half a file into a shorter whole one.
        with pikepdf.open(subject.path, attempt_recovery=False) as pdf:
            # Also when the password is empty: the author forbade changes, and we make some.
            if pdf.is_encrypted:
                raise InvalidMedia("The PDF is encrypted")
            yield pdf
    except pikepdf.PasswordError as error:
        raise InvalidMedia("The PDF is protected by a password") from error
    except (
        pikepdf.PdfError,
        RuntimeError,
        ValueError,
        LookupError,
        TypeError,
    ) as error:
        raise InvalidMedia() from error


@contextmanager
def _drawable(subject: Subject) -> Iterator[pypdfium2.PdfDocument]:
    try:
        with pypdfium2.PdfDocument(subject.path) as document:
            yield document
    except pypdfium2.PdfiumError as error:
        raise InvalidMedia() from error


def _drawn(document: pypdfium2.PdfDocument, number: int) -> Image.Image:
    page = document[number]
    try:
        # Whatever size a page claims (14,400 points and beyond), it is drawn to ours.
        scale = DRAWN_SIDE / max(*page.get_size(), 1.0)
        bitmap = page.render(scale=scale, may_draw_forms=False)
        try:
            drawn: Image.Image = bitmap.to_pil().convert("RGB")
        finally:
            bitmap.close()
    finally:
        page.close()
    return drawn


def _clean(pdf: pikepdf.Pdf) -> None:
    if "/Info" in pdf.trailer:
        del pdf.trailer["/Info"]
    form = pdf.Root.get("/AcroForm")
    if isinstance(form, pikepdf.Dictionary) and "/XFA" in form:
        del form["/XFA"]
    for found in pdf.objects:
        _clean_value(found)


def _clean_value(value: Any) -> None:
    """Clean a value and those written inside it; those it refers to have their own turn."""
    if isinstance(value, pikepdf.Array):
        children = list(value)
    elif isinstance(value, pikepdf.Dictionary | pikepdf.Stream):
        _clean_dictionary(value)
        children = [child for _key, child in value.items()]
    else:
        return
    for child in children:
        if not getattr(child, "is_indirect", True):
            _clean_value(child)
    if isinstance(value, pikepdf.Stream):
        _clean_photo(value)


def _clean_dictionary(value: pikepdf.Object) -> None:
    for key in DROPPED_KEYS:
        if key in value:
            del value[key]
    # An action without its type does nothing; whoever points at it still finds a dictionary.
    if value.get("/S") in DROPPED_ACTIONS:
        for key in ("/S", "/JS"):
            if key in value:
                del value[key]
    # Additional actions and embedded files, told by what they hold from a resource that
    # happens to bear the name.
    actions, files = value.get("/AA"), value.get("/EF")
    if isinstance(actions, pikepdf.Dictionary) and any(
        isinstance(child, pikepdf.Dictionary) and ("/S" in child or "/JS" in child)
        for _key, child in actions.items()
    ):
        del value["/AA"]
    if isinstance(files, pikepdf.Dictionary) and any(
        isinstance(child, pikepdf.Stream) for _key, child in files.items()
    ):
        del value["/EF"]


def _clean_photo(stream: pikepdf.Object) -> None:
    """Take EXIF and the like out of an embedded JPEG: scanners and phones leave them in."""
    kind: Any = stream.get("/Filter")
    if kind not in ("/DCTDecode", [pikepdf.Name.DCTDecode]):
        return
    raw = stream.read_raw_bytes()
    # A picture some reader still shows though it is not whole stays as it is: refusing the
    # document for it would help nobody.
    with suppress(InvalidMedia):
        clean = b"".join(strip.pieces(raw, "image/jpeg"))
        if raw.startswith(b"\xff\xd8"):
            parameters: Any = stream.get("/DecodeParms")
            stream.write(clean, filter=kind, decode_parms=parameters)
