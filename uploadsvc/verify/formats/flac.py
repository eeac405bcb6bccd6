"""Where the last frame of a FLAC file ends.

Nothing in the file says so: libav takes all that is left for the last frame, its decoder reads
what it needs of that, and a copy would carry a foreign file behind the sound along.
"""

from __future__ import annotations

from collections.abc import Iterator

import av
from av.audio.codeccontext import AudioCodecContext
from av.audio.stream import AudioStream
from av.packet import Packet
from av.stream import Stream

from uploadsvc.errors import InvalidMedia

LARGEST_FRAME = 2**21  # bytes; eight channels of 65,535 samples of 32 bits, unpacked
TRIES = 100  # a checksum of 16 bits is right by chance once in 65,536 bytes

Told = tuple[float, "Packet[Stream]"]


def without_tail(told: Iterator[Told], stream: AudioStream) -> Iterator[Told]:
    """The packets as they come, the last one cut where its frame ends.

    Raises InvalidMedia when its frame has no end.
    """
    held: Told | None = None
    for each in told:
        if held is not None:
            yield held
        held = each
    if held is not None:
        share, packet = held
        yield share, _cut(packet, bytes(stream.codec_context.extradata or b""))


def _cut(packet: Packet[Stream], parameters: bytes) -> Packet[Stream]:
    data = bytes(packet)
    end = frame_end(data, parameters)
    if end == len(data):
        return packet
    frame: Packet[Stream] = Packet(data[:end])
    frame.stream, frame.time_base = packet.stream, packet.time_base
    frame.pts, frame.dts, frame.duration = packet.pts, packet.dts, packet.duration
    return frame


def frame_end(data: bytes, parameters: bytes) -> int:
    """The length of the frame ``data`` begins with. A frame's checksum over all of it is zero."""
    checksum, tries = 0, 0
    for at, byte in enumerate(data[:LARGEST_FRAME], 1):
        checksum = (checksum << 8 & 0xFFFF) ^ _CHECKSUMS[checksum >> 8 ^ byte]
        if checksum or tries == TRIES:
            continue
        tries += 1
        if _decodes(data[:at], parameters):
            return at
    raise InvalidMedia


def _decodes(frame: bytes, parameters: bytes) -> bool:
    decoder = AudioCodecContext.create("flac", "r")
    decoder.extradata = parameters
    # The decoder then sums up the bytes it has read, so a frame cut short is no frame.
    decoder.options = {"err_detect": "crccheck+explode"}
    try:
        return bool(decoder.decode(Packet(frame)))
    except av.FFmpegError:
        return False


def _checksum(byte: int) -> int:
    value = byte << 8
    for _ in range(8):
        value = value << 1 ^ (0x8005 if value & 0x8000 else 0)
    return value & 0xFFFF


_CHECKSUMS = tuple(_checksum(byte) for byte in range(256))
