"""The real clamd with one signature of our own; it listens on a unix socket alone.

No signature database is needed, none is downloaded, and Debian's own daemon is not touched.
"""

from __future__ import annotations

import getpass
import os
import shutil
import subprocess
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import Self

from uploadsvc.verify.analysers.clamav import ClamAv

DEADLINE_S = 60.0
SIGNATURE = "Own.Test.Signature"
INFECTED = b"these bytes are the signature of the tests of uploadsvc"


def program() -> str:
    """The clamd to run. Not finding one is a failure: ``make test`` installs it."""
    path = os.environ.get("PATH", "") + ":/usr/sbin:/usr/local/sbin"
    found = shutil.which("clamd", path=path)
    assert found, "clamd is not installed"
    return found


class Clamd:
    """A context manager: clamd with ``options`` (lines of clamd.conf) besides what it needs.
    Entering returns once it answers."""

    def __init__(self, *options: str) -> None:
        # A short path: a unix socket's name has 107 bytes at the most.
        self._folder = tempfile.TemporaryDirectory(prefix="clamd-")
        folder = Path(self._folder.name)
        self.socket = folder / "clamd.sock"
        self._log = folder / "clamd.log"
        self._configuration = folder / "clamd.conf"
        self._configuration.write_text(
            "\n".join(
                [
                    f"LocalSocket {self.socket}",
                    f"DatabaseDirectory {folder / 'signatures'}",
                    f"TemporaryDirectory {folder}",
                    f"User {getpass.getuser()}",
                    "Foreground yes",
                    "MaxThreads 2",
                    *options,
                    "",
                ]
            )
        )
        (folder / "signatures").mkdir()
        (folder / "signatures" / "own.ndb").write_text(
            f"{SIGNATURE}:0:*:{INFECTED.hex()}\n"
        )
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        try:
            self._start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    def stop(self) -> None:
        """Stop clamd and forget its folder. A second call does nothing."""
        if self._process:
            self._process.terminate()
            try:
                self._process.wait(DEADLINE_S)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        self._folder.cleanup()

    def _start(self) -> None:
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [program(), "--config-file", str(self._configuration)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        asking, ends = ClamAv(self.socket), time.monotonic() + DEADLINE_S
        while not asking.ping():
            said = self._log.read_text(errors="replace")
            assert self._process.poll() is None, f"clamd did not start: {said}"
            assert time.monotonic() < ends, f"clamd never answered: {said}"
            time.sleep(0.02)
