"""How large the streams of a PDF get, found without ever holding one.

Some kilobytes, packed twice, are gigabytes; whoever draws them is out of memory, which ends a
process and says nothing about the file.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator

import pikepdf

from uploadsvc.errors import InvalidMedia

PIECE = 2**20  # bytes in memory at a time


def check_streams(pdf: pikepdf.Pdf, most: int) -> None:
    """Raises InvalidMedia if a stream unpacks to more than ``most`` bytes, at any layer."""
    for found in pdf.objects:
        if isinstance(found, pikepdf.Stream) and (layers := _layers(found)):
            pieces = iter([found.read_raw_bytes()])
            for _ in range(layers):
                pieces = _inflated(pieces, most)
            for _piece in pieces:
                pass


def _layers(stream: pikepdf.Object) -> int:
    """How often it is deflated before anything else was done to it; the rest swells little."""
    named = stream.get("/Filter")
    filters = list(named) if isinstance(named, pikepdf.Array) else [named]
    layers = 0
    while layers < len(filters) and filters[layers] in ("/FlateDecode", "/Fl"):
        layers += 1
    return layers


def _inflated(pieces: Iterator[bytes], most: int) -> Iterator[bytes]:
    unpacker, left = zlib.decompressobj(), most
    try:
        for piece in pieces:
            while piece:
                grown = unpacker.decompress(piece, PIECE)
                left -= len(grown)
                if left < 0:
                    raise InvalidMedia("The PDF unpacks to more than can be looked at")
                yield grown
                piece = unpacker.unconsumed_tail
    except zlib.error:
        return  # damaged: qpdf will say so
