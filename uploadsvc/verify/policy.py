"""A table of the policy file, checked while it is read: see ``policy_file`` for what it means.

Reading goes on after a mistake, so that one look at the file finds all of them; what a mistake
gives instead of a value is good for nothing but going on. A key nobody asked for is a mistake
too: a threshold under a misspelt key would otherwise be a threshold nobody applies.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

Path = tuple[str | int, ...]  # of keys, and of places in lists


class PolicyError(ValueError):
    """The policy file cannot be followed; the message names the key, a line for each mistake."""


@dataclass(frozen=True, slots=True)
class Mistake:
    path: Path
    what: str

    @property
    def name(self) -> str:
        """``pictures.porn.review``; list items by their number, counted from 1."""
        return ".".join(
            str(each + 1) if isinstance(each, int) else each for each in self.path
        )

    def __str__(self) -> str:
        return f"{self.name} {self.what}"


class Table:
    """Knows its place, so that a complaint can name it, and which keys nobody took yet."""

    def __init__(self, path: Path, content: Any, mistakes: list[Mistake]) -> None:
        self._path = path
        self._mistakes = mistakes
        if not isinstance(content, Mapping):
            self.wrong((), "must be a table")
            content = {}
        self._left = dict(content)
        self._asked: dict[str, None] = {}  # a set that keeps its order

    def wrong(self, key: str | Path, what: str) -> None:
        """Note a mistake in the value of ``key`` (or of a path below this table)."""
        below = (key,) if isinstance(key, str) else key
        self._mistakes.append(Mistake((*self._path, *below), what))

    def left(self) -> tuple[str, ...]:
        return tuple(self._left)

    def has(self, key: str) -> bool:
        self._asked[key] = None
        return key in self._left

    def table(self, key: str) -> Table:
        return Table((*self._path, key), self._taken(key, {}), self._mistakes)

    def tables(self, key: str) -> list[Table]:
        """Of an array of tables."""
        value = self._taken(key, [])
        if not isinstance(value, list):
            self.wrong(key, "must be tables, each under its own [[...]]")
            return []
        return [
            Table((*self._path, key, nth), each, self._mistakes)
            for nth, each in enumerate(value)
        ]

    def text(self, key: str) -> str:
        value = self._taken(key, None)
        if value is None:
            self.wrong(key, "is missing")
        elif not isinstance(value, str) or not value:
            self.wrong(key, "must be some text")
        else:
            return value
        return ""

    def word(self, key: str) -> str:
        """A stable word clients may be told, such as ``sexual_content``."""
        value = self.text(key)
        plain = value.replace("_", "a")
        if value and not (plain.isascii() and plain.isalnum() and plain.islower()):
            self.wrong(key, "must be a word of small letters, digits and underscores")
        return value

    def texts(self, key: str) -> list[str]:
        value = self._taken(key, [])
        if not isinstance(value, list):
            self.wrong(key, "must be a list of texts")
            return []
        for nth, each in enumerate(value):
            if not isinstance(each, str) or not each.strip():
                self.wrong((key, nth), "must be some text")
        return [each for each in value if isinstance(each, str) and each.strip()]

    def share(self, key: str) -> float | None:
        value = self._taken(key, None)
        if value is None:
            return None
        if type(value) not in (int, float) or not 0 < value <= 1:
            self.wrong(key, "must be a number above 0, at most 1")
            return None
        return float(value)

    def one_of(self, key: str, allowed: Collection[str]) -> str:
        """One of ``allowed``, the first of them after a mistake."""
        value = self.text(key)
        if value and value not in allowed:
            self.wrong(key, f"must be one of: {', '.join(allowed)}")
        return value if value in allowed else next(iter(allowed))

    def as_it_is(self) -> dict[str, Any]:
        """All that is left, unchecked: somebody else's to read."""
        left, self._left = self._left, {}
        return left

    def end(self) -> None:
        """Complain of the keys nobody took."""
        for key in self._left:
            near = get_close_matches(key, self._asked, n=1)
            hint = (
                f"; did you mean {near[0]}?"
                if near
                else f"; known here: {', '.join(self._asked) or 'nothing'}"
            )
            self.wrong(key, f"is not known{hint}")

    def _taken(self, key: str, default: Any) -> Any:
        self._asked[key] = None
        return self._left.pop(key, default)
