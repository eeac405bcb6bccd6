"""A picture as 256 bits that stay nearly the same when it is scaled or encoded again.

The hash is PDQ, published by Facebook in 2019 ("The TMK+PDQF video-hashing algorithm and the
PDQ image-hashing algorithm", github.com/facebook/ThreatExchange, folder ``hashing``), written
anew in numpy. It was chosen over others of its size because known-bad lists are traded in it.
Of 27 test pictures the reference (pdqhash 0.2.8) made the very same hashes.

Its steps (grey, two box filters along each side, 64 x 64, cosine transform) are all linear, so
what happens along one side is one matrix, made once for each length of a side.

It does not survive what changes the composition: frames added, rotation, crops beyond a few
percent of a side.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import numpy.typing as npt

from uploadsvc.verify import Array

BITS = 256
BYTES = BITS // 8

# Pictures at most this many bits apart are called the same: the limit the authors of PDQ
# recommend. Of photos (scikit-image's) copies as JPEG of quality 30 were 8 bits away at the
# most, a tenth brighter 10, a quarter of the size 30, with a watermark 32; other photos began
# above 85. A crop of 1 % a side is around 20, one of 2 % around 40 and not found. The test
# prints the same for drawn ones: pytest -s tests/unit/test_perceptual.py
DISTANCE = 31

# Below, the authors call a hash too unreliable to match on: it is made of noise, and one of a
# black frame in a list would find every film that begins with one.
QUALITY = 50

SMALL = 64  # pixels a side, of which the cosine transform is taken
WAVES = 16  # lowest frequencies along each side, without the constant one
LEAST_SIDE = 5  # pixels; as in the reference

Floats = npt.NDArray[np.float32]

_LUMA = np.array([0.299, 0.587, 0.114], np.float32)
_WAVES = (
    np.sqrt(2 / SMALL)
    * np.cos(
        np.pi
        / (2 * SMALL)
        * np.outer(np.arange(1, WAVES + 1), 2 * np.arange(SMALL) + 1)
    )
).astype(np.float32)


def hashes(frame: Array) -> tuple[bytes, ...]:
    """The hashes of an RGB frame as it lies and mirrored left to right, 32 bytes each.

    In hex they read as PDQ's do everywhere. Empty for a picture that shows too little to be
    told from others: flat, nearly flat, or a few pixels wide.
    """
    height, width = frame.shape[:2]
    if min(height, width) < LEAST_SIDE:
        return ()
    low = _shrinking(height) @ (frame.astype(np.float32) @ _LUMA)
    small = low @ _shrinking(width).T
    if _quality(small) < QUALITY:
        return ()
    # To change the signs of the waves would be cheaper still, but shrinking takes pixels
    # beside the middle of each window: fine textures came out 88 bits from their copy.
    return _bits(small), _bits(low[:, ::-1] @ _shrinking(width).T)


def distance(one: bytes, other: bytes) -> int:
    """How many bits differ."""
    return (int.from_bytes(one) ^ int.from_bytes(other)).bit_count()


def _quality(small: Floats) -> int:
    """0 to 100: how much of the picture is edges that would be seen."""
    steps = [np.diff(small, axis=axis) * (100 / 255) for axis in (0, 1)]
    return min(int(sum(np.abs(np.trunc(step)).sum() for step in steps)) // 90, 100)


def _bits(small: Floats) -> bytes:
    waves = _WAVES @ small @ _WAVES.T
    # The reference's median is the lower of the two in the middle, not their mean.
    median = np.partition(waves, BITS // 2 - 1, axis=None)[BITS // 2 - 1]
    # The first bit is the lowest, and hex is written from the highest.
    return np.packbits((waves > median).ravel()[::-1]).tobytes()


@lru_cache(maxsize=32)  # 128 KiB each at the 512 pixels a sample has at the most
def _shrinking(side: int) -> Floats:
    """What turns ``side`` pixels into SMALL: a box filter twice, then every so many one."""
    if side == SMALL:
        return np.eye(SMALL, dtype=np.float32)
    window = -(-side // (2 * SMALL))
    ahead = window // 2
    behind = window - 1 - ahead
    apart = np.arange(side) - np.arange(side)[:, np.newaxis]
    box = ((apart >= -behind) & (apart <= ahead)).astype(np.float64)
    box /= box.sum(axis=1, keepdims=True)
    middles = ((np.arange(SMALL) + 0.5) * side / SMALL).astype(int)
    shrinking: Floats = (box[middles] @ box).astype(np.float32)
    return shrinking
