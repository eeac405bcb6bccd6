"""Makers of small films and sounds, real ones, by the encoders of PyAV's wheel.

Every maker writes to ``path`` and returns it. The pictures move, so that no two keyframes are
alike; the sound is a tone. ``mp4`` and ``mov`` carry a position unless told otherwise.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.audio.fifo import AudioFifo
from av.container import OutputContainer

POSITION = "+48.8584+002.2945/"
SAMPLE_RATE = 48_000
PRIVATE = {"location": POSITION, "comment": "taken at home"}


def mp4(
    path: Path,
    seconds: float = 2,
    size: tuple[int, int] = (320, 240),
    fps: int = 25,
    *,
    gps: bool = True,
    rotation: int | None = None,
    faststart: bool = False,
    audio: bool = True,
    **more: Any,
) -> Path:
    """``rotation`` is counterclockwise, as ``VideoFrame.rotation``: a phone upright is -90."""
    return film(
        path,
        more.pop("muxer", "mp4"),
        "libx264",
        "aac" if audio else None,
        seconds,
        size,
        fps,
        rotation=rotation,
        metadata=PRIVATE if gps else {},
        options={"movflags": "faststart"} if faststart else {},
        **more,
    )


def mov(path: Path, seconds: float = 2, **more: Any) -> Path:
    return mp4(path, seconds, muxer="mov", **more)


def webm(
    path: Path,
    seconds: float = 2,
    size: tuple[int, int] = (320, 240),
    fps: int = 25,
    *,
    codec: str = "libvpx",
    audio: bool = True,
    **more: Any,
) -> Path:
    sound = "libopus" if audio else None
    return film(
        path, "webm", codec, sound, seconds, size, fps, metadata=PRIVATE, **more
    )


def mkv(
    path: Path,
    seconds: float = 2,
    size: tuple[int, int] = (320, 240),
    fps: int = 25,
    *,
    audio: bool = True,
    **more: Any,
) -> Path:
    sound = "aac" if audio else None
    return film(
        path, "matroska", "libx264", sound, seconds, size, fps, metadata=PRIVATE, **more
    )


def mp3(path: Path, seconds: float = 2, **more: Any) -> Path:
    return sound(path, "mp3", "libmp3lame", seconds, **more)


def m4a(path: Path, seconds: float = 2, **more: Any) -> Path:
    return sound(path, "ipod", "aac", seconds, **more)


def wav(path: Path, seconds: float = 2, **more: Any) -> Path:
    return sound(path, "wav", "pcm_s16le", seconds, **more)


def flac(path: Path, seconds: float = 2, **more: Any) -> Path:
    return sound(path, "flac", "flac", seconds, **more)


def ogg(path: Path, seconds: float = 2, **more: Any) -> Path:
    return sound(path, "ogg", "libopus", seconds, **more)


def film(
    path: Path,
    muxer: str,
    video_codec: str,
    audio_codec: str | None,
    seconds: float,
    size: tuple[int, int],
    fps: int,
    *,
    rotation: int | None = None,
    metadata: Mapping[str, str] | None = None,
    options: Mapping[str, str] | None = None,
    keyframe_every: int = 25,
    tag: str | None = None,
) -> Path:
    with av.open(
        f"file:{path}", "w", format=muxer, container_options=dict(options or {})
    ) as container:
        container.metadata.update(metadata or {})
        picture: Any = container.add_stream(video_codec, rate=fps)
        picture.width, picture.height = size
        picture.pix_fmt = "yuv420p"
        picture.codec_context.gop_size = keyframe_every
        if video_codec.startswith("libx26"):
            picture.codec_context.options = {
                "preset": "ultrafast",
                # Cuts make no keyframes of their own: tests count them.
                f"{video_codec[3:]}-params": "scenecut=0:log-level=0",
            }
        if tag:
            picture.codec_context.codec_tag = tag
        if rotation is not None:
            picture.set_display_rotation(rotation)
        tone = (
            container.add_stream(audio_codec, rate=SAMPLE_RATE) if audio_codec else None
        )
        for frame in _moving(int(seconds * fps), size, fps):
            container.mux(picture.encode(frame))
        container.mux(picture.encode())
        if tone is not None:
            _mux_tone(container, tone, seconds)
    return path


def sound(
    path: Path,
    muxer: str,
    codec: str,
    seconds: float,
    *,
    metadata: Mapping[str, str] | None = None,
    options: Mapping[str, str] | None = None,
    cover: bool = False,
) -> Path:
    tags = {"title": "A tone", "artist": "Nobody", **PRIVATE, **(metadata or {})}
    with av.open(
        f"file:{path}", "w", format=muxer, container_options=dict(options or {})
    ) as container:
        container.metadata.update(tags)
        tone = container.add_stream(codec, rate=SAMPLE_RATE)
        if cover:
            _mux_cover(container, tone, seconds)
        else:
            _mux_tone(container, tone, seconds)
    return path


def _moving(count: int, size: tuple[int, int], fps: int) -> Iterator[av.VideoFrame]:
    width, height = size
    side = min(size) // 4
    for nth in range(count):
        canvas = np.full((height, width, 3), 40, np.uint8)
        canvas[:, :, 2] = nth * 3 % 256
        left = nth * 5 % (width - side)
        canvas[:side, left : left + side] = (255, 220, 0)
        frame = av.VideoFrame.from_ndarray(canvas, "rgb24").reformat(format="yuv420p")
        frame.pts, frame.time_base = nth, Fraction(1, fps)
        yield frame


def _mux_tone(container: OutputContainer, stream: Any, seconds: float) -> None:
    for frame in _tone(stream, seconds):
        container.mux(stream.encode(frame))
    container.mux(stream.encode())


def _tone(stream: Any, seconds: float) -> Iterator[av.AudioFrame]:
    times = np.arange(int(seconds * SAMPLE_RATE)) / SAMPLE_RATE
    wave = (np.sin(times * 440 * 2 * np.pi) * 12_000).astype(np.int16)
    whole = av.AudioFrame.from_ndarray(np.repeat(wave, 2)[np.newaxis], "s16", "stereo")
    whole.sample_rate, whole.pts = SAMPLE_RATE, 0
    whole.time_base = Fraction(1, SAMPLE_RATE)
    resampler = av.AudioResampler(
        stream.codec_context.format.name, "stereo", SAMPLE_RATE
    )
    fifo = AudioFifo()
    for part in [*resampler.resample(whole), *resampler.resample(None)]:
        fifo.write(part)
    size = stream.codec_context.frame_size or 1024
    while (frame := fifo.read(size) or fifo.read(size, partial=True)) is not None:
        yield frame


def _mux_cover(container: OutputContainer, tone: Any, seconds: float) -> None:
    """A picture as players show it beside a song: a video stream of one frame, so marked."""
    cover = container.add_stream("png", rate=1)
    cover.width, cover.height, cover.pix_fmt = 64, 64, "rgb24"
    cover.disposition = av.stream.Disposition.attached_pic
    frames = list(_tone(tone, seconds))
    picture = av.VideoFrame.from_ndarray(np.full((64, 64, 3), 200, np.uint8), "rgb24")
    picture.pts, picture.time_base = 0, Fraction(1, 1)
    container.mux([*cover.encode(picture), *cover.encode()])
    for frame in frames:
        container.mux(tone.encode(frame))
    container.mux(tone.encode())


def subtitled(path: Path, film_path: Path, lines: list[str]) -> Path:
    """The MP4 ``film_path`` with a text track, a line a second, as drones write them."""
    with (
        av.open(f"file:{film_path}") as source,
        av.open(f"file:{path}", "w", format="mp4") as container,
    ):
        picture = source.streams.video[0]
        copied = container.add_stream_from_template(picture, opaque=True)
        text = container.add_mux_stream("mov_text")
        text.time_base = Fraction(1, 1000)
        for copy in source.demux(picture):
            if copy.size:
                copy.stream = copied
                container.mux(copy)
        for nth, line in enumerate(lines):
            words = line.encode()
            packet: Any = av.Packet(len(words).to_bytes(2, "big") + words)
            packet.stream, packet.time_base = text, Fraction(1, 1000)
            packet.pts = packet.dts = nth * 1000
            packet.duration = 1000
            container.mux(packet)
    return path


def trimmed(path: Path, film_path: Path, seconds: float) -> Path:
    """The MP4 ``film_path`` without its first seconds, as phones do it: hidden, not removed."""
    with (
        av.open(f"file:{film_path}") as source,
        av.open(f"file:{path}", "w", format="mp4") as container,
    ):
        copies = [
            container.add_stream_from_template(stream, opaque=True)
            for stream in source.streams
        ]
        packet: Any
        for packet in source.demux():
            if packet.size:
                hidden = int(seconds / packet.time_base)
                packet.pts, packet.dts = packet.pts - hidden, packet.dts - hidden
                packet.stream = copies[packet.stream_index]
                container.mux(packet)
    return path
