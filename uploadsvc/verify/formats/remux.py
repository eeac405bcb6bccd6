"""Copying packets into a new container, so that nothing but the chosen streams comes along.

The copy is made from nothing: no container metadata, no chapters, no cover, no attachments, no
data streams (telemetry of action cameras, positions of phones). Of a stream only codec
parameters, language, disposition and the side data beside the parameters (the display matrix,
which is the rotation) are taken over.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import av
from av.container import InputContainer, OutputContainer
from av.packet import Packet
from av.stream import Stream

from uploadsvc.errors import UnsupportedMedia
from uploadsvc.verify.formats.containers import WRAPPINGS, Wrapping, translated

Write = Callable[["Packet[Stream]"], None]  # generic to the type checker only
SHARE_STEP = 0.01


def carrying(wrapping: Wrapping, streams: Sequence[Stream]) -> Wrapping:
    """``wrapping``, or its wider relative where its muxer does not take the streams' codecs.

    Raises UnsupportedMedia where none does.
    """
    with av.open("none", "w", format=wrapping.muxer) as trial:  # never written
        try:
            for stream in streams:
                _twin(trial, stream)
        except ValueError as error:
            if wrapping.wider is None:
                raise UnsupportedMedia from error
            return carrying(WRAPPINGS[wrapping.wider], streams)
    return wrapping


@contextmanager
def copying(
    target: Path,
    wrapping: Wrapping,
    streams: Sequence[Stream],
    metadata: Mapping[str, str],
) -> Iterator[Write]:
    """A function that writes a packet of one of ``streams``; the copy is finished at the end.

    ``bitexact`` keeps libav's name and the time of writing out of the file.
    """
    options = {"fflags": "+bitexact"}
    if wrapping.demuxer == "mov":
        options["movflags"] = "+faststart"  # players begin before they have it all
    with (
        translated(),
        av.open(
            f"file:{target}", "w", format=wrapping.muxer, container_options=options
        ) as copy,
    ):
        copy.metadata.update(metadata)
        twins = {stream.index: _twin(copy, stream) for stream in streams}
        newest: dict[int, int] = {}

        def write(packet: Packet[Stream]) -> None:
            index = packet.stream_index
            if packet.dts is not None:
                # Films in the wild repeat a decoding time, which muxers refuse; the ffmpeg
                # program moves such a packet by one tick, and so do we.
                earliest = newest.get(index, packet.dts - 1) + 1
                if packet.dts < earliest:
                    packet.dts = earliest
                    packet.pts = max(packet.pts or earliest, earliest)
                newest[index] = packet.dts
            packet.stream = twins[index]
            copy.mux_one(packet)

        yield write


def packets(
    source: InputContainer, streams: Sequence[Stream]
) -> Iterator[tuple[float, Packet[Stream]]]:
    """Every packet of ``streams`` with the share of the file's bytes that came before it."""
    size, done = max(source.size, 1), 0
    for packet in source.demux(tuple(streams)):
        if not packet.size:
            continue  # the demuxer's request to flush a decoder
        yield min(done / size, 1.0), packet
        done += packet.size


def steps(shares: Iterator[float]) -> Iterator[float]:
    """Those of the growing ``shares`` that are worth telling."""
    told = -SHARE_STEP
    for share in shares:
        if share >= told + SHARE_STEP:
            told = share
            yield share


def _twin(copy: OutputContainer, stream: Stream) -> Stream:
    twin = copy.add_stream_from_template(stream, opaque=True)
    twin.disposition = stream.disposition
    if stream.language:
        twin.metadata["language"] = stream.language
    if stream.codec_context.codec_tag == "hvc1":
        # The muxer's own choice, hev1, is a black picture on Apple's players.
        twin.codec_context.codec_tag = "hvc1"
    return twin
