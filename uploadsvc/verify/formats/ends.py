"""Is the end of the file there, by the file's own account?

libav reads a file that was cut off as a shorter one and says nothing, sometimes (an MP4 whose
index lost its tail) with a track less. So the outermost lengths are walked here, a few reads a
file: MP4 atoms, Matroska elements, the WAV data chunk, the last Ogg page, the byte count of an
MP3's Xing header. Whether what is inside makes sense is for the demuxer and the decoder.

FLAC has no outer length; its sample count is compared in :mod:`.survey`.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from uploadsvc.errors import InvalidMedia

# A fragmented film of four hours has some 50,000 atoms, an unfinished WebM of that length two
# million blocks. Without a bound, 500 MB of empty atoms would be walked for a minute.
MAX_PARTS = 3_000_000

ATOMS = frozenset(
    b"ftyp styp moov mdat moof mfra sidx free skip wide uuid meta udta emsg pnot".split()
)
SEGMENT, CLUSTER = 0x18538067, 0x1F43B675
UNKNOWN_WAV_BYTES = (
    0x7FFFF000  # written by programs that could not know, sox the lowest
)
OGG_TAIL_BYTES = 128 * 1024  # the largest page is 65,307 bytes
OGG_LAST_PAGE = 0x04
XING_BYTES_SLACK = 256  # some encoders count the ID3v1 tag, which may be gone since


def check_end(path: Path, demuxer: str) -> None:
    """Raises InvalidMedia if the file says that it should be longer than it is."""
    check = CHECKS.get(demuxer)
    if check is None:
        return
    with path.open("rb") as file:
        if not check(file, path.stat().st_size):
            raise InvalidMedia


def _atoms_end(file: BinaryIO, size: int) -> bool:
    at = 0
    for _ in range(MAX_PARTS):
        if size - at < 8:
            return True
        file.seek(at)
        header = file.read(16)
        length, kind = int.from_bytes(header[:4], "big"), header[4:8]
        if kind not in ATOMS or length == 0:
            return True  # junk behind the last atom, or an atom that ends where the file does
        if length == 1:
            length = int.from_bytes(header[8:16], "big")
        if length < 8 or at + length > size:
            return False
        at += length
    return False


def _elements_end(file: BinaryIO, size: int) -> bool:
    """A recorder that cannot seek leaves segment and clusters open; then blocks are walked."""
    at = 0
    for _ in range(MAX_PARTS):
        if at == size:
            return True
        file.seek(at)
        header = file.read(12)
        id_bytes = _width(header[:1], widest=4)
        if id_bytes == 0:
            return True  # junk behind the last element
        length_bytes = _width(header[id_bytes : id_bytes + 1], widest=8)
        head = id_bytes + length_bytes
        if length_bytes == 0 or len(header) < head:
            return False
        kind = int.from_bytes(header[:id_bytes], "big")
        marker = 1 << 7 * length_bytes
        length = int.from_bytes(header[id_bytes:head], "big") - marker
        if length != marker - 1:
            at += head + length
            if kind == SEGMENT or at > size:
                return at <= size
        elif kind in (SEGMENT, CLUSTER):
            at += head
        else:
            return False
    return False


def _width(first: bytes, widest: int) -> int:
    """How many bytes an EBML number has, told by its first; 0 where it is none."""
    if not first or first[0] == 0:
        return 0
    width = 9 - first[0].bit_length()
    return width if width <= widest else 0


def _wav_data_ends(file: BinaryIO, size: int) -> bool:
    at, large = 12, 0
    for _ in range(MAX_PARTS):
        file.seek(at)
        header = file.read(24)
        if len(header) < 8:
            return False
        kind, length = header[:4], int.from_bytes(header[4:8], "little")
        at += 8
        if kind == b"ds64":
            large = int.from_bytes(header[16:24], "little")
        if kind == b"data":
            if length >= UNKNOWN_WAV_BYTES:
                length = large
            return at + length <= size
        at += length + length % 2
    return False


def _last_page_ends(file: BinaryIO, size: int) -> bool:
    file.seek(max(0, size - OGG_TAIL_BYTES))
    tail = file.read(OGG_TAIL_BYTES)
    page = tail[tail.rfind(b"OggS") :]
    if len(page) < 27 or not page.startswith(b"OggS"):
        return False
    segments = page[27 : 27 + page[26]]
    whole = len(page) >= 27 + page[26] + sum(segments)
    return whole and bool(page[5] & OGG_LAST_PAGE)


def _xing_bytes_end(file: BinaryIO, size: int) -> bool:
    """An MP3 without such a header cannot tell, and counts as whole."""
    tag = file.read(10)
    at = 0
    if tag.startswith(b"ID3") and len(tag) == 10:
        high, mid, low, last = tag[6:10]
        at = 10 + (high << 21 | mid << 14 | low << 7 | last)
    file.seek(at)
    frame = file.read(4096)
    sync = frame.find(b"\xff")
    mark = max(frame.find(b"Xing"), frame.find(b"Info"))
    if not 0 <= sync < mark or mark + 16 > len(frame):
        return True
    has_frames, has_bytes = frame[mark + 7] & 1, frame[mark + 7] & 2
    if not has_bytes:
        return True
    field = mark + 8 + 4 * has_frames
    declared = int.from_bytes(frame[field : field + 4], "big")
    return at + sync + declared <= size + XING_BYTES_SLACK


CHECKS: dict[str, Callable[[BinaryIO, int], bool]] = {
    "mov": _atoms_end,
    "matroska": _elements_end,
    "wav": _wav_data_ends,
    "ogg": _last_page_ends,
    "mp3": _xing_bytes_end,
}
