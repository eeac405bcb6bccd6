"""From evidence to a verdict, by a policy (``policy_file`` reads one).

The rules, and the tests hold them as laws: every finding has a verdict of its own and the
strictest decides; more evidence never makes a verdict milder; what was not examined is said, and
never milder than the policy wants it. What nobody has a rule for is not passed over: evidence of
an engine the policy does not know counts as unexamined.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from uploadsvc.model import Finding, Moderation, Verdict
from uploadsvc.verify import Evidence, Unexamined

# Sources of evidence that are ours; any other is an engine of the table [analysers].
PICTURES, WORDS, KNOWN_BAD, MALWARE = "pictures", "words", "known-bad lists", "clamav"
ANY = "*"  # a rule for every label of a source

# What is unexamined where the policy does not know the engine that has spoken.
UNJUDGED = "unjudged"

LABEL_MAX = 100  # characters of a foreign label (a signature's name) that are kept

STRICTNESS: dict[Verdict, int] = {
    Verdict.APPROVE: 0,
    Verdict.REVIEW: 1,
    Verdict.REJECT: 2,
}


def strictest(verdicts: Iterable[Verdict]) -> Verdict:
    return max(verdicts, key=STRICTNESS.__getitem__, default=Verdict.APPROVE)


@dataclass(frozen=True, slots=True)
class Threshold:
    """From which score on a label holds or rejects; None is never."""

    reason: str
    review: float | None
    reject: float | None

    def finding(self, seen: Evidence) -> Finding:
        """With the threshold that was reached, or the nearest of those that were not."""
        verdict, reached = Verdict.APPROVE, self.review or self.reject
        if self.reject is not None and seen.score >= self.reject:
            verdict, reached = Verdict.REJECT, self.reject
        elif self.review is not None and seen.score >= self.review:
            verdict = Verdict.REVIEW
        return _finding(self.reason, verdict, seen, seen.score, reached)


@dataclass(frozen=True, slots=True)
class Found:
    """What its being found leads to, whatever the score."""

    reason: str
    verdict: Verdict

    def finding(self, seen: Evidence) -> Finding:
        return _finding(self.reason, self.verdict, seen)


Rule = Threshold | Found


@dataclass(frozen=True, slots=True)
class Gaps:
    """What leads where of that which nobody examined: by word, some words otherwise for one
    family of files, ``default`` for any other word."""

    reason: str
    default: Verdict
    verdicts: Mapping[str, Verdict] = field(default_factory=dict)
    families: Mapping[str, Mapping[str, Verdict]] = field(default_factory=dict)

    def verdict(self, what: str, family: str) -> Verdict:
        words = {**self.verdicts, **self.families.get(family, {})}
        return words.get(what, self.default)


@dataclass(frozen=True, slots=True)
class TextRules:
    """What to look for in words: dictionaries by language, ``listed`` words and phrases by
    label, patterns (regular expressions) with their labels."""

    languages: tuple[str, ...]
    listed: Mapping[str, str]
    patterns: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Policy:
    """``rules`` are by source and label, in the order of the file, which is that of reasons.

    ``analysers`` are the engines' own tables, ``lists`` the folder of known-bad lists.
    """

    version: str
    rules: Mapping[str, Mapping[str, Rule]]
    gaps: Gaps
    text: TextRules
    analysers: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    lists: Path | None = None

    def judge(
        self,
        evidence: Iterable[Evidence],
        unexamined: Iterable[Unexamined] = (),
        *,
        family: str = "",
        models: tuple[str, ...] = (),
    ) -> Moderation:
        """Judge what was seen of a file of ``family``, and what was not.

        Of each label the highest score counts, and keeps its place. The findings are those the
        policy has a rule for, strictest first; the reasons are those of the findings that
        decided.
        """
        highest: dict[tuple[str, str], Evidence] = {}
        gaps: dict[tuple[str, str], Unexamined] = {}
        for seen in evidence:
            if seen.source not in self.rules:
                gap = Unexamined(seen.source, UNJUDGED, seen.where)
                gaps.setdefault((gap.source, gap.what), gap)
                continue
            best = highest.get((seen.source, seen.label))
            if best is None or seen.score > best.score:
                highest[seen.source, seen.label] = seen
        for gap in unexamined:
            gaps.setdefault((gap.source, gap.what), gap)
        findings = sorted(
            [*self._judged(highest), *self._held(gaps.values(), family)],
            key=lambda finding: -STRICTNESS[finding.verdict],
        )
        verdict = strictest(finding.verdict for finding in findings)
        deciding = [f.category for f in findings if f.verdict is verdict]
        if verdict is Verdict.APPROVE:
            deciding = []
        return Moderation(
            verdict,
            tuple(dict.fromkeys(deciding)),
            tuple(findings),
            tuple(dict.fromkeys(gap.what for gap in gaps.values())),
            self.version,
            models,
        )

    def _judged(self, highest: Mapping[tuple[str, str], Evidence]) -> Iterator[Finding]:
        for source, rules in self.rules.items():
            for label, rule in rules.items():
                for (whose, what), seen in highest.items():
                    if whose == source and label in (what, ANY):
                        yield rule.finding(seen)

    def _held(self, gaps: Iterable[Unexamined], family: str) -> Iterator[Finding]:
        """Of what was not examined, that which the policy does not simply let pass."""
        for gap in gaps:
            verdict = self.gaps.verdict(gap.what, family)
            if verdict is not Verdict.APPROVE:
                yield Finding(
                    self.gaps.reason,
                    verdict,
                    gap.source,
                    gap.where,
                    label=gap.what[:LABEL_MAX],
                )


def _finding(
    reason: str,
    verdict: Verdict,
    seen: Evidence,
    score: float | None = None,
    threshold: float | None = None,
) -> Finding:
    return Finding(
        reason,
        verdict,
        seen.source,
        seen.where,
        score,
        threshold,
        seen.label[:LABEL_MAX],
    )
