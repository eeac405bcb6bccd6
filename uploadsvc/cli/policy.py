"""Commands for the moderation policy: check a file before a service starts with it."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from uploadsvc.cli.local import read_settings
from uploadsvc.cli.terminal import neutral
from uploadsvc.model import Verdict
from uploadsvc.verify.explain import UNEXAMINED
from uploadsvc.verify.moderation import ANY, Found, Policy, Rule
from uploadsvc.verify.policy import Mistake, PolicyError

WRONG = 1


@click.group()
def policy() -> None:
    """The moderation policy: what leads to which verdict."""


@policy.command()
@click.argument(
    "file",
    required=False,
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
)
def check(file: Path | None) -> None:
    """Check a policy FILE (the one in use, if none is named) and print what it says.

    Leaves with 0, or with 1 after telling every mistake with its line.
    """
    from uploadsvc.verify import policy_file

    if file is None:
        named = read_settings().policy_file
        file = Path(named) if named else policy_file.shipped()
    try:
        found = checked(file)
    except PolicyError as error:
        click.echo("\n".join(map(neutral, str(error).splitlines())), err=True)
        sys.exit(WRONG)
    console = Console(width=None if sys.stdout.isatty() else 250)
    console.print(Text(f"{neutral(file)} is a good policy."))
    for each in _summary(found):
        console.print(each)


def checked(file: Path) -> Policy:
    """The policy, with the engines' own tables checked as a verifier does at its start.

    Raises PolicyError.
    """
    # Imported here: the word lists take a while, and ``uploadsvc upload`` has no use for them.
    from uploadsvc.verify import policy_file
    from uploadsvc.verify.analysers import config, plugins

    found = policy_file.load(file)
    try:
        config.read(found.analysers, plugins.installed())
    except PolicyError as error:
        name, _, what = str(error).partition(" ")
        mistake = Mistake(tuple(name.rstrip(":").split(".")), what)
        raise policy_file.located(file, [mistake]) from error
    return found


def _summary(policy: Policy) -> Iterator[Text | Table]:
    yield Text(f"Version {neutral(policy.version)}\n")
    yield _rules(policy)
    yield Text()
    yield _gaps(policy)
    yield Text()
    words = policy.text.listed.values()
    counts = ", ".join(
        f"{sum(each == label for each in words)} {label}"
        for label in dict.fromkeys(words)
    )
    yield Text(
        f"Words: dictionaries of {', '.join(policy.text.languages)};"
        f" listed: {neutral(counts) or 'none'}; patterns: {len(policy.text.patterns)}"
    )
    if policy.lists:
        yield Text(f"Known-bad lists: {neutral(policy.lists)}")


def _rules(policy: Policy) -> Table:
    table = _table("Found by", "What", "Reason", "Leads to")
    for source, rules in policy.rules.items():
        for label, rule in rules.items():
            what = "anything" if label == ANY else label
            _row(table, source, what, rule.reason, _leads_to(rule))
    return table


def _leads_to(rule: Rule) -> str:
    if isinstance(rule, Found):
        return rule.verdict.value
    numbers = (("review", rule.review), ("reject", rule.reject))
    steps = [f"{verdict} from {at:.2f}" for verdict, at in numbers if at is not None]
    return ", ".join(steps) or "nothing"


def _gaps(policy: Policy) -> Table:
    table = _table("Not examined", "Leads to", "Meaning")
    families: dict[str, dict[str, Verdict]] = {
        "": dict(policy.gaps.verdicts),
        **{name: dict(words) for name, words in policy.gaps.families.items()},
    }
    for family, words in families.items():
        for word, verdict in words.items():
            what = f"{word} ({family})" if family else word
            meaning = UNEXAMINED.get(word, "no word of this service; a plugin's?")
            _row(table, what, verdict.value, meaning)
    _row(table, "anything else", policy.gaps.default.value, "")
    return table


def _table(*headings: str) -> Table:
    table = Table(box=None, pad_edge=False)
    for heading in headings:
        table.add_column(heading, overflow="fold")
    return table


def _row(table: Table, *cells: str) -> None:
    table.add_row(*(Text(neutral(cell)) for cell in cells))
