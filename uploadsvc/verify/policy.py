"""A table of the policy file, checked while it is read: see ``moderation`` for what it means."""

from __future__ import annotations

from typing import Any


class PolicyError(ValueError):
    """The policy file cannot be followed; the message names the key."""


class Table:
    """Knows its name, so that a complaint can give it, and which keys nobody took yet."""

    def __init__(self, name: str, content: Any) -> None:
        if not isinstance(content, dict):
            raise PolicyError(f"{name} must be a table")
        self._name = name
        self._left = dict(content)

    def name(self, key: str) -> str:
        return f"{self._name}.{key}" if self._name else key

    def left(self) -> tuple[str, ...]:
        return tuple(self._left)

    def table(self, key: str) -> Table:
        return Table(self.name(key), self._left.pop(key, {}))

    def text(self, key: str) -> str:
        value = self._left.pop(key, None)
        if not isinstance(value, str) or not value:
            raise PolicyError(f"{self.name(key)} must be some text")
        return value

    def texts(self, key: str) -> list[str]:
        value = self._left.pop(key, [])
        if not isinstance(value, list) or not all(
            isinstance(s, str) and s for s in value
        ):
            raise PolicyError(f"{self.name(key)} must be a list of texts")
        return value

    def share(self, key: str) -> float | None:
        value = self._left.pop(key, None)
        if value is None:
            return None
        if (
            isinstance(value, bool)
            or not isinstance(value, int | float)
            or not 0 < value <= 1
        ):
            raise PolicyError(f"{self.name(key)} must be a number above 0, at most 1")
        return float(value)

    def end(self) -> None:
        """Complain of a key nobody took: it is misspelt, or does not do what was hoped."""
        for key in self._left:
            raise PolicyError(f"{self.name(key)} is not known")
