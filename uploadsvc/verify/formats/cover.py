"""The pictures that come with a sound: its cover, as players show it."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence

from av.container import InputContainer
from av.stream import Disposition, Stream
from PIL import Image

from uploadsvc.errors import InvalidMedia
from uploadsvc.verify import Array, Limits
from uploadsvc.verify.formats.picture import SAMPLE_SIDE, decoding, sample

FORMATS = ("JPEG", "PNG", "GIF", "WEBP", "BMP")


def covers(container: InputContainer, limits: Limits) -> Sequence[Stream]:
    """A cover is a video stream of one picture to libav."""
    found = [
        stream
        for stream in container.streams.video
        if stream.disposition & Disposition.attached_pic
    ]
    return found[: limits.cover_pictures]


def pictures(
    container: InputContainer, streams: Sequence[Stream], limits: Limits
) -> Iterator[Array | None]:
    """One for each stream; None where it is no picture, for then nobody is shown it."""
    missing = {stream.index for stream in streams}
    if not missing:
        return
    # libav gives covers before any sound.
    for packet in container.demux(streams):
        if packet.size and packet.stream_index in missing:
            missing.remove(packet.stream_index)
            yield _decoded(bytes(packet), limits)
        if not missing:
            break
    yield from (None for _ in missing)


def _decoded(content: bytes, limits: Limits) -> Array | None:
    try:
        with decoding(), Image.open(io.BytesIO(content), formats=FORMATS) as cover:
            if cover.width * cover.height > limits.max_pixels:
                return None
            cover.draft(None, (SAMPLE_SIDE, SAMPLE_SIDE))
            return sample(cover)
    except InvalidMedia:
        return None
