"""How much the child may use: numbers the kernel holds it to."""

from __future__ import annotations

import resource
from pathlib import Path

OPEN_FILES = 64
# A kept file may be somewhat larger than the received one, never without end.
LARGEST_FILE = 8 * 2**30


def apply(memory_bytes: int) -> dict[str, bool]:
    space = _address_space() + memory_bytes
    return {
        "memory": _bounded(resource.RLIMIT_AS, space),
        "file_size": _bounded(resource.RLIMIT_FSIZE, LARGEST_FILE),
        "open_files": _bounded(resource.RLIMIT_NOFILE, OPEN_FILES),
        "no_core": _bounded(resource.RLIMIT_CORE, 0),
    }


def allow_cpu(seconds: float) -> bool:
    used = resource.getrusage(resource.RUSAGE_SELF)
    soft = int(used.ru_utime + used.ru_stime + seconds) + 1
    try:
        resource.setrlimit(resource.RLIMIT_CPU, (soft, resource.RLIM_INFINITY))
    except (ValueError, OSError):
        return False
    return True


def _address_space() -> int:
    pages = Path("/proc/self/statm").read_text().split()[0]
    return int(pages) * resource.getpagesize()


def _bounded(kind: int, most: int) -> bool:
    try:
        resource.setrlimit(kind, (most, most))
    except (ValueError, OSError):
        return False
    return True
