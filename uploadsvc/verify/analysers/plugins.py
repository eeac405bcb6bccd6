"""Analysers of other packages, found by the entry point group ``uploadsvc.analysers``.

An entry point leads to a factory ``(config: Mapping[str, Any]) -> Analyser``. Its config is
the policy's table ``[analysers.NAME]``, empty if there is none, and the analyser's name is
NAME as well. Installed is in use: a plugin that cannot be loaded stops the verifier, because
a service that goes on without it would call clean what nobody looked at.

Plugins run inside the verifier child, in its sandbox: no network, no secrets.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from importlib.metadata import EntryPoint, entry_points
from types import MappingProxyType
from typing import Any, cast

from uploadsvc.verify import Analyser, Evidence, Sample, Subject, Unexamined

GROUP = "uploadsvc.analysers"
METHODS = ("file", "picture", "words")

Look = Callable[[], Iterator[Evidence | Unexamined]]


class PluginError(Exception):
    """A plugin cannot be used; the message names it."""


def installed() -> frozenset[str]:
    """The names of the plugins that are installed. Loads none of them."""
    return frozenset(entry.name for entry in entry_points(group=GROUP))


def load(configs: Mapping[str, Mapping[str, Any]]) -> tuple[Analyser, ...]:
    """Every installed plugin, made from its config, in the order of their names.

    Raises PluginError.
    """
    found: dict[str, EntryPoint] = {}
    for entry in entry_points(group=GROUP):
        other = found.setdefault(entry.name, entry)
        if other.value != entry.value:
            raise _error(entry, f"has this name, and {_origin(other)} has it too")
    return tuple(
        _made(found[name], MappingProxyType(dict(configs.get(name, {}))))
        for name in sorted(found)
    )


def _made(entry: EntryPoint, config: Mapping[str, Any]) -> Analyser:
    try:
        analyser = entry.load()(config)
    except (
        Exception
    ) as error:  # foreign code: whatever it raises, the plugin is to blame
        raise _error(entry, f"does not load: {error!r}") from error
    if not all(callable(getattr(analyser, method, None)) for method in METHODS):
        raise _error(entry, f"gives no analyser: it needs {', '.join(METHODS)}")
    if getattr(analyser, "name", None) != entry.name:
        raise _error(entry, f"must give an analyser whose name is {entry.name!r}")
    return Guarded(cast(Analyser, analyser))


def _error(entry: EntryPoint, what: str) -> PluginError:
    return PluginError(f"the analyser plugin {entry.name!r} ({_origin(entry)}) {what}")


def _origin(entry: EntryPoint) -> str:
    where = f"{entry.dist.name} {entry.dist.version}" if entry.dist else "unknown"
    return f"{where}, {entry.value}"


class Guarded:
    """An analyser that keeps the promises of the protocol, around one that may not: what it
    raises is an Unexamined, and evidence is evidence in its own name."""

    def __init__(self, analyser: Analyser) -> None:
        self._analyser = analyser
        self.name = analyser.name

    def file(self, subject: Subject, mime_type: str) -> Iterator[Evidence | Unexamined]:
        return self._guarded(lambda: self._analyser.file(subject, mime_type), "file")

    def picture(self, sample: Sample, where: str) -> Iterator[Evidence | Unexamined]:
        return self._guarded(lambda: self._analyser.picture(sample, where), where)

    def words(self, field: str, text: str) -> Iterator[Evidence | Unexamined]:
        return self._guarded(lambda: self._analyser.words(field, text), field)

    def _guarded(self, look: Look, where: str) -> Iterator[Evidence | Unexamined]:
        try:
            for each in look():
                yield self._checked(each)
        except Exception as error:  # foreign code, as above
            yield Unexamined(self.name, "failed", where, repr(error)[:300])

    def _checked(self, each: Any) -> Evidence | Unexamined:
        if not isinstance(each, Evidence | Unexamined) or each.source != self.name:
            raise TypeError("neither Evidence nor Unexamined in its own name")
        if isinstance(each, Evidence) and not 0 <= each.score <= 1:
            raise ValueError("a score must be from 0 to 1")
        return each
