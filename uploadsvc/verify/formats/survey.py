"""One pass over all packets of a container, none decoded: is it whole, how long is it?"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from av.container import InputContainer
from av.packet import Packet
from av.stream import Stream

from uploadsvc.errors import InvalidMedia
from uploadsvc.verify.formats.containers import Wrapping

MICROSECONDS = 1_000_000  # libav's unit for the duration of a container
TAIL_PACKETS = 3
CLOSE_ENOUGH_S = (
    0.5  # priming and padding of sound: the declared duration is the nicer one
)


@dataclass(frozen=True, slots=True, order=True)
class Moment:
    """A picture: shown at ``at``, decoded from ``keyframe``, in the stream's time base.

    The two differ where a phone trimmed a film: it marks the pictures before the cut as hidden
    and leaves them in, their keyframe among them, for the first ones shown need it.
    """

    at: int
    keyframe: int

    @property
    def alone(self) -> bool:
        return self.at == self.keyframe


@dataclass(frozen=True, slots=True)
class Survey:
    """``entrances`` are the first shown pictures from each of the main stream's keyframes.

    ``tail`` holds the main stream's last packets, for a decoder to try.
    """

    duration: float
    entrances: tuple[Moment, ...]
    tail: tuple[Packet[Stream], ...]


def survey(
    container: InputContainer, main: Stream, wrapping: Wrapping, max_duration_s: float
) -> Survey:
    """Read every packet. Raises InvalidMedia if some are missing or it goes on for too long."""
    declared = (container.duration or 0) / MICROSECONDS
    if wrapping.slack_s is not None and declared > max_duration_s:
        raise _too_long(max_duration_s)

    base = [float(stream.time_base or 0) for stream in container.streams]
    first, last = float("inf"), float("-inf")
    entrances: set[Moment] = set()
    keyframe: int | None = None  # the one whose entrance is still to come
    tail: deque[Packet[Stream]] = deque(maxlen=TAIL_PACKETS)
    for packet in container.demux():
        at = packet.dts if packet.pts is None else packet.pts
        if not packet.size or at is None or packet.stream_index >= len(base):
            continue
        unit = base[packet.stream_index]
        if not packet.is_discard:
            first = min(first, at * unit)
            last = max(last, (at + (packet.duration or 0)) * unit)
        if last - first > max_duration_s:
            raise _too_long(max_duration_s)
        if packet.stream_index == main.index:
            tail.append(packet)
            if packet.is_keyframe:
                keyframe = at
            if keyframe is not None and not packet.is_discard:
                entrances.add(Moment(at, keyframe))
                keyframe = None

    if not tail or last < first:
        raise InvalidMedia
    measured = last - first
    if wrapping.slack_s is not None and declared - measured > wrapping.slack_s:
        raise InvalidMedia
    if wrapping.demuxer == "mov":
        _check_index(container)
    agreed = declared > 0 and abs(declared - measured) <= CLOSE_ENOUGH_S
    duration = round(declared if agreed else measured, 6)
    return Survey(duration, tuple(sorted(entrances)), tuple(tail))


def _check_index(container: InputContainer) -> None:
    """An MP4 may list samples behind its end; libav ends the reading there without a word."""
    size = container.size
    for stream in container.streams:
        if any(entry.pos + entry.size > size for entry in stream.index_entries):
            raise InvalidMedia


def _too_long(max_duration_s: float) -> InvalidMedia:
    return InvalidMedia("The file plays for too long", limitSeconds=max_duration_s)
