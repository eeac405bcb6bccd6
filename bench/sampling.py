"""Is a bad scene planted into a long film found, and what does looking cost?

The films are small (160 x 90, 10 frames a second) and made of parts of ten seconds, each with
a keyframe interval as encoders choose it at 25 frames a second, scaled by the speed. Only the
parts that the planted scene touches are encoded anew, so that a hundred films take a minute.
The real sampler looks at them; the analyser is a stub that knows the planted picture.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np

from uploadsvc.verify import Array, Limits, Sample, Subject
from uploadsvc.verify.formats.image import ImageFormat
from uploadsvc.verify.formats.video import VideoFormat

FPS, WIDTH, HEIGHT = 10, 160, 90
PART = 100  # frames; x264 makes a keyframe after ten seconds at the latest
SHOT = 70  # frames of the film between two of its own cuts
# x264's defaults at 25 frames a second are keyint 250 and min-keyint 25; a phone makes a
# keyframe a second and none for a cut; graphics cards make one in ten seconds and none either.
ENCODERS = {
    "x264's defaults": "keyint=100:min-keyint=10:scenecut=40",
    "a keyframe a second, none for cuts": "keyint=10:min-keyint=10:scenecut=0",
    "a keyframe in ten seconds, none for cuts": "keyint=100:scenecut=0",
}


@dataclass(frozen=True, slots=True)
class Planted:
    """``shown`` is the mean number of pictures handed to the analysers, of ``planned`` ones."""

    found: int
    positions: int
    planned: float
    shown: float
    cpu_s: float  # of one film: probing and sampling


@dataclass(frozen=True, slots=True)
class Cost:
    """``cpu_s`` of probing and sampling, decoding included, analysers not."""

    cpu_s: float
    planned: int
    shown: int


def planted(
    encoder: str, *, positions: int = 100, seconds: int = 600, scene_s: float = 2.0
) -> Planted:
    """Plant a scene at so many random positions, each into a film of its own."""
    random = np.random.default_rng(1)
    settings = ENCODERS[encoder]
    frames, scene = seconds * FPS, round(scene_s * FPS)
    parts = [_encoded(first, settings, range(0)) for first in range(0, frames, PART)]
    found, planned, shown, cpu_s = 0, 0, 0, 0.0
    with tempfile.TemporaryDirectory() as folder:
        subject = Subject(Path(folder) / "film.mp4", Path(folder))
        for _ in range(positions):
            start = int(random.integers(0, frames - scene))
            bad = range(start, start + scene)
            first, last = bad.start // PART, bad[-1] // PART
            anew = {n: _encoded(n * PART, settings, bad) for n in {first, last}}
            _join(subject.path, [anew.get(n, part) for n, part in enumerate(parts)])
            before = time.process_time()
            samples = list(_samples(subject))
            cpu_s += time.process_time() - before
            pictures = [each.frame for each in samples if each.frame is not None]
            found += any(map(_is_bad, pictures))
            planned, shown = planned + len(samples), shown + len(pictures)
    return Planted(
        found, positions, planned / positions, shown / positions, cpu_s / positions
    )


def film_cost(path: Path) -> Cost:
    """Of an MP4."""
    before = time.process_time()
    with tempfile.TemporaryDirectory() as folder:
        samples = list(_samples(Subject(path, Path(folder))))
    shown = sum(each.frame is not None for each in samples)
    return Cost(time.process_time() - before, len(samples), shown)


def photo_cost(path: Path) -> Cost:
    """Of a JPEG."""
    photos = ImageFormat()
    before = time.process_time()
    with tempfile.TemporaryDirectory() as folder:
        subject = Subject(path, Path(folder))
        probed = photos.probe(subject, "image/jpeg", Limits())
        samples = list(photos.samples(subject, probed, Limits()))
    return Cost(time.process_time() - before, probed.plan, len(samples))


def every_frame_s(path: Path) -> float:
    """CPU seconds to decode every frame of a film, in one thread: what sampling saves."""
    before = time.process_time()
    with av.open(f"file:{path}") as container:
        stream = container.streams.video[0]
        stream.codec_context.thread_count = 1
        for _frame in container.decode(stream):
            pass
    return time.process_time() - before


def _samples(subject: Subject) -> Iterator[Sample]:
    films = VideoFormat()
    probed = films.probe(subject, "video/mp4", Limits())
    yield from films.samples(subject, probed, Limits())


def _is_bad(frame: Array) -> bool:
    red, green, blue = (float(frame[..., n].mean()) for n in range(3))
    return red > 120 and blue > 120 and green < 60


def _picture(number: int, bad: range) -> Array:
    """A texture that wanders and is another one each ``SHOT``; the bad scene is magenta."""
    shot, moment = divmod(number, SHOT)
    random = np.random.default_rng(shot % 17)
    coarse = random.integers(0, 200, (12, 22, 3), np.uint8)
    canvas = coarse.repeat(10, 0).repeat(10, 1)
    left = moment // 4
    canvas = canvas[left : left + HEIGHT, left : left + WIDTH].copy()
    if number in bad:
        canvas[..., 0], canvas[..., 1] = 255 - canvas[..., 0] // 4, 20
        canvas[..., 2] = 255 - canvas[..., 2] // 4
    return canvas


def _encoded(first: int, settings: str, bad: range) -> tuple[bytes, list[Any]]:
    """The header and the packets of ``PART`` frames from ``first`` on."""
    encoder: Any = av.CodecContext.create("libx264", "w")
    encoder.width, encoder.height, encoder.pix_fmt = WIDTH, HEIGHT, "yuv420p"
    encoder.framerate, encoder.time_base = Fraction(FPS), Fraction(1, FPS)
    encoder.flags |= av.codec.context.Flags.global_header
    encoder.thread_count = 1
    encoder.options = {"preset": "veryfast", "x264-params": f"{settings}:log-level=0"}
    packets: list[Any] = []
    for number in range(first, first + PART):
        shown = av.VideoFrame.from_ndarray(_picture(number, bad), "rgb24")
        frame = shown.reformat(format="yuv420p")
        frame.pts, frame.time_base = number, Fraction(1, FPS)
        packets += encoder.encode(frame)
    packets += encoder.encode(None)
    made = [(bytes(p), p.pts, p.dts, p.is_keyframe) for p in packets]
    return bytes(encoder.extradata), made


def _join(path: Path, parts: list[tuple[bytes, list[Any]]]) -> None:
    with av.open(f"file:{path}", "w", format="mp4") as container:
        stream: Any = container.add_stream("libx264", rate=FPS)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        stream.codec_context.extradata = parts[0][0]
        for _header, packets in parts:
            for content, pts, dts, key in packets:
                packet: Any = av.Packet(content)
                packet.stream, packet.time_base = stream, Fraction(1, FPS)
                packet.pts, packet.dts, packet.is_keyframe = pts, dts, key
                container.mux(packet)
