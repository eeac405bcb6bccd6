"""The stages of an upload: which percent each owns and what the person reads.

One table, read by everything that speaks of progress. The names, the percentages and the
messages are the guide's; ``uploading`` is ours, for the guide starts once the file is here.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Stage(StrEnum):
    UPLOADING = "uploading"
    FILE_RECEIVED = "file_received"
    VALIDATING = "validating"
    ANALYZING = "analyzing"
    MODERATING = "moderating"
    PROCESSING = "processing"
    FINALIZING = "finalizing"
    COMPLETE = "complete"
    ERROR = "error"


@dataclass(frozen=True, slots=True)
class Band:
    """The percentages a stage may report, both ends included, and its words.

    ``opening`` is said with the first event of the stage, ``{progress}`` in ``going`` is
    filled in for every later one.
    """

    first: int
    last: int
    opening: str
    going: str


BANDS: dict[Stage, Band] = {
    Stage.UPLOADING: Band(0, 9, "Uploading...", "Uploading..."),
    Stage.FILE_RECEIVED: Band(
        10,
        10,
        "File received, starting verification...",
        "File received, starting verification...",
    ),
    Stage.VALIDATING: Band(
        20, 20, "Validating file format...", "Validating file format..."
    ),
    Stage.ANALYZING: Band(
        30,
        70,
        "Analyzing content with AI...",
        "AI verification in progress... {progress}%",
    ),
    Stage.MODERATING: Band(
        70, 85, "Checking content guidelines...", "Content guidelines check complete"
    ),
    Stage.PROCESSING: Band(
        85, 95, "Processing and saving content...", "Processing and saving content..."
    ),
    Stage.FINALIZING: Band(95, 99, "Finalizing upload...", "Finalizing upload..."),
    Stage.COMPLETE: Band(100, 100, "Upload complete!", "Upload complete!"),
    Stage.ERROR: Band(0, 0, "Upload failed", "Upload failed: {message}"),
}

# The order in which an upload passes them; ``error`` may follow any and is not in it.
ORDER: tuple[Stage, ...] = tuple(stage for stage in BANDS if stage is not Stage.ERROR)

RANK: dict[Stage, int] = {stage: rank for rank, stage in enumerate(ORDER)} | {
    Stage.ERROR: len(ORDER)
}

TERMINAL: frozenset[Stage] = frozenset({Stage.COMPLETE, Stage.ERROR})


def percent(stage: Stage, done: float, planned: float) -> int:
    """The percent to report when ``done`` of ``planned`` units of the stage's work are done.

    Rounded down, so that a stage never claims more than it did; clamped to the stage's band.
    A plan of nothing counts as done.
    """
    band = BANDS[stage]
    share = 1.0 if planned <= 0 else min(max(done / planned, 0.0), 1.0)
    return band.first + int((band.last - band.first) * share)
