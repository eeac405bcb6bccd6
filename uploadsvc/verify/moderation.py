"""From scores and words to a verdict, by a policy file (``data/policy.toml`` is the shipped one).

The policy is read once, when a verifier starts, and every mistake in it is found then: a
threshold under a misspelt key would otherwise be a threshold nobody applies.
"""

from __future__ import annotations

import tomllib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from itertools import chain
from pathlib import Path
from typing import Any

from uploadsvc.model import Moderation, Verdict
from uploadsvc.verify.policy import PolicyError, Table
from uploadsvc.verify.wording import LANGUAGES, Severity, Wording

# What the image model tells apart.
LABELS = frozenset({"drawing", "hentai", "neutral", "porn", "sexy"})

STRICTNESS: dict[Verdict, int] = {
    Verdict.APPROVE: 0,
    Verdict.REVIEW: 1,
    Verdict.REJECT: 2,
}


@dataclass(frozen=True, slots=True)
class Threshold:
    """From which score on a label holds or rejects; None is never."""

    reason: str
    review: float | None
    reject: float | None

    def verdict(self, score: float) -> Verdict:
        if self.reject is not None and score >= self.reject:
            return Verdict.REJECT
        if self.review is not None and score >= self.review:
            return Verdict.REVIEW
        return Verdict.APPROVE


@dataclass(frozen=True, slots=True)
class TextRule:
    reason: str
    verdicts: Mapping[Severity, Verdict]
    wording: Wording

    def verdict(self, text: str) -> Verdict:
        found = (self.verdicts[each] for each in self.wording.severities(text))
        return max(found, key=STRICTNESS.__getitem__, default=Verdict.APPROVE)


@dataclass(frozen=True, slots=True)
class Policy:
    version: str
    pictures: Mapping[str, Threshold]
    text: TextRule

    @classmethod
    def load(cls, path: Path | None = None) -> Policy:
        """The policy in the file at ``path``, the shipped one for None. Raises PolicyError."""
        shipped = resources.files("uploadsvc.verify").joinpath("data", "policy.toml")
        try:
            content = tomllib.loads((path or shipped).read_text("utf-8"))
        except (OSError, ValueError) as error:
            raise PolicyError(f"the policy file cannot be read: {error}") from error
        return _policy(content)

    def judge(
        self,
        scores: Sequence[tuple[float, Mapping[str, float]]],
        texts: Mapping[str, str],
    ) -> Moderation:
        """Judge samples (where each was taken, its score by label) and texts (by field name).

        The strictest finding decides; the reasons are those of the findings that decided.
        """
        findings = list(self._findings(scores, texts))
        strictest = max(
            (verdict for verdict, _ in findings),
            key=STRICTNESS.__getitem__,
            default=Verdict.APPROVE,
        )
        if strictest is Verdict.APPROVE:
            return Moderation(Verdict.APPROVE)
        # dict: each reason once, in the order of the file
        reasons = dict.fromkeys(
            why for verdict, why in findings if verdict is strictest
        )
        return Moderation(strictest, tuple(reasons))

    def _findings(
        self,
        scores: Sequence[tuple[float, Mapping[str, float]]],
        texts: Mapping[str, str],
    ) -> Iterator[tuple[Verdict, str]]:
        for label, threshold in self.pictures.items():
            highest = max((of[label] for _, of in scores), default=0.0)
            yield threshold.verdict(highest), threshold.reason
        for text in texts.values():
            yield self.text.verdict(text), self.text.reason


def _policy(content: dict[str, Any]) -> Policy:
    top = Table("", content)
    version = top.text("version")
    pictures, text = _pictures(top.table("pictures")), _text(top.table("text"))
    top.end()
    return Policy(version, pictures, text)


def _pictures(tables: Table) -> dict[str, Threshold]:
    thresholds = {}
    for label in tables.left():
        if label not in LABELS:
            raise PolicyError(f"{tables.name(label)} is no label of the image model")
        table = tables.table(label)
        threshold = Threshold(
            table.text("reason"), table.share("review"), table.share("reject")
        )
        table.end()
        if (
            threshold.review
            and threshold.reject
            and threshold.review > threshold.reject
        ):
            raise PolicyError(
                f"{tables.name(label)}.review must not be above its reject"
            )
        thresholds[label] = threshold
    return thresholds


def _text(table: Table) -> TextRule:
    reason, languages = table.text("reason"), table.texts("languages")
    if not languages:
        raise PolicyError(f"{table.name('languages')} must name one at least")
    for language in languages:
        if language not in LANGUAGES:
            raise PolicyError(
                f"{table.name('languages')} has no dictionary {language!r}"
            )
    chosen, listed = table.table("verdicts"), table.table("words")
    verdicts = {severity: _verdict(chosen, severity) for severity in Severity}
    words = {severity: listed.texts(severity) for severity in Severity}
    for each in (chosen, listed, table):
        each.end()
    for word, times in Counter(chain.from_iterable(words.values())).items():
        if times > 1:
            raise PolicyError(f"{table.name('words')} lists {word!r} twice")
    return TextRule(reason, verdicts, Wording(languages, words))


def _verdict(table: Table, key: str) -> Verdict:
    value = table.text(key)
    try:
        return Verdict(value)
    except ValueError:
        raise PolicyError(
            f"{table.name(key)} must be one of {', '.join(Verdict)}"
        ) from None
