"""Pictures, still and moving: JPEG, PNG, GIF, WebP, AVIF and TIFF by Pillow, HEIC by libheif.

The kept file is the received one with its metadata taken out (see ``strip``). It is encoded
anew only where that cannot do: pixels to be turned upright, TIFF, an AVIF of odd build, and
HEIC, which nothing here can write and browsers cannot show: it is kept as JPEG.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pi_heif
from PIL import ExifTags, Image, JpegImagePlugin, TiffImagePlugin

from uploadsvc.errors import InvalidMedia
from uploadsvc.model import Facts
from uploadsvc.verify import Kept, Limits, Probed, Sample, Subject
from uploadsvc.verify.formats import strip
from uploadsvc.verify.formats.boxes import without_notes
from uploadsvc.verify.formats.likeness import Shown
from uploadsvc.verify.formats.picture import (
    DECODER_ERRORS,
    SAMPLE_SIDE,
    THUMBNAIL_SIDE,
    decoding,
    digest,
    sample,
    write_thumbnail,
)
from uploadsvc.verify.probe import EXTENSIONS

# A whole animation may hold ten times the pixels of the largest still: some ten seconds of
# decoding. Without it, 2000 frames of 100 MP would pass the other two limits.
PIXELS_OF_ALL_FRAMES = 10

# Shares of the work in ``keep``: the file, then the thumbnail. Shares closer than a step are
# not reported; a PNG may have a hundred thousand pieces.
WRITTEN = 0.8
STEP = 0.05

JPEG_QUALITY = 92
WEBP_QUALITY = 90
# Nobody looks at these, so libheif need not parse them.
pi_heif.options.THUMBNAILS = False
pi_heif.options.DEPTH_IMAGES = False
pi_heif.options.AUX_IMAGES = False

# Pillow's default speed 6 took twice as long for the same size.
AVIF = {"quality": 85, "speed": 8}

PILLOW_NAMES = {
    "image/jpeg": "JPEG",
    "image/png": "PNG",
    "image/gif": "GIF",
    "image/webp": "WEBP",
    "image/avif": "AVIF",
    "image/tiff": "TIFF",
}

# EXIF orientation by what makes it upright; 1 and nonsense need nothing.
TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
SIDEWAYS = frozenset({5, 6, 7, 8})

# What Pillow can both read and write of TIFF's many; others are kept without loss as deflate.
TIFF_COMPRESSIONS = frozenset(
    {"raw", "tiff_lzw", "tiff_adobe_deflate", "packbits", "group3", "group4", "jpeg"}
)


class ImageFormat:
    def probe(self, subject: Subject, mime_type: str, limits: Limits) -> Probed:
        if mime_type in strip.CLEANERS:
            with strip.mapped(subject.path) as data:
                for _piece in strip.pieces(data, mime_type):
                    pass
        most = limits.max_pixels
        with decoding(), _quiet(most), _opened(subject.path, mime_type, most) as image:
            width, height = image.size
            _check_pixels(image.size, most)
            # Scaled while decoding: every byte is read all the same, in half the time.
            image.draft(None, (SAMPLE_SIDE, SAMPLE_SIDE))
            frames = _decode_all(image, limits)
            image.seek(0)
            if _turn(image) in SIDEWAYS:
                width, height = height, width
        plan = min(frames, limits.sampled_frames)
        whole = frames <= limits.sampled_frames
        return Probed("image", mime_type, plan, width, height, whole=whole)

    def samples(
        self, subject: Subject, probed: Probed, limits: Limits
    ) -> Iterator[Sample]:
        with decoding(), _opened(subject.path, probed.mime_type) as image:
            # Scales a JPEG while decoding it, 4 to 8 times faster; a no-op for the others.
            image.draft(None, (SAMPLE_SIDE, SAMPLE_SIDE))
            last, shown = _frames(image) - 1, Shown()
            for n in range(probed.plan):
                number = round(n * last / max(probed.plan - 1, 1))
                _seek(image, number)
                frame = sample(_upright(image))
                yield Sample(float(number), frame if shown.is_new(frame) else None)

    def keep(self, subject: Subject, probed: Probed) -> Iterator[float | Kept]:
        mime_type = probed.mime_type.replace("heic", "jpeg")
        original = f"original.{EXTENSIONS[mime_type]}"
        reported = 0.0
        for share in _write(subject, probed, subject.scratch / original):
            if reported + STEP <= share < 1.0:
                reported = share
                yield share * WRITTEN
        yield WRITTEN
        with decoding(), _opened(subject.path, probed.mime_type) as image:
            image.draft(None, (THUMBNAIL_SIDE, THUMBNAIL_SIDE))
            thumbnail = write_thumbnail(_upright(image), subject.scratch)
        yield 1.0
        size, sha256 = digest(subject.scratch / original)
        facts = Facts(
            mime_type,
            size,
            sha256,
            probed.width,
            probed.height,
            blurhash=thumbnail.blurhash,
        )
        yield Kept(facts, original, thumbnail.name)


@contextmanager
def _quiet(max_pixels: int | None = None) -> Iterator[None]:
    """Pillow's own guard at ``max_pixels``, before it allocates; None: probed already.

    Its remarks on harmless oddities are dropped. Both are process-wide, so this never spans
    a yield of ours.
    """
    usual = Image.MAX_IMAGE_PIXELS
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        Image.MAX_IMAGE_PIXELS = max_pixels
        try:
            yield
        finally:
            Image.MAX_IMAGE_PIXELS = usual


@contextmanager
def _opened(
    path: Path, mime_type: str, max_pixels: int | None = None
) -> Iterator[Image.Image]:
    if mime_type != "image/heic":
        with _quiet(max_pixels):
            image: Image.Image = Image.open(path, formats=[PILLOW_NAMES[mime_type]])
        with image:
            yield image
        return
    with strip.mapped(path) as data:
        heif = pi_heif.open_heif(without_notes(data))
    _check_pixels(heif.size, max_pixels)
    image = heif.to_pillow()
    # libheif turned the pixels already; an orientation left in EXIF would turn them twice.
    image.info = _look(image)
    yield image


def _seek(image: Image.Image, number: int) -> None:
    with _quiet():
        image.seek(number)


def _decode_all(image: Image.Image, limits: Limits) -> int:
    """Decode every frame; how many there are. Stops at the first limit passed."""
    # Animations of these say in their header how much is to come.
    if image.format in {"PNG", "WEBP", "AVIF"}:
        _check_frames(_frames(image), limits)
        _check_total(_frames(image) * image.width * image.height, limits)
    number, total = 0, 0
    while True:
        _check_pixels(image.size, limits.max_pixels)
        total += image.width * image.height
        _check_total(total, limits)
        image.load()
        number += 1
        if image.format in {"JPEG", "MPO", None}:
            return number
        try:
            image.seek(number)
        except EOFError:
            return number
        _check_frames(number + 1, limits)


def _check_pixels(size: tuple[int, int], most: int | None) -> None:
    if most is not None and size[0] * size[1] > most:
        raise InvalidMedia(f"The picture has more than {most:,} pixels")


def _check_frames(frames: int, limits: Limits) -> None:
    if frames > limits.max_frames:
        raise InvalidMedia(f"The picture has more than {limits.max_frames:,} frames")


def _check_total(total: int, limits: Limits) -> None:
    most = PIXELS_OF_ALL_FRAMES * limits.max_pixels
    if total > most:
        raise InvalidMedia(f"The frames have more than {most:,} pixels together")


def _frames(image: Image.Image) -> int:
    # The further pictures of an MPO are a phone's depth map or preview, not an animation.
    return 1 if image.format == "MPO" else getattr(image, "n_frames", 1)


def _turn(image: Image.Image) -> int:
    """The orientation to apply. Animations have none: no viewer turns them."""
    if _frames(image) > 1:
        return 1
    try:
        with _quiet():
            return int(image.getexif().get(ExifTags.Base.Orientation, 1))
    except DECODER_ERRORS:
        # Broken EXIF in a sound picture. Viewers show it as it lies.
        return 1


def _upright(image: Image.Image) -> Image.Image:
    # First, for Pillow turns a TIFF itself while loading it and then forgets its orientation.
    image.load()
    turn = _turn(image)
    return image.transpose(TURNS[turn]) if turn in TURNS else image


def _look(image: Image.Image) -> dict[Any, Any]:
    """What of ``info`` changes how the picture looks; all else is metadata."""
    return {
        k: image.info[k] for k in ("icc_profile", "transparency") if k in image.info
    }


def _write(subject: Subject, probed: Probed, path: Path) -> Iterator[float]:
    mime_type = probed.mime_type
    with decoding(), _opened(subject.path, mime_type) as image:
        with strip.mapped(subject.path) as data, path.open("wb") as file:
            # An AVIF says how to turn it in a box every viewer must obey, and which stays.
            lies_right = mime_type == "image/avif" or _turn(image) not in TURNS
            if lies_right and strip.strippable(data, mime_type):
                for piece in strip.pieces(data, mime_type):
                    yield file.write(piece) and file.tell() / len(data)
                return
        if mime_type == "image/tiff":
            yield from _write_pages(image, path)
        elif _frames(image) > 1:
            _write_animation(image, path)
        else:
            _write_still(image, subject.path, mime_type, path)


def _write_still(image: Image.Image, source: Path, mime_type: str, path: Path) -> None:
    upright = _upright(image)
    options: dict[str, Any] = {}
    if isinstance(image, JpegImagePlugin.JpegImageFile):
        # The tables and the subsampling it came with, so that it loses next to nothing.
        options = {
            "qtables": image.quantization,
            "subsampling": JpegImagePlugin.get_sampling(image),
            "progressive": "progressive" in image.info,
        }
    elif mime_type == "image/heic":
        options = {"quality": JPEG_QUALITY}
        upright = _without_alpha(upright)
    elif mime_type == "image/webp":
        options = {
            "lossless": _lossless(source),
            "quality": WEBP_QUALITY,
            "exact": True,
        }
    elif mime_type == "image/avif":
        options = AVIF
    look = _look(image)
    upright.info = look
    name = PILLOW_NAMES[mime_type.replace("heic", "jpeg")]
    upright.save(path, name, **look, **options)


def _write_animation(image: Image.Image, path: Path) -> None:
    """An odd AVIF, for only they come here: every other animation is stripped."""
    durations = []
    for number in range(_frames(image)):
        image.seek(number)
        image.load()
        durations.append(image.info.get("duration", 0))
    image.seek(0)
    image.info = _look(image)
    image.save(path, "AVIF", save_all=True, duration=durations, **AVIF)


def _write_pages(image: Image.Image, path: Path) -> Iterator[float]:
    """A TIFF page by page; Pillow's own ``save_all`` would hold all of them in memory."""
    pages = _frames(image)
    with TiffImagePlugin.AppendingTiffWriter(str(path), new=True) as file:
        for number in range(pages):
            _seek(image, number)
            page = _upright(image).copy()
            compression = image.info.get("compression")
            if compression not in TIFF_COMPRESSIONS:
                compression = "tiff_adobe_deflate"
            quality = {"quality": JPEG_QUALITY} if compression == "jpeg" else {}
            # A copy has left the tags of its file behind: Pillow would write XMP and IPTC.
            page.info = _look(image)
            dpi = {"dpi": image.info["dpi"]} if "dpi" in image.info else {}
            page.save(file, "TIFF", compression=compression, **dpi, **quality)
            file.newFrame()
            yield (number + 1) / pages


def _without_alpha(image: Image.Image) -> Image.Image:
    if not image.has_transparency_data:
        return image
    page = Image.new("RGBA", image.size, "white")
    return Image.alpha_composite(page, image.convert("RGBA")).convert("RGB")


def _lossless(path: Path) -> bool:
    """Whether a WebP's pixels are in the chunk for lossless ones."""
    with strip.mapped(path) as data:
        return any(
            piece.startswith(b"VP8L") for piece in strip.pieces(data, "image/webp")
        )
