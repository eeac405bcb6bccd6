"""What a transfer looks like: live bars on a terminal, one plain line per event elsewhere.

Both go to stderr, so that stdout carries the record alone. All text that somebody else chose
(the service's messages, the file's name) passes :func:`neutral` and is never read as markup.
"""

from __future__ import annotations

import json
import unicodedata
from types import TracebackType
from typing import Any, Protocol, Self

import click
from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    ProgressColumn,
    Task,
    TaskProgressColumn,
    TextColumn,
)
from rich.table import Column
from rich.text import Text

# Joiners inside emoji and of several scripts: format characters that move nothing.
JOINERS = frozenset("\u200c\u200d")
# Controls, format characters (those that turn the writing direction are among them), lone
# surrogates, line and paragraph separators.
UNSAFE = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})


def neutral(text: object) -> str:
    """The text with everything spelt out that a terminal would obey instead of showing."""
    return "".join(
        char.encode("unicode_escape").decode()
        if unicodedata.category(char) in UNSAFE and char not in JOINERS
        else char
        for char in str(text)
    )


def as_json(value: object) -> str:
    """JSON in plain ASCII. DEL is the one control character that ``json`` leaves as it is."""
    return json.dumps(value, indent=2).replace("\x7f", "\\u007f")


class Display(Protocol):
    """Shows a transfer while its ``with`` block runs."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None: ...

    def show_bytes(self, sent: int, total: int) -> None: ...

    def show_event(self, event: dict[str, Any]) -> None: ...


def display(*, sending: bool, console: Console | None = None) -> Display:
    """Bars where there is a terminal to draw them on; ``sending`` adds the one for bytes."""
    console = console or Console(stderr=True)
    if console.is_terminal and not console.is_dumb_terminal:
        return Bars(console, sending=sending)
    return Lines()


class Lines:
    """One line per progress event. Bytes get none of their own: the service reports them."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        return None

    def show_bytes(self, sent: int, total: int) -> None:
        return None

    def show_event(self, event: dict[str, Any]) -> None:
        if event.get("type") != "progress":
            return
        stage = neutral(event.get("stage", ""))
        message = neutral(event.get("message", ""))
        click.echo(f"{_percent(event):3d}%  {stage:13}  {message}", err=True)


class Bars:
    """One bar for the bytes, one for the verification with the stage's own words."""

    def __init__(self, console: Console, *, sending: bool) -> None:
        self._progress = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=30),
            TaskProgressColumn(),
            _Words(),
            console=console,
        )
        self._bytes = (
            self._progress.add_task("Sending", total=None, unit="bytes")
            if sending
            else None
        )
        self._verification = self._progress.add_task(
            "Verification", total=100, message=""
        )

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._progress.stop()

    def show_bytes(self, sent: int, total: int) -> None:
        if self._bytes is not None:
            self._progress.update(self._bytes, completed=sent, total=total)

    def show_event(self, event: dict[str, Any]) -> None:
        if event.get("type") != "progress":
            return
        # An error's 0 would empty the bar; it stays where the trouble came.
        reached = None if event.get("stage") == "error" else _percent(event)
        self._progress.update(
            self._verification,
            completed=reached,
            message=neutral(event.get("message", "")),
        )


class _Words(ProgressColumn):
    """Behind the bar: the amount for bytes, the message for verification."""

    def __init__(self) -> None:
        super().__init__(table_column=Column(no_wrap=True, overflow="ellipsis"))
        self._amount = DownloadColumn()

    def render(self, task: Task) -> Text:
        if task.fields.get("unit") == "bytes":
            return self._amount.render(task)
        return Text(str(task.fields["message"]))


def _percent(event: dict[str, Any]) -> int:
    value = event.get("progress")
    return min(max(value, 0), 100) if isinstance(value, int) else 0
