"""Severities of the words in a text: the dictionaries of glin-profanity, sorted by our lists.

The dictionaries know one severity for everything from "butt" to slurs, so the lists of the
policy decide: a word is strong, plain or mild as it is listed, and plain if it is not. Whole
words are matched, which is what keeps Scunthorpe clean. The library undoes leetspeak (sh1t),
letters apart (f.u.c.k), masks (f*ck), stretching (fuuuck), accents and many look-alikes; the
fold below adds look-alikes it does not know.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
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

# Small letters that pass for Latin ones and that neither NFKC nor the library reads as such. An
# underscore joins words for the library, and titles that were file names are full of them.
_LOOK_ALIKES: dict[int, str] = {
    ord(unicodedata.lookup(name)): latin
    for name, latin in {
        "CYRILLIC SMALL LETTER VE": "b",
        "CYRILLIC SMALL LETTER KOMI DE": "d",
        "CYRILLIC SMALL LETTER EN": "h",
        "CYRILLIC SMALL LETTER SHHA": "h",
        "CYRILLIC SMALL LETTER EM": "m",
        "CYRILLIC SMALL LETTER QA": "q",
        "CYRILLIC SMALL LETTER TE": "t",
        "CYRILLIC SMALL LETTER WE": "w",
        "ARMENIAN SMALL LETTER CO": "g",
        "ARMENIAN SMALL LETTER HO": "h",
        "ARMENIAN SMALL LETTER VO": "n",
        "ARMENIAN SMALL LETTER OH": "o",
        "ARMENIAN SMALL LETTER ZA": "q",
        "ARMENIAN SMALL LETTER SEH": "u",
        "LOW LINE": " ",
    }.items()
} | {
    ord(unicodedata.lookup(first)) + offset: chr(ord("a") + offset)
    for first in (
        "NEGATIVE CIRCLED LATIN CAPITAL LETTER A",
        "NEGATIVE SQUARED LATIN CAPITAL LETTER A",
        "REGIONAL INDICATOR SYMBOL LETTER A",
    )
    for offset in range(26)
}


class Severity(StrEnum):
    STRONG = "strong"
    PLAIN = "plain"
    MILD = "mild"


class Wording:
    """Made once, for the dictionaries take some 20 ms to index; then used for every text."""

    def __init__(
        self, languages: Sequence[str], words: Mapping[Severity, Sequence[str]]
    ) -> None:
        self._severities = {
            _plain_letters(word): severity
            for severity, listed in words.items()
            for word in listed
        }
        self._filter = Filter(
            {
                "languages": list(languages),
                "custom_words": [word for listed in words.values() for word in listed],
                "detect_leetspeak": True,
                "obfuscation": {"masking": {"min_visible": VISIBLE_LETTERS}},
            }
        )

    def severities(self, text: str) -> frozenset[Severity]:
        """The severities found in ``text``, none if it is clean."""
        return frozenset(
            self._severities.get(_plain_letters(word), Severity.PLAIN)
            for form in _forms(text)
            for piece in _PIECES.findall(form)
            for word in self._filter.check_profanity(piece)["profane_words"]
        )


def _forms(text: str) -> Iterator[str]:
    """The text as NFKC has it and, where that differs, with look-alikes read as Latin.

    Both, because a Russian word read as Latin is found no more.
    """
    normal = unicodedata.normalize("NFKC", text)
    folded = normal.lower().translate(_LOOK_ALIKES)
    yield normal
    if folded != normal.lower():
        yield folded


def _plain_letters(word: str) -> str:
    """Lower case without accents: the library reports listed words in either spelling."""
    apart = unicodedata.normalize("NFKD", word.casefold())
    return "".join(letter for letter in apart if not unicodedata.combining(letter))
