"""How the kernel is asked: calls the standard library has no word for.

A refusal is an answer here, never an exception: each layer is best effort.
"""

from __future__ import annotations

import ctypes
from typing import Any

_libc = ctypes.CDLL(None, use_errno=True)
_libc.syscall.restype = ctypes.c_long


def call(number: int, *arguments: int | bytes | None) -> int:
    """The raw system call; -1 where it was refused. Bytes are handed over by address."""
    words = (
        ctypes.c_long(each) if isinstance(each, int) else each for each in arguments
    )
    return int(_libc.syscall(ctypes.c_long(number), *words))


def prctl(option: int, argument: int) -> bool:
    words = (ctypes.c_ulong(each) for each in (argument, 0, 0, 0))
    return int(_libc.prctl(option, *words)) == 0


def unshare(flags: int) -> bool:
    return int(_libc.unshare(flags)) == 0


def capabilities() -> tuple[int, int, int]:
    """Effective, permitted and inheritable of this thread, as bits; zeros if unknown."""
    header, sets = _capability_sets()
    if _libc.capget(ctypes.byref(header), ctypes.byref(sets)) != 0:
        return 0, 0, 0
    effective, permitted, inheritable = (sets[i] | sets[i + 3] << 32 for i in range(3))
    return effective, permitted, inheritable


def keep_capabilities(kept: int) -> bool:
    """Hold these bits, effective and permitted, and no other, now and ever."""
    header, sets = _capability_sets()
    low, high = kept & 0xFFFF_FFFF, kept >> 32
    sets[:] = [low, low, 0, high, high, 0]
    return int(_libc.capset(ctypes.byref(header), ctypes.byref(sets))) == 0


def _capability_sets() -> tuple[Any, Any]:
    version_3, this_thread = 0x2008_0522, 0
    return (ctypes.c_uint32 * 2)(version_3, this_thread), (ctypes.c_uint32 * 6)()
