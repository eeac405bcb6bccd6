"""The picture of a sound: how loud it is from its beginning to its end."""

from __future__ import annotations

import numpy as np
from av.audio.frame import AudioFrame
from PIL import Image

from uploadsvc.verify import Array

WIDTH, HEIGHT = 512, 128
LOOKS = 4  # into a column of the picture
BACKGROUND, INK = (246, 247, 249), (52, 101, 164)


class Waveform:
    """Collects the loudest sample of each column while the sound passes by once.

    Of a long sound a few frames a column are looked at; the eye sees no more, and numpy takes
    longer over a frame than its decoder.
    """

    def __init__(self, duration_s: float) -> None:
        self._columns_per_s = WIDTH / max(duration_s, 0.001)
        self._peaks = np.zeros(WIDTH)
        self._next_s = 0.0

    def add(self, at_s: float, frame: AudioFrame) -> None:
        if at_s < self._next_s:
            return
        self._next_s = at_s + 1 / (self._columns_per_s * LOOKS)
        first = min(int(at_s * self._columns_per_s), WIDTH - 1)
        end_s = at_s + frame.samples / frame.sample_rate
        last = min(int(end_s * self._columns_per_s), WIDTH - 1)
        columns = self._peaks[first : last + 1]
        np.maximum(columns, peak(frame.to_ndarray()), out=columns)

    def image(self) -> Image.Image:
        """Scaled to the loudest moment, so that a quiet recording is not a flat line."""
        loudest = max(float(self._peaks.max()), 0.001)
        reach = np.maximum(self._peaks / loudest * (HEIGHT / 2 - 4), 1)
        rows = np.abs(np.arange(HEIGHT) - (HEIGHT - 1) / 2)[:, np.newaxis]
        canvas = np.where((rows <= reach)[..., np.newaxis], INK, BACKGROUND)
        return Image.fromarray(canvas.astype(np.uint8))


def peak(samples: Array) -> float:
    """The loudest of the samples, 0 to 1, whatever their type."""
    if samples.size == 0:
        return 0.0
    low, high = float(samples.min()), float(samples.max())
    if samples.dtype.kind == "u":
        return max(high - 128, 128 - low) / 128
    full = float(np.iinfo(samples.dtype).max) if samples.dtype.kind == "i" else 1.0
    loudest = max(high, -low) / full
    return loudest if np.isfinite(loudest) else 1.0
