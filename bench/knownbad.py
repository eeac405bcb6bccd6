"""A million entries of each kind: how long a look-up takes, a first reading, and the memory.

Measured in a process of its own, so that memory is that of the lists, with the one thread for
numpy that a verifier has.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median

import numpy as np

from uploadsvc.verify import perceptual
from uploadsvc.verify.hashlists import ALIKE, EXACT, HashLists

ENTRIES = 1_000_000
LOOK_UPS = 25
PICTURE = (512, 512, 3)  # the largest a sample is


@dataclass(frozen=True, slots=True)
class Figures:
    """Medians. A picture's look-up is two: as it lies and mirrored."""

    entries: int
    sha256_ms: float
    picture_ms: float
    hashing_ms: float
    unchanged_ms: float
    reading_s: float
    resident_bytes: int
    peak_bytes: int


def figures() -> Figures:
    environment = dict(os.environ) | {"OPENBLAS_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "bench.knownbad"]
    return Figures(**json.loads(subprocess.check_output(command, env=environment)))


def measure(entries: int = ENTRIES) -> Figures:
    random = np.random.default_rng(1)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for suffix in (EXACT, ALIKE):
            content = random.bytes(entries * perceptual.BYTES).hex("\n", 32)
            (folder / f"bench{suffix}").write_text(content + "\n")
        del content
        before = _memory("VmRSS")
        Path("/proc/self/clear_refs").write_text("5")  # forget the peak so far
        start = time.perf_counter()
        lists = HashLists(folder)
        reading_s = time.perf_counter() - start
        frame = random.integers(0, 256, PICTURE, np.uint8)
        wanted = perceptual.hashes(frame)
        return Figures(
            entries,
            _median_ms(lambda: lists.find(EXACT, wanted[:1])),
            _median_ms(lambda: lists.find(ALIKE, wanted)),
            _median_ms(lambda: perceptual.hashes(frame)),
            _median_ms(lists.refresh),
            reading_s,
            _memory("VmRSS") - before,
            _memory("VmHWM") - before,
        )


def _median_ms(work: Callable[[], object]) -> float:
    taken = []
    for _ in range(LOOK_UPS):
        start = time.perf_counter()
        work()
        taken.append((time.perf_counter() - start) * 1000)
    return median(taken)


def _memory(field: str) -> int:
    status = Path(f"/proc/{os.getpid()}/status").read_text()
    return int(status.split(f"{field}:")[1].split()[0]) * 1024


if __name__ == "__main__":
    print(json.dumps(asdict(measure())))
