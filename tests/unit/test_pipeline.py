"""The stages of verification, walked with formats and classifiers that are told what to do."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from uploadsvc.errors import InvalidMedia, UnsupportedMedia
from uploadsvc.model import Facts, Moderation, Progress, Refused, Verdict, Verified
from uploadsvc.stages import BANDS, Stage
from uploadsvc.verify import (
    Analyser,
    Array,
    Evidence,
    Kept,
    Limits,
    Probed,
    Reader,
    Sample,
    Subject,
    Unexamined,
    Writing,
    policy_file,
)
from uploadsvc.verify.analysers import Silent
from uploadsvc.verify.analysers.pictures import Pictures
from uploadsvc.verify.pipeline import verify

FRAME = np.zeros((4, 4, 3), np.uint8)
FACTS = Facts("image/png", 3, "ab" * 32, 4, 4)
KEPT = Kept(FACTS, "original.png", "thumbnail.jpg")
SUBJECT = Subject(Path("file"), Path("scratch"), "A title", "")
POLICY = policy_file.load()
CLEAN = {"drawing": 0.1, "hentai": 0.0, "neutral": 0.9, "porn": 0.0, "sexy": 0.0}

Item = Progress | Verified | Refused


@dataclass
class ToldFormat:
    """A Format that plans, samples and keeps as told, and notes what was asked of it."""

    plan: int = 4
    given: int = 4
    frame: Array | None = field(default_factory=lambda: FRAME)
    shares: tuple[float, ...] = (0.5, 1.0)
    keeps: bool = True
    family: str = "image"
    fails_in: str = ""
    failure: Exception = field(default_factory=InvalidMedia)
    asked: list[str] = field(default_factory=list)

    def probe(self, subject: Subject, mime_type: str, limits: Limits) -> Probed:
        self.ask("probe")
        return Probed(self.family, mime_type, self.plan)

    def samples(
        self, subject: Subject, probed: Probed, limits: Limits
    ) -> Iterator[Sample]:
        try:
            for at in range(self.given):
                yield Sample(float(at), self.frame)
            self.ask("samples")
        finally:
            self.asked.append("samples closed")

    def keep(self, subject: Subject, probed: Probed) -> Iterator[float | Kept]:
        try:
            yield from self.shares
            self.ask("keep")
            if self.keeps:
                yield KEPT
        finally:
            self.asked.append("keep closed")

    def ask(self, step: str) -> None:
        self.asked.append(step)
        if step == self.fails_in:
            raise self.failure


@dataclass
class ToldClassifier:
    answer: Mapping[str, float] = field(default_factory=lambda: CLEAN)
    name: str = "told"
    seen: int = 0

    def scores(self, frame: Array) -> Mapping[str, float]:
        self.seen += 1
        return self.answer


class ToldAnalyser(Silent):
    """Gives what it was told to give by what it is shown, and notes all it is shown."""

    def __init__(
        self,
        name: str = "words",
        *,
        file: Sequence[Evidence | Unexamined] = (),
        picture: Sequence[Evidence | Unexamined] = (),
        words: Sequence[Evidence | Unexamined] = (),
    ) -> None:
        self.name = name
        self.model = f"{name}-1"
        self.shown: list[str] = []
        self._given = {"file": file, "picture": picture, "words": words}

    def file(self, subject: Subject, mime_type: str) -> Iterator[Evidence | Unexamined]:
        return self._look("file", f"file {mime_type}")

    def picture(self, sample: Sample, where: str) -> Iterator[Evidence | Unexamined]:
        return self._look("picture", where)

    def words(self, field: str, text: str) -> Iterator[Evidence | Unexamined]:
        return self._look("words", f"{field}: {text}")

    def _look(self, what: str, shown: str) -> Iterator[Evidence | Unexamined]:
        self.shown.append(shown)
        return iter(self._given[what])


def reads_nothing(
    subject: Subject, probed: Probed, limits: Limits
) -> Iterator[Writing | Unexamined]:
    return iter(())


def reading(*found: Writing | Unexamined) -> Reader:
    return lambda subject, probed, limits: iter(found)


def run(
    format: ToldFormat,
    *,
    classifier: ToldClassifier | None = None,
    analysers: Sequence[Analyser] = (),
    reader: Reader = reads_nothing,
    subject: Subject = SUBJECT,
    mime_type: str = "image/png",
) -> Iterator[Item]:
    return verify(
        subject,
        limits=Limits(),
        formats={format.family: format, "image": format},
        readers={format.family: reader},
        analysers=(Pictures(classifier or ToldClassifier()), *analysers),
        policy=POLICY,
        identify=lambda path: mime_type,
    )


def judged(items: list[Item]) -> Moderation:
    outcome = items[-1]
    assert not isinstance(outcome, Progress)
    assert outcome.moderation is not None
    return outcome.moderation


def progress(items: list[Item]) -> list[Progress]:
    return [item for item in items if isinstance(item, Progress)]


def stages(items: list[Item]) -> list[Stage]:
    return list(dict.fromkeys(item.stage for item in progress(items)))


THROUGH = [Stage.VALIDATING, Stage.ANALYZING, Stage.MODERATING, Stage.PROCESSING]


def test_good_file_passes_every_stage_in_order_and_is_verified() -> None:
    items = list(run(ToldFormat()))

    assert stages(items) == THROUGH
    assert items[-1] == Verified(FACTS, judged(items), "original.png", "thumbnail.jpg")
    assert judged(items).verdict is Verdict.APPROVE


def test_every_progress_is_said_at_its_percent() -> None:
    items = list(run(ToldFormat(plan=4, given=4)))

    said = [(item.stage.value, item.progress) for item in progress(items)]
    assert said == [
        ("validating", 20),
        ("analyzing", 30),
        ("analyzing", 40),
        ("analyzing", 50),
        ("analyzing", 60),
        ("analyzing", 70),
        ("moderating", 70),
        ("moderating", 77),
        ("moderating", 85),
        ("processing", 85),
        ("processing", 90),
        ("processing", 95),
    ]


def test_sentences_are_those_of_the_guide() -> None:
    items = list(run(ToldFormat(plan=2, given=2)))

    said = list(dict.fromkeys(item.message for item in progress(items)))
    assert said == [
        "Validating file format...",
        "Analyzing content with AI...",
        "AI verification in progress... 50%",
        "AI verification in progress... 70%",
        "Checking content guidelines...",
        "Content guidelines check complete",
        "Processing and saving content...",
    ]


def test_analyzing_counts_what_was_done_of_what_was_planned() -> None:
    items = list(run(ToldFormat(plan=2, given=2)))

    counted = [dict(i.detail) for i in progress(items) if i.stage is Stage.ANALYZING]
    assert counted == [
        {"done": 0, "planned": 2},
        {"done": 1, "planned": 2},
        {"done": 2, "planned": 2},
    ]


def test_file_with_fewer_samples_than_planned_ends_analyzing_with_what_there_was() -> (
    None
):
    items = list(run(ToldFormat(plan=10, given=3)))

    last = [item for item in progress(items) if item.stage is Stage.ANALYZING][-1]
    assert (last.progress, dict(last.detail)) == (70, {"done": 3, "planned": 3})


def test_sound_is_counted_and_not_shown_to_the_classifier() -> None:
    classifier = ToldClassifier()

    items = list(run(ToldFormat(frame=None), classifier=classifier))

    assert classifier.seen == 0
    assert isinstance(items[-1], Verified)


def test_empty_title_and_description_are_fine() -> None:
    subject = Subject(Path("file"), Path("scratch"))

    items = list(run(ToldFormat(), subject=subject))

    assert isinstance(items[-1], Verified)


@given(
    plan=st.integers(0, 300),
    given=st.integers(0, 300),
    shares=st.lists(st.floats(0, 1)),
)
def test_any_plan_gives_rising_progress_inside_the_bands_and_one_outcome_last(
    plan: int, given: int, shares: list[float]
) -> None:
    format = ToldFormat(plan=plan, given=given, shares=tuple(shares))

    items = list(run(format))

    said = progress(items)
    assert all(later.follows(earlier) for earlier, later in pairwise(said))
    assert all(BANDS[i.stage].first <= i.progress <= BANDS[i.stage].last for i in said)
    assert len({(i.stage, i.progress) for i in said}) == len(said)
    assert stages(items) == THROUGH
    assert [type(item) for item in items if item not in said] == [Verified]
    assert isinstance(items[-1], Verified)
    for stage in THROUGH:
        percents = [item.progress for item in said if item.stage is stage]
        assert (percents[0], percents[-1]) == (BANDS[stage].first, BANDS[stage].last)


@pytest.mark.parametrize(
    ("fails_in", "reached"),
    [("probe", THROUGH[:1]), ("samples", THROUGH[:2]), ("keep", THROUGH)],
)
def test_upload_error_of_a_part_is_a_refusal_in_its_words(
    fails_in: str, reached: list[Stage]
) -> None:
    format = ToldFormat(
        fails_in=fails_in, failure=InvalidMedia("Cut off", reasons=("truncated",))
    )

    items = list(run(format))

    assert stages(items) == reached
    assert items[-1] == Refused("invalid_media", "Cut off", ("truncated",))


def test_file_nobody_knows_is_refused_after_the_first_progress() -> None:
    def identify(path: Path) -> str:
        raise UnsupportedMedia

    items = list(
        verify(
            SUBJECT,
            limits=Limits(),
            formats={"image": ToldFormat()},
            readers={},
            analysers=(),
            policy=POLICY,
            identify=identify,
        )
    )

    assert stages(items) == THROUGH[:1]
    assert items[-1] == Refused("unsupported_media_type", UnsupportedMedia.sentence)


def test_family_that_is_not_offered_is_refused() -> None:
    items = list(run(ToldFormat(), mime_type="application/pdf"))

    assert items[-1] == Refused("unsupported_media_type", UnsupportedMedia.sentence)


def test_rejected_content_is_refused_with_reasons_and_never_processed() -> None:
    format = ToldFormat()
    classifier = ToldClassifier(CLEAN | {"porn": 0.99})

    items = list(run(format, classifier=classifier))

    assert stages(items) == THROUGH[:3]
    assert progress(items)[-1].progress == 85
    assert items[-1] == Refused(
        "content_rejected",
        "The content is against the guidelines",
        ("sexual_content",),
        judged(items),
    )
    assert judged(items).verdict is Verdict.REJECT
    assert format.asked == ["probe", "samples", "samples closed"]


def test_content_to_review_is_processed_and_says_why() -> None:
    classifier = ToldClassifier(CLEAN | {"porn": 0.7})

    items = list(run(ToldFormat(), classifier=classifier))

    assert isinstance(items[-1], Verified)
    assert judged(items).verdict is Verdict.REVIEW
    assert judged(items).reasons == ("sexual_content",)


def test_analyser_is_shown_the_file_once_every_picture_and_all_words() -> None:
    analyser = ToldAnalyser()
    subject = Subject(Path("file"), Path("scratch"), "A title", "A story", "sea.JPG")
    reader = reading(Writing("page 3", "words"), Writing("metadata title", "more"))

    list(
        run(
            ToldFormat(plan=2, given=2),
            analysers=[analyser],
            reader=reader,
            subject=subject,
        )
    )

    assert analyser.shown == [
        "file image/png",
        "frame 1",
        "frame 2",
        "title: A title",
        "description: A story",
        "file name: sea",
        "page 3: words",
        "metadata title: more",
    ]


@pytest.mark.parametrize(
    ("name", "shown"),
    [("a.b.jpeg", "a.b"), ("a.fuck", "a.fuck"), ("fuck", "fuck"), (".png", "")],
)
def test_file_name_loses_only_an_ending_that_names_a_type(
    name: str, shown: str
) -> None:
    analyser = ToldAnalyser()
    subject = Subject(Path("file"), Path("scratch"), file_name=name)

    list(run(ToldFormat(), analysers=[analyser], subject=subject))

    words = [each for each in analyser.shown if each.startswith("file name")]
    assert words == ([f"file name: {shown}"] if shown else [])


@pytest.mark.parametrize(
    ("family", "given", "places"),
    [
        ("image", 1, ["picture"]),
        ("image", 2, ["frame 1", "frame 2"]),
        ("video", 2, ["second 0.0", "second 1.0"]),
        ("pdf", 2, ["page 1", "page 2"]),
    ],
)
def test_place_of_a_picture_is_said_in_words_for_people(
    family: str, given: int, places: list[str]
) -> None:
    analyser = ToldAnalyser()

    list(run(ToldFormat(plan=given, given=given, family=family), analysers=[analyser]))

    assert analyser.shown[1 : 1 + given] == places


def test_evidence_and_gaps_of_every_kind_come_together_in_the_verdict() -> None:
    analyser = ToldAnalyser(
        file=[Evidence("clamav", "Eicar", 1.0, "file")],
        picture=[Evidence("known-bad lists", "perceptual", 0.9, "frame 1")],
        words=[Unexamined("words", "text_rule_timeout", "title")],
    )

    items = list(
        run(
            ToldFormat(),
            analysers=[analyser],
            reader=reading(Unexamined("x", "speech", "sound")),
        )
    )

    found = judged(items)
    assert (found.verdict, found.reasons) == (Verdict.REJECT, ("malware",))
    assert [(each.source, each.label) for each in found.findings[:3]] == [
        ("clamav", "Eicar"),
        ("known-bad lists", "perceptual"),
        ("words", "text_rule_timeout"),
    ]
    assert set(found.unexamined) == {"speech", "text_rule_timeout"}


def test_verdict_names_the_policy_and_the_models() -> None:
    items = list(run(ToldFormat(), analysers=[ToldAnalyser("vendor")]))

    assert judged(items).policy == POLICY.version
    assert judged(items).models == ("told", "vendor-1")


def test_family_nobody_reads_is_held_for_its_words() -> None:
    items = list(
        verify(
            SUBJECT,
            limits=Limits(),
            formats={"image": ToldFormat()},
            readers={},
            analysers=(),
            policy=POLICY,
            identify=lambda path: "image/png",
        )
    )

    assert judged(items).verdict is Verdict.REVIEW
    assert judged(items).unexamined == ("unreadable_text",)


def test_many_words_make_moderating_move_without_saying_that_it_is_complete() -> None:
    reader = reading(*(Writing(f"page {n}", "words") for n in range(30)))

    items = list(run(ToldFormat(), reader=reader))

    said = [item for item in progress(items) if item.stage is Stage.MODERATING]
    assert [item.progress for item in said] == list(range(70, 86))
    assert {item.message for item in said[:-1]} == {BANDS[Stage.MODERATING].opening}
    assert said[-1].message == BANDS[Stage.MODERATING].going


@pytest.mark.parametrize("fails_in", ["probe", "samples", "keep"])
def test_any_other_exception_flies(fails_in: str) -> None:
    items = run(ToldFormat(fails_in=fails_in, failure=io.UnsupportedOperation("ours")))

    with pytest.raises(io.UnsupportedOperation):
        list(items)


def test_format_that_keeps_nothing_is_a_fault_of_ours() -> None:
    items = run(ToldFormat(keeps=False))

    with pytest.raises(RuntimeError, match="kept nothing"):
        list(items)


@pytest.mark.parametrize(
    ("stage", "asked"),
    [
        (Stage.VALIDATING, []),
        (Stage.ANALYZING, ["probe"]),
        (Stage.MODERATING, ["probe", "samples", "samples closed"]),
        (Stage.PROCESSING, ["probe", "samples", "samples closed"]),
    ],
)
def test_closed_at_the_opening_of_a_stage_asks_nothing_more(
    stage: Stage, asked: list[str]
) -> None:
    format = ToldFormat()
    items = run(format)
    next(item for item in items if isinstance(item, Progress) and item.stage is stage)

    items.close()  # type: ignore[attr-defined]

    assert format.asked == asked
    assert list(items) == []


@pytest.mark.parametrize(
    ("percent", "closed"), [(50, "samples closed"), (90, "keep closed")]
)
def test_closed_amid_a_stage_closes_what_the_format_had_open(
    percent: int, closed: str
) -> None:
    format = ToldFormat()
    items = run(format)
    next(i for i in items if isinstance(i, Progress) and i.progress == percent)

    items.close()  # type: ignore[attr-defined]

    assert format.asked[-1] == closed
