"""The generated secret: private, kept, and the same for everybody who starts at once."""

from __future__ import annotations

import stat
import subprocess
import sys
from pathlib import Path

from uploadsvc import secret
from uploadsvc.settings import Settings

STARTER = """
import sys
from pathlib import Path
from uploadsvc import secret
from uploadsvc.settings import Settings
print("ready", flush=True)
sys.stdin.read()
print(secret.load(Settings(data_dir=Path(sys.argv[1]))))
"""


def test_secret_can_be_read_by_its_owner_only(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path / "var")

    secret.load(settings)

    assert stat.S_IMODE(secret.path(settings).stat().st_mode) == 0o600


def test_secret_stays_the_same(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path)

    first = secret.load(settings)

    assert secret.load(settings) == first
    assert len(first) >= 64


def test_folders_have_secrets_of_their_own(tmp_path: Path) -> None:
    one = secret.load(Settings(data_dir=tmp_path / "one"))
    other = secret.load(Settings(data_dir=tmp_path / "other"))

    assert one != other


def test_given_secret_is_used_and_none_is_written(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path, jwt_secret="given" * 10)

    assert secret.load(settings) == "given" * 10
    assert list(tmp_path.iterdir()) == []


def test_processes_that_start_at_once_agree(tmp_path: Path) -> None:
    starters = [
        subprocess.Popen(
            [sys.executable, "-c", STARTER, tmp_path / "var"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(4)
    ]
    for starter in starters:
        assert starter.stdout is not None
        starter.stdout.readline()

    # They wait for the end of stdin, which comes to all of them nearly at once.
    for starter in starters:
        assert starter.stdin is not None
        starter.stdin.close()

    told = []
    for starter in starters:
        assert starter.stdout is not None
        told.append(starter.stdout.read().strip())
        starter.stdout.close()
        starter.wait()
    assert len(set(told)) == 1
    assert [path.name for path in (tmp_path / "var").iterdir()] == ["secret"]
