"""Opening sound and film through libav, and nothing but the one file that was asked for.

Three doors are shut here, and only here:

* The demuxer is forced, so a playlist or a concat script is never taken for one.
* libav gets an open file, not a name, so ``http:`` or ``concat:`` in a name means nothing.
* Whatever a container asks to be opened beside itself is refused.

Foreign errors become :class:`InvalidMedia` in :func:`translated`; change both formats, sound
and film, along with it.
"""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av
from av.audio.stream import AudioStream
from av.container import InputContainer
from av.stream import Disposition
from av.video.stream import VideoStream

from uploadsvc.errors import InvalidMedia, StorageFull, UnsupportedMedia
from uploadsvc.verify import Limits

READ_BYTES = 256 * 1024  # a seek throws the buffer away, so not more
OUT_OF_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT})


@dataclass(frozen=True, slots=True)
class Wrapping:
    """How a type of file is read and how its copy is written.

    ``slack_s`` is how far its packets may end before the duration it declares; None where the
    declared one is a guess of the demuxer's. ``wider`` names the type to use for the copy when
    this one cannot carry what was found (H.264 in a file that calls itself WebM).
    """

    mime_type: str
    demuxer: str
    muxer: str
    extension: str
    slack_s: float | None = None
    wider: str | None = None


# 30 s: the last picture of a screen recording may stand that long and Matroska does not say so.
# A cut is seen in `ends`; the slack is for containers that lie. FLAC counts its samples.
WRAPPINGS: dict[str, Wrapping] = {
    wrapping.mime_type: wrapping
    for wrapping in (
        Wrapping("video/mp4", "mov", "mp4", "mp4", 30, "video/quicktime"),
        Wrapping("video/quicktime", "mov", "mov", "mov", 30),
        Wrapping("video/webm", "matroska", "webm", "webm", 30, "video/x-matroska"),
        Wrapping("video/x-matroska", "matroska", "matroska", "mkv", 30),
        Wrapping("audio/mp4", "mov", "mp4", "m4a", 30),
        Wrapping("audio/webm", "matroska", "webm", "webm", 30, "audio/x-matroska"),
        Wrapping("audio/x-matroska", "matroska", "matroska", "mka", 30),
        Wrapping("audio/mpeg", "mp3", "mp3", "mp3"),
        Wrapping("audio/wav", "wav", "wav", "wav"),
        Wrapping("audio/flac", "flac", "flac", "flac", 0.05),
        Wrapping("audio/ogg", "ogg", "ogg", "ogg"),
    )
}


def wrapping_of(mime_type: str) -> Wrapping:
    if mime_type not in WRAPPINGS:
        raise UnsupportedMedia
    return WRAPPINGS[mime_type]


@contextmanager
def translated() -> Iterator[None]:
    """Turn libav's errors into ours. A full disk is not the file's fault and says so.

    Lack of memory is the file's: libav asks for as much as a damaged length says, gigabytes.
    """
    try:
        yield
    except av.FFmpegError as error:
        if error.errno in OUT_OF_ROOM:
            raise StorageFull from error
        raise InvalidMedia from error


@contextmanager
def opened(path: Path, demuxer: str, max_pixels: int) -> Iterator[InputContainer]:
    """The container in ``path``, its decoders bounded to ``max_pixels`` a frame."""
    bound = {"max_pixels": str(max_pixels)}
    with (
        translated(),
        path.open("rb") as file,
        av.open(
            file,
            "r",
            format=demuxer,
            options=bound,
            metadata_errors="replace",
            buffer_size=READ_BYTES,
            io_open=_refuse,
        ) as container,
    ):
        for stream in container.streams:
            # A stream that libav has no decoder for has no context, whatever the stub says.
            if stream.type in ("video", "audio") and stream.codec_context:
                stream.codec_context.options.update(bound)
                stream.codec_context.thread_count = 1
        yield container


def check_tracks(container: InputContainer, limits: Limits) -> None:
    """Attachments are no tracks: a film with subtitles may bring thirty fonts."""
    tracks = sum(stream.type != "attachment" for stream in container.streams)
    if tracks > limits.max_tracks:
        raise InvalidMedia("The file has too many tracks", limit=limits.max_tracks)


def films(container: InputContainer) -> list[VideoStream]:
    """The video streams that move; a cover picture is a video stream to libav."""
    return [
        stream
        for stream in container.streams.video
        if not stream.disposition & Disposition.attached_pic
    ]


def codec_of(stream: VideoStream | AudioStream) -> str:
    """The codec's own name: ``av1``, whoever decodes it (``libdav1d``)."""
    return stream.codec_context.codec.canonical_name


def _refuse(*_asked: Any) -> Any:
    raise PermissionError(errno.EACCES, "a container asked for another file")
