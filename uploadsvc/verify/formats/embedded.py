"""The pictures inside a document, as they were before they were scaled, cut or covered.

A page drawn small hides what a reader who zooms in sees, and pages beyond the bound are not
drawn at all. A picture that comes again, a logo on every page, is looked at once.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import pypdfium2
from PIL import Image
from pypdfium2.raw import FPDF_PAGEOBJ_IMAGE

from uploadsvc.verify import Limits

LEAST_SIDE = 32  # pixels; smaller ones are bullets and lines
SEARCHED_PAGES = 200  # one takes a millisecond, unless it is a drawing
SEARCHED_OBJECTS = 20_000  # of a page: a map has a line for each street


@dataclass(slots=True)
class Embedded:
    """``whole`` becomes False when the search meets a bound or leaves a picture out."""

    document: pypdfium2.PdfDocument
    limits: Limits
    whole: bool = True
    _seen: set[bytes] = field(default_factory=set)

    def pictures(self) -> Iterator[tuple[int, Any]]:
        """The number of a page and a picture of it, good until the next one is asked for."""
        pages = len(self.document)
        self.whole &= pages <= SEARCHED_PAGES
        for number in range(min(pages, SEARCHED_PAGES)):
            try:
                page = self.document[number]
            except pypdfium2.PdfiumError:
                self.whole = False
                continue
            with closing(page):
                for picture in self._of(page):
                    if len(self._seen) > self.limits.embedded_pictures:
                        self.whole = False
                        return
                    yield number, picture

    def _of(self, page: Any) -> Iterator[Any]:
        searched = 0
        try:
            for found in islice(page.get_objects(), SEARCHED_OBJECTS):
                searched += 1
                if found.type == FPDF_PAGEOBJ_IMAGE and self._wanted(found):
                    yield found
        except pypdfium2.PdfiumError:
            self.whole = False
        self.whole &= searched < SEARCHED_OBJECTS

    def _wanted(self, picture: Any) -> bool:
        width, height = picture.get_px_size()
        if min(width, height) < LEAST_SIDE:
            return False
        if width * height > self.limits.max_pixels:
            self.whole = False
            return False
        digest = hashlib.sha256(bytes(picture.get_data())).digest()
        new = digest not in self._seen
        self._seen.add(digest)
        return new


def pixels(picture: Any) -> Image.Image | None:
    """The picture decoded; None where pdfium cannot, and so shows nothing in its place."""
    try:
        # Not closed by hand: pdfium owns its pixels, which go with the last who refers to them.
        decoded: Image.Image = picture.get_bitmap().to_pil().convert("RGB")
    except (pypdfium2.PdfiumError, ValueError):
        return None
    return decoded
