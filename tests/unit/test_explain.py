from __future__ import annotations

import re
from pathlib import Path

from uploadsvc.model import Facts, Refused, Verified
from uploadsvc.verify import Evidence, Unexamined, policy_file
from uploadsvc.verify.explain import UNEXAMINED, explained

POLICY = policy_file.load()
FACTS = Facts("image/png", 3, "ab" * 32, 4, 4)


def told(*evidence: Evidence, gaps: tuple[Unexamined, ...] = ()) -> Verified:
    moderation = POLICY.judge(evidence, gaps, models=("model-1",))
    return Verified(FACTS, moderation, "original.png")


def test_finding_is_told_with_score_threshold_place_and_source() -> None:
    found = explained(told(Evidence("pictures", "porn", 0.71, "second 12.4")))

    assert found.verdict == "review: sexual_content"
    assert found.findings == (
        ("review", "sexual_content", "porn", "0.710 ≥ 0.60", "second 12.4", "pictures"),
    )
    assert (found.policy, found.models) == (POLICY.version, ("model-1",))


def test_finding_below_its_threshold_is_told_too() -> None:
    found = explained(told(Evidence("pictures", "porn", 0.3, "picture")))

    assert found.verdict == "approve: nothing against it"
    assert found.findings[0][3] == "0.300 < 0.60"


def test_approval_with_something_unexamined_does_not_call_it_clean() -> None:
    found = explained(told(gaps=(Unexamined("verification", "speech", "sound"),)))

    assert found.verdict == "approve: nothing against it in what was examined"
    assert found.unexamined == (("speech", "what is said or sung in the sound"),)


def test_refusal_by_a_verdict_is_explained_by_it() -> None:
    moderation = POLICY.judge([Evidence("words", "strong", 1.0, "title")])

    found = explained(Refused("content_rejected", "No", moderation.reasons, moderation))

    assert found.verdict == "reject: text_profanity"
    assert found.findings == (
        ("reject", "text_profanity", "strong", "", "title", "words"),
    )


def test_refusal_without_a_verdict_says_so() -> None:
    found = explained(Refused("invalid_media", "The file is damaged"))

    assert found.verdict == (
        "Refused before there was a verdict: The file is damaged (invalid_media)"
    )


def test_every_word_the_shipped_policy_names_has_a_meaning() -> None:
    assert set(POLICY.gaps.verdicts) == set(UNEXAMINED)


def test_documented_table_of_what_is_not_examined_is_true() -> None:
    page = (Path(__file__).parents[2] / "docs" / "moderation.md").read_text("utf-8")
    rows = re.findall(r"^\| `(\w+)` \| ([^|]+) \| (\w+)", page, re.MULTILINE)

    documented = [row for row in rows if row[0] in UNEXAMINED]

    assert documented == [
        (word, meaning, POLICY.gaps.verdict(word, "").value)
        for word, meaning in UNEXAMINED.items()
    ]
