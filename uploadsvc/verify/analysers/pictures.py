"""The image model as an analyser: evidence for every label it tells apart."""

from __future__ import annotations

from collections.abc import Iterator

from uploadsvc.verify import Classifier, Evidence, Sample, Unexamined
from uploadsvc.verify.analysers import Silent
from uploadsvc.verify.moderation import PICTURES


class Pictures(Silent):
    name = PICTURES

    def __init__(self, classifier: Classifier) -> None:
        self.model = classifier.name
        self._classifier = classifier

    def picture(self, sample: Sample, where: str) -> Iterator[Evidence | Unexamined]:
        for label, score in self._classifier.scores(sample.frame).items():
            yield Evidence(self.name, label, score, where)
