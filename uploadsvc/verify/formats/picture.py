"""Small things every family needs of a picture: decoder errors, sample, thumbnail, digest."""

from __future__ import annotations

import hashlib
import io
import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageCms

from uploadsvc.errors import InvalidMedia
from uploadsvc.verify import Array
from uploadsvc.verify.formats.blurhash import blurhash

# Longer side in pixels. The classifier scales down to 224 or 299 itself; 512 leaves it room
# to crop and costs little.
SAMPLE_SIDE = 512
THUMBNAIL_SIDE = 512
THUMBNAIL = "thumbnail.webp"
THUMBNAIL_QUALITY = 80

_SRGB = ImageCms.createProfile("sRGB")

# What Pillow's decoders raise on bytes that are not what they seem. MemoryError is not here:
# it may be our own limit and says nothing about the file.
DECODER_ERRORS: tuple[type[Exception], ...] = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    EOFError,
    LookupError,
    OSError,
    RuntimeError,
    SyntaxError,
    TypeError,
    ValueError,
    struct.error,
    zlib.error,
)


@contextmanager
def decoding() -> Iterator[None]:
    """Turns what a decoder raises into InvalidMedia; a failing disk stays a failing disk."""
    try:
        yield
    except (Image.DecompressionBombWarning, Image.DecompressionBombError) as error:
        raise InvalidMedia("The picture has too many pixels") from error
    except DECODER_ERRORS as error:
        # Decoders raise OSError without a number, the operating system with one.
        if isinstance(error, OSError) and error.errno is not None:
            raise
        raise InvalidMedia() from error


def small(image: Image.Image, side: int) -> Image.Image:
    """``image`` fit into a square of ``side``: never larger, 8 bits, sRGB, RGB or RGBA."""
    profile = image.info.get("icc_profile")
    if image.mode in {"1", "P", "PA"}:
        image = image.convert("RGBA" if image.has_transparency_data else "RGB")
    share = min(1.0, side / max(image.size))
    size = (max(1, round(image.width * share)), max(1, round(image.height * share)))
    if size != image.size:
        image = image.resize(size, Image.Resampling.BICUBIC, reducing_gap=2.0)
    if image.mode.startswith(("I", "F")):
        image = _eight_bits(image)
    mode = "RGBA" if image.has_transparency_data else "RGB"
    return (_in_srgb(image, profile, mode) if profile else image).convert(mode)


def sample(image: Image.Image) -> Array:
    """What the classifier sees: RGB, uint8, transparent parts white as on a page."""
    return np.asarray(_on_white(small(image, SAMPLE_SIDE)))


def _on_white(image: Image.Image) -> Image.Image:
    if image.mode != "RGBA":
        return image
    page = Image.new("RGBA", image.size, "white")
    return Image.alpha_composite(page, image).convert("RGB")


@dataclass(frozen=True, slots=True)
class Thumbnail:
    """``name`` is a file of the scratch folder."""

    name: str
    blurhash: str


def write_thumbnail(image: Image.Image, scratch: Path) -> Thumbnail:
    """The thumbnail, made in ``scratch``."""
    picture = small(image, THUMBNAIL_SIDE)
    # Made anew from pixels alone, so that nothing travels along in ``info``.
    bare = Image.frombytes(picture.mode, picture.size, picture.tobytes())
    bare.save(scratch / THUMBNAIL, "WEBP", quality=THUMBNAIL_QUALITY)
    return Thumbnail(THUMBNAIL, blurhash(_on_white(bare)))


def digest(path: Path) -> tuple[int, str]:
    """Size in bytes and SHA-256 in hex."""
    with path.open("rb") as file:
        return path.stat().st_size, hashlib.file_digest(file, "sha256").hexdigest()


def _eight_bits(image: Image.Image) -> Image.Image:
    """Grey of 16 or 32 bits. Only 16 bits have a known white; others span what they hold."""
    values = np.nan_to_num(np.asarray(image, dtype=np.float64), posinf=0.0, neginf=0.0)
    low, high = 0.0, 65535.0
    if not image.mode.startswith("I;16"):
        low, high = float(values.min()), float(values.max())
    scaled = (values - low) * (255.0 / max(high - low, 1e-9))
    return Image.fromarray(scaled.clip(0, 255).astype(np.uint8))


def _in_srgb(image: Image.Image, profile: bytes, mode: str) -> Image.Image:
    try:
        given = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        moved = ImageCms.profileToProfile(image, given, _SRGB, outputMode=mode)
    except (ImageCms.PyCMSError, OSError, ValueError):
        # A broken profile, or one for other channels: viewers ignore it, so do we.
        return image
    return moved or image
