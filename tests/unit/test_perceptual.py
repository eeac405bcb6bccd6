"""How far the hashes of a picture's copies are from its own, and those of other pictures."""

from __future__ import annotations

import io
from collections.abc import Callable
from functools import cache
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageDraw, ImageEnhance

from uploadsvc.verify import Array, perceptual
from uploadsvc.verify.formats.picture import sample

SIZE = (480, 360)
SEEDS = range(6)


@cache
def photo(seed: int, size: tuple[int, int] = SIZE) -> Image.Image:
    """Like a photo: energy falls with frequency as in nature, and things stand before it."""
    random = np.random.RandomState(seed)
    width, height = size
    falling = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.fftfreq(width))
    falling[0, 0] = 1
    planes = []
    for _ in range(3):
        waves = np.fft.fft2(random.standard_normal((height, width))) / falling**1.2
        waves[0, 0] = 0
        plane = np.fft.ifft2(waves).real
        planes.append(128 + 45 * plane / plane.std())
    image = Image.fromarray(np.stack(planes, axis=2).clip(0, 255).astype(np.uint8))
    draw = ImageDraw.Draw(image)
    for _ in range(6):
        x, y = random.randint(0, width), random.randint(0, height)
        wide, high = random.randint(20, width // 3, 2)
        colour = tuple(int(each) for each in random.randint(0, 256, 3))
        draw.ellipse((x - wide, y - high, x + wide, y + high), fill=colour)
    return image


def encoded(image: Image.Image, name: str, **options: int) -> Image.Image:
    file = io.BytesIO()
    image.save(file, name, **options)
    return Image.open(io.BytesIO(file.getvalue()))


def watermarked(image: Image.Image) -> Image.Image:
    copy = image.copy()
    ImageDraw.Draw(copy).text((280, 330), "somebody.example", "white", font_size=18)
    return copy


def cropped(image: Image.Image, share: float) -> Image.Image:
    wide, high = image.width * share, image.height * share
    return image.crop((wide, high, image.width - wide, image.height - high))


COPIES: dict[str, Callable[[Image.Image], Image.Image]] = {
    "JPEG of quality 30": lambda image: encoded(image, "JPEG", quality=30),
    "JPEG of quality 10": lambda image: encoded(image, "JPEG", quality=10),
    "WebP of quality 50": lambda image: encoded(image, "WEBP", quality=50),
    "AVIF of quality 40": lambda image: encoded(image, "AVIF", quality=40, speed=10),
    "GIF": lambda image: encoded(image, "GIF"),
    "a quarter of the size": lambda image: image.resize((120, 90)),
    "twice the size": lambda image: image.resize((960, 720)),
    "squeezed to another shape": lambda image: image.resize((480, 270)),
    "a tenth brighter": lambda image: ImageEnhance.Brightness(image).enhance(1.1),
    "a tenth darker": lambda image: ImageEnhance.Brightness(image).enhance(0.9),
    "grey": lambda image: image.convert("L"),
    "less contrast": lambda image: ImageEnhance.Contrast(image).enhance(0.8),
    "small watermark": watermarked,
    "a two-hundredth cut off each side": lambda image: cropped(image, 0.005),
}


def hash_of(image: Image.Image) -> bytes:
    straight, _ = perceptual.hashes(sample(image))
    return straight


def apart(image: Image.Image, other: Image.Image) -> int:
    return perceptual.distance(hash_of(image), hash_of(other))


@pytest.mark.parametrize("copy", COPIES)
def test_copies_are_within_the_distance(copy: str) -> None:
    photos = [photo(seed) for seed in SEEDS]

    distances = sorted(apart(image, COPIES[copy](image)) for image in photos)

    print(f"{copy}: median {distances[len(distances) // 2]}, most {distances[-1]}")
    assert distances[-1] <= perceptual.DISTANCE


def test_other_pictures_are_more_than_twice_the_distance_away() -> None:
    small = (320, 240)
    hashes = [perceptual.hashes(sample(photo(seed, small))) for seed in range(30)]

    distances = sorted(
        perceptual.distance(one, each)
        for (one, _), other in combinations(hashes, 2)
        for each in other
    )

    print(f"other pictures: median {distances[len(distances) // 2]}, {distances[0]} up")
    assert distances[0] > 2 * perceptual.DISTANCE


def test_a_larger_crop_is_another_picture() -> None:
    """Not a wish: who reads the table above should know where it ends."""
    image = photo(1)

    distance = apart(image, cropped(image, 0.05))

    assert distance > perceptual.DISTANCE


@pytest.mark.parametrize("size", [(512, 384), (511, 37), (64, 64), (5, 300)])
def test_mirrored_hash_is_that_of_the_mirrored_picture(size: tuple[int, int]) -> None:
    frame = np.random.RandomState(1).randint(0, 256, (*size, 3)).astype(np.uint8)
    mirrored = frame[:, ::-1]

    straight, flipped = perceptual.hashes(frame)

    assert perceptual.distance(perceptual.hashes(mirrored)[0], flipped) <= 4
    assert perceptual.distance(straight, flipped) > perceptual.DISTANCE


# Made by the reference, pdqhash 0.2.8.
REFERENCE = {
    (60, 40): "6aeb95942a4b54a6a95952a6a54b4a95552aaa55b5ab5156aaad555aa4b5eaea",
    (64, 64): "2a63529eb5b065478adc36b34d2e915826d798ac33695cd27314cea9313adee6",
    (200, 31): "b6b56d95caaab54a6ad5d49529257269848a39caa7161ca5b3d978b3b30ea638",
    (512, 341): "fffe0bffbffffc004000ff80c280fff8b218caa6c286fd786028fb8462802c98",
    (333, 500): "7c321fa078041fc0fdb21f407e03ffa27e149f8cfc0aefb0f633ef3238940e80",
}


@pytest.mark.parametrize("size", REFERENCE)
def test_hashes_are_those_of_the_reference(size: tuple[int, int]) -> None:
    frame = pattern(size)

    straight, _ = perceptual.hashes(frame)

    assert straight.hex() == REFERENCE[size]


def pattern(size: tuple[int, int]) -> Array:
    """Whole numbers only, so that every machine draws the same."""
    x, y = np.meshgrid(np.arange(size[0]), np.arange(size[1]))
    planes = (x * y // 7, x * x // 31 + 5 * y, (x // 9 ^ y // 11) * 8)
    return np.stack([plane % 256 for plane in planes], axis=2).astype(np.uint8)


@given(st.integers(1, 600), st.integers(1, 600), st.tuples(*[st.integers(0, 255)] * 3))
@settings(max_examples=30, deadline=None)
def test_flat_picture_has_no_hash(
    width: int, height: int, colour: tuple[int, int, int]
) -> None:
    frame = np.full((height, width, 3), colour, np.uint8)

    hashes = perceptual.hashes(frame)

    assert hashes == ()


def test_nearly_flat_picture_has_no_hash() -> None:
    noise = np.random.RandomState(1).randint(0, 12, (480, 640, 3)).astype(np.uint8)

    hashes = perceptual.hashes(noise)

    assert hashes == ()


@given(st.integers(1, 200), st.integers(1, 200), st.integers(0, 9))
@settings(max_examples=40, deadline=None)
def test_hashes_of_any_size_are_two_or_none(width: int, height: int, seed: int) -> None:
    random = np.random.RandomState(seed)
    frame = random.randint(0, 256, (height, width, 3)).astype(np.uint8)

    hashes = perceptual.hashes(frame)

    assert [len(each) for each in hashes] in ([], [perceptual.BYTES] * 2)


@given(st.binary(min_size=32, max_size=32), st.sets(st.integers(0, 255)))
def test_distance_counts_the_bits_that_differ(one: bytes, flipped: set[int]) -> None:
    other = int.from_bytes(one) ^ sum(1 << bit for bit in flipped)

    distance = perceptual.distance(one, other.to_bytes(32))

    assert distance == len(flipped)
