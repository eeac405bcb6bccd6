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
# A picture that leaps out has this share of its keyframe's bytes, and so many times the bytes
# of those since; right behind the keyframe, where there are none, the larger share.
LEAP_OF_KEYFRAME, LEAP_OF_USUAL, LEAP_AT_ONCE = 0.3, 1.5, 0.6
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

    ``leaps`` are pictures between keyframes so large that they show something new: encoders
    make no keyframe of a cut soon after another one (x264: 25 frames), and some never do.
    ``tail`` holds the main stream's last packets, for a decoder to try.
    """

    duration: float
    entrances: tuple[Moment, ...]
    tail: tuple[Packet[Stream], ...]
    leaps: tuple[Moment, ...] = ()


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
    leaps = _Leaps()
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
            if leaps.next(packet, at) and not packet.is_discard:
                leaps.found.append(Moment(at, leaps.keyframe))
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
    return Survey(
        duration, tuple(sorted(entrances)), tuple(tail), tuple(sorted(leaps.found))
    )


class _Leaps:
    """Tells by its size whether a packet leaps out among those before it."""

    def __init__(self) -> None:
        self.keyframe = 0
        self.found: list[Moment] = []
        self._whole = 0  # bytes of the keyframe before
        self._usual = 0.0  # bytes of the packets since, the latest counting most

    def next(self, packet: Packet[Stream], at: int) -> bool:
        if packet.is_keyframe:
            self.keyframe, self._whole, self._usual = at, packet.size, 0.0
            return False
        share = LEAP_OF_KEYFRAME if self._usual else LEAP_AT_ONCE
        least = max(share * self._whole, LEAP_OF_USUAL * self._usual)
        leaps = 0 < least <= packet.size
        weight = 0.1 if self._usual else 1.0
        self._usual += weight * (packet.size - self._usual)
        return leaps


def _check_index(container: InputContainer) -> None:
    """An MP4 may list samples behind its end; libav ends the reading there without a word."""
    size = container.size
    for stream in container.streams:
        if any(entry.pos + entry.size > size for entry in stream.index_entries):
            raise InvalidMedia


def _too_long(max_duration_s: float) -> InvalidMedia:
    return InvalidMedia("The file plays for too long", limitSeconds=max_duration_s)
