"""A text in the spellings it may be hiding: each is searched, so that none need be the right one.

An evasion is for the eye, so what is undone here is what an eye overlooks: look-alikes of other
scripts, characters that are not shown, separators, digits for letters, words run together. The
library behind ``wording`` undoes leetspeak, masks, stretching and accents of its own; what is
below is what it was seen to miss.
"""

from __future__ import annotations

import re
import tomllib
import unicodedata
from collections.abc import Iterator
from importlib import resources

# The word lists' library joins letters that stand alone, so what is cut apart is kept apart by
# something that it does not join over.
APART = "\n\n"

_LOOK_ALIKES = tomllib.loads(
    resources.files("uploadsvc.verify")
    .joinpath("data", "lookalikes.toml")
    .read_text("utf-8")
)


def _table(name: str) -> dict[int, str]:
    return {
        ord(char): latin
        for latin, chars in _LOOK_ALIKES[name].items()
        for char in chars
    }


_ANYWHERE = _table("anywhere")
_AMONG_LATIN = _table("among_latin")
_LEET = str.maketrans("0134578@$!|+", "oieastbasiit")
_DRAWN = (("|-|", "h"), ("\\/", "v"), ("/\\", "a"), ("|\\|", "n"), ("()", "o"))
# The other way: Latin letters and digits inside a word that is otherwise Cyrillic.
_CYRILLIC = str.maketrans(
    "abcehkmoptuxynr0136",
    "\u0430\u0432\u0441\u0435\u043d\u043a\u043c\u043e\u0440\u0442"
    "\u0438\u0445\u0443\u043f\u0433\u043e\u0438\u0437\u0431",
)

_WORD = re.compile(r"\S+")
_LATIN = re.compile(r"[A-Za-z]")
_CYRILLIC_LETTER = re.compile(r"[\u0400-\u04ff]")
_NO_DIGIT_OR_SIGN = re.compile(r"[^\W\d]+")
_REPEATED = re.compile(r"([._\-*|/,])\1+")
# fuckYou, Fuck69
_SEAM = re.compile(r"(?<=[a-z])(?=[A-Z])|(?<=[^\W\d_])(?=\d)|(?<=\d)(?=[^\W\d_])")
# Shown by nobody: format characters (zero widths, directions), signs around other characters
# (keycaps) and signs on them that make no letter of any alphabet (what zalgo is made of).
_UNSEEN = frozenset({"Cf", "Me", "Mn"})


def forms(text: str) -> Iterator[str]:
    """The text as NFKC has it, then every reading of it that differs. The first is always
    there, for a Russian word read as Latin is found no more."""
    plain = normal(text)
    yield plain
    folded = fold(plain)
    if folded.lower() != plain.lower():
        yield folded
    words = [
        reading
        for word in _WORD.findall(folded)
        if not _NO_DIGIT_OR_SIGN.fullmatch(word) or _SEAM.search(word)
        for reading in _readings(word)
    ]
    words += [
        reading
        for word in _WORD.findall(plain)
        if not word.isascii()
        for reading in _among_others(word)
    ]
    if words:
        yield APART.join(words)


def normal(text: str) -> str:
    return unicodedata.normalize("NFKC", text)


def fold(plain: str) -> str:
    """A normal text with look-alikes read as Latin, the unseen left out, separators once."""
    seen = plain
    if not plain.isascii():
        seen = "".join(
            char for char in plain if unicodedata.category(char) not in _UNSEEN
        )
        seen = seen.translate(_ANYWHERE).lower()
    # An underscore joins words for the library, and titles that were file names hold many.
    return _REPEATED.sub(r"\1", seen).replace("_", " ")


def _readings(word: str) -> Iterator[str]:
    """Of one folded word: cut at its seams, and with digits and signs read as letters."""
    cut = _SEAM.sub(" ", word)
    if cut != word:
        yield cut
    if _LATIN.search(word):
        leet = word.lower()
        for drawn, letter in _DRAWN:
            leet = leet.replace(drawn, letter)
        leet = leet.translate(_LEET)
        if leet != word.lower():
            yield leet


def _among_others(word: str) -> Iterator[str]:
    """Of one word that mixes Latin with other letters: read as Latin, read as Cyrillic."""
    small = word.lower()
    if _LATIN.search(word):
        latin = small.translate(_AMONG_LATIN).translate(_ANYWHERE)
        if latin != small:
            yield latin
    if _CYRILLIC_LETTER.search(word):
        cyrillic = small.translate(_CYRILLIC)
        if cyrillic != small:
            yield cyrillic
