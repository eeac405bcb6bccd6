"""Which of the processes that share the data folder are alive.

Each holds a lock on a file of its own for as long as it lives; the kernel lets go of it
however the process ends. So ``kill -9`` is seen at once, a process id used again misleads
nobody, and containers that share the folder see each other.
"""

from __future__ import annotations

import fcntl
import os
import secrets
from pathlib import Path


class Presence:
    """``id`` is this process's name as an owner of uploads."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self.id = secrets.token_hex(8)
        # Asking after the dead removes what they left.
        for path in folder.iterdir():
            self.alive(path.name)
        # Locked before it has its name: whoever asks in between must not take it for dead.
        unnamed = folder / f".{self.id}"
        self._descriptor: int | None = os.open(
            unnamed, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600
        )
        fcntl.flock(self._descriptor, fcntl.LOCK_EX)
        unnamed.rename(folder / self.id)

    def alive(self, owner: str) -> bool:
        if owner == self.id:
            return self._descriptor is not None
        try:
            descriptor = os.open(self._folder / owner, os.O_RDWR | os.O_CLOEXEC)
        except (FileNotFoundError, IsADirectoryError):
            return False
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        else:
            (self._folder / owner).unlink(missing_ok=True)
            return False
        finally:
            os.close(descriptor)

    def leave(self) -> None:
        """From now on what we own may be taken over."""
        if self._descriptor is not None:
            (self._folder / self.id).unlink(missing_ok=True)
            os.close(self._descriptor)
            self._descriptor = None
