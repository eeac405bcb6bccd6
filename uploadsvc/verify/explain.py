"""Why a verdict is what it is, in words for people: for moderators and for whoever tunes a policy.

Texts only; how they are shown is the caller's business. Labels, places and names of models are
foreign text and come as they are: make them harmless before showing them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from uploadsvc.model import Finding, Moderation, Outcome, Refused, Verdict

HEADINGS = ("Leads to", "Reason", "Found", "Score", "Where", "By")

# The words of our own; an engine may have others.
UNEXAMINED: dict[str, str] = {
    "speech": "what is said or sung in the sound",
    "words_in_pictures": "words that are part of a picture",
    "beyond_bound": "pictures or pages beyond those that were looked at",
    "text_beyond_bound": "text beyond what is read of one file",
    "unreadable_metadata": "metadata that cannot be read",
    "unreadable_text": "text that cannot be read",
    "not_scanned": "the file, by the virus scanner",
    "unreachable": "pictures, by an engine that gave no answer",
    "failed": "something, by a plugin that failed",
    "unreadable_list": "a known-bad list that cannot be read",
    "text_rule_timeout": "text, by a pattern that ran out of its time",
    "unjudged": "what an engine found that no rule of the policy is about",
}


@dataclass(frozen=True, slots=True)
class Explanation:
    """``verdict`` is one sentence, ``findings`` are rows under :data:`HEADINGS`, strictest
    first; ``unexamined`` are a word and its meaning each."""

    verdict: str
    findings: tuple[tuple[str, ...], ...] = ()
    unexamined: tuple[tuple[str, str], ...] = ()
    policy: str = ""
    models: tuple[str, ...] = ()


def explained(outcome: Outcome) -> Explanation:
    moderation = outcome.moderation
    if moderation is None:
        assert isinstance(outcome, Refused)
        return Explanation(
            f"Refused before there was a verdict: {outcome.message} ({outcome.code})"
        )
    return Explanation(
        _verdict(moderation),
        tuple(tuple(_cells(finding)) for finding in moderation.findings),
        tuple((word, UNEXAMINED.get(word, "")) for word in moderation.unexamined),
        moderation.policy,
        moderation.models,
    )


def _verdict(moderation: Moderation) -> str:
    if moderation.verdict is not Verdict.APPROVE:
        return f"{moderation.verdict}: {', '.join(moderation.reasons)}"
    if moderation.unexamined:
        return "approve: nothing against it in what was examined"
    return "approve: nothing against it"


def _cells(finding: Finding) -> Iterator[str]:
    yield finding.verdict.value
    yield finding.category
    yield finding.label
    yield _score(finding)
    yield finding.where
    yield finding.source


def _score(finding: Finding) -> str:
    if finding.score is None:
        return ""
    if finding.threshold is None:
        return f"{finding.score:.3f}"
    reached = finding.verdict is not Verdict.APPROVE
    return f"{finding.score:.3f} {'≥' if reached else '<'} {finding.threshold:.2f}"
