from __future__ import annotations

import hashlib
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from PIL import Image

from tests import media_av
from uploadsvc.errors import InvalidMedia, UnsupportedMedia, UploadError
from uploadsvc.verify import Kept, Limits, Probed, Sample, Subject
from uploadsvc.verify.formats.video import VideoFormat

MAKERS: dict[str, Callable[..., Path]] = {
    "video/mp4": media_av.mp4,
    "video/quicktime": media_av.mov,
    "video/webm": media_av.webm,
    "video/x-matroska": media_av.mkv,
}
ISO = ["video/mp4", "video/quicktime"]


def subject(path: Path) -> Subject:
    scratch = path.parent / "scratch"
    scratch.mkdir(exist_ok=True)
    return Subject(path, scratch)


def probe(path: Path, mime_type: str = "video/mp4", **limits: Any) -> Probed:
    return VideoFormat().probe(subject(path), mime_type, Limits(**limits))


def samples(path: Path, probed: Probed) -> list[Sample]:
    return list(VideoFormat().samples(subject(path), probed, Limits()))


def keep(path: Path, probed: Probed) -> tuple[list[float], Kept, Path]:
    *shares, kept = VideoFormat().keep(subject(path), probed)
    assert isinstance(kept, Kept)
    told = [share for share in shares if isinstance(share, float)]
    return told, kept, subject(path).scratch / kept.original


@pytest.fixture(params=MAKERS)
def mime_type(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """Encoding takes seconds, and once is enough."""
    folder = tmp_path_factory.mktemp("made")
    return {
        mime_type: maker(folder / "film").read_bytes()
        for mime_type, maker in MAKERS.items()
    }


@pytest.fixture
def film(mime_type: str, made: dict[str, bytes], tmp_path: Path) -> Path:
    path = tmp_path / "film"
    path.write_bytes(made[mime_type])
    return path


def test_film_is_measured(film: Path, mime_type: str) -> None:
    probed = probe(film, mime_type)

    assert probed.family == "video"
    assert probed.mime_type == mime_type
    assert (probed.width, probed.height) == (320, 240)
    assert probed.duration == pytest.approx(2, abs=0.05)
    assert probed.plan >= 2


def test_every_planned_sample_is_a_different_picture(
    film: Path, mime_type: str
) -> None:
    probed = probe(film, mime_type)

    found = samples(film, probed)

    assert len(found) == probed.plan
    assert [sample.at for sample in found] == sorted({sample.at for sample in found})
    assert all(
        sample.frame is not None and sample.frame.shape == (240, 320, 3)
        for sample in found
    )
    assert len(
        {sample.frame.tobytes() for sample in found if sample.frame is not None}
    ) == len(found)


def test_kept_film_plays_as_long_and_as_large(film: Path, mime_type: str) -> None:
    probed = probe(film, mime_type)

    _, kept, copy = keep(film, probed)

    with av.open(str(copy)) as container:
        frames = sum(1 for _ in container.decode(video=0))
        assert [stream.type for stream in container.streams] == ["video", "audio"]
    assert frames == 50
    assert probe(copy, mime_type).duration == pytest.approx(probed.duration, abs=0.05)
    assert kept.facts.duration == probed.duration
    assert (kept.facts.width, kept.facts.height) == (320, 240)


def test_facts_describe_the_kept_file(film: Path, mime_type: str) -> None:
    _, kept, copy = keep(film, probe(film, mime_type))

    assert kept.facts.mime_type == mime_type
    assert kept.facts.size == copy.stat().st_size
    assert kept.facts.sha256 == hashlib.sha256(copy.read_bytes()).hexdigest()


def test_position_comment_and_maker_are_not_in_the_kept_film(
    film: Path, mime_type: str
) -> None:
    before = film.read_bytes()
    assert b"48.8584" in before or b"loci" in before

    _, _, copy = keep(film, probe(film, mime_type))

    content = copy.read_bytes()
    assert b"48.8584" not in content
    assert b"loci" not in content
    assert b"taken at home" not in content
    assert b"Lavf62" not in content


def test_shares_of_keeping_grow_to_one(film: Path, mime_type: str) -> None:
    shares, _, _ = keep(film, probe(film, mime_type))

    assert len(shares) > 10
    assert shares == sorted(set(shares))
    assert shares[-1] == 1.0


@pytest.mark.parametrize(
    ("muxer", "codec", "name"),
    [
        ("mp4", "libx264", "h264"),
        ("mp4", "libx265", "hevc"),
        ("webm", "libvpx", "vp8"),
        ("webm", "libvpx-vp9", "vp9"),
        ("webm", "libsvtav1", "av1"),
    ],
)
def test_codec_is_told_by_the_name_everybody_uses(
    muxer: str, codec: str, name: str, tmp_path: Path
) -> None:
    path = media_av.film(tmp_path / "film", muxer, codec, None, 1, (64, 64), 10)

    _, kept, _ = keep(path, probe(path, f"video/{muxer}"))

    assert kept.facts.codec == name


def test_poster_has_a_blurhash(film: Path, mime_type: str) -> None:
    _, kept, _ = keep(film, probe(film, mime_type))

    assert len(kept.facts.blurhash or "") == 28


def test_poster_fits_and_shows_something(film: Path, mime_type: str) -> None:
    _, kept, copy = keep(film, probe(film, mime_type))

    assert kept.thumbnail == "thumbnail.webp"
    with Image.open(copy.parent / "thumbnail.webp") as poster:
        assert poster.size == (320, 240)
        assert np.asarray(poster).std() > 12


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9, 0.99])
def test_film_cut_off_is_refused(film: Path, mime_type: str, share: float) -> None:
    content = film.read_bytes()
    film.write_bytes(content[: int(len(content) * share)])

    with pytest.raises(InvalidMedia):
        probe(film, mime_type)


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9, 0.99])
@pytest.mark.parametrize(
    ("muxer", "codecs", "options", "mime_type"),
    [
        ("mp4", ("libx264", "aac"), {"movflags": "faststart"}, "video/mp4"),
        ("mov", ("libx264", "aac"), {"movflags": "faststart"}, "video/quicktime"),
        (
            "mp4",
            ("libx264", "aac"),
            {"movflags": "frag_keyframe+empty_moov"},
            "video/mp4",
        ),
        ("webm", ("libvpx", "libopus"), {"live": "1"}, "video/webm"),
    ],
    ids=[
        "mp4 index first",
        "mov index first",
        "mp4 in fragments",
        "webm without sizes",
    ],
)
def test_film_of_another_layout_cut_off_is_refused(
    tmp_path: Path,
    muxer: str,
    codecs: tuple[str, str],
    options: dict[str, str],
    mime_type: str,
    share: float,
) -> None:
    film = media_av.film(
        tmp_path / "film", muxer, *codecs, 2, (320, 240), 25, options=options
    )
    assert probe(film, mime_type).plan >= 2
    content = film.read_bytes()
    film.write_bytes(content[: int(len(content) * share)])

    with pytest.raises(InvalidMedia):
        probe(film, mime_type)


@pytest.mark.parametrize("mime_type", ISO)
@pytest.mark.parametrize("rotation", [-90, 90, 180])
def test_rotation_is_applied_to_pictures_and_survives_in_the_copy(
    tmp_path: Path, mime_type: str, rotation: int
) -> None:
    film = MAKERS[mime_type](tmp_path / "film", rotation=rotation)
    plain = MAKERS[mime_type](tmp_path / "plain")

    probed = probe(film, mime_type)
    first = samples(film, probed)[0].frame
    _, kept, copy = keep(film, probed)

    shown = (320, 240) if rotation == 180 else (240, 320)
    assert (probed.width, probed.height) == shown
    assert (kept.facts.width, kept.facts.height) == shown
    upright = samples(plain, probe(plain, mime_type))[0].frame
    assert upright is not None
    np.testing.assert_array_equal(first, np.rot90(upright, rotation // 90))
    with av.open(str(copy)) as container:
        turn = next(container.decode(video=0)).rotation
    assert turn in {rotation, -rotation} if rotation == 180 else turn == rotation
    with Image.open(copy.parent / "thumbnail.webp") as poster:
        assert poster.size == shown


@pytest.mark.parametrize("mime_type", ISO)
@pytest.mark.parametrize("faststart", [True, False])
def test_index_of_the_copy_comes_before_its_media(
    tmp_path: Path, mime_type: str, faststart: bool
) -> None:
    film = MAKERS[mime_type](tmp_path / "film", faststart=faststart)

    _, _, copy = keep(film, probe(film, mime_type))

    content = copy.read_bytes()
    assert 0 < content.index(b"moov") < content.index(b"mdat")


def test_film_without_sound_is_a_film(tmp_path: Path) -> None:
    film = media_av.mp4(tmp_path / "film", audio=False)

    assert probe(film).family == "video"


@pytest.mark.parametrize(
    ("muxer", "codec", "given", "answered"),
    [
        ("mp4", "aac", "video/mp4", "audio/mp4"),
        ("mov", "aac", "video/quicktime", "audio/mp4"),
        ("webm", "libopus", "video/webm", "audio/webm"),
        ("matroska", "aac", "video/x-matroska", "audio/x-matroska"),
    ],
)
def test_film_without_pictures_is_answered_for_as_sound(
    tmp_path: Path, muxer: str, codec: str, given: str, answered: str
) -> None:
    sound = media_av.sound(tmp_path / "sound", muxer, codec, 2)

    probed = probe(sound, given)

    assert (probed.family, probed.mime_type, probed.plan) == (
        "audio",
        answered,
        len(range(int(np.ceil(probed.duration or 0)))),
    )


def test_h264_in_a_file_that_says_webm_becomes_matroska(tmp_path: Path) -> None:
    film = media_av.mkv(tmp_path / "film")

    probed = probe(film, "video/webm")
    _, kept, _ = keep(film, probed)

    assert probed.mime_type == "video/x-matroska"
    assert kept.original == "original.mkv"


def test_hevc_keeps_the_tag_that_apple_plays(tmp_path: Path) -> None:
    film = media_av.film(
        tmp_path / "film", "mov", "libx265", None, 1, (320, 240), 25, tag="hvc1"
    )

    _, _, copy = keep(film, probe(film, "video/quicktime"))

    with av.open(str(copy)) as container:
        assert container.streams.video[0].codec_context.codec_tag == "hvc1"


def test_samples_are_bounded_and_span_the_whole_length(tmp_path: Path) -> None:
    film = media_av.mp4(tmp_path / "film", 20, fps=5, keyframe_every=1, audio=False)

    limits = Limits(sampled_frames=6)
    probed = probe(film, sampled_frames=6)
    at = [s.at for s in VideoFormat().samples(subject(film), probed, limits)]

    assert probed.plan == len(at) == 6
    assert not probed.whole
    assert at[0] < 4
    assert at[-1] > 16
    assert max(np.diff(at)) < 5


def test_film_with_a_single_keyframe_is_looked_at_all_along(tmp_path: Path) -> None:
    film = media_av.mp4(tmp_path / "film", 45, fps=5, keyframe_every=1000, audio=False)

    probed = probe(film)
    found = samples(film, probed)

    assert {round(sample.at) for sample in found} >= set(range(0, 45, 2))
    assert probed.plan == len(found)


def test_film_trimmed_on_a_phone_is_what_is_left_of_it(tmp_path: Path) -> None:
    whole = media_av.mp4(tmp_path / "whole", 6)
    film = media_av.trimmed(tmp_path / "film", whole, 2.5)

    probed = probe(film)
    found = samples(film, probed)
    _, _, copy = keep(film, probed)

    assert probed.duration == pytest.approx(3.5, abs=0.05)
    at = np.array([sample.at for sample in found])
    assert all(abs(at - each).min() < 0.05 for each in (0, 0.48, 1.48, 2.48))
    with av.open(str(copy)) as container:
        assert (container.duration or 0) / 1e6 == pytest.approx(3.5, abs=0.05)


def test_large_pictures_are_shown_small(tmp_path: Path) -> None:
    film = media_av.mp4(tmp_path / "film", 1, (1280, 720), audio=False)

    frame = samples(film, probe(film))[0].frame

    assert frame is not None
    assert frame.shape == (288, 512, 3)


@pytest.mark.parametrize(
    "limits",
    [{"max_duration_s": 1.5}, {"max_pixels": 320 * 240 - 1}, {"max_tracks": 1}],
    ids=lambda limits: next(iter(limits)),
)
def test_film_beyond_a_limit_is_refused(
    film: Path, mime_type: str, limits: dict[str, Any]
) -> None:
    with pytest.raises(InvalidMedia):
        probe(film, mime_type, **limits)


def test_subtitles_that_tell_the_position_are_left_out(tmp_path: Path) -> None:
    plain = media_av.mp4(tmp_path / "plain")
    film = media_av.subtitled(
        tmp_path / "film", plain, ["F/2.8, SS 200, GPS (2.2945, 48.8584, 19)", "HOME"]
    )

    _, _, copy = keep(film, probe(film))

    with av.open(str(copy)) as container:
        assert [stream.type for stream in container.streams] == ["video"]


def test_subtitles_that_are_speech_are_kept(tmp_path: Path) -> None:
    plain = media_av.mp4(tmp_path / "plain")
    film = media_av.subtitled(tmp_path / "film", plain, ["Hello,", "how are you?"])

    _, _, copy = keep(film, probe(film))

    assert b"how are you?" in copy.read_bytes()


@pytest.mark.parametrize("mime_type", MAKERS)
@pytest.mark.parametrize(
    "head",
    [b"\0\0\0\x18ftypisom\0\0\2\0isommp41", b"\x1aE\xdf\xa3\x9fB\x82\x84webm", b""],
)
def test_text_with_a_forged_beginning_is_refused(
    tmp_path: Path, mime_type: str, head: bytes
) -> None:
    forged = tmp_path / "film"
    forged.write_bytes(head + b"this was never a film\n" * 500)

    with pytest.raises(InvalidMedia):
        probe(forged, mime_type)


@pytest.mark.parametrize("mime_type", MAKERS)
@pytest.mark.parametrize("kind", ["hls", "concat"])
def test_playlist_in_disguise_is_refused_and_followed_nowhere(
    tmp_path: Path, mime_type: str, kind: str
) -> None:
    playlist = tmp_path / "film.mp4"
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.setblocking(False)
        address = f"http://127.0.0.1:{server.getsockname()[1]}/other.mp4"
        playlist.write_text(
            f"#EXTM3U\n#EXTINF:10,\n{address}\n#EXT-X-ENDLIST\n"
            if kind == "hls"
            else f"ffconcat version 1.0\nfile '{address}'\n"
        )

        with pytest.raises(InvalidMedia):
            probe(playlist, mime_type)

        with pytest.raises(BlockingIOError):
            server.accept()


@pytest.mark.parametrize("name", ["http:film.mp4", "concat:a|b.mp4", "%03d.mp4", "-"])
def test_name_of_a_file_means_nothing(tmp_path: Path, name: str) -> None:
    film = media_av.mp4(tmp_path / name)

    _, kept, _ = keep(film, probe(film))

    assert kept.facts.width == 320


def test_film_whose_end_was_reserved_but_never_written_is_refused(
    tmp_path: Path,
) -> None:
    film = media_av.mp4(tmp_path / "film", faststart=True)
    content = film.read_bytes()
    missing = len(content) // 3
    film.write_bytes(content[:-missing] + bytes(missing))

    with pytest.raises(InvalidMedia):
        probe(film)


def test_film_whose_pictures_no_decoder_knows_is_refused(tmp_path: Path) -> None:
    film = media_av.mp4(tmp_path / "film", audio=False)
    film.write_bytes(film.read_bytes().replace(b"avc1", b"zzz9"))

    with pytest.raises(UploadError) as refused:
        probe(film)

    assert isinstance(refused.value, InvalidMedia | UnsupportedMedia)


def test_samples_stopped_early_leave_the_file_closed(tmp_path: Path) -> None:
    film = media_av.mp4(tmp_path / "film")
    going = iter(VideoFormat().samples(subject(film), probe(film), Limits()))

    next(going)
    going.close()  # type: ignore[attr-defined]  # an Iterator to the contract

    assert not open_files(film)


def open_files(path: Path) -> list[Path]:
    return [fd for fd in Path("/proc/self/fd").iterdir() if fd.resolve() == path]
