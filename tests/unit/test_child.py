"""The real child process behind ``ChildVerifier``, with real files."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import gevent
import pytest
from vendor import Vendor

from tests import media, media_av
from uploadsvc.errors import VerificationCrashed, VerificationTimeout
from uploadsvc.model import Job, Progress, Refused, Verified
from uploadsvc.verify import policy_file
from uploadsvc.verify.analysers.config import from_file
from uploadsvc.verify.analysers.http import engines
from uploadsvc.work.supervisor import ChildVerifier

MEMORY_BYTES = 512 * 2**20


@pytest.fixture
def verifier() -> Iterator[ChildVerifier]:
    options = {"policy": "", "memory_bytes": MEMORY_BYTES, "cpu_s": 300}
    child = ChildVerifier(options, deadline_s=300)
    yield child
    child.kill()


@pytest.fixture
def scratch(tmp_path: Path) -> Path:
    folder = tmp_path / "scratch"
    folder.mkdir()
    return folder


def job(name: str = "file") -> Job:
    return Job("upload_of_a_test", "A title", "", name, 0)


def test_a_picture_is_verified_and_the_last_word_is_the_outcome(
    verifier: ChildVerifier, tmp_path: Path, scratch: Path
) -> None:
    path = tmp_path / "picture"
    path.write_bytes(media.jpeg())

    *progress, outcome = verifier.verify(job(), path, scratch)

    assert isinstance(outcome, Verified)
    assert all(isinstance(each, Progress) for each in progress)
    assert (scratch / outcome.original).stat().st_size == outcome.facts.size


def test_one_child_verifies_film_after_film_within_its_memory(
    verifier: ChildVerifier, tmp_path: Path
) -> None:
    """Decoders used to pile up in reference cycles until the memory limit met a sound file,
    which was then called damaged."""
    path = tmp_path / "film"
    media_av.mp4(path, seconds=3, size=(640, 360))
    outcomes = []

    for number in range(12):
        scratch = tmp_path / str(number)
        scratch.mkdir()
        outcomes.append(list(verifier.verify(job(), path, scratch))[-1])

    assert [type(each) for each in outcomes] == [Verified] * 12


def test_the_next_job_after_a_refused_one_finds_the_same_child(
    verifier: ChildVerifier, tmp_path: Path, scratch: Path
) -> None:
    bad, good = tmp_path / "bad", tmp_path / "good"
    bad.write_bytes(b"no picture at all")
    good.write_bytes(media.png())
    (refused,) = list(verifier.verify(job(), bad, scratch))[-1:]
    first = verifier.pid

    (verified,) = list(verifier.verify(job(), good, scratch))[-1:]

    assert isinstance(refused, Refused)
    assert refused.code == "unsupported_media_type"
    assert isinstance(verified, Verified)
    assert verifier.pid == first


def test_a_child_killed_at_work_is_a_crash_and_the_next_job_finds_a_fresh_one(
    verifier: ChildVerifier, tmp_path: Path, scratch: Path
) -> None:
    path = tmp_path / "picture"
    path.write_bytes(media.jpeg())
    verifier.warm()
    child = verifier.pid or 0
    os.kill(child, signal.SIGSTOP)
    gevent.spawn_later(0.1, os.kill, child, signal.SIGKILL)

    with pytest.raises(VerificationCrashed):
        list(verifier.verify(job(), path, scratch))

    assert isinstance(list(verifier.verify(job(), path, scratch))[-1], Verified)


def test_a_child_that_died_idle_is_replaced_before_the_next_job(
    verifier: ChildVerifier, tmp_path: Path, scratch: Path
) -> None:
    path = tmp_path / "picture"
    path.write_bytes(media.jpeg())
    verifier.warm()
    os.kill(verifier.pid or 0, signal.SIGKILL)
    while verifier.ready:
        gevent.sleep(0.01)

    outcome = list(verifier.verify(job(), path, scratch))[-1]

    assert isinstance(outcome, Verified)


def test_a_child_that_hangs_is_killed_at_its_deadline(
    tmp_path: Path, scratch: Path
) -> None:
    path = tmp_path / "picture"
    path.write_bytes(media.jpeg())
    options = {"policy": "", "memory_bytes": MEMORY_BYTES, "cpu_s": 300}
    hanging = ChildVerifier(options, deadline_s=0.5)
    hanging.warm()
    child = hanging.pid
    assert child is not None
    os.kill(child, signal.SIGSTOP)

    with pytest.raises(VerificationTimeout):
        list(hanging.verify(job(), path, scratch))

    assert not Path(f"/proc/{child}").exists()


def test_kill_from_another_greenlet_ends_the_job_as_a_crash(
    verifier: ChildVerifier, tmp_path: Path, scratch: Path
) -> None:
    path = tmp_path / "picture"
    path.write_bytes(media.jpeg())
    verifier.warm()
    os.kill(verifier.pid or 0, signal.SIGSTOP)
    gevent.spawn_later(0.1, verifier.kill)

    with pytest.raises(VerificationCrashed):
        list(verifier.verify(job(), path, scratch))


def test_the_childs_environment_holds_no_secret(
    verifier: ChildVerifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("UPLOADSVC_JWT_SECRET", "a secret nobody may read")

    verifier.warm()

    environment = Path(f"/proc/{verifier.pid}/environ").read_bytes()
    assert b"a secret" not in environment
    assert b"UPLOADSVC" not in environment


def test_the_layers_of_the_sandbox_are_told(verifier: ChildVerifier) -> None:
    verifier.warm()

    assert verifier.layers["memory"]
    assert set(verifier.layers) >= {"dies_with_parent", "no_network", "open_files"}


def test_a_real_child_without_network_has_its_picture_looked_at_by_a_vendor(
    tmp_path: Path, scratch: Path
) -> None:
    path = tmp_path / "picture"
    path.write_bytes(media.jpeg())
    policy = tmp_path / "policy.toml"
    with Vendor() as vendor:
        policy.write_text(
            policy_file.shipped().read_text()
            + f'\n[analysers.vendor]\nurl = "{vendor.url}"\n'
            + '[analysers.vendor.labels.nudity]\nreason = "sexual_content"\nreview = 1.0\n'
        )
        asked = engines(from_file(policy, plugins=()).http, environ={})
        options = {"policy": str(policy), "memory_bytes": MEMORY_BYTES, "cpu_s": 300}
        options |= {"readable": [str(tmp_path)], "writable": [str(scratch)]}
        child = ChildVerifier(options, deadline_s=300, engines=asked)
        try:
            *_, outcome = child.verify(job(), path, scratch)
        finally:
            child.kill()
            asked["vendor"].close()

    assert isinstance(outcome, Verified)
    assert [request.body[:2] for request in vendor.requests] == [b"\xff\xd8"]
