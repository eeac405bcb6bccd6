"""The stages of verification in their order, as one generator.

Rules: every progress comes from work that was done, none from a clock. A progress is said only
if its stage or its percent is new, so the caller may pass on all it gets. One outcome, always
last. ``close()`` ends it anywhere, and whatever a format had open is closed with it.

Decoding, looking and judging are the business of ``formats``, ``classifier`` and ``moderation``,
which say no progress themselves; percents are made by ``uploadsvc.model`` from the table in
``uploadsvc.stages``. ``finalizing`` is said by who stores the file, after this has ended.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from uploadsvc.errors import ContentRejected, UnsupportedMedia, UploadError
from uploadsvc.model import (
    Moderation,
    Progress,
    Refused,
    Verdict,
    Verified,
    advanced,
    opening,
)
from uploadsvc.stages import Stage
from uploadsvc.verify import Classifier, Format, Kept, Limits, Probed, Subject
from uploadsvc.verify.moderation import Policy
from uploadsvc.verify.probe import FAMILIES

T = TypeVar("T")
Scores = list[tuple[float, Mapping[str, float]]]


def verify(
    subject: Subject,
    *,
    limits: Limits,
    formats: Mapping[str, Format],
    classifier: Classifier,
    policy: Policy,
    identify: Callable[[Path], str],
) -> Iterator[Progress | Verified | Refused]:
    """Verify ``subject``: progress of the stages validating to processing, then one outcome.

    An UploadError of any part is a Refused; any other exception flies, for it is a fault of
    ours and not of the file.
    """
    run = _Run(subject, limits, formats, classifier, policy, identify)
    said: Progress | None = None
    with _closing(run.stages()) as told:
        try:
            for item in told:
                if isinstance(item, Verified):
                    yield item
                elif said is None or _news(item, said):
                    said = item
                    yield item
        except UploadError as error:
            yield Refused(error.code, error.message, error.reasons)


def _news(item: Progress, said: Progress) -> bool:
    return item.stage is not said.stage or item.progress > said.progress


@dataclass(frozen=True, slots=True)
class _Run:
    """One file's way through the stages; each gives what the next one needs."""

    subject: Subject
    limits: Limits
    formats: Mapping[str, Format]
    classifier: Classifier
    policy: Policy
    identify: Callable[[Path], str]

    def stages(self) -> Generator[Progress | Verified, None, None]:
        probed = yield from self.validating()
        scores = yield from self.analyzing(probed)
        moderation = yield from self.moderating(scores)
        kept = yield from self.processing(probed)
        yield Verified(kept.facts, moderation, kept.original, kept.thumbnail)

    def validating(self) -> Generator[Progress, None, Probed]:
        yield opening(Stage.VALIDATING)
        mime_type = self.identify(self.subject.path)
        first = self.format(FAMILIES[mime_type])
        return first.probe(self.subject, mime_type, self.limits)

    def analyzing(self, probed: Probed) -> Generator[Progress, None, Scores]:
        done, planned = 0, probed.plan
        scores: Scores = []
        yield opening(Stage.ANALYZING, done=done, planned=planned)
        samples = self.format(probed.family).samples(self.subject, probed, self.limits)
        with _closing(samples):
            for sample in samples:
                if sample.frame is not None:
                    scores.append((sample.at, self.classifier.scores(sample.frame)))
                done += 1
                planned = max(planned, done)
                yield _looked_at(done, planned)
        # A file may hold less than its header promised; what there was, was looked at.
        yield _looked_at(done, done)
        return scores

    def moderating(self, scores: Scores) -> Generator[Progress, None, Moderation]:
        yield opening(Stage.MODERATING)
        texts = {"title": self.subject.title, "description": self.subject.description}
        moderation = self.policy.judge(scores, texts)
        yield advanced(Stage.MODERATING, 1, 1)
        if moderation.verdict is Verdict.REJECT:
            raise ContentRejected(reasons=moderation.reasons)
        return moderation

    def processing(self, probed: Probed) -> Generator[Progress, None, Kept]:
        yield opening(Stage.PROCESSING)
        steps = self.format(probed.family).keep(self.subject, probed)
        with _closing(steps):
            for step in steps:
                if isinstance(step, Kept):
                    yield advanced(Stage.PROCESSING, 1, 1)
                    return step
                yield advanced(Stage.PROCESSING, step, 1)
        raise RuntimeError(f"the format {probed.family} kept nothing")

    def format(self, family: str) -> Format:
        if family not in self.formats:
            raise UnsupportedMedia
        return self.formats[family]


def _looked_at(done: int, planned: int) -> Progress:
    return advanced(Stage.ANALYZING, done, planned, done=done, planned=planned)


@contextmanager
def _closing(items: Iterator[T]) -> Iterator[Iterator[T]]:
    """Close ``items`` at the end if they are a generator, wherever it was left."""
    try:
        yield items
    finally:
        if isinstance(items, Generator):
            items.close()
