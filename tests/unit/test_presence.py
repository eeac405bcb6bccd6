"""Who is alive: a lock held for as long as the process lives."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from uploadsvc.work.presence import Presence

OTHER = """
import sys
from pathlib import Path
from uploadsvc.work.presence import Presence
print(Presence(Path(sys.argv[1])).id, flush=True)
sys.stdin.read()
"""


@pytest.fixture
def own(tmp_path: Path) -> Iterator[Presence]:
    presence = Presence(tmp_path / "run")
    yield presence
    presence.leave()


@pytest.fixture
def other(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(
        [sys.executable, "-c", OTHER, tmp_path / "run"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        yield process
        process.kill()


def name_of(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def test_process_that_runs_is_alive(
    own: Presence, other: subprocess.Popen[str]
) -> None:
    name = name_of(other)

    assert own.alive(name)
    assert own.alive(name), "asking must not take the lock away"


def test_killed_process_is_dead_at_once(
    own: Presence, other: subprocess.Popen[str]
) -> None:
    name = name_of(other)

    other.kill()
    other.wait()

    assert not own.alive(name)


def test_file_of_a_dead_process_is_removed(
    own: Presence, other: subprocess.Popen[str], tmp_path: Path
) -> None:
    name = name_of(other)
    other.kill()
    other.wait()

    own.alive(name)

    assert {path.name for path in (tmp_path / "run").iterdir()} == {own.id}


def test_process_is_alive_to_itself_until_it_leaves(own: Presence) -> None:
    before = own.alive(own.id)

    own.leave()

    assert (before, own.alive(own.id)) == (True, False)


def test_process_that_left_is_dead_to_others(own: Presence, tmp_path: Path) -> None:
    other = Presence(tmp_path / "run")

    other.leave()

    assert not own.alive(other.id)


def test_leaving_twice_is_once(own: Presence) -> None:
    own.leave()

    own.leave()

    assert not own.alive(own.id)


@pytest.mark.parametrize("owner", ["", "0123456789abcdef"])
def test_nobody_is_not_alive(own: Presence, owner: str) -> None:
    assert not own.alive(owner)


def test_two_in_one_folder_have_names_of_their_own(
    own: Presence, tmp_path: Path
) -> None:
    other = Presence(tmp_path / "run")

    both_alive = own.alive(other.id) and other.alive(own.id)
    other.leave()

    assert both_alive
    assert own.id != other.id
