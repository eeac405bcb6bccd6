"""An engine on the network as the verifier child sees it: pictures go to whoever can ask.

The call itself is made elsewhere, see ``http`` and :mod:`uploadsvc.verify.broker`. Apart from
``http`` because the web process has no use for Pillow, and the child none for an HTTP client.
"""

from __future__ import annotations

from collections.abc import Iterator
from io import BytesIO

from PIL import Image

from uploadsvc.verify import Array, Evidence, Sample, Subject, Unexamined
from uploadsvc.verify.analysers import Silent
from uploadsvc.verify.broker import Ask

LONGEST_SIDE = 512  # pixels; what engines look at is smaller still
JPEG_QUALITY = 90


class RemoteAnalyser(Silent):
    """Asks ``ask`` for the engine ``name`` about the first picture of a file and every
    ``every``-th after it.

    ``model`` is what the engine last said it is.
    """

    def __init__(self, name: str, ask: Ask, *, every: int = 1) -> None:
        self.name = name
        self.model = ""
        self._ask = ask
        self._every = every
        self._seen = 0

    def file(self, subject: Subject, mime_type: str) -> Iterator[Evidence | Unexamined]:
        """Nothing, but that a new file begins."""
        self._seen = 0
        return iter(())

    def picture(self, sample: Sample, where: str) -> Iterator[Evidence | Unexamined]:
        turn, self._seen = self._seen % self._every, self._seen + 1
        if turn:
            return
        answer = self._ask(self.name, _jpeg(sample.frame), where)
        if answer.failed:
            yield Unexamined(self.name, "unreachable", where, answer.failed)
            return
        self.model = answer.model
        for each in answer.labels:
            yield Evidence(self.name, each.label, each.score, where)


def _jpeg(frame: Array) -> bytes:
    image = Image.fromarray(frame)
    image.thumbnail((LONGEST_SIDE, LONGEST_SIDE))
    stream = BytesIO()
    image.save(stream, "JPEG", quality=JPEG_QUALITY)
    return stream.getvalue()
