from __future__ import annotations

import hashlib
import io
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageCms

from tests import media
from uploadsvc.errors import InvalidMedia
from uploadsvc.verify import Kept, Limits, Probed, Sample, Subject
from uploadsvc.verify.formats.blurhash import blurhash
from uploadsvc.verify.formats.image import ImageFormat
from uploadsvc.verify.probe import identify

FORMAT = ImageFormat()
LIMITS = Limits()
SIZE = (64, 48)

STILLS: dict[str, Callable[[], bytes]] = {
    "jpeg": media.jpeg,
    "progressive jpeg": lambda: media.jpeg(progressive=True),
    "grey jpeg": lambda: media.jpeg(mode="L"),
    "cmyk jpeg": lambda: media.jpeg(mode="CMYK"),
    "png": media.png,
    "palette png": lambda: media.png(mode="P"),
    "16 bit png": lambda: media.png(mode="I;16"),
    "grey alpha png": lambda: media.png(mode="LA"),
    "black and white png": lambda: media.png(mode="1"),
    "gif": lambda: media.gif(1),
    "webp": media.webp,
    "lossless webp": lambda: media.webp(lossless=True),
    "alpha webp": lambda: media.webp(mode="RGBA"),
    "avif": media.avif,
    "avif without metadata": lambda: media.avif(gps=False),
    "tiff": media.tiff,
    "lzw tiff": lambda: media.tiff(gps=False, compression="tiff_lzw"),
    "jpeg tiff": lambda: media.tiff(gps=False, compression="jpeg"),
    "fax tiff": lambda: media.tiff(gps=False, mode="1", compression="group4"),
    "cmyk tiff": lambda: media.tiff(mode="CMYK"),
    "float tiff": lambda: media.tiff(mode="F"),
    "heic": lambda: media.heic(*SIZE),
}
MOVING: dict[str, Callable[[], bytes]] = {
    "gif": media.gif,
    "webp": lambda: media.animation("WEBP"),
    "png": lambda: media.animation("PNG"),
    "avif": lambda: media.animation("AVIF"),
}
# Every structure that can be cut; a cut TIFF may lose only padding in its last bytes.
CUTTABLE = {
    name: make for name, make in STILLS.items() if not name.endswith("tiff")
} | {f"moving {name}": make for name, make in MOVING.items()}


@pytest.fixture
def received(tmp_path: Path) -> Callable[[bytes], Subject]:
    def receive(data: bytes) -> Subject:
        path, scratch = tmp_path / "received", tmp_path / "scratch"
        path.write_bytes(data)
        scratch.mkdir(exist_ok=True)
        return Subject(path, scratch)

    return receive


Received = Callable[[bytes], Subject]


def probed(subject: Subject, limits: Limits = LIMITS) -> Probed:
    return FORMAT.probe(subject, identify(subject.path), limits)


def samples(subject: Subject) -> list[Sample]:
    return list(FORMAT.samples(subject, probed(subject), LIMITS))


def kept(subject: Subject) -> Kept:
    *_shares, last = FORMAT.keep(subject, probed(subject))
    assert isinstance(last, Kept)
    return last


def kept_bytes(subject: Subject) -> bytes:
    return (subject.scratch / kept(subject).original).read_bytes()


def pixels(data: bytes) -> np.ndarray:
    with Image.open(io.BytesIO(data)) as image:
        return np.asarray(image.convert("RGB"), dtype=int)


def red_corner(frame: np.ndarray) -> str:
    """Which corner of the picture is red."""
    height, width = frame.shape[:2]
    corners = {
        "upper left": frame[height // 8, width // 8],
        "upper right": frame[height // 8, -width // 8],
        "lower left": frame[-height // 8, width // 8],
        "lower right": frame[-height // 8, -width // 8],
    }
    return max(corners, key=lambda name: int(corners[name][0]))


@pytest.mark.parametrize("make", STILLS.values(), ids=STILLS)
def test_sound_still_is_one_sample_of_its_size(
    make: Callable[[], bytes], received: Received
) -> None:
    subject = received(make())

    found = probed(subject)

    assert (found.family, found.plan, found.width, found.height) == ("image", 1, *SIZE)


@pytest.mark.parametrize("make", STILLS.values(), ids=STILLS)
def test_sample_is_rgb_and_shows_the_picture(
    make: Callable[[], bytes], received: Received
) -> None:
    subject = received(make())

    (sample,) = samples(subject)

    assert sample.frame is not None
    assert (sample.frame.shape, sample.frame.dtype) == ((48, 64, 3), np.uint8)
    assert np.ptp(sample.frame) > 100


@pytest.mark.parametrize("make", STILLS.values(), ids=STILLS)
def test_kept_still_has_no_metadata_and_shows_the_same(
    make: Callable[[], bytes], received: Received
) -> None:
    subject = received(make())
    (before,) = samples(subject)
    assert before.frame is not None

    data = kept_bytes(subject)

    (after,) = samples(received(data))
    assert after.frame is not None
    assert not media.marks(data)
    assert np.abs(after.frame.astype(int) - before.frame).mean() < 3


@pytest.mark.parametrize("make", STILLS.values(), ids=STILLS)
def test_kept_still_has_no_gps_for_a_reader_of_exif_and_xmp(
    make: Callable[[], bytes], received: Received
) -> None:
    subject = received(make())

    data = kept_bytes(subject)

    with Image.open(io.BytesIO(data)) as image:
        image.load()
        assert not image.getexif().get_ifd(0x8825)
        assert not {"xmp", "XML:com.adobe.xmp"} & set(image.info)


@pytest.mark.parametrize("make", (STILLS | MOVING).values(), ids=STILLS | MOVING)
def test_facts_are_those_of_the_kept_file(
    make: Callable[[], bytes], received: Received
) -> None:
    subject = received(make())

    found = kept(subject)

    data = (subject.scratch / found.original).read_bytes()
    assert found.facts.size == len(data)
    assert found.facts.sha256 == hashlib.sha256(data).hexdigest()
    assert (found.facts.width, found.facts.height) == SIZE
    assert identify(subject.scratch / found.original) == found.facts.mime_type


def test_format_stays_but_for_heic(received: Received) -> None:
    types = {}
    for name, make in STILLS.items():
        subject = received(make())
        before = identify(subject.path)
        types[name] = (before, kept(subject).facts.mime_type)

    changed = {pair for pair in types.values() if pair[0] != pair[1]}

    assert changed == {("image/heic", "image/jpeg")}


@pytest.mark.parametrize("make", STILLS.values(), ids=STILLS)
def test_shares_grow_to_one_before_the_result(
    make: Callable[[], bytes], received: Received
) -> None:
    subject = received(make())

    *shares, last = FORMAT.keep(subject, probed(subject))

    assert isinstance(last, Kept)
    numbers = [share for share in shares if isinstance(share, float)]
    assert numbers == sorted(set(numbers))
    assert len(numbers) == len(shares)
    assert numbers[-1] == 1.0


def test_received_file_is_left_as_it_was(received: Received) -> None:
    data = media.jpeg(orientation=6)
    subject = received(data)

    kept(subject)

    assert subject.path.read_bytes() == data
    names = {path.name for path in subject.scratch.iterdir()}
    assert names == {"original.jpg", "thumbnail.webp"}


@pytest.mark.parametrize(
    ("orientation", "corner"),
    [
        (1, "upper left"),
        (2, "upper right"),
        (3, "lower right"),
        (4, "lower left"),
        (5, "upper left"),
        (6, "upper right"),
        (7, "lower right"),
        (8, "lower left"),
    ],
)
@pytest.mark.parametrize("name", ["jpeg", "png", "webp", "avif", "tiff"])
def test_orientation_is_applied(
    name: str, orientation: int, corner: str, received: Received
) -> None:
    subject = received(getattr(media, name)(orientation=orientation))

    found = probed(subject)
    (sample,) = FORMAT.samples(subject, found, LIMITS)
    data = kept_bytes(subject)

    size = (48, 64) if orientation > 4 else (64, 48)
    assert (found.width, found.height) == size
    assert sample.frame is not None
    assert red_corner(sample.frame) == corner
    (again,) = samples(received(data))
    assert again.frame is not None
    assert red_corner(again.frame) == corner


@pytest.mark.parametrize("name", ["jpeg", "png", "webp", "tiff"])
def test_kept_pixels_lie_right_without_any_orientation(
    name: str, received: Received
) -> None:
    subject = received(getattr(media, name)(orientation=6))

    data = kept_bytes(subject)

    with Image.open(io.BytesIO(data)) as image:
        assert image.size == (48, 64)
        assert image.getexif().get(0x0112, 1) == 1
    assert red_corner(pixels(data)) == "upper right"


def test_heic_turned_by_its_box_is_turned_once(received: Received) -> None:
    # Its EXIF says 6 as well, as a phone's does.
    subject = received(media.heic(96, 64, quarter_turns=3))

    found = probed(subject)
    data = kept_bytes(subject)

    assert (found.width, found.height) == (64, 96)
    assert red_corner(pixels(data)) == "upper right"


@pytest.mark.parametrize(
    "make",
    [media.jpeg, media.png, media.webp, media.avif],
    ids=lambda make: make.__name__,
)
def test_pixels_are_kept_to_the_bit_where_nothing_is_turned(
    make: Callable[[], bytes], received: Received
) -> None:
    before = make()

    after = kept_bytes(received(before))

    assert (pixels(before) == pixels(after)).all()


def test_lossless_webp_stays_lossless_when_turned(received: Received) -> None:
    before = media.webp(orientation=3, lossless=True)

    after = kept_bytes(received(before))

    assert (pixels(before)[::-1, ::-1] == pixels(after)).all()


def test_second_picture_of_a_phone_is_not_kept(received: Received) -> None:
    # Phones put a preview or depth map, with EXIF of its own, behind the end of the first.
    behind = media.jpeg()
    subject = received(media.jpeg() + behind)

    data = kept_bytes(subject)

    assert data.count(b"\xff\xd8\xff") == 1


def test_multi_picture_jpeg_is_one_still(received: Received) -> None:
    file = io.BytesIO()
    first, second = media.frames(2)
    first.save(file, "MPO", save_all=True, append_images=[second], exif=media.exif(6))
    subject = received(file.getvalue())

    found = kept(subject)

    assert (found.facts.width, found.facts.height) == (48, 64)
    assert not media.marks((subject.scratch / found.original).read_bytes())


@pytest.mark.parametrize("name", ["jpeg", "png", "webp", "avif", "tiff"])
@pytest.mark.parametrize("orientation", [1, 6])
def test_colour_profile_is_kept(
    name: str, orientation: int, received: Received
) -> None:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    data = getattr(media, name)(orientation=orientation, icc_profile=profile)

    after = kept_bytes(received(data))

    with Image.open(io.BytesIO(after)) as image:
        assert image.info["icc_profile"] == profile


# What the colour is in sRGB: worked out by hand, through XYZ.
COLOUR = (200, 100, 100)
WIDE = [(media.DISPLAY_P3, (215, 93, 97)), (media.ADOBE_RGB, (227, 100, 100))]


@pytest.mark.parametrize(("space", "seen"), WIDE, ids=["Display P3", "Adobe RGB"])
@pytest.mark.parametrize("name", ["JPEG", "PNG", "WEBP", "AVIF", "TIFF"])
def test_wide_colours_stay_in_the_kept_file_and_are_srgb_to_who_looks(
    name: str, space: tuple[Any, bytes], seen: tuple[int, int, int], received: Received
) -> None:
    profile, file = media.icc(space), io.BytesIO()
    lossless = {"WEBP": {"lossless": True}, "AVIF": {"quality": 100}}.get(name, {})
    Image.new("RGB", SIZE, COLOUR).save(file, name, icc_profile=profile, **lossless)
    subject = received(file.getvalue())

    (sample,) = samples(subject)
    found = kept(subject)

    assert found.thumbnail is not None
    shown = pixels((subject.scratch / found.thumbnail).read_bytes())
    after = (subject.scratch / found.original).read_bytes()
    with Image.open(io.BytesIO(after)) as image:
        assert image.info["icc_profile"] == profile
    assert np.abs(pixels(after) - COLOUR).max() <= 3
    assert sample.frame is not None
    assert np.abs(sample.frame - np.array(seen)).max() <= 4
    assert np.abs(shown - np.array(seen)).max() <= 4


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "P"])
def test_thumbnail_is_srgb_with_the_transparency_of_the_picture(
    mode: str, received: Received
) -> None:
    file = io.BytesIO()
    whole = Image.new("RGBA", SIZE, (*COLOUR, 255))
    if mode == "RGBA":
        whole.paste((*COLOUR, 0), (0, 0, 32, 48))
    opaque = whole.convert("RGB")
    image = {"RGBA": whole, "RGB": opaque, "P": opaque.quantize(2)}[mode]
    image.save(file, "PNG", icc_profile=media.icc(media.DISPLAY_P3))
    subject = received(file.getvalue())

    found = kept(subject)

    with Image.open(subject.scratch / str(found.thumbnail)) as thumbnail:
        assert "icc_profile" not in thumbnail.info
        assert thumbnail.mode == ("RGBA" if mode == "RGBA" else "RGB")
        shown = np.asarray(thumbnail, dtype=int)
    assert np.abs(shown[:, 40:, :3] - (215, 93, 97)).max() <= 4
    if mode == "RGBA":
        assert (shown[:, :30, 3] == 0).all()
        assert (shown[:, 34:, 3] == 255).all()


@pytest.mark.parametrize("orientation", [1, 2, 3, 4, 5, 6, 7, 8])
def test_thumbnail_lies_as_the_kept_picture(
    orientation: int, received: Received
) -> None:
    subject = received(media.jpeg(640, 480, orientation=orientation))

    found = kept(subject)

    shown = pixels((subject.scratch / str(found.thumbnail)).read_bytes())
    after = pixels((subject.scratch / found.original).read_bytes())
    assert red_corner(shown) == red_corner(after)
    assert (shown.shape[0] > shown.shape[1]) == (after.shape[0] > after.shape[1])
    assert (found.facts.height, found.facts.width) == after.shape[:2]


def test_blurhash_is_of_the_thumbnail_its_clear_parts_white(received: Received) -> None:
    clear, white = io.BytesIO(), io.BytesIO()
    Image.new("RGBA", SIZE, (200, 0, 0, 0)).save(clear, "PNG")
    Image.new("RGB", SIZE, "white").save(white, "PNG")

    hashes = [kept(received(each.getvalue())).facts.blurhash for each in (clear, white)]

    assert hashes[0] == hashes[1] == blurhash(Image.new("RGB", SIZE, "white"))


@pytest.mark.parametrize("name", ["png", "webp"])
@pytest.mark.parametrize("orientation", [1, 6])
def test_transparency_is_kept_and_sampled_as_white(
    name: str, orientation: int, received: Received
) -> None:
    file = io.BytesIO()
    clear = Image.new("RGBA", SIZE, (200, 0, 0, 0))
    clear.save(file, name, exif=media.exif(orientation))
    subject = received(file.getvalue())

    (sample,) = samples(subject)
    after = kept_bytes(subject)

    assert sample.frame is not None
    assert (sample.frame == 255).all()
    with Image.open(io.BytesIO(after)) as image:
        assert image.getchannel(3).getextrema() == (0, 0)


@pytest.mark.parametrize("make", MOVING.values(), ids=MOVING)
def test_frames_of_an_animation_are_sampled_in_order(
    make: Callable[[], bytes], received: Received
) -> None:
    subject = received(make())

    found = samples(subject)

    assert [sample.at for sample in found] == [0, 1, 2, 3, 4]
    frames = [sample.frame for sample in found if sample.frame is not None]
    assert all((a != b).any() for a, b in pairwise(frames))


@pytest.mark.parametrize("make", MOVING.values(), ids=MOVING)
def test_animation_keeps_frames_timing_and_loop_but_no_metadata(
    make: Callable[[], bytes], received: Received
) -> None:
    before = make()

    after = kept_bytes(received(before))

    assert story(after) == story(before)
    assert not media.marks(after)


def story(data: bytes) -> list[object]:
    with Image.open(io.BytesIO(data)) as image:
        told: list[object] = [image.info.get("loop"), getattr(image, "n_frames", 1)]
        for number in range(getattr(image, "n_frames", 1)):
            image.seek(number)
            pixels_of = image.convert("RGBA").tobytes()
            told += [image.info.get("duration"), image.info.get("disposal"), pixels_of]
    return told


def test_long_animation_is_sampled_from_first_to_last_frame(received: Received) -> None:
    subject = received(media.gif(100, width=300))

    limits = Limits(sampled_frames=20)

    planned = probed(subject, limits)
    found = list(FORMAT.samples(subject, planned, limits))

    assert len(found) == planned.plan == 20
    assert not planned.whole
    assert (found[0].at, found[-1].at) == (0, 99)


def test_frame_of_an_animation_that_was_shown_before_is_not_shown_again(
    received: Received,
) -> None:
    blue, red = (Image.new("RGB", (64, 48), name) for name in ("blue", "red"))
    file = io.BytesIO()
    blue.save(file, "GIF", save_all=True, append_images=[red, blue], duration=100)

    found = samples(received(file.getvalue()))

    assert [sample.frame is not None for sample in found] == [True, True, False]


def test_pages_of_a_tiff_are_all_kept(received: Received) -> None:
    subject = received(media.tiff(pages=3, compression="tiff_lzw"))

    after = kept_bytes(subject)

    with Image.open(io.BytesIO(after)) as image:
        assert getattr(image, "n_frames", 1) == 3
        assert image.info["compression"] == "tiff_lzw"
    assert [sample.at for sample in samples(subject)] == [0, 1, 2]


@pytest.mark.parametrize("make", STILLS.values(), ids=STILLS)
def test_thumbnail_is_a_small_webp(
    make: Callable[[], bytes], received: Received
) -> None:
    subject = received(make())

    found = kept(subject)

    assert found.thumbnail == "thumbnail.webp"
    with Image.open(subject.scratch / found.thumbnail) as image:
        assert (image.format, image.size) == ("WEBP", SIZE)
        assert not {"exif", "xmp"} & set(image.info)


def test_large_picture_is_sampled_and_shown_at_512(received: Received) -> None:
    subject = received(media.jpeg(1500, 1000))

    (sample,) = samples(subject)
    found = kept(subject)

    assert sample.frame is not None
    assert sample.frame.shape == (341, 512, 3)
    assert found.thumbnail is not None
    with Image.open(subject.scratch / found.thumbnail) as image:
        assert image.size == (512, 341)


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9, 0.99])
@pytest.mark.parametrize("make", (CUTTABLE | STILLS).values(), ids=CUTTABLE | STILLS)
def test_cut_file_is_refused(
    make: Callable[[], bytes], share: float, received: Received
) -> None:
    subject = received(media.truncated(make(), share))

    with pytest.raises(InvalidMedia):
        probed(subject)


@pytest.mark.parametrize("make", CUTTABLE.values(), ids=CUTTABLE)
def test_file_without_its_last_byte_is_refused(
    make: Callable[[], bytes], received: Received
) -> None:
    subject = received(make()[:-1])

    with pytest.raises(InvalidMedia):
        probed(subject)


def test_flipped_bit_in_png_pixels_is_refused(received: Received) -> None:
    # Pillow alone skips the checksum of pixel data.
    data = bytearray(media.png(gps=False))
    data[data.index(b"IDAT") + 40] ^= 1
    subject = received(bytes(data))

    with pytest.raises(InvalidMedia):
        probed(subject)


def test_picture_of_too_many_pixels_is_refused_without_decoding_it(
    received: Received,
) -> None:
    subject = received(media.png_bomb())
    forget_peak()
    before = peak_kb()

    with pytest.raises(InvalidMedia, match="too many pixels"):
        probed(subject)

    assert peak_kb() - before < 10_000


def forget_peak() -> None:
    # Sets the peak back to what is in use now, so that earlier tests do not hide ours.
    Path("/proc/self/clear_refs").write_text("5")


def peak_kb() -> int:
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0])


@pytest.mark.parametrize("make", (STILLS | MOVING).values(), ids=STILLS | MOVING)
def test_limit_of_pixels_holds_for_every_format(
    make: Callable[[], bytes], received: Received
) -> None:
    subject = received(make())

    with pytest.raises(InvalidMedia, match="pixels"):
        probed(subject, Limits(max_pixels=64 * 48 - 1))


@pytest.mark.parametrize(
    "make",
    [*MOVING.values(), lambda: media.tiff(pages=5)],
    ids=[*MOVING, "tiff"],
)
def test_animation_of_too_many_frames_is_refused(
    make: Callable[[], bytes], received: Received
) -> None:
    subject = received(make())

    with pytest.raises(InvalidMedia, match="more than 4 frames"):
        probed(subject, Limits(max_frames=4))


def test_pixels_of_all_frames_together_are_bounded(received: Received) -> None:
    subject = received(media.gif(11))

    with pytest.raises(InvalidMedia, match="together"):
        probed(subject, Limits(max_pixels=64 * 48))


def test_broken_exif_does_not_spoil_a_sound_picture(received: Received) -> None:
    subject = received(media.jpeg(gps=False, exif=b"Exif\0\0II*\0\xff\xff\xff\xff"))

    found = kept(subject)

    assert (found.facts.width, found.facts.height) == SIZE


def test_heic_with_a_note_of_no_known_type_does_not_end_the_process(
    received: Received,
) -> None:
    # pi-heif did, when the four letters of an item's type were not letters.
    subject = received(media.heic(*SIZE).replace(b"Exif", b"\xffxif", 1))

    found = probed(subject)

    assert (found.width, found.height) == SIZE
