"""A folder of lists of hashes, kept in memory as arrays and read anew when they change.

====================  =====================================================================
``NAME.sha256``       what ``sha256sum`` writes: 64 hex digits, then what you like
``NAME.phash``        64 hex digits (see ``perceptual``), then what you like
====================  =====================================================================

Lines that are empty or begin with ``#`` say nothing. Any other line is a mistake: it is passed
over, kept in :attr:`HashLists.mistakes` and logged, for an entry nobody reads is an entry
somebody counts on. Files may be replaced or appended to at any time. Only hashes are held, in
``hashtables``; the words beside them are looked up in the file when somebody asks.
"""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from uploadsvc.verify.hashtables import ENTRY_BYTES, Alike, Exact, Table

EXACT, ALIKE = ".sha256", ".phash"
LINE_BYTES = 2 * ENTRY_BYTES + 1

# Of a file, at a time. A million lines are 65 MB, and the child reads them within its memory
# limit, beside the lists that are still in use.
READ_BYTES = 2**20
# Kept and logged of one file; a file of another kind altogether is wrong in every line.
MOST_MISTAKES = 20

# sha256sum begins a line with a backslash where it had to escape the file's name.
_ENTRY = re.compile(rb"^[ \t]*\\?([0-9A-Fa-f]{64})(?:[ \t\r].*)?$", re.MULTILINE)
_SILENT = re.compile(rb"[ \t\r]*(?:#.*)?")
_BOM = b"\xef\xbb\xbf"

_log = logging.getLogger(__name__)
Stamp: TypeAlias = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Hit:
    """``entry`` is the listed hash, ``distance`` how many bits the wanted one is away."""

    path: Path
    entry: bytes
    distance: int = 0


@dataclass(frozen=True, slots=True)
class Mistake:
    """A line that is no entry."""

    path: Path
    line: int

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: not 64 hex digits and then a space or nothing"


class HashLists:
    """The lists of ``folder``; None: there are none.

    ``faults`` tells what could not be read, in words for a moderator. A list that cannot be
    read now but could before stays in use as it was.
    """

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder
        self._files: dict[Path, _File] = {}
        self.faults: tuple[str, ...] = ()
        self.refresh()

    @property
    def mistakes(self) -> list[Mistake]:
        return [each for file in self._files.values() for each in file.mistakes]

    def count(self, suffix: str) -> int:
        return sum(len(file.table) for file in self._of(suffix))

    def find(self, suffix: str, wanted: Sequence[bytes]) -> Hit | None:
        """The nearest entry to any of ``wanted`` in the lists of that kind."""
        hits = [
            Hit(file.path, *found)
            for file in self._of(suffix)
            for each in wanted
            if (found := file.table.find(each))
        ]
        return min(hits, key=lambda hit: hit.distance, default=None)

    def refresh(self) -> None:
        """Read what has changed. Costs a look at the folder where nothing has."""
        if self._folder is None:
            return
        faults: list[str] = []
        files: dict[Path, _File] = {}
        try:
            paths = sorted(self._folder.iterdir())
        except OSError as error:
            self._complain((f"the folder: {error.strerror}",))
            return
        for path in paths:
            if path.suffix not in _TABLES or path.name.startswith("."):
                continue
            known = self._files.get(path)
            try:
                if known is None or known.stamp != _stamp(path):
                    known = _read(path)
            except FileNotFoundError:
                known = None
                # Otherwise it has gone since the folder was listed.
                if path.is_symlink():
                    faults.append(f"{path.name}: a link that leads nowhere")
            except (OSError, MemoryError) as error:
                why = getattr(error, "strerror", None) or "not enough memory"
                faults.append(f"{path.name}: {why}")
            if known is not None:
                files[path] = known
        self._files = files
        self._complain(tuple(faults))

    def _of(self, suffix: str) -> Iterator[_File]:
        return (each for each in self._files.values() if each.path.suffix == suffix)

    def _complain(self, faults: tuple[str, ...]) -> None:
        for each in set(faults) - set(self.faults):
            _log.error("a known-bad list of %s cannot be read: %s", self._folder, each)
        self.faults = faults


_TABLES: dict[str, type[Table]] = {EXACT: Exact, ALIKE: Alike}


@dataclass(frozen=True, slots=True)
class _File:
    path: Path
    stamp: Stamp
    table: Table
    mistakes: tuple[Mistake, ...]


def place(hit: Hit) -> tuple[int, str]:
    """The line of a hit in its file, counted from 1, and the words beside the hash.

    (0, "") if the file has lost it since.
    """
    digits = hit.entry.hex().encode()
    with hit.path.open("rb") as file:
        for number, line in enumerate(file, 1):
            found = _ENTRY.match(line.removeprefix(_BOM).rstrip(b"\n"))
            if found and found[1].lower() == digits:
                words = found[0].strip().removeprefix(b"\\")[len(digits) :]
                return number, words.decode(errors="replace").strip()
    return 0, ""


def _stamp(path: Path) -> Stamp:
    """Changes with the file. Follows links, as a mounted folder of a cluster is made of them."""
    found = path.stat()
    return (
        found.st_dev,
        found.st_ino,
        found.st_size,
        found.st_mtime_ns,
        found.st_ctime_ns,
    )


def _read(path: Path) -> _File:
    # The stamp first: what is written while we read makes another one, and is read next time.
    stamp = _stamp(path)
    mistakes = list[Mistake]()
    wrong = line = 0
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        # One more for a last line that is completed meanwhile.
        table = _TABLES[path.suffix](size // (2 * ENTRY_BYTES) + 1)
        if file.read(len(_BOM)) != _BOM:
            file.seek(0)
        # Never half a line, and no more than there is room for.
        while (left := size - file.tell()) > 0:
            block = file.read(min(READ_BYTES, left)) + file.readline()
            if not block:
                break  # cut short meanwhile
            lines = block.count(b"\n") + (not block.endswith(b"\n"))
            entries = _bare(block) or _entries(block)
            table.add(entries)
            if len(entries) != lines * ENTRY_BYTES:
                for number in _wrong_lines(block):
                    wrong += 1
                    if wrong <= MOST_MISTAKES:
                        mistakes.append(Mistake(path, line + number))
            line += lines
    table.close()
    for mistake in mistakes:
        _log.warning("%s", mistake)
    if wrong > MOST_MISTAKES:
        _log.warning("%s: %d more", path, wrong - MOST_MISTAKES)
    return _File(path, stamp, table, tuple(mistakes))


def _entries(block: bytes) -> bytes:
    return bytes.fromhex(b"".join(_ENTRY.findall(block)).decode())


def _bare(block: bytes) -> bytes | None:
    """The entries of a block of hashes with not a word beside them, as the largest lists are;
    None if it is any other. Six times faster than the expression."""
    lines, rest = divmod(len(block), LINE_BYTES)
    if rest or block[LINE_BYTES - 1 :: LINE_BYTES] != b"\n" * lines:
        return None
    try:
        # Passes over white space, which may be anywhere: then there are too few digits.
        entries = bytes.fromhex(block.decode("ascii"))
    except ValueError:
        return None
    return entries if len(entries) == lines * ENTRY_BYTES else None


def _wrong_lines(block: bytes) -> Iterator[int]:
    for number, line in enumerate(block.split(b"\n"), 1):
        if not _ENTRY.fullmatch(line) and not _SILENT.fullmatch(line):
            yield number
