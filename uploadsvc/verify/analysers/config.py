"""The tables ``[analysers.NAME]`` of the policy file.

A table is for the plugin of its name (see ``plugins``), or else describes an engine asked
over HTTP. Read by the child, which looks at pictures, and by its parent, which makes the
calls; the token itself is never in the file, and never in the child.
"""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from types import MappingProxyType
from typing import Any
from urllib.parse import urlsplit

from uploadsvc.verify.policy import PolicyError

TABLE = "analysers"
LABELS = "labels"
RESERVED = frozenset({"clamav"})  # named by UPLOADSVC_CLAMD_SOCKET
SENDS = ("jpeg", "url")


@dataclass(frozen=True, slots=True)
class HttpConfig:
    """An engine asked over HTTP. What each key means stands in docs/analysers.md."""

    name: str
    url: str
    token_env: str = ""
    ca_file: str = ""
    send: str = "jpeg"
    every: int = 1
    timeout_s: float = 5.0
    retries: int = 2
    failures: int = 5
    rest_s: float = 30.0


@dataclass(frozen=True, slots=True)
class Configured:
    """What the policy file says of analysers: engines on the network, and a table for each
    plugin that has one."""

    http: tuple[HttpConfig, ...]
    plugins: Mapping[str, Mapping[str, Any]]


def read(tables: Any, plugins: Collection[str]) -> Configured:
    """``tables`` is the policy's ``analysers``; ``plugins`` are the names of those installed.

    Raises PolicyError, naming the key.
    """
    if not isinstance(tables, Mapping):
        raise PolicyError(f"{TABLE} must be a table")
    for name, table in tables.items():
        if not isinstance(table, Mapping):
            raise PolicyError(f"{TABLE}.{name} must be a table")
        if name in RESERVED:
            raise PolicyError(f"{TABLE}.{name}: this name is taken, choose another")
    # What its labels lead to is the policy's business (policy_file), and none of the engine's.
    tables = {
        name: {key: value for key, value in table.items() if key != LABELS}
        for name, table in tables.items()
    }
    mine = {name: tables[name] for name in tables if name in plugins}
    others = (name for name in tables if name not in plugins)
    return Configured(
        tuple(_http(name, tables[name]) for name in others), MappingProxyType(mine)
    )


def from_file(path: Path, plugins: Collection[str]) -> Configured:
    """The same from a policy file, without reading the rest of it. Raises PolicyError."""
    try:
        content = tomllib.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise PolicyError(f"the policy file cannot be read: {error}") from error
    return read(content.get(TABLE, {}), plugins)


def lists_of(path: Path) -> Path | None:
    """The folder of known-bad lists that a policy file names; None if it names none.

    For whoever has to open the sandbox to it; raises PolicyError for what is no TOML.
    """
    try:
        table = tomllib.loads(path.read_text("utf-8")).get("known_bad")
    except (OSError, ValueError) as error:
        raise PolicyError(f"the policy file cannot be read: {error}") from error
    return lists_in(table, path.parent)


def lists_in(table: Any, folder: Path) -> Path | None:
    """The same from the policy's ``known_bad``; a relative path is beside the policy file."""
    named = table.get("lists") if isinstance(table, dict) else None
    return folder / named if isinstance(named, str) and named else None


def _http(name: str, table: Mapping[str, Any]) -> HttpConfig:
    for key in table:
        if key not in KEYS:
            raise PolicyError(f"{TABLE}.{name}.{key} is not known")
    if "url" not in table:
        raise PolicyError(
            f"{TABLE}.{name}.url is missing, and no plugin {name} is installed"
        )
    values = {}
    for key, value in table.items():
        try:
            values[key] = KEYS[key](value)
        except ValueError as error:
            raise PolicyError(f"{TABLE}.{name}.{key} {error}") from None
    return HttpConfig(name, **values)


def _url(value: Any) -> str:
    needs = ValueError("must be an address such as https://vendor.example/look")
    if not isinstance(value, str) or not value.isprintable() or " " in value:
        raise needs
    try:
        parts = urlsplit(value)
        host, _ = parts.hostname, parts.port
    except ValueError:
        raise needs from None
    if parts.scheme not in {"http", "https"} or not host:
        raise needs
    if parts.username is not None:
        raise ValueError("must not hold a password; use token_env")
    return value


def _variable(value: Any) -> str:
    if not isinstance(value, str) or not value.isidentifier() or not value.isascii():
        raise ValueError("must be the name of an environment variable")
    if value.startswith("UPLOADSVC_"):
        raise ValueError("must not begin with UPLOADSVC_, which are the service's own")
    return value


def _file(value: Any) -> str:
    # Whether it is there, is found out by who opens it: the child may not see that folder.
    if not isinstance(value, str) or not value:
        raise ValueError("must be the path of a file")
    return value


def _send(value: Any) -> str:
    if value not in SENDS:
        raise ValueError(f"must be one of {', '.join(SENDS)}")
    return str(value)


def _whole(least: int, most: int) -> Callable[[Any], int]:
    def check(value: Any) -> int:
        if type(value) is not int or not least <= value <= most:
            raise ValueError(f"must be a whole number from {least} to {most}")
        return value

    return check


def _seconds(least: float, most: float) -> Callable[[Any], float]:
    def check(value: Any) -> float:
        if type(value) not in {int, float} or not least <= value <= most:
            raise ValueError(f"must be seconds from {least:g} to {most:g}")
        return float(value)

    return check


KEYS: dict[str, Callable[[Any], Any]] = {
    "url": _url,
    "token_env": _variable,
    "ca_file": _file,
    "send": _send,
    "every": _whole(1, 1000),
    "timeout_s": _seconds(0.1, 60),
    "retries": _whole(0, 5),
    "failures": _whole(1, 1000),
    "rest_s": _seconds(1, 3600),
}
assert {"name", *KEYS} == {each.name for each in fields(HttpConfig)}
