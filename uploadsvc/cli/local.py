"""Commands that need no service: token, verify, settings."""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from uploadsvc import secret, wire
from uploadsvc.cli.terminal import neutral
from uploadsvc.model import Outcome, Progress, Refused, Verified
from uploadsvc.settings import EXIT_STATUS, Settings, SettingsError, shown

if TYPE_CHECKING:
    from uploadsvc.verify.toolbox import Toolbox

REJECTED, FAILED = 1, 2


def read_settings() -> Settings:
    """The settings of the environment, or the end of the command with all mistakes told."""
    try:
        return Settings.from_env(os.environ)
    except SettingsError as error:
        click.echo(str(error), err=True)
        sys.exit(EXIT_STATUS)


def sign(settings: Settings, user: str, expires_s: float, role: str | None) -> str:
    """A token signed with the service's own secret."""
    from flask import Flask

    from uploadsvc.web import auth

    app = Flask("uploadsvc")
    auth.configure(app, settings, secret.load(settings))
    with app.app_context():
        return auth.issue(user, expires_s=expires_s, role=role)


@click.command()
@click.option("--user", required=True, help="The user the token speaks for.")
@click.option(
    "--role", type=click.Choice(["moderator"]), help="A role beyond a user's."
)
@click.option(
    "--expires",
    default=3600.0,
    show_default=True,
    type=click.FloatRange(min=1),
    help="Seconds the token is good for.",
)
def token(user: str, role: str | None, expires: float) -> None:
    """Print an access token signed with the service's own secret."""
    click.echo(sign(read_settings(), user, expires, role))


@click.command()
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--title", default="", help="Title to be moderated with the file.")
@click.option("--description", default="", help="Description, likewise.")
@click.option(
    "--explain", is_flag=True, help="Print why the verdict is what it is instead."
)
def verify(file: Path, title: str, description: str, explain: bool) -> None:
    """Run the pipeline on FILE, without a service; one event as JSON a line.

    Leaves with 0 (verified), 1 (rejected) or 2 (failed).
    """
    from uploadsvc.verify import Subject

    toolbox = _toolbox(read_settings())
    outcome: Progress | Outcome | None = None
    with tempfile.TemporaryDirectory(prefix="uploadsvc-") as scratch:
        subject = Subject(file.absolute(), Path(scratch), title, description, file.name)
        for outcome in toolbox.verify(subject):
            if not explain:
                click.echo(wire.compact(wire.news_json(outcome)))
    if explain and outcome is not None and not isinstance(outcome, Progress):
        _print_explained(outcome)
    if isinstance(outcome, Verified):
        sys.exit(0)
    sys.exit(REJECTED if isinstance(outcome, Refused) else FAILED)


def _toolbox(settings: Settings) -> Toolbox:
    """With engines on the network asked from here; or the end of the command with what is
    wrong with the policy or a plugin."""
    from uploadsvc.verify import policy_file
    from uploadsvc.verify.analysers import config, http, plugins
    from uploadsvc.verify.broker import directly
    from uploadsvc.verify.policy import PolicyError
    from uploadsvc.verify.toolbox import Toolbox

    try:
        named = Path(settings.policy_file) if settings.policy_file else None
        tables = policy_file.load(named).analysers
        engines = http.engines(
            config.read(tables, plugins.installed()).http, os.environ
        )
        return Toolbox.load(
            settings.policy_file,
            lists=Path(settings.blocklist_dir) if settings.blocklist_dir else None,
            clamd=Path(settings.clamd_socket) if settings.clamd_socket else None,
            ask=directly(engines),
        )
    except (PolicyError, plugins.PluginError) as error:
        click.echo("\n".join(map(neutral, str(error).splitlines())), err=True)
        sys.exit(EXIT_STATUS)


def _print_explained(outcome: Outcome) -> None:
    from uploadsvc.verify.explain import HEADINGS, explained

    told = explained(outcome)
    # Piped, a line is a finding; rich would wrap it at 80 columns.
    console = Console(width=None if sys.stdout.isatty() else 250)
    console.print(Text(neutral(told.verdict), style="bold"))
    if told.findings:
        table = Table(box=None, pad_edge=False)
        for heading in HEADINGS:
            table.add_column(heading, overflow="fold")
        for row in told.findings:
            table.add_row(*(Text(neutral(cell)) for cell in row))
        console.print(Text(), table)
    for word, meaning in told.unexamined:
        beside = f" ({meaning})" if meaning else ""
        console.print(Text(neutral(f"Not examined: {word}{beside}")))
    if told.policy:
        models = ", ".join(told.models) or "none"
        console.print(Text(neutral(f"Policy version {told.policy}, models: {models}")))


@click.command()
def settings() -> None:
    """Print every setting: variable, value, default, unit, meaning."""
    table = Table(box=None, pad_edge=False)
    for heading in ("Variable", "Value", "Default", "Unit", "Meaning"):
        table.add_column(heading, overflow="fold")
    for each in shown(read_settings()):
        cells = (each.variable, each.value, each.default, each.unit, each.meaning)
        table.add_row(*(Text(cell) for cell in cells))
    # Piped, a line is a setting; rich would wrap it at 80 columns.
    Console(width=None if sys.stdout.isatty() else 250).print(table)
