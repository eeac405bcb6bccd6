"""The policy file: from TOML to a :class:`~uploadsvc.verify.moderation.Policy`.

``data/policy.toml`` is the shipped one and, with its comments, the description of the format. The
file is read once, when a verifier starts, and every mistake in it is found then.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping
from importlib import resources
from pathlib import Path
from typing import Any

import regex  # type: ignore[import-untyped]

from uploadsvc.model import Verdict
from uploadsvc.verify.analysers.config import lists_in
from uploadsvc.verify.moderation import (
    ANY,
    KNOWN_BAD,
    MALWARE,
    PICTURES,
    WORDS,
    Found,
    Gaps,
    Policy,
    Rule,
    TextRules,
    Threshold,
)
from uploadsvc.verify.policy import Mistake, PolicyError, Table
from uploadsvc.verify.toml_lines import Lines
from uploadsvc.verify.wording import LANGUAGES, Severity

# What the image model tells apart, and the known-bad lists.
PICTURE_LABELS = ("drawing", "hentai", "neutral", "porn", "sexy")
KNOWN_BAD_LABELS = ("sha256", "perceptual")
OWN_SOURCES = frozenset({PICTURES, WORDS, KNOWN_BAD, MALWARE})

FAMILIES = ("image", "video", "audio", "pdf")

VERDICTS = tuple(verdict.value for verdict in Verdict)
SEVERITIES = tuple(severity.value for severity in Severity)

_WHERE = re.compile(r" \(at (?:line (\d+), column \d+|end of document)\)")


def shipped() -> Path:
    return Path(
        str(resources.files("uploadsvc.verify").joinpath("data", "policy.toml"))
    )


def load(path: Path | None = None) -> Policy:
    """The policy in the file at ``path``, the shipped one for None.

    Raises PolicyError with all mistakes, ``FILE:LINE: KEY what is wrong``, a line each.
    """
    path = path or shipped()
    text = _text(path)
    try:
        content = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise _not_toml(path, text, error) from error
    mistakes: list[Mistake] = []
    policy = _policy(content, path.parent, mistakes)
    if mistakes:
        raise located(path, mistakes)
    return policy


def located(path: Path, mistakes: list[Mistake]) -> PolicyError:
    """The mistakes with their lines in the file, in their order there."""
    lines = Lines(_text(path))
    placed = sorted(
        ((lines.of(each.path), each) for each in mistakes), key=lambda each: each[0]
    )
    return PolicyError("\n".join(f"{path}:{line}: {each}" for line, each in placed))


def _text(path: Path) -> str:
    try:
        # Line ends as TOML knows them; reading as text would turn a lone CR into one.
        return path.read_bytes().decode("utf-8").replace("\r\n", "\n")
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise PolicyError(f"{path}:{line}: is not UTF-8") from error
    except OSError as error:
        raise PolicyError(f"{path}: cannot be read: {error.strerror}") from error


def _not_toml(path: Path, text: str, error: Exception) -> PolicyError:
    found = _WHERE.search(str(error))
    line = found[1] if found and found[1] else text.rstrip("\n").count("\n") + 1
    return PolicyError(f"{path}:{line}: is not TOML: {_WHERE.sub('', str(error))}")


def _policy(content: dict[str, Any], folder: Path, mistakes: list[Mistake]) -> Policy:
    top = Table((), content, mistakes)
    version = top.text("version")
    rules: dict[str, Mapping[str, Rule]] = {PICTURES: _pictures(top.table("pictures"))}
    text, rules[WORDS] = _text_rules(top.table("text"))
    rules |= _if_any(top, "known_bad", KNOWN_BAD, _known_bad)
    lists = lists_in(content.get("known_bad"), folder)
    rules |= _if_any(top, "malware", MALWARE, _malware)
    engines = top.table("analysers")
    analysers = {}
    for name in engines.left():
        if name in OWN_SOURCES:
            engines.wrong(name, "has the name of an engine of ours; choose another")
        table = engines.table(name)
        rules[name] = _labels(table)
        analysers[name] = table.as_it_is()
    gaps = _gaps(top.table("unexamined"))
    top.end()
    return Policy(version, rules, gaps, text, analysers, lists)


def _if_any(
    top: Table, key: str, source: str, read: Any
) -> dict[str, Mapping[str, Rule]]:
    """Without its table an engine has no rules, and what it says is held for review."""
    return {source: read(top.table(key))} if top.has(key) else {}


def _pictures(tables: Table) -> dict[str, Rule]:
    rules: dict[str, Rule] = {}
    for label in tables.left():
        table = tables.table(label)
        if label not in PICTURE_LABELS:
            tables.wrong(
                label,
                f"is no label of the image model; its labels: {', '.join(PICTURE_LABELS)}",
            )
        rules[label] = _threshold(table)
        table.end()
    return rules


def _threshold(table: Table) -> Threshold:
    rule = Threshold(table.word("reason"), table.share("review"), table.share("reject"))
    if rule.review and rule.reject and rule.review > rule.reject:
        table.wrong("review", f"must not be above reject ({rule.reject})")
    return rule


def _known_bad(tables: Table) -> dict[str, Rule]:
    rules: dict[str, Rule] = {}
    if tables.has("lists"):
        tables.text("lists")
    for label in KNOWN_BAD_LABELS:
        if tables.has(label):
            table = tables.table(label)
            rules[label] = _found(table) if table.has("verdict") else _threshold(table)
            table.end()
    tables.end()
    return rules


def _malware(table: Table) -> dict[str, Rule]:
    rule = _found(table)
    table.end()
    return {ANY: rule}


def _found(table: Table) -> Found:
    return Found(table.word("reason"), Verdict(table.one_of("verdict", VERDICTS)))


def _labels(table: Table) -> dict[str, Rule]:
    tables = table.table("labels")
    rules: dict[str, Rule] = {}
    for label in tables.left():
        each = tables.table(label)
        rules[label] = _threshold(each)
        each.end()
    if not rules:
        table.wrong(
            "labels",
            "must name one label at least, each in a table of its own;"
            " what the engine says would lead to nothing",
        )
    return rules


def _text_rules(table: Table) -> tuple[TextRules, dict[str, Rule]]:
    reason, languages = table.word("reason"), table.texts("languages")
    if not languages:
        table.wrong("languages", "must name one at least")
    for nth, language in enumerate(languages):
        if language not in LANGUAGES:
            table.wrong(("languages", nth), f"has no dictionary {language!r}")
    chosen, listed = table.table("verdicts"), table.table("words")
    verdicts = {
        severity: Verdict(chosen.one_of(severity, VERDICTS)) for severity in SEVERITIES
    }
    words = _Words(table)
    for severity in SEVERITIES:
        words.add(listed.texts(severity), severity, ("words", severity))
    rules: dict[str, Rule] = {
        severity: Found(reason, verdict) for severity, verdict in verdicts.items()
    }
    patterns = []
    for nth, rule in enumerate(table.tables("rules")):
        severity = rule.one_of("severity", SEVERITIES)
        category = rule.word("category") if rule.has("category") else reason
        label = severity if category == reason else f"{category}/{severity}"
        rules.setdefault(label, Found(category, verdicts[severity]))
        if rule.has("terms") == rule.has("pattern"):
            table.wrong(("rules", nth), "must have either terms or a pattern")
        if rule.has("terms"):
            words.add(rule.texts("terms"), label, ("rules", nth, "terms"))
        if rule.has("pattern"):
            patterns += [(each, label) for each in _pattern(rule)]
        rule.end()
    for each in (chosen, listed, table):
        each.end()
    return TextRules(tuple(languages), words.labels, tuple(patterns)), rules


class _Words:
    """Listed words by label, each once: of two labels one would be dropped in silence."""

    def __init__(self, table: Table) -> None:
        self.labels: dict[str, str] = {}
        self._table = table

    def add(self, words: list[str], label: str, path: tuple[str | int, ...]) -> None:
        for nth, word in enumerate(words):
            if word in self.labels:
                self._table.wrong((*path, nth), f"lists {word!r} a second time")
            self.labels[word] = label


def _pattern(rule: Table) -> Iterator[str]:
    pattern = rule.text("pattern")
    try:
        empty = regex.compile(pattern).fullmatch("")
    except regex.error as error:
        rule.wrong("pattern", f"is no regular expression: {error}")
        return
    if pattern and empty:
        rule.wrong("pattern", "matches nothing at all, and so every text")
    elif pattern:
        yield pattern


def _gaps(table: Table) -> Gaps:
    reason, default = table.word("reason"), table.one_of("default", VERDICTS)
    families = {}
    for family in FAMILIES:
        if table.has(family):
            families[family] = _verdicts(table.table(family))
    return Gaps(reason, Verdict(default), _verdicts(table), families)


def _verdicts(table: Table) -> dict[str, Verdict]:
    return {word: Verdict(table.one_of(word, VERDICTS)) for word in table.left()}
