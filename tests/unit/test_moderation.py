"""What the shipped policy decides of evidence, and the laws every policy keeps."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from uploadsvc.model import Finding, Verdict
from uploadsvc.verify import Evidence, Unexamined, policy_file
from uploadsvc.verify.moderation import (
    STRICTNESS,
    Found,
    Gaps,
    Policy,
    TextRules,
    Threshold,
)

APPROVE, REVIEW, REJECT = Verdict.APPROVE, Verdict.REVIEW, Verdict.REJECT
SHIPPED = policy_file.load()


def picture(label: str, score: float, where: str = "picture") -> Evidence:
    return Evidence("pictures", label, score, where)


def words(severity: str, where: str = "title") -> Evidence:
    return Evidence("words", severity, 1.0, where)


def gap(what: str, source: str = "verification") -> Unexamined:
    return Unexamined(source, what, "file")


@pytest.mark.parametrize(
    ("label", "score", "verdict", "reason"),
    [
        ("porn", 0.59, APPROVE, ""),
        ("porn", 0.60, REVIEW, "sexual_content"),
        ("porn", 0.85, REJECT, "sexual_content"),
        ("hentai", 0.79, APPROVE, ""),
        ("hentai", 0.80, REVIEW, "sexual_content"),
        ("hentai", 0.92, REJECT, "sexual_content"),
        ("sexy", 0.89, APPROVE, ""),
        ("sexy", 1.0, REVIEW, "suggestive_content"),
        ("drawing", 1.0, APPROVE, ""),
        ("neutral", 1.0, APPROVE, ""),
    ],
)
def test_threshold_is_reached_at_its_number(
    label: str, score: float, verdict: Verdict, reason: str
) -> None:
    moderation = SHIPPED.judge([picture(label, score)])

    assert moderation.verdict is verdict
    assert moderation.reasons == ((reason,) if reason else ())


@pytest.mark.parametrize(
    ("score", "threshold"), [(0.3, 0.60), (0.7, 0.60), (0.9, 0.85)]
)
def test_finding_tells_the_threshold_reached_or_the_nearest(
    score: float, threshold: float
) -> None:
    moderation = SHIPPED.judge([picture("porn", score, "second 12.4")])

    (finding,) = moderation.findings
    assert (finding.score, finding.threshold) == (score, threshold)
    assert (finding.where, finding.label) == ("second 12.4", "porn")


def test_one_bad_sample_among_many_decides_and_says_where() -> None:
    samples = [picture("porn", 0.9 * (at == 7), f"second {at}") for at in range(32)]

    moderation = SHIPPED.judge(samples)

    assert moderation.reasons == ("sexual_content",)
    assert [finding.where for finding in moderation.findings] == ["second 7"]


def test_reasons_are_only_those_that_decided() -> None:
    moderation = SHIPPED.judge(
        [picture("porn", 0.9), picture("sexy", 0.95), words("plain")]
    )

    assert (moderation.verdict, moderation.reasons) == (REJECT, ("sexual_content",))
    assert [finding.verdict for finding in moderation.findings] == [
        REJECT,
        REVIEW,
        REVIEW,
    ]


def test_reason_is_given_once_and_in_the_order_of_the_file() -> None:
    moderation = SHIPPED.judge(
        [
            words("plain"),
            picture("sexy", 0.95),
            picture("hentai", 0.85),
            picture("porn", 0.7),
        ]
    )

    assert moderation.reasons == (
        "sexual_content",
        "suggestive_content",
        "text_profanity",
    )


def test_nothing_to_judge_is_approved() -> None:
    moderation = SHIPPED.judge([])

    assert moderation.verdict is APPROVE
    assert (moderation.reasons, moderation.findings) == ((), ())


def test_words_have_no_score_for_there_is_none() -> None:
    moderation = SHIPPED.judge([words("strong", "page 3")])

    assert moderation.findings == (
        Finding("text_profanity", REJECT, "words", "page 3", label="strong"),
    )


def test_any_signature_of_the_virus_scanner_is_malware() -> None:
    moderation = SHIPPED.judge([Evidence("clamav", "Win.Test.EICAR_HDB-1", 1, "file")])

    assert (moderation.verdict, moderation.reasons) == (REJECT, ("malware",))
    assert moderation.findings[0].label == "Win.Test.EICAR_HDB-1"


@pytest.mark.parametrize(
    ("bits", "verdict"), [(0, REJECT), (15, REJECT), (16, REVIEW), (31, REVIEW)]
)
def test_picture_like_a_listed_one_is_rejected_when_it_is_near(
    bits: int, verdict: Verdict
) -> None:
    score = 1 - bits / 256

    moderation = SHIPPED.judge(
        [Evidence("known-bad lists", "perceptual", score, "frame 1")]
    )

    assert (moderation.verdict, moderation.reasons) == (verdict, ("known_bad",))


def test_evidence_of_an_engine_the_policy_does_not_know_is_not_passed_over() -> None:
    moderation = SHIPPED.judge([Evidence("stranger", "weapon", 0.9, "frame 1")])

    assert (moderation.verdict, moderation.reasons) == (REVIEW, ("not_examined",))
    assert moderation.unexamined == ("unjudged",)


@pytest.mark.parametrize(
    ("what", "family", "verdict"),
    [
        ("speech", "audio", APPROVE),
        ("words_in_pictures", "image", APPROVE),
        ("beyond_bound", "video", APPROVE),
        ("beyond_bound", "pdf", REVIEW),
        ("text_beyond_bound", "pdf", REVIEW),
        ("not_scanned", "image", REVIEW),
        ("unreachable", "video", REVIEW),
        ("failed", "video", REVIEW),
        ("unreadable_list", "image", REVIEW),
        ("text_rule_timeout", "image", REVIEW),
        ("a word of somebody's plugin", "image", REVIEW),
    ],
)
def test_what_was_not_examined_is_said_and_leads_where_the_policy_wants(
    what: str, family: str, verdict: Verdict
) -> None:
    moderation = SHIPPED.judge([], [gap(what)], family=family)

    assert moderation.unexamined == (what,)
    assert moderation.verdict is verdict
    assert moderation.reasons == (() if verdict is APPROVE else ("not_examined",))


def test_the_same_gap_of_many_pictures_is_said_once() -> None:
    gaps = [gap("unreachable", "vendor") for _ in range(100)]

    moderation = SHIPPED.judge([], [*gaps, gap("unreachable", "other")])

    assert moderation.unexamined == ("unreachable",)
    assert [f.source for f in moderation.findings] == ["vendor", "other"]


def test_foreign_label_is_kept_short() -> None:
    moderation = SHIPPED.judge([Evidence("clamav", "x" * 5000, 1.0, "file")])

    assert len(moderation.findings[0].label) == 100


# --- laws -------------------------------------------------------------------------------

LABELS = st.sampled_from(["one", "two", "three", "unnamed"])
EVIDENCE = st.builds(
    Evidence,
    st.sampled_from(["pictures", "words", "vendor", "stranger"]),
    LABELS,
    st.floats(0, 1),
    st.just("here"),
)
GAP = st.builds(
    Unexamined,
    st.just("verification"),
    st.sampled_from(["speech", "unreachable", "new"]),
    st.just("here"),
)
VERDICTS = st.sampled_from(list(Verdict))
SHARES = st.none() | st.floats(0.01, 1)


@st.composite
def thresholds(draw: st.DrawFn) -> Threshold:
    review, reject = draw(SHARES), draw(SHARES)
    if review is not None and reject is not None:
        review, reject = sorted((review, reject))
    return Threshold(draw(st.sampled_from(["bad", "worse"])), review, reject)


RULES = thresholds() | st.builds(Found, st.just("found"), VERDICTS)
POLICIES = st.builds(
    Policy,
    st.just("law"),
    st.dictionaries(
        st.sampled_from(["pictures", "words", "vendor"]),
        st.dictionaries(st.sampled_from(["one", "two", "three", "*"]), RULES),
    ),
    st.builds(
        Gaps,
        st.just("not_examined"),
        VERDICTS,
        st.dictionaries(st.sampled_from(["speech", "unreachable"]), VERDICTS),
    ),
    st.just(TextRules(("english",), {})),
)


@given(POLICIES, st.lists(EVIDENCE), st.lists(GAP))
def test_strictest_finding_decides_and_its_categories_are_the_reasons(
    policy: Policy, evidence: list[Evidence], gaps: list[Unexamined]
) -> None:
    moderation = policy.judge(evidence, gaps)

    strictest = max(
        (STRICTNESS[finding.verdict] for finding in moderation.findings), default=0
    )
    assert STRICTNESS[moderation.verdict] == strictest
    deciding = {
        f.category for f in moderation.findings if f.verdict is moderation.verdict
    }
    assert set(moderation.reasons) == (deciding if strictest else set())


@given(POLICIES, st.lists(EVIDENCE), st.lists(EVIDENCE), st.lists(GAP))
def test_more_evidence_never_makes_a_verdict_milder(
    policy: Policy, some: list[Evidence], more: list[Evidence], gaps: list[Unexamined]
) -> None:
    before = policy.judge(some)

    after = policy.judge([*some, *more], gaps)

    assert STRICTNESS[after.verdict] >= STRICTNESS[before.verdict]


@given(POLICIES, st.lists(EVIDENCE), st.lists(GAP))
def test_order_of_evidence_changes_no_verdict(
    policy: Policy, evidence: list[Evidence], gaps: list[Unexamined]
) -> None:
    one = policy.judge(evidence, gaps)

    other = policy.judge(evidence[::-1], gaps[::-1])

    assert (one.verdict, set(one.reasons)) == (other.verdict, set(other.reasons))


@given(POLICIES, st.lists(EVIDENCE), st.lists(GAP, min_size=1))
def test_unexamined_is_always_said_and_never_milder_than_the_policy_wants(
    policy: Policy, evidence: list[Evidence], gaps: list[Unexamined]
) -> None:
    moderation = policy.judge(evidence, gaps)

    assert {each.what for each in gaps} <= set(moderation.unexamined)
    wanted = max(STRICTNESS[policy.gaps.verdict(each.what, "")] for each in gaps)
    assert STRICTNESS[moderation.verdict] >= wanted
