"""Getting the pictures of a film that ``moments`` chose: small, upright, RGB."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from av.codec.context import Flags
from av.container import InputContainer
from av.sidedata.sidedata import SideData
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from uploadsvc.verify import Array
from uploadsvc.verify.formats.picture import SAMPLE_SIDE
from uploadsvc.verify.formats.survey import Moment


@dataclass(frozen=True, slots=True)
class Picture:
    seconds: float
    pixels: Array


def frames_at(
    container: InputContainer, stream: VideoStream, wanted: Sequence[Moment]
) -> Iterator[VideoFrame]:
    """The frames at the moments, growing; one that does not decode to a picture is left out."""
    stream.thread_type = "NONE"
    # As the ffmpeg program does; without it a film that starts between keyframes shows nothing.
    stream.codec_context.flags |= Flags.output_corrupt
    going: Iterator[VideoFrame] = iter(())
    going_from: int | None = None
    for moment in wanted:
        if moment.alone:
            frame, going_from = _keyframe(container, stream, moment.keyframe), None
        else:
            if going_from != moment.keyframe:
                going = _from(container, stream, moment.keyframe)
                going_from = moment.keyframe
            frame = next(
                (f for f in going if f.pts is not None and f.pts >= moment.at), None
            )
        if frame is not None:
            yield frame


def _keyframe(
    container: InputContainer, stream: VideoStream, at: int
) -> VideoFrame | None:
    container.seek(at, stream=stream)
    for packet in container.demux(stream):
        if not packet.size:
            return None
        if not packet.is_keyframe or (packet.pts is not None and packet.pts < at):
            continue
        frames = stream.decode(packet) + stream.decode(None)
        if frames:
            return frames[0]
        stream.codec_context.flush_buffers()
    return None


def _from(
    container: InputContainer, stream: VideoStream, keyframe: int
) -> Iterator[VideoFrame]:
    container.seek(keyframe, stream=stream)
    stream.codec_context.skip_frame = "NONREF"  # half the work, and near enough
    try:
        yield from container.decode(stream)
    finally:
        stream.codec_context.skip_frame = "DEFAULT"


def picture(frame: VideoFrame, stream: VideoStream) -> Picture:
    """The frame as it is shown, at most ``SAMPLE_SIDE`` pixels wide and high."""
    base = frame.time_base or stream.time_base or Fraction(0)
    start = stream.start_time or 0
    shape = float(stream.sample_aspect_ratio or 1)
    width, height = _fitted(frame.width * shape, frame.height)
    small = frame.reformat(width, height, "rgb24", interpolation="AREA")
    pixels = upright(small.to_ndarray(), display_matrix(frame))
    return Picture(max(float(((frame.pts or start) - start) * base), 0.0), pixels)


def _fitted(width: float, height: float) -> tuple[int, int]:
    scale = min(1.0, SAMPLE_SIDE / max(width, height))
    return max(round(width * scale), 1), max(round(height * scale), 1)


def display_matrix(frame: VideoFrame) -> tuple[int, int, int, int]:
    """The four numbers of the display matrix that turn and mirror; (1, 0, 0, 1) does nothing."""
    matrix = frame.side_data.get("DISPLAYMATRIX")
    if not isinstance(matrix, SideData):
        return 1, 0, 0, 1
    a, b, _, c, d = np.frombuffer(bytes(matrix), np.int32)[:5].tolist()
    return a, b, c, d


def turned(matrix: tuple[int, int, int, int]) -> bool:
    """Whether width and height change places."""
    return abs(matrix[1]) > abs(matrix[0])


def upright(pixels: Array, matrix: tuple[int, int, int, int]) -> Array:
    """The picture as it is shown. Quarter turns and mirrorings only; players do no more."""
    a, b, c, d = matrix
    right, down = a, d
    if turned(matrix):
        pixels = pixels.transpose(1, 0, 2)
        right, down = c, b
    if right < 0:
        pixels = pixels[:, ::-1]
    if down < 0:
        pixels = pixels[::-1]
    return np.ascontiguousarray(pixels)
