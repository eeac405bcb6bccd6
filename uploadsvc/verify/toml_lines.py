"""In which line of a TOML file a key or a list's item stands; ``tomllib`` tells it of no value.

For text that ``tomllib`` has read without complaint, so that nothing need be checked here: the
text is cut into tokens, the tokens into statements, and each statement is a header or a key. Keys
inside inline tables are not looked up: their statement's line is near enough.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass

Path = tuple[str | int, ...]

_TOKEN = re.compile(
    r'"""(?:\\.|[^\\])*?"{3,5}(?!")'
    r"|'''.*?'{3,5}(?!')"
    r'|"(?:\\.|[^"\\\n])*"'
    r"|'[^'\n]*'"
    r"|\#[^\n]*"
    r"|[\[\]{}=.,\n]"
    r"|[^\s\[\]{}=.,\#\"']+",
    re.DOTALL | re.VERBOSE,
)
_OPENING, _CLOSING = frozenset("[{"), frozenset("]}")


@dataclass(frozen=True, slots=True)
class _Token:
    text: str
    line: int


class Lines:
    def __init__(self, text: str) -> None:
        self._lines: dict[Path, int] = {(): 1}
        self._tables: dict[Path, int] = {}  # how many of each array were begun
        here: Path = ()
        for statement in _statements(text):
            if statement[0].text == "[":
                here = self._header(statement)
            else:
                self._value(here, statement)

    def of(self, path: Path) -> int:
        """The line of what is at ``path``, or of the nearest thing around it."""
        while path not in self._lines:
            path = path[:-1]
        return self._lines[path]

    def _header(self, statement: list[_Token]) -> Path:
        array = statement[1].text == "["
        inner = statement[2:-2] if array else statement[1:-1]
        path = self._counted(_key(inner))
        if array:
            nth = self._tables.get(path, 0)
            self._tables[path] = nth + 1
            path = (*path, nth)
        self._note(path, statement[0].line)
        return path

    def _counted(self, key: tuple[str, ...]) -> Path:
        """The key with the number of the latest table wherever it leads through an array."""
        path: Path = ()
        for nth, part in enumerate(key):
            path = (*path, part)
            if path in self._tables and nth < len(key) - 1:
                path = (*path, self._tables[path] - 1)
        return path

    def _value(self, here: Path, statement: list[_Token]) -> None:
        equals = next(n for n, token in enumerate(statement) if token.text == "=")
        path = (*here, *_key(statement[:equals]))
        self._note(path, statement[0].line)
        value = statement[equals + 1 :]
        if value and value[0].text == "[":
            for nth, line in enumerate(_items(value)):
                self._note((*path, nth), line)

    def _note(self, path: Path, line: int) -> None:
        for length in range(1, len(path) + 1):
            self._lines.setdefault(path[:length], line)
        self._lines[path] = line


def _statements(text: str) -> Iterator[list[_Token]]:
    """Without comments and line breaks, each with one token at least."""
    statement: list[_Token] = []
    depth, line = 0, 1
    for found in _TOKEN.finditer(text):
        piece = found[0]
        if piece == "\n" and not depth and statement:
            yield statement
            statement = []
        elif piece != "\n" and not piece.startswith("#"):
            statement.append(_Token(piece, line))
            depth += (piece in _OPENING) - (piece in _CLOSING)
        line += piece.count("\n")
    if statement:
        yield statement


def _items(value: list[_Token]) -> Iterator[int]:
    """The line each item of an array begins in."""
    depth, fresh = 0, True
    for token in value:
        if depth == 1 and token.text == ",":
            fresh = True
        elif depth == 1 and fresh and token.text not in _CLOSING:
            yield token.line
            fresh = False
        depth += (token.text in _OPENING) - (token.text in _CLOSING)


def _key(tokens: list[_Token]) -> tuple[str, ...]:
    return tuple(
        str(tomllib.loads(f"key = {token.text}")["key"])
        if token.text[0] in "\"'"
        else token.text
        for token in tokens
        if token.text != "."
    )
