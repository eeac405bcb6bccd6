"""BlurHash: a picture's colours in 28 characters, for a client to paint until it has the picture.

Written from the published algorithm (https://github.com/woltapp/blurhash, Algorithm.md): cosines
of linear light, 4 by 3 of them, in base 83. The packages for it loop over pixels in Python, or are
compiled code for these forty lines.
"""

from __future__ import annotations

import numpy as np
from PIL import Image

from uploadsvc.verify import Array

# Along the longer and the shorter side, as Wolt advises.
MANY, FEW = 4, 3
# Pixels of the longer side looked at: four cosines know nothing of finer things.
SIDE = 64

_DIGITS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz#$%*+,-.:;=?@[]^_{|}~"
_LEVELS = np.arange(256) / 255
_LINEAR = np.where(
    _LEVELS <= 0.04045, _LEVELS / 12.92, ((_LEVELS + 0.055) / 1.055) ** 2.4
)


def blurhash(image: Image.Image) -> str:
    """Of an RGB picture in sRGB."""
    wide = image.width >= image.height
    columns, rows = (MANY, FEW) if wide else (FEW, MANY)
    small = image.copy()
    small.thumbnail((SIDE, SIDE), Image.Resampling.BOX)
    return encode(np.asarray(small), columns, rows)


def encode(pixels: Array, columns: int, rows: int) -> str:
    """Of H x W x 3, uint8, as it is; ``columns`` and ``rows`` (1 to 9) of cosines."""
    height, width, _channels = pixels.shape
    across = np.cos(np.pi / width * np.outer(np.arange(columns), np.arange(width)))
    down = np.cos(np.pi / height * np.outer(np.arange(rows), np.arange(height)))
    factors = np.einsum("yh,xw,hwc->yxc", down, across, _LINEAR[pixels])
    average, *waves = factors.reshape(-1, 3) / (width * height)
    scale, shares = _quantised(2 * np.array(waves).reshape(-1, 3))
    return (
        _base83(columns - 1 + (rows - 1) * 9, 1)
        + _base83(scale, 1)
        + _base83(_packed(_srgb(average), 256), 4)
        + "".join(_base83(_packed(each, 19), 2) for each in shares)
    )


def _quantised(waves: Array) -> tuple[int, Array]:
    """How high the waves go at the most, of 82, and each as a share of that, of 18."""
    highest = np.abs(waves).max(initial=0.0)
    scale = int(np.clip(np.floor(highest * 166 - 0.5), 0, 82))
    shares = waves * 166 / (scale + 1)
    steps = np.floor(np.sign(shares) * np.sqrt(np.abs(shares)) * 9 + 9.5)
    return scale, steps.clip(0, 18)


def _srgb(light: Array) -> Array:
    light = light.clip(0, 1)
    curved = np.where(
        light <= 0.0031308, light * 12.92, 1.055 * light ** (1 / 2.4) - 0.055
    )
    return np.floor(curved * 255 + 0.5)


def _packed(three: Array, base: int) -> int:
    red, green, blue = (int(each) for each in three)
    return (red * base + green) * base + blue


def _base83(number: int, length: int) -> str:
    digits = ""
    for _ in range(length):
        number, digit = divmod(number, 83)
        digits = _DIGITS[digit] + digits
    return digits
