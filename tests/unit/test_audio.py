from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from PIL import Image

from tests import media_av
from uploadsvc.errors import InvalidMedia, UnsupportedMedia
from uploadsvc.verify import Kept, Limits, Probed, Sample, Subject
from uploadsvc.verify.formats import flac
from uploadsvc.verify.formats.audio import AudioFormat
from uploadsvc.verify.formats.waveform import peak

MAKERS: dict[str, Callable[..., Path]] = {
    "audio/mpeg": media_av.mp3,
    "audio/mp4": media_av.m4a,
    "audio/wav": media_av.wav,
    "audio/flac": media_av.flac,
    "audio/ogg": media_av.ogg,
}


def subject(path: Path) -> Subject:
    scratch = path.parent / "scratch"
    scratch.mkdir(exist_ok=True)
    return Subject(path, scratch)


def probe(path: Path, mime_type: str, **limits: Any) -> Probed:
    return AudioFormat().probe(subject(path), mime_type, Limits(**limits))


def samples(path: Path, probed: Probed) -> list[Sample]:
    return list(AudioFormat().samples(subject(path), probed, Limits()))


def keep(path: Path, probed: Probed) -> tuple[list[float], Kept, Path]:
    *shares, kept = AudioFormat().keep(subject(path), probed)
    assert isinstance(kept, Kept)
    told = [share for share in shares if isinstance(share, float)]
    return told, kept, subject(path).scratch / kept.original


@pytest.fixture(params=MAKERS)
def mime_type(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def sound(mime_type: str, tmp_path: Path) -> Path:
    return MAKERS[mime_type](tmp_path / "sound", 3)


def test_sound_is_measured(sound: Path, mime_type: str) -> None:
    probed = probe(sound, mime_type)

    assert (probed.family, probed.mime_type) == ("audio", mime_type)
    assert probed.duration == pytest.approx(3, abs=0.05)
    assert probed.plan == int(np.ceil(probed.duration or 0))
    assert (probed.width, probed.height) == (None, None)


def test_every_planned_second_is_heard(sound: Path, mime_type: str) -> None:
    probed = probe(sound, mime_type)

    found = samples(sound, probed)

    assert len(found) == probed.plan
    assert all(sample.frame is None for sample in found)
    assert [sample.at for sample in found] == sorted({sample.at for sample in found})
    assert found[-1].at > 1.9


def test_kept_sound_plays_as_long(sound: Path, mime_type: str) -> None:
    probed = probe(sound, mime_type)

    _, kept, copy = keep(sound, probed)

    with av.open(str(copy)) as container:
        heard = sum(f.samples / f.sample_rate for f in container.decode(audio=0))
    assert heard == pytest.approx(3, abs=0.1)
    assert probe(copy, mime_type).duration == pytest.approx(probed.duration, abs=0.05)
    assert kept.facts.duration == probed.duration


def test_facts_describe_the_kept_file(sound: Path, mime_type: str) -> None:
    _, kept, copy = keep(sound, probe(sound, mime_type))

    assert kept.facts.mime_type == mime_type
    assert kept.facts.size == copy.stat().st_size
    assert kept.facts.sha256 == hashlib.sha256(copy.read_bytes()).hexdigest()


def test_title_and_artist_stay_and_private_tags_go(sound: Path, mime_type: str) -> None:
    _, _, copy = keep(sound, probe(sound, mime_type))

    content = copy.read_bytes()
    assert b"A tone" in content
    assert b"Nobody" in content
    assert b"48.8584" not in content
    assert b"taken at home" not in content


def test_codec_is_told_by_the_name_everybody_uses(sound: Path, mime_type: str) -> None:
    _, kept, _ = keep(sound, probe(sound, mime_type))

    names = {
        "audio/mpeg": "mp3",
        "audio/mp4": "aac",
        "audio/wav": "pcm_s16le",
        "audio/flac": "flac",
        "audio/ogg": "opus",
    }
    assert kept.facts.codec == names[mime_type]
    assert len(kept.facts.blurhash or "") == 28


def test_shares_of_keeping_grow_to_one(sound: Path, mime_type: str) -> None:
    shares, _, _ = keep(sound, probe(sound, mime_type))

    assert len(shares) > 5
    assert shares == sorted(set(shares))
    assert shares[-1] == 1.0


def test_thumbnail_is_a_waveform(sound: Path, mime_type: str) -> None:
    _, kept, copy = keep(sound, probe(sound, mime_type))

    assert kept.thumbnail is not None
    with Image.open(copy.parent / kept.thumbnail) as picture:
        assert picture.size == (512, 128)
        assert np.asarray(picture).std() > 12


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9, 0.99])
def test_sound_cut_off_is_refused(sound: Path, mime_type: str, share: float) -> None:
    content = sound.read_bytes()
    sound.write_bytes(content[: int(len(content) * share)])

    with pytest.raises(InvalidMedia):
        probe(sound, mime_type)


@pytest.mark.parametrize("share", [0.5, 0.999])
def test_text_with_a_forged_beginning_is_refused(
    sound: Path, mime_type: str, share: float
) -> None:
    head = sound.read_bytes()[:64]
    sound.write_bytes(head + b"this was never a sound\n" * int(1000 * share))

    with pytest.raises(InvalidMedia):
        probe(sound, mime_type)


@pytest.mark.parametrize("tail", [b"PK\3\4 a foreign file", bytes(3000), b"TAG" * 60])
@pytest.mark.parametrize("mime_type", ["audio/mpeg", "audio/flac"])
def test_foreign_file_behind_a_sound_is_left_out_and_no_sound_is_lost(
    mime_type: str, tail: bytes, tmp_path: Path
) -> None:
    """libav takes what follows the last frame for a part of it, or for one more."""
    path = MAKERS[mime_type](tmp_path / "sound", 3)
    _, _, alone = keep(path, probe(path, mime_type))
    without = alone.read_bytes()
    path.write_bytes(path.read_bytes() + tail)

    _, _, copy = keep(path, probe(path, mime_type))

    assert copy.read_bytes() == without


def test_checksum_put_behind_a_foreign_file_does_not_make_it_part_of_the_sound(
    tmp_path: Path,
) -> None:
    path = media_av.flac(tmp_path / "sound", 3)
    with av.open(f"file:{path}") as container:
        stream = container.streams.audio[0]
        parameters = bytes(stream.codec_context.extradata or b"")
        (*_others, last) = [
            bytes(each) for each in container.demux(stream) if each.size
        ]
    forged = last + b"foreign"
    forged += checksum(forged).to_bytes(2, "big")

    assert flac.frame_end(forged, parameters) == len(last)


def checksum(data: bytes) -> int:
    """CRC-16 as FLAC has it: over data and their checksum it is zero."""
    value = 0
    for byte in data:
        value ^= byte << 8
        for _ in range(8):
            value = (value << 1 ^ (0x8005 if value & 0x8000 else 0)) & 0xFFFF
    return value


@pytest.mark.parametrize("mime_type", ["audio/mpeg", "audio/flac"])
def test_cover_is_ignored_and_left_out(tmp_path: Path, mime_type: str) -> None:
    sound = MAKERS[mime_type](tmp_path / "sound", cover=True)
    assert b"PNG" in sound.read_bytes()

    _, _, copy = keep(sound, probe(sound, mime_type))

    assert b"PNG" not in copy.read_bytes()


def test_cover_in_an_m4a_is_ignored_and_left_out(tmp_path: Path) -> None:
    sound = media_av.sound(tmp_path / "sound", "mp4", "aac", 2, cover=True)

    _, _, copy = keep(sound, probe(sound, "audio/mp4"))

    assert b"PNG" not in copy.read_bytes()


def test_film_that_calls_itself_sound_is_refused(tmp_path: Path) -> None:
    film = media_av.mp4(tmp_path / "film")

    with pytest.raises(UnsupportedMedia):
        probe(film, "audio/mp4")


@pytest.mark.parametrize("limits", [{"max_duration_s": 2.5}, {"max_tracks": 0}])
def test_sound_beyond_a_limit_is_refused(
    sound: Path, mime_type: str, limits: dict[str, Any]
) -> None:
    with pytest.raises(InvalidMedia):
        probe(sound, mime_type, **limits)


def test_wav_written_to_a_pipe_does_not_tell_its_length_and_is_whole(
    tmp_path: Path,
) -> None:
    sound = media_av.wav(tmp_path / "sound")
    content = sound.read_bytes()
    at = content.index(b"data") + 4
    sound.write_bytes(content[:at] + b"\xff" * 4 + content[at + 4 :])

    assert probe(sound, "audio/wav").duration == pytest.approx(2, abs=0.05)


def test_sound_damaged_in_its_middle_is_refused_by_sampling(tmp_path: Path) -> None:
    sound = media_av.flac(tmp_path / "sound", 5)
    content = bytearray(sound.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 20_000] = bytes(20_000)
    sound.write_bytes(content)
    probed = probe(sound, "audio/flac")

    with pytest.raises(InvalidMedia):
        samples(sound, probed)


@pytest.mark.parametrize(
    ("values", "loudest"),
    [
        (np.array([-32768, 0], np.int16), 1.0),
        (np.array([0, 128], np.uint8), 1.0),
        (np.array([0.25, -0.5], np.float32), 0.5),
        (np.array([np.nan], np.float32), 1.0),
        (np.array([], np.int16), 0.0),
    ],
)
def test_peak_is_a_share_of_full_scale(values: Any, loudest: float) -> None:
    assert peak(values) == pytest.approx(loudest, abs=1e-4)
