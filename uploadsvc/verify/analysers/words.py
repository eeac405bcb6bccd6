"""Words by the policy's text rules: dictionaries, listed words, patterns."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from time import monotonic
from typing import Any

import regex  # type: ignore[import-untyped]

from uploadsvc.verify import Evidence, Subject, Unexamined
from uploadsvc.verify.analysers import Silent
from uploadsvc.verify.folding import fold, forms, normal
from uploadsvc.verify.moderation import WORDS, TextRules
from uploadsvc.verify.wording import Wording

TIMEOUT = "text_rule_timeout"

# Of one pattern for one file. A sane one takes a millisecond for the most text that is read; one
# that backtracks without end would take the whole of the verifier's deadline.
PATTERN_S = 1.0


class Words(Silent):
    """A new file begins with :meth:`file`, and gives every pattern its time anew."""

    name = WORDS

    def __init__(
        self,
        rules: TextRules,
        *,
        pattern_s: float = PATTERN_S,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self._wording = Wording(rules.languages, rules.listed)
        self._patterns = [
            _Pattern(regex.compile(pattern, regex.IGNORECASE), label, pattern_s)
            for pattern, label in rules.patterns
        ]
        self._clock = clock

    def file(self, subject: Subject, mime_type: str) -> Iterator[Evidence | Unexamined]:
        for pattern in self._patterns:
            pattern.begin()
        return iter(())

    def words(self, field: str, text: str) -> Iterator[Evidence | Unexamined]:
        labels = set(self._wording.labels(forms(text)))
        plain = normal(text)
        readings = dict.fromkeys((plain, fold(plain)))
        for pattern in self._patterns:
            try:
                if any(pattern.finds(reading, self._clock) for reading in readings):
                    labels.add(pattern.label)
            except TimeoutError:
                why = f"out of time: {pattern.source[:100]}"
                yield Unexamined(self.name, TIMEOUT, field, why)
        for label in sorted(labels):
            yield Evidence(self.name, label, 1.0, field)


@dataclass
class _Pattern:
    """A pattern and what is left of its time."""

    compiled: Any
    label: str
    most_s: float
    left_s: float = field(init=False)

    def __post_init__(self) -> None:
        self.begin()

    @property
    def source(self) -> str:
        return str(self.compiled.pattern)

    def begin(self) -> None:
        self.left_s = self.most_s

    def finds(self, text: str, clock: Callable[[], float]) -> bool:
        """Raises TimeoutError, at once if the time was used up before."""
        if self.left_s <= 0:
            raise TimeoutError
        began = clock()
        try:
            return bool(self.compiled.search(text, timeout=self.left_s))
        except TimeoutError:
            self.left_s = 0.0
            raise
        finally:
            self.left_s -= clock() - began
