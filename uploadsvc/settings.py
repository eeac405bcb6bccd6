"""Every setting: its variable, type, default, unit and meaning; read once, from a mapping.

The environment is read here and nowhere else. All mistakes are reported together, each
naming its variable; an unknown ``UPLOADSVC_`` variable is a mistake too, so that a typing
error, or a setting of a later version, is never silently ignored.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

PREFIX = "UPLOADSVC_"
ORIGIN = re.compile(r"[A-Za-z0-9.:/\[\]-]+")
# Read by the commands that talk to a service (``uploadsvc upload``), not by the service.
CLIENT_VARIABLES = frozenset({"UPLOADSVC_URL", "UPLOADSVC_TOKEN"})
EXIT_STATUS = 78  # EX_CONFIG of sysexits.h


class SettingsError(ValueError):
    """The settings cannot work. ``mistakes`` has a sentence for each, naming its variable."""

    def __init__(self, mistakes: list[str]) -> None:
        self.mistakes = mistakes
        super().__init__("\n".join(mistakes))


def _text(value: str) -> str:
    return value.strip()


def _words(value: str) -> tuple[str, ...]:
    return tuple(word for word in value.replace(",", " ").split() if word)


def _path(value: str) -> Path:
    return Path(value).expanduser()


def _whole(least: int, most: int = 2**53) -> Callable[[str], int]:
    def read(value: str) -> int:
        try:
            number = int(value.strip())
        except ValueError:
            raise ValueError("needs a whole number") from None
        if not least <= number <= most:
            raise ValueError(f"needs a whole number from {least} to {most}")
        return number

    return read


def _seconds(least: float, most: float = 10**9) -> Callable[[str], float]:
    def read(value: str) -> float:
        try:
            number = float(value.strip())
        except ValueError:
            raise ValueError("needs a number of seconds") from None
        if not least <= number <= most:
            raise ValueError(f"needs a number of seconds from {least:g} to {most:g}")
        return number

    return read


def _one_of(*words: str) -> Callable[[str], str]:
    def read(value: str) -> str:
        if value.strip() not in words:
            raise ValueError(f"needs one of: {', '.join(words)}")
        return value.strip()

    return read


def _address(value: str) -> str:
    host, colon, port = value.strip().rpartition(":")
    if not colon or not host or not port.isdigit() or not 0 <= int(port) <= 65535:
        raise ValueError("needs an address such as 127.0.0.1:8000")
    return value.strip()


def _origins(value: str) -> tuple[str, ...]:
    origins = _words(value)
    for origin in origins:
        parts = urlsplit(origin)
        complete = parts.scheme and parts.netloc
        # Flask-CORS takes anything with a * for a regular expression, unanchored.
        if not (complete and ORIGIN.fullmatch(origin)) or parts.path or parts.query:
            raise ValueError(
                f"needs origins such as https://app.example, not {origin!r}"
            )
    return origins


def _base_url(value: str) -> str:
    parts = urlsplit(value.strip())
    if parts.scheme not in {"http", "https"} or not parts.netloc or parts.query:
        raise ValueError("needs an address such as https://uploads.example")
    return value.strip().rstrip("/")


def _cores() -> int:
    return len(os.sched_getaffinity(0))


def setting(
    meaning: str,
    default: Any,
    read: Callable[[str], Any],
    *,
    unit: str = "",
    secret: bool = False,
    shown: str | None = None,
) -> Any:
    """A field of :class:`Settings`: what it means, how its text is read, how it is shown."""
    metadata = {
        "meaning": meaning,
        "read": read,
        "unit": unit,
        "secret": secret,
        "shown": shown,
    }
    return field(default=default, metadata=metadata)


@dataclass(frozen=True)
class Settings:
    """What an operator decides. Build it with :meth:`from_env`."""

    env: str = setting(
        "development prints a token and readable logs; production prints nothing and logs JSON",
        "production",
        _one_of("production", "development"),
    )
    bind: str = setting("address to listen on", "127.0.0.1:8000", _address)
    public_url: str = setting(
        "address clients reach the service at; put before the media URLs; empty: they are relative",
        "",
        _base_url,
    )
    data_dir: Path = setting(
        "folder of database, media and generated secret", Path("./var"), _path
    )
    workers: int = setting("web worker processes", 1, _whole(1, 1024))
    verifiers: int = setting(
        "verifier processes in all, shared out among the web workers",
        max(1, _cores() - 1),
        _whole(1, 1024),
        shown="cores - 1, at least 1",
    )
    database_url: str = setting(
        "SQLAlchemy URL of the database; empty: SQLite in the data folder", "", _text
    )
    storage_url: str = setting(
        "where the bytes are kept, file:///folder; empty: the data folder", "", _text
    )
    jwt_secret: str = setting(
        "secret the access tokens are signed with (HS256); empty: generated in the data folder",
        "",
        _text,
        secret=True,
    )
    jwt_audience: str = setting(
        "audience a token must name; empty: not checked", "", _text
    )
    jwt_issuer: str = setting("issuer a token must name; empty: not checked", "", _text)
    jwt_user_claim: str = setting("claim of a token that names the user", "sub", _text)
    media_url_s: int = setting(
        "how long a signed media URL is good for", 3600, _whole(1), unit="s"
    )
    stream_max_s: float = setting(
        "age at which a stream is closed; 0: never", 0.0, _seconds(0), unit="s"
    )
    heartbeat_s: float = setting(
        "silence on a stream before a heartbeat", 15.0, _seconds(0.05), unit="s"
    )
    accel_prefix: str = setting(
        "internal location of nginx that serves the media folder, /_media/; empty: we send the bytes",
        "",
        _text,
    )
    cors_origins: tuple[str, ...] = setting(
        "origins of web pages that may call, separated by spaces or commas",
        (),
        _origins,
    )
    retention_days: int = setting(
        "days the rows of ended uploads are kept; 0: for ever",
        0,
        _whole(0),
        unit="days",
    )
    max_upload_bytes: int = setting(
        "largest file accepted", 524_288_000, _whole(1), unit="bytes"
    )
    max_streams: int = setting(
        "progress streams open at once in a web worker",
        10_000,
        _whole(1, 1_000_000),
        unit="streams",
    )
    streams_per_upload: int = setting(
        "streams open at once for one upload; a further one replaces the oldest",
        5,
        _whole(1, 10_000),
        unit="streams",
    )
    max_queue: int = setting(
        "uploads waiting for a verifier in a web worker before new ones are refused",
        200,
        _whole(1),
        unit="uploads",
    )
    verify_deadline_s: float = setting(
        "time a verification may take", 900.0, _seconds(0.1), unit="s"
    )
    verify_memory_bytes: int = setting(
        "address space a verifier may use beyond what it has when ready",
        2 * 2**30,
        _whole(64 * 2**20),
        unit="bytes",
    )
    body_idle_s: float = setting(
        "time an upload's body may stand still before it is cut off",
        120.0,
        _seconds(0.1),
        unit="s",
    )
    grace_s: int = setting(
        "time running work gets to end after SIGTERM", 30, _whole(1), unit="s"
    )
    policy_file: str = setting(
        "moderation policy (TOML); empty: the one shipped", "", _text
    )
    blocklist_dir: str = setting(
        "folder of known-bad lists (*.sha256, *.phash); empty: the policy's", "", _text
    )
    clamd_socket: str = setting(
        "unix socket of clamd, which then scans every file; empty: none does", "", _text
    )
    log_level: str = setting(
        "least level that is logged",
        "info",
        _one_of("debug", "info", "warning", "error"),
    )

    @classmethod
    def from_env(cls, environ: Mapping[str, str]) -> Settings:
        """Read every ``UPLOADSVC_`` variable of ``environ``.

        Raises SettingsError with all mistakes at once.
        """
        mistakes: list[str] = []
        values: dict[str, Any] = {}
        known = {variable(name): (name, read) for name, read in _readers()}
        for key in sorted(environ):
            if not key.startswith(PREFIX) or key in CLIENT_VARIABLES:
                continue
            if not environ[key].strip():
                continue  # an empty variable is one that was not set
            if key not in known:
                mistakes.append(f"{key}: no such setting; see 'uploadsvc settings'")
                continue
            name, read = known[key]
            try:
                values[name] = read(environ[key])
            except ValueError as error:
                mistakes.append(f"{key}: {error}")
        settings = cls(**values)
        mistakes += settings._contradictions()
        if mistakes:
            raise SettingsError(mistakes)
        return settings

    def _contradictions(self) -> Iterator[str]:
        if self.workers > 1:
            yield (
                "UPLOADSVC_WORKERS: more than 1 needs a hub that the workers share;"
                " with the in-process hub set it to 1"
            )
        if self.database_url and not self.database_url.startswith("sqlite:"):
            yield "UPLOADSVC_DATABASE_URL: needs a sqlite:/// URL"
        if self.storage_url and not self.storage_url.startswith("file:///"):
            yield "UPLOADSVC_STORAGE_URL: needs a file:///folder URL"
        if self.accel_prefix and not (
            self.accel_prefix.startswith("/") and self.accel_prefix.endswith("/")
        ):
            yield "UPLOADSVC_ACCEL_PREFIX: needs a path such as /_media/"
        if self.policy_file and not Path(self.policy_file).is_file():
            yield "UPLOADSVC_POLICY_FILE: no such file"
        if self.blocklist_dir and not Path(self.blocklist_dir).is_dir():
            yield "UPLOADSVC_BLOCKLIST_DIR: no such folder"

    @property
    def development(self) -> bool:
        return self.env == "development"

    @property
    def database(self) -> str:
        if self.database_url:
            return self.database_url
        return f"sqlite:///{(self.data_dir / 'uploadsvc.sqlite3').absolute()}"

    @property
    def storage_dir(self) -> Path:
        if self.storage_url:
            return Path(self.storage_url.removeprefix("file://"))
        # Absolute: Flask looks for a relative file beside its own code.
        return self.data_dir.absolute()

    @property
    def verifiers_per_worker(self) -> int:
        return max(1, self.verifiers // self.workers)


def variable(name: str) -> str:
    return PREFIX + name.upper()


def _readers() -> Iterator[tuple[str, Callable[[str], Any]]]:
    for known in fields(Settings):
        yield known.name, known.metadata["read"]


@dataclass(frozen=True, slots=True)
class Shown:
    """A setting as ``uploadsvc settings`` and the docs print it."""

    variable: str
    value: str
    default: str
    unit: str
    meaning: str


def shown(settings: Settings) -> Iterator[Shown]:
    """Every setting for people; a secret's value is never among it."""
    for known in fields(settings):
        about = known.metadata
        value = getattr(settings, known.name)
        hidden = about["secret"] and bool(value)
        yield Shown(
            variable(known.name),
            "(hidden)" if hidden else _as_text(value),
            about["shown"] or _as_text(known.default),
            about["unit"],
            about["meaning"],
        )


def _as_text(value: Any) -> str:
    if isinstance(value, tuple):
        return " ".join(value)
    if isinstance(value, float):
        # Exact, for it is read again by a child; and 15 rather than 15.0, for people.
        return repr(value).removesuffix(".0")
    return value if isinstance(value, str) else str(value)


__all__ = [
    "EXIT_STATUS",
    "Settings",
    "SettingsError",
    "Shown",
    "shown",
]
