"""Hashes of 32 bytes, many of them, in numpy's memory: found by equality or by likeness.

A table is made for one list file (see ``hashlists``) and holds nothing but the hashes, so a
million entries are 32 MB in every verifier process.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np
import numpy.typing as npt

from uploadsvc.verify import perceptual

ENTRY_BYTES = 32

# Hashes compared at a time: what lies between the steps stays in the processor's cache.
COMPARED = 2**15


class Table(Protocol):
    """Hashes of one file. Made for ``room`` entries, filled, closed, then only looked into.

    Memory that is never filled is never given by the kernel, so ``room`` may be generous.
    """

    def __init__(self, room: int) -> None: ...

    def __len__(self) -> int: ...

    def add(self, entries: bytes) -> None: ...

    def close(self) -> None: ...

    def find(self, wanted: bytes) -> tuple[bytes, int] | None:
        """The nearest entry and how many bits it is away."""


class Exact:
    """Sorted in place; found by halving."""

    def __init__(self, room: int) -> None:
        # As byte strings of fixed length numpy sorts and searches them at full speed. It drops
        # zeros at the end of such a string, but alike on both sides of each comparison.
        self._entries = np.empty(room, f"S{ENTRY_BYTES}")
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def add(self, entries: bytes) -> None:
        found = np.frombuffer(entries, self._entries.dtype)
        self._entries[self._count : self._count + len(found)] = found
        self._count += len(found)

    def close(self) -> None:
        self._entries = self._entries[: self._count]
        self._entries.sort()

    def find(self, wanted: bytes) -> tuple[bytes, int] | None:
        key = np.frombuffer(wanted, self._entries.dtype)[0]
        at = int(np.searchsorted(self._entries, key))
        if at == len(self) or self._entries[at] != key:
            return None
        return wanted, 0


class Alike:
    """Four columns of 64 bits; every entry is compared, which needs no index to keep."""

    def __init__(self, room: int) -> None:
        words = ENTRY_BYTES // 8
        self._columns: npt.NDArray[np.uint64] = np.empty((words, room), np.uint64)
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def add(self, entries: bytes) -> None:
        rows = np.frombuffer(entries, np.uint64).reshape(-1, len(self._columns))
        self._columns[:, self._count : self._count + len(rows)] = rows.T
        self._count += len(rows)

    def close(self) -> None:
        self._columns = self._columns[:, : self._count]

    def find(self, wanted: bytes) -> tuple[bytes, int] | None:
        key = np.frombuffer(wanted, np.uint64)
        best: tuple[bytes, int] | None = None
        for start in range(0, len(self), COMPARED):
            block = self._columns[:, start : start + COMPARED]
            # Two columns alone are beyond the distance for nearly all: the other two need
            # not be read. 128 bits fit into the eight of the count, 256 would not.
            half = np.bitwise_count(block[0] ^ key[0])
            half += np.bitwise_count(block[1] ^ key[1])
            near = np.flatnonzero(half <= perceptual.DISTANCE)
            if not len(near):
                continue
            apart = np.bitwise_count(block[:, near] ^ key[:, np.newaxis])
            distances = apart.sum(axis=0, dtype=np.uint16)
            nearest = int(distances.argmin())
            distance = int(distances[nearest])
            if distance <= perceptual.DISTANCE and (not best or distance < best[1]):
                best = block[:, near[nearest]].tobytes(), distance
        return best
