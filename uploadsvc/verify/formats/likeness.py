"""Is this picture one that was shown already? Most of a film is, and looking is what costs.

The perceptual hash here is of our own making and not PDQ, which compares the composition as a
whole: with it a small picture laid into a still one would be called near-identical. This one
compares the colour and the amount of detail cell by cell, and a single cell is enough.
"""

from __future__ import annotations

import numpy as np
from PIL import Image

from uploadsvc.verify import Array

CELLS, CELL = 16, 8  # a picture of 128 x 128 pixels; the model sees 224 x 224
# Of 255, in a single cell. Keyframes of a picture that does not move were up to 6 apart (x264,
# crf 23 to 35); anything that moved by a tenth of a cell's width at a sharp edge is above.
ALIKE = 16


class Shown:
    """The pictures shown so far of one file; as many as its plan at the most, 1.5 KB each."""

    def __init__(self) -> None:
        self._signatures: list[Array] = []

    def is_new(self, frame: Array) -> bool:
        """Whether no picture so far was near-identical; if so, this one counts as shown."""
        signature = _signature(frame)
        if self._signatures:
            apart = np.abs(np.stack(self._signatures) - signature)
            if apart.max(axis=1).min() <= ALIKE:
                return False
        self._signatures.append(signature)
        return True


def _signature(frame: Array) -> Array:
    """Mean and deviation of every colour in every cell."""
    side = CELLS * CELL
    small = Image.fromarray(frame).resize((side, side), Image.Resampling.BOX)
    cells = np.asarray(small, np.float32).reshape(CELLS, CELL, CELLS, CELL, 3)
    mean = cells.mean(axis=(1, 3))
    square = np.square(cells).mean(axis=(1, 3))
    deviation = np.sqrt(np.maximum(square - np.square(mean), 0))
    return np.concatenate([mean.ravel(), deviation.ravel()]).astype(np.int16)
