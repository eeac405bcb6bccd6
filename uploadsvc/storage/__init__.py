"""Where bytes live: received files on their way to a verifier, and verified media.

The contract; ``local`` keeps them in a folder. A name handed to a storage is an upload id, a
media id, or one of ours (``original.jpg``): never anything a client chose.
"""

from __future__ import annotations

from collections.abc import Collection
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Received:
    """A durable received file: its size in bytes and its SHA-256 in hex."""

    size: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Blob:
    """Bytes of verified media. ``path`` is a local file to send; ``name`` its place below
    the media folder, for a front that sends it itself."""

    path: Path
    name: str


class Incoming(Protocol):
    """A file being received."""

    size: int

    def write(self, data: bytes) -> None:
        """Add bytes and count them. Other greenlets run meanwhile.

        Raises StorageFull when there is no room.
        """

    def commit(self) -> Received:
        """Make the file durable: after this a power cut loses nothing of it."""

    def abort(self) -> None:
        """Leave nothing behind. May be called at any time, also after commit."""


class Storage(Protocol):
    def receive(self, upload_id: str) -> Incoming:
        """Begin a received file; one left from an earlier try is overwritten."""

    def fetch(self, upload_id: str) -> AbstractContextManager[Path]:
        """A local path of the received file, good inside the ``with``.

        Raises FileNotFoundError if it was discarded.
        """

    def scratch(self, upload_id: str) -> AbstractContextManager[Path]:
        """An empty local folder for what verification makes; gone after the ``with``,
        but for what was promoted."""

    def promote(self, scratch: Path, media_id: str, names: Collection[str]) -> None:
        """Make files of the scratch folder the media's, durably, all or none."""

    def discard(self, upload_id: str) -> None:
        """Remove the received file, and what a dead attempt left in its scratch folder."""

    def open(self, media_id: str, stem: str) -> Blob | None:
        """The media's file of this name without its ending, such as ``original``."""

    def delete(self, media_id: str) -> None:
        """Remove all of the media's files, if they are there."""

    def sweep(self, uploads: Collection[str], older_than_s: float) -> int:
        """Remove received files and scratch folders of uploads not in ``uploads`` that have
        been untouched for ``older_than_s`` seconds; how many."""

    def ping(self) -> None:
        """Raises OSError if nothing can be written."""
