"""The stages of verification in their order, as one generator.

Rules: every progress comes from work that was done, none from a clock. A progress is said only
if its stage or its percent is new, so the caller may pass on all it gets. One outcome, always
last. ``close()`` ends it anywhere, and whatever a format had open is closed with it.

Decoding, looking and judging are the business of ``formats``, ``analysers`` and ``moderation``,
which say no progress themselves; percents are made by ``uploadsvc.model`` from the table in
``uploadsvc.stages``. ``finalizing`` is said by who stores the file, after this has ended.

Whoever looks gives evidence or says what was not looked at; both are only gathered here, and
judged once, by the policy.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeVar

from uploadsvc.errors import ContentRejected, UnsupportedMedia, UploadError
from uploadsvc.model import (
    Moderation,
    Outcome,
    Progress,
    Refused,
    Verdict,
    Verified,
    advanced,
    opening,
)
from uploadsvc.stages import BANDS, Stage
from uploadsvc.verify import (
    Analyser,
    Evidence,
    Format,
    Kept,
    Limits,
    Probed,
    Reader,
    Sample,
    Subject,
    Unexamined,
    Writing,
)
from uploadsvc.verify.moderation import Policy
from uploadsvc.verify.probe import EXTENSIONS, FAMILIES

T = TypeVar("T")

NOT_READ = "unreadable_text"  # what a family that no reader reads leaves unexamined

# Where a sample was taken, in words for people, who count pages and frames from 1.
PLACES: dict[str, Callable[[float], str]] = {
    "image": lambda at: f"frame {at + 1:.0f}",
    "video": lambda at: f"second {at:.1f}",
    "pdf": lambda at: f"page {at + 1:.0f}",
}


def verify(
    subject: Subject,
    *,
    limits: Limits,
    formats: Mapping[str, Format],
    readers: Mapping[str, Reader],
    analysers: Sequence[Analyser],
    policy: Policy,
    identify: Callable[[Path], str],
) -> Iterator[Progress | Outcome]:
    """Verify ``subject``: progress of the stages validating to processing, then one outcome.

    An UploadError of any part is a Refused; any other exception flies, for it is a fault of
    ours and not of the file.
    """
    run = _Run(subject, limits, formats, readers, analysers, policy, identify)
    said: Progress | None = None
    with _closing(run.stages()) as told:
        try:
            for item in told:
                if not isinstance(item, Progress):
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
    """One file's way through the stages; each gives what the next one needs.

    ``seen`` and ``unexamined`` grow on the way and are judged in moderating.
    """

    subject: Subject
    limits: Limits
    formats: Mapping[str, Format]
    readers: Mapping[str, Reader]
    analysers: Sequence[Analyser]
    policy: Policy
    identify: Callable[[Path], str]
    seen: list[Evidence] = field(default_factory=list)
    unexamined: list[Unexamined] = field(default_factory=list)

    def stages(self) -> Generator[Progress | Outcome, None, None]:
        probed = yield from self.validating()
        yield from self.analyzing(probed)
        moderation = yield from self.moderating(probed)
        if moderation.verdict is Verdict.REJECT:
            refusal = ContentRejected()
            yield Refused(refusal.code, refusal.message, moderation.reasons, moderation)
            return
        kept = yield from self.processing(probed)
        yield Verified(kept.facts, moderation, kept.original, kept.thumbnail)

    def validating(self) -> Generator[Progress, None, Probed]:
        yield opening(Stage.VALIDATING)
        mime_type = self.identify(self.subject.path)
        first = self.format(FAMILIES[mime_type])
        probed = first.probe(self.subject, mime_type, self.limits)
        for analyser in self.analysers:
            self.gather(analyser.file(self.subject, mime_type))
        return probed

    def analyzing(self, probed: Probed) -> Generator[Progress, None, None]:
        done, planned = 0, probed.plan
        yield opening(Stage.ANALYZING, done=done, planned=planned)
        samples = self.format(probed.family).samples(self.subject, probed, self.limits)
        with _closing(samples):
            for sample in samples:
                if sample.frame is not None:
                    for analyser in self.analysers:
                        where = _where(sample, probed)
                        self.gather(analyser.picture(sample, where))
                done += 1
                planned = max(planned, done)
                yield _looked_at(done, planned)
        # A file may hold less than its header promised; what there was, was looked at.
        yield _looked_at(done, done)

    def moderating(self, probed: Probed) -> Generator[Progress, None, Moderation]:
        yield opening(Stage.MODERATING)
        writings = [*_own_words(self.subject), *self.read(probed)]
        for done, writing in enumerate(writings, 1):
            for analyser in self.analysers:
                self.gather(analyser.words(writing.field, writing.text))
            yield _checking(done, len(writings) + 1)
        moderation = self.policy.judge(
            self.seen,
            self.unexamined,
            family=probed.family,
            models=_models(self.analysers),
        )
        yield advanced(Stage.MODERATING, 1, 1)
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

    def gather(self, found: Iterable[Evidence | Unexamined]) -> None:
        for each in found:
            if isinstance(each, Evidence):
                self.seen.append(each)
            else:
                self.unexamined.append(each)

    def read(self, probed: Probed) -> Iterator[Writing]:
        """The words inside the file; what nobody examines of it is noted on the way."""
        reader = self.readers.get(probed.family)
        if reader is None:
            self.unexamined.append(Unexamined("verification", NOT_READ, "file"))
            return
        for each in reader(self.subject, probed, self.limits):
            if isinstance(each, Writing):
                yield each
            else:
                self.unexamined.append(each)


def _own_words(subject: Subject) -> Iterator[Writing]:
    """The uploader's texts. Of a file's name only an ending that is one of a type is no word."""
    stem, dot, ending = subject.file_name.rpartition(".")
    named = stem if dot and ending.lower() in _ENDINGS else subject.file_name
    texts = {
        "title": subject.title,
        "description": subject.description,
        "file name": named,
    }
    return (Writing(where, text) for where, text in texts.items() if text)


_ENDINGS = frozenset({*EXTENSIONS.values(), "jpeg", "tif", "qt", "m4v", "mpg"})


def _models(analysers: Iterable[Analyser]) -> tuple[str, ...]:
    """Of those analysers that name one; the protocol does not ask for it."""
    named = (getattr(each, "model", "") for each in analysers)
    return tuple(dict.fromkeys(name for name in named if name))


def _where(sample: Sample, probed: Probed) -> str:
    if probed.family == "image" and probed.plan <= 1:
        return "picture"
    if probed.family not in PLACES:
        return f"sample at {sample.at:g}"
    return PLACES[probed.family](sample.at)


def _looked_at(done: int, planned: int) -> Progress:
    return advanced(Stage.ANALYZING, done, planned, done=done, planned=planned)


def _checking(done: int, planned: int) -> Progress:
    """On the way; the table's words for a later event of this stage say it is complete."""
    going = advanced(Stage.MODERATING, done, planned)
    return replace(going, message=BANDS[Stage.MODERATING].opening)


@contextmanager
def _closing(items: Iterator[T]) -> Iterator[Iterator[T]]:
    """Close ``items`` at the end if they are a generator, wherever it was left."""
    try:
        yield items
    finally:
        if isinstance(items, Generator):
            items.close()
