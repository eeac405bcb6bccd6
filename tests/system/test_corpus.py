"""The corpus through the real child, in its sandbox, one warm child for all of it."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import av
import pikepdf
import pytest
from PIL import Image
from structlog.testing import capture_logs

from nginx import PROJECT
from tests.corpus import CASES, MARK, Case
from uploadsvc.model import Job, Outcome, Progress, Refused, Verified
from uploadsvc.verify.probe import identify
from uploadsvc.work.supervisor import ChildVerifier

MEMORY_BYTES = 2 * 2**30  # the default of UPLOADSVC_VERIFY_MEMORY_BYTES
DEADLINE_S = 60.0
PLAIN = {name: value for name, value in os.environ.items() if "UPLOADSVC" not in name}

REFUSALS = frozenset({"invalid_media", "unsupported_media_type", "content_rejected"})
# What others, who were not told, take a kept file for.
PICTURES = {
    "image/jpeg": {"JPEG"},
    "image/png": {"PNG"},
    "image/gif": {"GIF"},
    "image/webp": {"WEBP"},
    "image/avif": {"AVIF"},
    "image/tiff": {"TIFF"},
}
DEMUXERS = {
    "video/mp4": "mp4",
    "video/quicktime": "mov",
    "video/webm": "webm",
    "video/x-matroska": "matroska",
    "audio/mp4": "mp4",
    "audio/webm": "webm",
    "audio/x-matroska": "matroska",
    "audio/mpeg": "mp3",
    "audio/wav": "wav",
    "audio/flac": "flac",
    "audio/ogg": "ogg",
}


@dataclass(frozen=True)
class House:
    """A child and the folders it may know of."""

    child: ChildVerifier
    incoming: Path
    scratch: Path


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    folder = tmp_path_factory.mktemp("house")
    incoming, scratch = folder / "incoming", folder / "scratch"
    incoming.mkdir()
    scratch.mkdir()
    options = {
        "policy": "",
        "memory_bytes": MEMORY_BYTES,
        "cpu_s": DEADLINE_S,
        "readable": [str(incoming)],
        "writable": [str(scratch)],
    }
    child = ChildVerifier(options, deadline_s=DEADLINE_S)
    child.warm()
    yield House(child, incoming, scratch)
    child.kill()


PARAMETERS = [
    pytest.param(case, id=case.name, marks=() if case.quick else pytest.mark.slow)
    for case in CASES
]


def test_the_corpus_is_as_large_as_it_is_said_to_be() -> None:
    damaged = [case for case in CASES if case.name.split()[-1].isdigit()]

    assert len(damaged) >= 300
    assert len([case for case in CASES if case.quick]) == 40
    assert len({case.name for case in CASES}) == len(CASES)


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
@pytest.mark.parametrize("case", PARAMETERS)
def test_every_file_of_the_corpus_ends_once_and_as_what_it_is(
    case: Case, house: House
) -> None:
    path, scratch = house.incoming / case.name, house.scratch / case.name
    path.write_bytes(case.make())
    scratch.mkdir()
    house.child.warm()
    pid = house.child.pid or 0

    with capture_logs() as logs:
        news = list(house.child.verify(job(case.name), path, scratch))

    said = [each.get("line", "") for each in logs if each["event"] == "verifier says"]
    assert not [line for line in said if "Traceback" in line]
    assert [each for each in news if not isinstance(each, Progress)] == news[-1:]
    assert (house.child.pid, house.child.ready) == (pid, True), "the child died"
    assert children_of(pid) == []
    assert peak_bytes(pid) <= resource.prlimit(pid, resource.RLIMIT_AS)[0]
    check(case, news[-1], scratch)
    path.unlink()


def check(case: Case, outcome: Progress | Outcome, scratch: Path) -> None:
    if isinstance(outcome, Refused):
        assert not case.sound
        assert outcome.code in REFUSALS
        return
    assert isinstance(outcome, Verified)
    mime_type, kept = outcome.facts.mime_type, scratch / outcome.original
    assert mime_type in case.kinds
    assert kept.stat().st_size == outcome.facts.size
    assert is_taken_for(kept, mime_type)
    assert MARK not in kept.read_bytes()
    with Image.open(scratch / str(outcome.thumbnail)) as thumbnail:
        assert thumbnail.format == "WEBP"


def is_taken_for(kept: Path, mime_type: str) -> bool:
    """By our own look at its head, and by libraries that try all they know."""
    seen = identify(kept)
    if mime_type == "application/pdf":
        with pikepdf.open(kept) as pdf:
            return seen == mime_type and len(pdf.pages) > 0
    if mime_type in PICTURES:
        with Image.open(kept) as image:
            return seen == mime_type and image.format in PICTURES[mime_type]
    with av.open(f"file:{kept}") as container:
        pictures = bool(container.streams.video)
        named = DEMUXERS[mime_type] in container.format.name.split(",")
    return named and pictures == mime_type.startswith("video/")


def job(name: str) -> Job:
    return Job("upload_of_a_test", "A title", "", "holiday.jpg", 0)


def children_of(pid: int) -> list[str]:
    found = Path(f"/proc/{pid}/task").glob("*/children")
    return [child for each in found for child in each.read_text().split()]


def peak_bytes(pid: int) -> int:
    """The most address space it ever had."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmPeak:"):
            return int(line.split()[1]) * 1024
    raise AssertionError("a process without a peak")


@pytest.mark.parametrize(
    ("name", "status", "code"),
    [
        ("sound jpeg", 0, None),
        ("gif with javascript behind", 0, None),
        ("exe named jpg", 1, "unsupported_media_type"),
        ("png of 144 megapixels", 1, "invalid_media"),
    ],
)
def test_the_command_ends_as_the_child_does(
    name: str, status: int, code: str | None, tmp_path: Path
) -> None:
    (case,) = (case for case in CASES if case.name == name)
    path = tmp_path / "holiday.jpg"
    path.write_bytes(case.make())

    ended = subprocess.run(
        [sys.executable, "-m", "uploadsvc.cli", "verify", str(path)],
        cwd=PROJECT,
        env=PLAIN,
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        check=False,
    )

    lines = [json.loads(line) for line in ended.stdout.splitlines()]
    outcomes = [line for line in lines if line["type"] == "outcome"]
    assert "Traceback" not in ended.stderr
    assert ended.returncode == status
    assert outcomes == lines[-1:]
    assert outcomes[0].get("code") == code


def test_no_process_is_left_of_a_child_that_is_ended(house: House) -> None:
    house.child.warm()
    pid = house.child.pid or 0

    house.child.kill()

    assert not Path(f"/proc/{pid}").exists()
    assert pid not in sessions()


def sessions() -> set[int]:
    """Those of all living processes; a child leads its own."""
    found = set()
    for each in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            found.add(os.getsid(int(each.name)))
    return found
