"""Against what Wolt's own encoder (blurhash-python 1.2.2, in C) says of the same pixels."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from tests import media
from uploadsvc.verify.formats.blurhash import blurhash, encode

LYING = np.asarray(media.picture(64, 48))
STANDING = np.asarray(media.picture(48, 64))
PINK = np.full((24, 32, 3), (200, 30, 90), np.uint8)

KNOWN = [
    (LYING, 4, 3, "L$FZHE@2pDNe[%;NkAOUn:o3fQa{"),
    (LYING, 3, 4, "T$FZHE@2pD[%;NkAn:o3fQOTNxaz"),
    (LYING, 1, 1, "00FZHE"),
    (STANDING, 4, 3, "L$FZE8@3pCNe[j;NodOUo6jvfQa{"),
    (STANDING, 3, 4, "T$FZE8@3pC[j;Nodo6jvfQOTNxaz"),
    (PINK, 4, 3, "L7M^#v]VfQ]V|zo2fQo2fQfQfQfQ"),
    (np.zeros((24, 32, 3), np.uint8), 4, 3, "L00000fQfQfQfQfQfQfQfQfQfQfQ"),
    (np.full((24, 32, 3), 255, np.uint8), 4, 3, "LDTSUA_3fQ_3~qoffQoffQfQfQfQ"),
]


@pytest.mark.parametrize(("pixels", "columns", "rows", "known"), KNOWN)
def test_hash_is_the_one_its_inventors_encoder_makes(
    pixels: np.ndarray, columns: int, rows: int, known: str
) -> None:
    assert encode(pixels, columns, rows) == known


def test_the_longer_side_has_the_more_waves() -> None:
    lying, standing = blurhash(media.picture(64, 48)), blurhash(media.picture(48, 64))

    assert lying == encode(LYING, 4, 3)
    assert standing == encode(STANDING, 3, 4)


@pytest.mark.parametrize("size", [(1, 1), (512, 1), (1, 512), (512, 512)])
def test_every_shape_of_thumbnail_has_a_hash(size: tuple[int, int]) -> None:
    found = blurhash(Image.new("RGB", size, "teal"))

    assert len(found) == 28
