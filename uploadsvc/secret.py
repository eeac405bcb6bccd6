"""The service's own secret: given in the settings, or generated once in the data folder."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

from uploadsvc.settings import Settings

NAME = "secret"


def load(settings: Settings) -> str:
    """The secret; a new one is written with mode 0600 before it is used.

    Several processes may start at once: the first link wins and all read the same.
    """
    if settings.jwt_secret:
        return settings.jwt_secret
    if not path(settings).exists():
        _generate(path(settings))
    return path(settings).read_text().strip()


def path(settings: Settings) -> Path:
    """Where the generated secret is kept."""
    return settings.data_dir / NAME


def _generate(kept: Path) -> None:
    kept.parent.mkdir(parents=True, exist_ok=True)
    made = kept.with_name(f"{NAME}.{secrets.token_hex(8)}")
    descriptor = os.open(made, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        os.write(descriptor, secrets.token_urlsafe(48).encode())
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    try:
        kept.hardlink_to(made)
    except FileExistsError:
        pass  # somebody else's is there
    finally:
        made.unlink()
