"""Film: MP4, MOV, WebM and Matroska.

One video stream is looked at and that one is kept; another would be passed on unseen. A film
container that holds only sound is answered for by :class:`AudioFormat`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from av.container import InputContainer
from av.stream import Discard, Stream
from av.video.stream import VideoStream
from PIL import Image

from uploadsvc.errors import InvalidMedia, UnsupportedMedia
from uploadsvc.model import Facts
from uploadsvc.verify import Array, Kept, Limits, Probed, Sample, Subject
from uploadsvc.verify.formats.audio import AudioFormat
from uploadsvc.verify.formats.containers import (
    WRAPPINGS,
    check_tracks,
    codec_of,
    films,
    opened,
    wrapping_of,
)
from uploadsvc.verify.formats.ends import check_end
from uploadsvc.verify.formats.frames import (
    Picture,
    display_matrix,
    frames_at,
    picture,
    turned,
)
from uploadsvc.verify.formats.likeness import Shown
from uploadsvc.verify.formats.moments import Choice, choose
from uploadsvc.verify.formats.picture import digest, write_thumbnail
from uploadsvc.verify.formats.remux import carrying, copying, packets, steps
from uploadsvc.verify.formats.survey import Survey, survey

SOUND_OF = {
    "video/mp4": "audio/mp4",
    "video/quicktime": "audio/mp4",
    "video/webm": "audio/webm",
    "video/x-matroska": "audio/x-matroska",
}
COPY_SHARE = 0.9  # of the work of keeping; the rest is the poster
TEXT_SUBTITLES = frozenset({"mov_text", "subrip", "srt", "ass", "ssa", "webvtt"})
# Drones and cameras write where they are as subtitles, once a second.
WHEREABOUTS = re.compile(
    rb"gps|latitude|longitude|\bhome\s*\(|[-+]?\d{1,3}\.\d{4,}[,; NSEW]*[-+ ]\d{1,3}\.\d{4,}",
    re.IGNORECASE,
)
DARK, FLAT = (
    24,
    12,
)  # mean and deviation, of 255: below, a picture says nothing of a film


class VideoFormat:
    """Films; see :class:`uploadsvc.verify.Format`."""

    def probe(self, subject: Subject, mime_type: str, limits: Limits) -> Probed:
        wrapping = wrapping_of(mime_type)
        check_end(subject.path, wrapping.demuxer)
        with opened(subject.path, wrapping.demuxer, limits.max_pixels) as container:
            check_tracks(container, limits)
            if films(container):
                return _probed_film(container, mime_type, limits)
        return AudioFormat().probe(subject, SOUND_OF[mime_type], limits)

    def samples(
        self, subject: Subject, probed: Probed, limits: Limits
    ) -> Iterator[Sample]:
        """One for each moment that was decoded; without a picture where it is near-identical
        to one shown before."""
        shown = Shown()
        for found in _pictures(subject, probed, limits):
            new = shown.is_new(found.pixels)
            yield Sample(found.seconds, found.pixels if new else None)

    def keep(self, subject: Subject, probed: Probed) -> Iterator[float | Kept]:
        """Nothing is encoded anew: the copy is as good as what was sent, and quickly made."""
        wrapping = wrapping_of(probed.mime_type)
        target = subject.scratch / f"original.{wrapping.extension}"
        telling = _telling_where(subject, wrapping.demuxer)

        def copied() -> Iterator[float]:
            with opened(subject.path, wrapping.demuxer, Limits().max_pixels) as source:
                streams = [
                    stream for stream in _kept(source) if stream.index not in telling
                ]
                with copying(target, wrapping, streams, {}) as write:
                    for share, packet in packets(source, streams):
                        write(packet)
                        yield share * COPY_SHARE

        yield from steps(copied())
        yield COPY_SHARE
        poster = Image.fromarray(_poster(subject, probed))
        thumbnail = write_thumbnail(poster, subject.scratch)
        facts = Facts(
            probed.mime_type,
            *digest(target),
            width=probed.width,
            height=probed.height,
            duration=probed.duration,
            codec=probed.codec,
            blurhash=thumbnail.blurhash,
        )
        yield 1.0
        yield Kept(facts, target.name, thumbnail.name)


def _probed_film(container: InputContainer, mime_type: str, limits: Limits) -> Probed:
    wrapping = WRAPPINGS[mime_type]
    stream = _film(container)
    if stream.width * stream.height > limits.max_pixels:
        raise InvalidMedia("The film has too many pixels", limit=limits.max_pixels)
    found = survey(container, stream, wrapping, limits.max_duration_s)
    if not any(bytes(found.tail[-1])):
        raise InvalidMedia  # room reserved by a download that never ended
    ends = sorted({*found.entrances[:1], *found.entrances[-1:]})
    decoded = list(frames_at(container, stream, ends))
    if not decoded or len(decoded) < len(ends):
        raise InvalidMedia
    choice = _choice(stream, found, limits)
    width, height = decoded[0].width, decoded[0].height
    if turned(display_matrix(decoded[0])):
        width, height = height, width
    return Probed(
        family="video",
        mime_type=carrying(wrapping, _kept(container)).mime_type,
        plan=len(choice.moments),
        width=width,
        height=height,
        duration=found.duration,
        codec=codec_of(stream),
        whole=choice.whole,
    )


def _pictures(subject: Subject, probed: Probed, limits: Limits) -> Iterator[Picture]:
    wrapping = wrapping_of(probed.mime_type)
    with opened(subject.path, wrapping.demuxer, limits.max_pixels) as container:
        stream = _film(container)
        found = survey(container, stream, wrapping, float("inf"))
        chosen = _choice(stream, found, limits).moments
        for frame in frames_at(container, stream, chosen[: probed.plan]):
            yield picture(frame, stream)


def _poster(subject: Subject, probed: Probed) -> Array:
    """The first picture that shows something, or the liveliest of those that show little."""
    liveliest: Array = None
    for shown in _pictures(subject, probed, Limits()):
        pixels = shown.pixels
        if pixels.mean() >= DARK and pixels.std() >= FLAT:
            return pixels
        if liveliest is None or pixels.std() > liveliest.std():
            liveliest = pixels
    if liveliest is None:
        raise InvalidMedia
    return liveliest


def _film(container: InputContainer) -> VideoStream:
    """The film the players would show. Raises UnsupportedMedia where no decoder knows it."""
    candidates = films(container)
    best = container.streams.best("video")
    stream = next((film for film in candidates if film is best), candidates[0])
    if not stream.codec_context:
        raise UnsupportedMedia
    return stream


def _choice(stream: VideoStream, found: Survey, limits: Limits) -> Choice:
    if not stream.time_base:
        raise InvalidMedia
    # A film that does not say how fast it goes is taken for a fast one.
    rate = float(stream.average_rate or stream.guessed_rate or 60)
    return choose(
        found.entrances,
        stream.time_base,
        found.duration,
        leaps=found.leaps,
        most=limits.sampled_frames,
        most_between_s=limits.frames_between / max(rate, 1.0),
    )


def _kept(container: InputContainer) -> list[Stream]:
    """The film, all sound, and subtitles that are text; those in pictures were not looked at."""
    sounds = [stream for stream in container.streams.audio if stream.codec_context]
    texts = [
        stream
        for stream in container.streams.subtitles
        if stream.codec_context and stream.codec_context.name in TEXT_SUBTITLES
    ]
    return [_film(container), *sounds, *texts]


def _telling_where(subject: Subject, demuxer: str) -> frozenset[int]:
    """The subtitle streams that name positions."""
    with opened(subject.path, demuxer, Limits().max_pixels) as container:
        texts = container.streams.subtitles
        if not texts:
            return frozenset()
        for stream in container.streams:
            stream.discard = Discard.none if stream in texts else Discard.all
        return frozenset(
            packet.stream_index
            for packet in container.demux(texts)
            if packet.size and WHEREABOUTS.search(bytes(packet))
        )
