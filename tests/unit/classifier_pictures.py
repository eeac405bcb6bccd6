"""Pictures made from a seed: whole numbers only, so that every machine draws the same bytes."""

from __future__ import annotations

from typing import Any

import numpy as np

SIDE = 224
KINDS = ("flat", "gradient", "noise", "coarse", "stripes", "shapes", "skin", "faces")
PICTURES = tuple((kind, seed) for kind in KINDS for seed in (1, 2, 3))
SKIN = np.array([(255, 224, 196), (234, 192, 160), (198, 134, 96), (141, 85, 54)])


def picture(kind: str, seed: int) -> Any:
    """One of PICTURES: 224 x 224 x 3, uint8, RGB.

    ``RandomState`` and not ``default_rng``: its stream is promised never to change.
    """
    random = np.random.RandomState(KINDS.index(kind) * 1000 + seed)
    across, down = np.meshgrid(np.arange(SIDE), np.arange(SIDE))
    canvas = np.zeros((SIDE, SIDE, 3), np.int64) + random.randint(0, 256, 3)

    def blob(colour: Any, least: int, most: int) -> None:
        x, y = random.randint(0, SIDE, 2)
        wide, high = random.randint(least, most, 2)
        inside = ((across - x) * high) ** 2 + ((down - y) * wide) ** 2 < (
            wide * high
        ) ** 2
        canvas[inside] = colour

    match kind:
        case "gradient":
            slopes = random.randint(-3, 4, (2, 3))
            canvas += across[..., None] * slopes[0] + down[..., None] * slopes[1]
            canvas = np.abs(canvas) % 256
        case "noise":
            canvas = random.randint(0, 256, (SIDE, SIDE, 3))
        case "coarse":
            canvas = random.randint(0, 256, (14, 14, 3)).repeat(16, 0).repeat(16, 1)
        case "stripes":
            canvas[(across + seed * down) // 9 % 2 == 0] = random.randint(0, 256, 3)
        case "shapes":
            for _ in range(12):
                blob(random.randint(0, 256, 3), 8, 60)
        case "skin":
            for _ in range(10):
                blob(SKIN[random.randint(len(SKIN))] + random.randint(-9, 1), 15, 110)
            canvas = canvas + random.randint(-6, 7, (SIDE, SIDE, 3))
        case "faces":
            for _ in range(4):
                blob(SKIN[random.randint(len(SKIN))], 30, 70)
                blob((40, 30, 30), 4, 9)
                blob((180, 40, 50), 6, 16)
    return canvas.clip(0, 255).astype(np.uint8)
