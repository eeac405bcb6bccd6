"""Which pictures of a file are looked at: the laws of ``moments`` and ``likeness``, and films,
songs and a bench that keep them."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench import sampling
from tests import media_av
from uploadsvc.verify import Limits, Sample, Subject
from uploadsvc.verify.formats import moments
from uploadsvc.verify.formats.audio import AudioFormat
from uploadsvc.verify.formats.likeness import Shown
from uploadsvc.verify.formats.moments import SCENE_S, Choice, choose
from uploadsvc.verify.formats.survey import Moment

BASE = Fraction(1, 10)
TICKS = st.lists(st.integers(0, 6000), min_size=1, max_size=900, unique=True)


def chosen(ticks: list[int], most: int = 300, between_s: float = 60) -> Choice:
    entrances = [Moment(at, at) for at in sorted(ticks)]
    return choose(entrances, BASE, 600, most=most, most_between_s=between_s)


@given(TICKS)
def test_scene_of_two_seconds_that_begins_with_a_keyframe_is_looked_at(
    ticks: list[int],
) -> None:
    choice = chosen(ticks, most=1000)

    looked_at = np.array([moment.at for moment in choice.moments])
    for start in ticks:
        inside = (looked_at >= start) & (looked_at < start + SCENE_S / BASE)
        assert inside.any()


@given(TICKS, st.integers(1, 50))
def test_choice_is_bounded_and_says_so(ticks: list[int], most: int) -> None:
    choice = chosen(ticks, most)

    assert len(choice.moments) <= most
    assert list(choice.moments) == sorted(set(choice.moments))
    assert choice.whole or len(choice.moments) == most or len(ticks) < 60


def test_every_keyframe_is_looked_at_where_they_are_few() -> None:
    choice = chosen(list(range(0, 6000, 50)))

    assert [moment.at for moment in choice.moments] == list(range(0, 6000, 50))


def test_gaps_are_gone_through_only_as_far_as_the_bound_allows() -> None:
    choice = chosen([0, 3000], between_s=60)

    assert not choice.whole
    assert max(m.at - m.keyframe for m in choice.moments) <= 30 / BASE


def test_gap_of_an_ordinary_encoder_is_not_gone_through() -> None:
    choice = chosen(list(range(0, 6000, 104)))

    assert choice.whole
    assert all(moment.alone for moment in choice.moments if moment.at < 5900)


def test_leaps_nearest_to_their_keyframe_are_reached_first(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(moments, "LEAPS_SHARE", 1.0)
    leaps = [Moment(90, 0), Moment(105, 100)]

    choice = choose(
        [Moment(0, 0), Moment(100, 100)],
        BASE,
        20,
        leaps=leaps,
        most=300,
        most_between_s=1,
    )

    assert [moment.at for moment in choice.moments] == [0, 100, 105]


def test_picture_that_was_shown_is_not_new_even_when_encoded_again() -> None:
    random = np.random.default_rng(1)
    frame = random.integers(0, 256, (9, 16, 3), np.uint8).repeat(20, 0).repeat(20, 1)
    noisy = (frame.astype(int) + random.integers(-6, 7, frame.shape)).clip(0, 255)
    shown = Shown()
    assert shown.is_new(frame)

    new = shown.is_new(noisy.astype(np.uint8))

    assert not new


def test_small_picture_laid_into_a_still_one_is_new() -> None:
    still = np.full((288, 512, 3), 90, np.uint8)
    inset = still.copy()
    inset[100:160, 200:300] = (220, 170, 140)
    shown = Shown()
    shown.is_new(still)

    new = shown.is_new(inset)

    assert new


def test_lines_as_bright_as_an_empty_picture_are_new() -> None:
    grey = np.full((256, 256, 3), 128, np.uint8)
    lines = grey.copy()
    lines[np.arange(256) % 8 < 4] = 80
    lines[np.arange(256) % 8 >= 4] = 176
    shown = Shown()
    shown.is_new(grey)

    new = shown.is_new(lines)

    assert new


def test_still_film_is_shown_once_and_counted_whole(tmp_path: Path) -> None:
    part = sampling._encoded(0, "keyint=10:scenecut=0", range(sampling.PART))
    film = tmp_path / "film.mp4"
    sampling._join(film, [part])

    found = list(sampling._samples(Subject(film, tmp_path)))

    assert len(found) == 10
    assert sum(sample.frame is not None for sample in found) < 10


def test_scene_planted_into_a_film_is_found() -> None:
    found = sampling.planted("x264's defaults", positions=4, seconds=60)

    assert found.found == 4
    assert found.shown <= found.planned <= Limits().sampled_frames


@pytest.mark.parametrize("mime_type", ["audio/mpeg", "audio/flac", "audio/mp4"])
def test_cover_of_a_sound_is_looked_at(tmp_path: Path, mime_type: str) -> None:
    muxer, codec = {
        "audio/mpeg": ("mp3", "libmp3lame"),
        "audio/flac": ("flac", "flac"),
        "audio/mp4": ("mp4", "aac"),
    }[mime_type]
    sound = media_av.sound(tmp_path / "sound", muxer, codec, 2, cover=True)

    found = heard(sound, mime_type)

    assert found[0].at == 0
    assert found[0].frame is not None
    assert found[0].frame.shape == (64, 64, 3)
    assert all(sample.frame is None for sample in found[1:])


def test_covers_of_a_sound_are_bounded(tmp_path: Path) -> None:
    sound = media_av.sound(tmp_path / "sound", "mp3", "libmp3lame", 2, cover=True)

    found = heard(sound, "audio/mpeg", Limits(cover_pictures=0))

    assert all(sample.frame is None for sample in found)


def heard(sound: Path, mime_type: str, limits: Limits | None = None) -> list[Sample]:
    limits = limits or Limits()
    subject = Subject(sound, sound.parent)
    probed = AudioFormat().probe(subject, mime_type, limits)
    found = list(AudioFormat().samples(subject, probed, limits))
    assert len(found) == probed.plan
    return found
