"""Known-bad lists: is this file, or a picture in it, one that somebody has listed before?

The lists are :mod:`uploadsvc.verify.hashlists`; they are looked at for changes once a job, so
that one job is judged by one state of them. A picture that shows next to nothing (see
``perceptual``) has no hash: it can be in no list, and is not called unexamined.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

from uploadsvc.verify import Evidence, Sample, Subject, Unexamined, perceptual
from uploadsvc.verify.analysers import Silent
from uploadsvc.verify.hashlists import ALIKE, EXACT, HashLists

# The labels of our evidence, and the word for a list that could not be read.
SHA256, PERCEPTUAL = "sha256", "perceptual"
UNREADABLE = "unreadable_list"


class KnownBad(Silent):
    """``folder`` holds the list files; None: there are none, and nothing is found."""

    name = "known-bad lists"

    def __init__(self, folder: Path | None) -> None:
        self._lists = HashLists(folder)

    def file(self, subject: Subject, mime_type: str) -> Iterator[Evidence | Unexamined]:
        self._lists.refresh()
        if self._lists.faults:
            why = "; ".join(self._lists.faults)
            yield Unexamined(self.name, UNREADABLE, "file", why)
        # Hashing takes a second of CPU for each gigabyte.
        if not self._lists.count(EXACT):
            return
        with subject.path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").digest()
        if self._lists.find(EXACT, [digest]):
            yield Evidence(self.name, SHA256, 1.0, "file")

    def picture(self, sample: Sample, where: str) -> Iterator[Evidence | Unexamined]:
        if not self._lists.count(ALIKE):
            return
        found = self._lists.find(ALIKE, perceptual.hashes(sample.frame))
        if found:
            score = 1 - found.distance / perceptual.BITS
            yield Evidence(self.name, PERCEPTUAL, score, where)
