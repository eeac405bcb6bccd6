"""Sound: MP3, M4A, WAV, FLAC, Ogg, and the sound of a film container without pictures."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import av
from av.audio.frame import AudioFrame
from av.audio.stream import AudioStream
from av.container import InputContainer
from av.packet import Packet

from uploadsvc.errors import InvalidMedia, UnsupportedMedia
from uploadsvc.model import Facts
from uploadsvc.verify import Kept, Limits, Probed, Sample, Subject
from uploadsvc.verify.formats import cover, flac
from uploadsvc.verify.formats.containers import (
    check_tracks,
    codec_of,
    films,
    opened,
    wrapping_of,
)
from uploadsvc.verify.formats.ends import check_end
from uploadsvc.verify.formats.picture import digest, write_thumbnail
from uploadsvc.verify.formats.remux import carrying, copying, packets, steps
from uploadsvc.verify.formats.survey import survey
from uploadsvc.verify.formats.waveform import Waveform

MAX_SAMPLES = 3600  # of a longer sound each stands for several seconds
KEPT_TAGS = ("title", "artist", "album")  # the rest may say where, when and with what
MISSING_SHARE, MISSING_S = 0.01, 0.25  # decoded sound may be this much shorter
# MPEG audio has no bounds around its frames: a tag in the middle, or a first frame that leans
# on one cut away, does not decode and no player minds. One frame in fifty is no such case.
FORGIVEN, FORGIVEN_SHARE = 3, 0.02
MPEG_AUDIO = frozenset({"mp3", "mp3float"})
COVER_PIXELS = 1  # covers are never decoded


class AudioFormat:
    """Sounds; see :class:`uploadsvc.verify.Format`."""

    def probe(self, subject: Subject, mime_type: str, limits: Limits) -> Probed:
        wrapping = wrapping_of(mime_type)
        check_end(subject.path, wrapping.demuxer)
        with opened(subject.path, wrapping.demuxer, limits.max_pixels) as container:
            check_tracks(container, limits)
            if films(container):
                raise UnsupportedMedia
            stream = _sound(container)
            found = survey(container, stream, wrapping, limits.max_duration_s)
            if found.duration <= 0:
                raise InvalidMedia
            _try_decoding(stream, found.tail)
            kept_as = carrying(wrapping, [stream])
            pictures = len(cover.covers(container, limits))
        return Probed(
            family="audio",
            mime_type=kept_as.mime_type,
            plan=min(math.ceil(found.duration), MAX_SAMPLES) + pictures,
            duration=found.duration,
            codec=codec_of(stream),
        )

    def samples(
        self, subject: Subject, probed: Probed, limits: Limits
    ) -> Iterator[Sample]:
        """The covers, then all of the sound, which is decoded; a sample of it is told when its
        seconds have passed."""
        wrapping = wrapping_of(probed.mime_type)
        planned = probed.plan
        with opened(subject.path, wrapping.demuxer, limits.max_pixels) as container:
            streams = cover.covers(container, limits)
            for picture in cover.pictures(container, streams, limits):
                yield Sample(0.0, picture)
                planned -= 1
        duration = probed.duration or 0.0
        step, told = duration / planned, 0
        with opened(subject.path, wrapping.demuxer, limits.max_pixels) as container:
            hearing = Hearing(_sound(container))
            for packet in container.demux(hearing.stream):
                hearing.hear(packet)
                while told < planned - 1 and hearing.seconds >= (told + 1) * step:
                    yield Sample(told * step)
                    told += 1
        if hearing.seconds < duration - max(MISSING_S, duration * MISSING_SHARE):
            raise InvalidMedia
        yield Sample(told * step)

    def keep(self, subject: Subject, probed: Probed) -> Iterator[float | Kept]:
        """The copy has no cover: it is a picture of its own, with metadata of its own, which
        nothing here strips."""
        wrapping = wrapping_of(probed.mime_type)
        target = subject.scratch / f"original.{wrapping.extension}"
        waveform = Waveform(probed.duration or 0.0)

        def copied() -> Iterator[float]:
            with opened(subject.path, wrapping.demuxer, COVER_PIXELS) as source:
                hearing = Hearing(_sound(source))
                streams = [hearing.stream]
                tags = _kept_tags(source, hearing.stream)
                with copying(target, wrapping, streams, tags) as write:
                    told = packets(source, streams)
                    if wrapping.demuxer == "flac":
                        told = flac.without_tail(told, hearing.stream)
                    for share, packet in told:
                        at = hearing.seconds
                        for frame in hearing.hear(packet):
                            waveform.add(at, frame)
                        # What is no sound may be anything: a ZIP behind an MP3, say.
                        if not hearing.failed:
                            write(packet)
                        yield share

        yield from steps(copied())
        thumbnail = write_thumbnail(waveform.image(), subject.scratch)
        facts = Facts(
            probed.mime_type,
            *digest(target),
            duration=probed.duration,
            codec=probed.codec,
            blurhash=thumbnail.blurhash,
        )
        yield 1.0
        yield Kept(facts, target.name, thumbnail.name)


class Hearing:
    """Decodes a stream packet by packet and counts: seconds heard, packets that failed."""

    def __init__(self, stream: AudioStream) -> None:
        self.stream = stream
        self.seconds = 0.0
        self.failed = False  # the packet heard last
        self._packets = 0
        self._failed = 0

    def hear(self, packet: Packet[Any]) -> Sequence[AudioFrame]:
        """The packet's sound. Raises av.FFmpegError when too much does not decode."""
        self._packets += 1
        self.failed = False
        try:
            frames = self.stream.decode(packet)
        except av.InvalidDataError:
            self.failed = True
            self._failed += 1
            if self._failed > self._forgiven():
                raise
            return []
        self.seconds += sum(frame.samples / frame.sample_rate for frame in frames)
        return frames

    def _forgiven(self) -> float:
        if self.stream.codec_context.name not in MPEG_AUDIO:
            return 0
        return FORGIVEN + self._packets * FORGIVEN_SHARE


def _sound(container: InputContainer) -> AudioStream:
    stream = container.streams.best("audio")
    if not isinstance(stream, AudioStream) or not stream.codec_context:
        raise UnsupportedMedia
    return stream


def _try_decoding(stream: AudioStream, tail: Sequence[Packet[Any]]) -> None:
    """The last packets: a cut inside the last one is seen by no one but the decoder."""
    hearing = Hearing(stream)
    for packet in tail:
        hearing.hear(packet)


def _kept_tags(container: InputContainer, stream: AudioStream) -> dict[str, str]:
    """Ogg keeps its tags with the stream, the others with the container."""
    found = {**stream.metadata, **container.metadata}
    tags = {name.lower(): text for name, text in found.items()}
    return {name: tags[name] for name in KEPT_TAGS if name in tags}
