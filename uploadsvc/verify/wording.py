"""Which listed words a text holds: the dictionaries of glin-profanity, sorted by our lists.

The dictionaries know one severity for everything from "butt" to slurs, so the lists of the
policy decide: a word has the label it is listed under, and ``plain`` if it is in a dictionary
alone. Whole words are matched, which is what keeps Scunthorpe clean. The library undoes leetspeak
(sh1t), letters apart (f.u.c.k), masks (f*ck), stretching (fuuuck) and accents; ``folding`` adds
what it does not know.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from enum import StrEnum

from glin_profanity import Filter  # type: ignore[import-untyped]
from glin_profanity.data.dictionary import dictionary  # type: ignore[import-untyped]

LANGUAGES: frozenset[str] = frozenset(dictionary.available_languages)

# Masked letters are guessed; with fewer visible ones, N***** would be called a slur.
VISIBLE_LETTERS = 3

# Characters handed over at a time: the library's time grows with the square of some texts (24 s
# for 100,000 characters of "f*ck"). A word is never cut, a phrase across two pieces is missed.
PIECE = 1000

_PIECES = re.compile(rf".{{1,{PIECE}}}(?!\S)|\S{{1,{PIECE}}}", re.DOTALL)


class Severity(StrEnum):
    STRONG = "strong"
    PLAIN = "plain"
    MILD = "mild"


class Wording:
    """``listed``: words and phrases by their label.

    Made once, for the dictionaries take some 20 ms to index; then used for every text.
    """

    def __init__(self, languages: Sequence[str], listed: Mapping[str, str]) -> None:
        self._labels = {_plain_letters(word): label for word, label in listed.items()}
        self._filter = Filter(
            {
                "languages": list(languages),
                "custom_words": list(listed),
                "detect_leetspeak": True,
                "obfuscation": {"masking": {"min_visible": VISIBLE_LETTERS}},
            }
        )

    def labels(self, forms: Iterable[str]) -> frozenset[str]:
        """The labels of the words found in a text, given in its ``folding.forms``."""
        return frozenset(
            self._labels.get(_plain_letters(word), Severity.PLAIN.value)
            for form in forms
            for piece in _PIECES.findall(form)
            for word in self._filter.check_profanity(piece)["profane_words"]
        )


def _plain_letters(word: str) -> str:
    """Lower case without accents: the library reports listed words in either spelling."""
    apart = unicodedata.normalize("NFKD", word.casefold())
    return "".join(letter for letter in apart if not unicodedata.combining(letter))
