"""What the child gives up before it opens a stranger's file.

Every layer is best effort, for inside a container some are refused; which of them hold is
told to the parent and shown by ``readyz``. Linux only.

``isolate`` comes first, before any library has started a thread; ``limit`` when everything
is loaded, because its memory limit counts from there.
"""

from __future__ import annotations

import ctypes
import os
import resource
import signal
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

PR_SET_PDEATHSIG = 1
PR_SET_NO_NEW_PRIVS = 38
CLONE_NEWUSER = 0x1000_0000
CLONE_NEWNET = 0x4000_0000

OPEN_FILES = 64
# A kept file may be somewhat larger than the received one, never without end.
LARGEST_FILE = 8 * 2**30


def isolate(parent: int) -> dict[str, bool]:
    """Die with ``parent`` (a process id), gain no privileges, have no network.

    Returns which layers hold.
    """
    return {
        "dies_with_parent": _prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        and os.getppid() == parent,
        "no_new_privileges": _prctl(PR_SET_NO_NEW_PRIVS, 1),
        "no_network": _without_network(),
    }


def limit(memory_bytes: int) -> dict[str, bool]:
    """Bound address space (``memory_bytes`` beyond what is used now), file size, open files
    and processes; no core dumps. Returns which layers hold."""
    space = _address_space() + memory_bytes
    return {
        "memory": _bounded(resource.RLIMIT_AS, space),
        "file_size": _bounded(resource.RLIMIT_FSIZE, LARGEST_FILE),
        "open_files": _bounded(resource.RLIMIT_NOFILE, OPEN_FILES),
        "no_core": _bounded(resource.RLIMIT_CORE, 0),
    }


def allow_cpu(seconds: float) -> None:
    """The next job may use this much CPU time; the kernel kills the process beyond it."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    soft = int(used.ru_utime + used.ru_stime + seconds) + 1
    with suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_CPU, (soft, resource.RLIM_INFINITY))


def _prctl(option: int, argument: int) -> bool:
    libc = ctypes.CDLL(None, use_errno=True)
    return int(libc.prctl(option, argument, 0, 0, 0)) == 0


def _without_network() -> bool:
    """A network namespace of its own has not even a loopback that is up. Root may make one
    at once, others inside a user namespace of their own, where that is allowed."""
    libc = ctypes.CDLL(None, use_errno=True)
    flags = CLONE_NEWNET if os.geteuid() == 0 else CLONE_NEWNET | CLONE_NEWUSER
    unshare: Callable[[int], int] = libc.unshare
    return unshare(flags) == 0


def _address_space() -> int:
    pages = Path("/proc/self/statm").read_text().split()[0]
    return int(pages) * resource.getpagesize()


def _bounded(kind: int, most: int) -> bool:
    try:
        resource.setrlimit(kind, (most, most))
    except (ValueError, OSError):
        return False
    return True
