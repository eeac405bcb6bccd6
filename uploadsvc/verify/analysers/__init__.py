"""Engines behind one protocol (:class:`uploadsvc.verify.Analyser`); a module each.

A package may bring one of its own by the entry point group ``uploadsvc.analysers``.
"""

from __future__ import annotations

from collections.abc import Iterator

from uploadsvc.verify import Evidence, Sample, Subject, Unexamined


class Silent:
    """Looks at nothing; an analyser overrides what it does look at."""

    name = "silent"

    def file(self, subject: Subject, mime_type: str) -> Iterator[Evidence | Unexamined]:
        return iter(())

    def picture(self, sample: Sample, where: str) -> Iterator[Evidence | Unexamined]:
        return iter(())

    def words(self, field: str, text: str) -> Iterator[Evidence | Unexamined]:
        return iter(())
