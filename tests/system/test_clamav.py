"""ClamAV: the real clamd with a signature of our own, and a clamd that misbehaves."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from clamd import INFECTED, SIGNATURE, Clamd

from uploadsvc.verify import Evidence, Subject, Unexamined
from uploadsvc.verify.analysers.clamav import CHUNK_BYTES, ClamAv

MB = 10**6
# Debian's clamd says of an own signature that it is none of ClamAV's.
FOUND = [Evidence("clamav", f"{SIGNATURE}.UNOFFICIAL", 1.0, "file")]


@pytest.fixture(scope="module")
def clamd() -> Iterator[Clamd]:
    with Clamd("StreamMaxLength 3M", "MaxFileSize 3M", "AlertExceedsMax yes") as clamd:
        yield clamd


@pytest.fixture
def look(tmp_path: Path) -> Callable[[ClamAv, bytes], list[Evidence | Unexamined]]:
    """What ClamAV says of a file of these bytes."""

    def look(clamav: ClamAv, content: bytes) -> list[Evidence | Unexamined]:
        path = tmp_path / "received"
        path.write_bytes(content)
        return list(clamav.file(Subject(path, tmp_path), "image/png"))

    return look


Look = Callable[[ClamAv, bytes], list[Evidence | Unexamined]]


# --- the real one ----------------------------------------------------------------------


@pytest.mark.parametrize("size", [0, 1, CHUNK_BYTES, 2 * MB])
def test_file_without_a_signature_is_no_evidence(
    clamd: Clamd, look: Look, size: int
) -> None:
    found = look(ClamAv(clamd.socket), b"x" * size)

    assert found == []


@pytest.mark.parametrize("before", [0, CHUNK_BYTES - 20, 2 * MB])
def test_signature_is_found_wherever_it_stands(
    clamd: Clamd, look: Look, before: int
) -> None:
    found = look(ClamAv(clamd.socket), b"x" * before + INFECTED + b"x" * 100)

    assert found == FOUND


def test_file_above_the_limit_of_clamd_is_not_scanned(clamd: Clamd, look: Look) -> None:
    """clamd answers and hangs up in the middle of it."""
    found = look(ClamAv(clamd.socket), INFECTED + b"x" * 40 * MB)

    why = "INSTREAM size limit exceeded. ERROR"
    assert found == [Unexamined("clamav", "not_scanned", "file", why)]


def test_file_above_our_limit_is_not_scanned(clamd: Clamd, look: Look) -> None:
    found = look(ClamAv(clamd.socket, max_bytes=1000), INFECTED + b"x" * 1000)

    (unexamined,) = found
    assert isinstance(unexamined, Unexamined)
    assert (unexamined.what, unexamined.where) == ("not_scanned", "file")


def test_limit_that_clamd_calls_a_finding_is_not_scanned(look: Look) -> None:
    """Nobody looked, so it is neither clean nor infected."""
    with Clamd("StreamMaxLength 3M", "MaxFileSize 1M", "AlertExceedsMax yes") as clamd:
        found = look(ClamAv(clamd.socket), INFECTED + b"x" * 2 * MB)

    why = "stream: Heuristics.Limits.Exceeded.MaxFileSize FOUND"
    assert found == [Unexamined("clamav", "not_scanned", "file", why)]


def test_clamd_calls_a_file_clean_that_it_did_not_scan(look: Look) -> None:
    """Why docs/analysers.md wants AlertExceedsMax, and ``max_bytes`` is not above MaxFileSize."""
    with Clamd("StreamMaxLength 3M", "MaxFileSize 1M") as clamd:
        trusting = look(ClamAv(clamd.socket), INFECTED + b"x" * 2 * MB)
        bounded = look(ClamAv(clamd.socket, max_bytes=MB), INFECTED + b"x" * 2 * MB)

    assert trusting == []
    assert [type(each) for each in bounded] == [Unexamined]


def test_ping_tells_whether_clamd_answers(clamd: Clamd, tmp_path: Path) -> None:
    answers = [ClamAv(clamd.socket).ping(), ClamAv(tmp_path / "nowhere").ping()]

    assert answers == [True, False]


def test_clamd_that_was_stopped_is_not_scanned(look: Look) -> None:
    with Clamd() as clamd:
        clamav = ClamAv(clamd.socket)
        before = look(clamav, INFECTED)
    after = look(clamav, INFECTED)

    why = "unreachable: No such file or directory"
    assert before == FOUND
    assert after == [Unexamined("clamav", "not_scanned", "file", why)]


WITHOUT_NETWORK = """
import ctypes, os, sys
from pathlib import Path
from uploadsvc.verify import Subject
from uploadsvc.verify.analysers.clamav import ClamAv

CLONE_NEWUSER, CLONE_NEWNET = 0x1000_0000, 0x4000_0000
flags = CLONE_NEWNET if os.geteuid() == 0 else CLONE_NEWNET | CLONE_NEWUSER
if ctypes.CDLL(None).unshare(flags) != 0:
    sys.exit("refused")
file = Path(sys.argv[2])
for each in ClamAv(Path(sys.argv[1])).file(Subject(file, file.parent), ""):
    print(each.label)
"""


def test_clamd_answers_a_process_without_network(clamd: Clamd, tmp_path: Path) -> None:
    """The verifier child leaves its network; a unix socket is a file."""
    file = tmp_path / "received"
    file.write_bytes(INFECTED)
    command = [sys.executable, "-c", WITHOUT_NETWORK, str(clamd.socket), str(file)]

    said = subprocess.run(command, capture_output=True, text=True, check=False)

    if said.stderr.strip() == "refused":
        pytest.skip("this machine lets nobody leave its network")
    assert (said.stdout.strip(), said.stderr) == (f"{SIGNATURE}.UNOFFICIAL", "")


# --- one that misbehaves ---------------------------------------------------------------


@contextmanager
def misbehaving(path: Path, reply: bytes, *, reads: bool = True) -> Iterator[ClamAv]:
    """A clamd of a few lines that says ``reply`` and hangs up; without one it waits until
    the other side has gone."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()

        def serve() -> None:
            connection, _ = listener.accept()
            with connection, suppress(OSError):
                while reads and not connection.recv(MB).endswith(b"\0\0\0\0"):
                    pass
                connection.sendall(reply)
                while not reply and connection.recv(MB):
                    pass

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield ClamAv(path, timeout_s=0.3)
        finally:
            thread.join()


@pytest.mark.parametrize(
    "reply",
    [
        b"",
        b"\0",
        b"stream: O",
        b"stream: OK",
        b"OK\0",
        b"stream: OK ERROR\0",
        b"stream: \0",
        b"UNKNOWN COMMAND\0",
        b"\xff" * 10_000,
    ],
    ids=[
        "silent",
        "empty",
        "cut",
        "without end",
        "other",
        "error",
        "none",
        "?",
        "long",
    ],
)
def test_anything_but_a_whole_ok_is_not_scanned(
    tmp_path: Path, look: Look, reply: bytes
) -> None:
    with misbehaving(tmp_path / "clamd.sock", reply) as clamav:
        found = look(clamav, b"a picture")

    assert [type(each) for each in found] == [Unexamined]


def test_clamd_that_does_not_read_is_given_up(tmp_path: Path, look: Look) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "clamd.sock"))
        listener.listen()
        found = look(ClamAv(tmp_path / "clamd.sock", timeout_s=0.2), b"x" * 10 * MB)

    why = "no answer within 0.2 s"
    assert found == [Unexamined("clamav", "not_scanned", "file", why)]


def test_what_clamd_said_before_it_hung_up_is_read(tmp_path: Path, look: Look) -> None:
    """It may find a signature before the end of the file, and hang up at once."""
    reply = b"stream: Early.Bird FOUND\0"
    with misbehaving(tmp_path / "clamd.sock", reply, reads=False) as clamav:
        found = look(clamav, b"x" * 10 * MB)

    assert found == [Evidence("clamav", "Early.Bird", 1.0, "file")]
