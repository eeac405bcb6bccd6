"""Commands that need no service: token, verify, settings."""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from uploadsvc import secret, wire
from uploadsvc.model import Outcome, Progress, Refused, Verified
from uploadsvc.settings import EXIT_STATUS, Settings, SettingsError, shown

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
def verify(file: Path, title: str, description: str) -> None:
    """Run the pipeline on FILE, without a service; one event as JSON a line.

    Leaves with 0 (verified), 1 (rejected) or 2 (failed).
    """
    from uploadsvc.verify import Subject
    from uploadsvc.verify.toolbox import Toolbox

    settings = read_settings()
    toolbox = Toolbox.load(settings.policy_file)
    outcome: Progress | Outcome | None = None
    with tempfile.TemporaryDirectory(prefix="uploadsvc-") as scratch:
        subject = Subject(file.absolute(), Path(scratch), title, description, file.name)
        for outcome in toolbox.verify(subject):
            click.echo(wire.compact(wire.news_json(outcome)))
    if isinstance(outcome, Verified):
        sys.exit(0)
    sys.exit(REJECTED if isinstance(outcome, Refused) else FAILED)


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
