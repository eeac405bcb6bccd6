"""The filter of system calls, which the kernel runs for each call of each thread.

What is refused says EPERM, as if it were another user's, and the caller may try something
else. What the table does not know, because it is newer, does not exist (ENOSYS).

The filter is a program of the classic packet filter, a jump and a return a call. The kernel
works out beforehand which calls are always allowed, and lets them pass without running it.
"""

from __future__ import annotations

import ctypes
import errno
import os
import socket
import struct
from collections.abc import Iterable, Iterator

from uploadsvc.verify.sandbox import kernel
from uploadsvc.verify.sandbox.calls import (
    ARCHITECTURES,
    CLONE,
    CLONE3,
    IOCTL,
    KILL_PROCESS,
    KILL_THREAD,
    NEWEST,
    PRCTL,
    PRLIMIT,
    REFUSED,
    SECCOMP,
    SOCKET,
    SOCKETPAIR,
    Architecture,
)

SET_MODE_FILTER = 1  # of seccomp(2)
ALL_THREADS = 1  # SECCOMP_FILTER_FLAG_TSYNC

CLONE_THREAD = 0x0001_0000
# NEWNS, NEWCGROUP, NEWUTS, NEWIPC, NEWUSER, NEWPID, NEWNET
CLONE_NAMESPACES = 0x0002_0000 | 0x7E00_0000
PR_SET_PDEATHSIG = 1
TIOCSTI, TIOCLINUX = 0x5412, 0x541C  # typing into the terminal of who started us

Instruction = tuple[int, int, int, int]  # code, jump if true, jump if false, operand
LOAD, EQUAL, AT_LEAST, ANY_BIT, RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
NUMBER, ARCHITECTURE, ARGUMENTS = 0, 4, 16  # where the kernel tells them
ALLOW: Instruction = (RETURN, 0, 0, 0x7FFF_0000)
KILL: Instruction = (RETURN, 0, 0, 0x8000_0000)
REFUSE: Instruction = (RETURN, 0, 0, 0x0005_0000 | errno.EPERM)
UNKNOWN: Instruction = (RETURN, 0, 0, 0x0005_0000 | errno.ENOSYS)


def restrict(*, unix_sockets: bool) -> bool:
    """Whether the filter holds for every thread of this process."""
    architecture = ARCHITECTURES.get(os.uname().machine)
    if architecture is None or struct.calcsize("P") != 8:
        return False
    instructions = list(program(architecture, os.getpid(), unix_sockets=unix_sockets))
    code = b"".join(struct.pack("=HBBI", *each) for each in instructions)
    held = ctypes.create_string_buffer(code, len(code))
    pointer = struct.pack("@HP", len(instructions), ctypes.addressof(held))
    number = SECCOMP[architecture.column]
    # A thread that cannot take it over is named by a number above zero, and none has it.
    return kernel.call(number, SET_MODE_FILTER, ALL_THREADS, pointer) == 0


def program(
    architecture: Architecture, pid: int, *, unix_sockets: bool
) -> Iterator[Instruction]:
    """The filter of a process ``pid``."""
    column = architecture.column
    yield (LOAD, 0, 0, ARCHITECTURE)
    # Another architecture's numbers mean other calls; no library of ours switches.
    yield from _unless(EQUAL, architecture.audit, [KILL])
    yield (LOAD, 0, 0, NUMBER)
    # x32, the other way to call on x86_64, has numbers far above.
    yield from _if(AT_LEAST, NEWEST + 1, [UNKNOWN])
    for calls in REFUSED.values():
        for numbers in calls.values():
            if numbers[column] is not None:
                yield from _if(EQUAL, numbers[column] or 0, [REFUSE])
    # Its flags lie in memory, out of a filter's sight; libraries then take clone.
    yield from _if(EQUAL, CLONE3[column], [UNKNOWN])
    yield from _if(EQUAL, CLONE[column], _only_threads())
    families = [socket.AF_UNIX] if unix_sockets else []
    yield from _only(SOCKET[column], 0, families)
    yield from _only(SOCKETPAIR[column], 0, [socket.AF_UNIX])
    yield from _only(KILL_PROCESS[column], 0, [pid])
    yield from _only(KILL_THREAD[column], 0, [pid])  # by which abort ends
    yield from _only(PRLIMIT[column], 0, [0, pid])
    yield from _never(PRCTL[column], 0, [PR_SET_PDEATHSIG])
    yield from _never(IOCTL[column], 1, [TIOCSTI, TIOCLINUX])
    yield ALLOW


def _only_threads() -> list[Instruction]:
    return [
        _argument(0),
        *_if(ANY_BIT, CLONE_NAMESPACES, [REFUSE]),
        *_if(ANY_BIT, CLONE_THREAD, [ALLOW]),
        REFUSE,
    ]


def _only(number: int, which: int, values: Iterable[int]) -> list[Instruction]:
    """Of this call only those whose argument (the n-th) is one of ``values``."""
    allowed = [part for each in values for part in _if(EQUAL, each, [ALLOW])]
    return _if(EQUAL, number, [_argument(which), *allowed, REFUSE])


def _never(number: int, which: int, values: Iterable[int]) -> list[Instruction]:
    refused = [part for each in values for part in _if(EQUAL, each, [REFUSE])]
    return _if(EQUAL, number, [_argument(which), *refused, ALLOW])


def _if(test: int, operand: int, then: list[Instruction]) -> list[Instruction]:
    """``then`` must end with a return, or what follows would see another value loaded."""
    return [(test, 0, len(then), operand), *then]


def _unless(test: int, operand: int, then: list[Instruction]) -> list[Instruction]:
    return [(test, len(then), 0, operand), *then]


def _argument(which: int) -> Instruction:
    """Its lower half, all the kernel reads of the arguments looked at here; both
    architectures are little-endian."""
    return (LOAD, 0, 0, ARGUMENTS + 8 * which)
