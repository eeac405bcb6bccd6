"""``upload`` and ``watch``: what a user of the service does, over HTTP only.

Exit status: 0 complete, 1 rejected (the file's own doing), 2 failed (everything else, the
network and wrong usage included), 130 interrupted.
"""

from __future__ import annotations

import getpass
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn
from urllib.parse import urlsplit

import click

from uploadsvc import client, secret
from uploadsvc.cli import local
from uploadsvc.cli.terminal import Display, as_json, display, neutral
from uploadsvc.client import ClientError
from uploadsvc.model import new_upload_id

REJECTED = 1
FAILED = 2
INTERRUPTED = 130

LOOPBACK = {"127.0.0.1", "localhost", "::1"}
LOCAL_TOKEN_S = 24 * 3600.0

_url = click.option(
    "--url",
    envvar="UPLOADSVC_URL",
    default="http://127.0.0.1:8000",
    show_default=True,
    show_envvar=True,
    help="Where the service is.",
)
_token = click.option(
    "--token",
    envvar="UPLOADSVC_TOKEN",
    show_envvar=True,
    help="Access token; without one, one of the local service is made.",
)


class NoToken(click.ClickException):
    exit_code = FAILED


def local_token(url: str) -> str:
    """A token for the local user, signed with the secret of the service on this machine.

    Raises :class:`NoToken` where there is no such secret, and for any other machine: it is
    sent to nobody else.
    """
    settings = local.read_settings()
    here = urlsplit(url).hostname in LOOPBACK
    if not here or not (settings.jwt_secret or secret.path(settings).exists()):
        raise NoToken("No access token: give one with --token or in UPLOADSVC_TOKEN")
    return local.sign(settings, getpass.getuser(), LOCAL_TOKEN_S, None)


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
@_url
@_token
@click.option("--title", default="", help="Title of the media.")
@click.option("--description", default="", help="Description of the media.")
def upload(
    file: Path, url: str, token: str | None, title: str, description: str
) -> None:
    """Upload FILE, show both halves of the way, print the media record."""
    upload_id = new_upload_id()
    token = token or local_token(url)
    click.echo(f"Upload {upload_id}: {neutral(file.name)}", err=True)
    _follow(
        upload_id,
        display(sending=True),
        lambda shown: client.upload(
            url,
            token,
            file,
            title,
            description,
            shown.show_bytes,
            shown.show_event,
            upload_id=upload_id,
        ),
    )


@click.command()
@click.argument("upload_id")
@_url
@_token
def watch(upload_id: str, url: str, token: str | None) -> None:
    """Follow the upload UPLOAD_ID to its end, print the media record."""
    token = token or local_token(url)
    _follow(
        upload_id,
        display(sending=False),
        lambda shown: client.await_end(url, token, upload_id, shown.show_event),
    )


def _follow(
    upload_id: str, shown: Display, ending: Callable[[Display], dict[str, Any]]
) -> None:
    """Runs a transfer in its display and leaves with the status of its ending."""
    try:
        with shown:
            event = ending(shown)
    except ClientError as error:
        _leave(error, upload_id)
    except KeyboardInterrupt:
        _hint(upload_id)
        sys.exit(INTERRUPTED)
    click.echo(as_json(event.get("media")))


def _leave(error: ClientError, upload_id: str) -> NoReturn:
    verdict = "Rejected" if error.rejected else "Failed"
    facts = ", ".join((error.code, *error.reasons))
    click.echo(f"{verdict}: {neutral(error.message)} ({neutral(facts)})", err=True)
    if error.code in ("unreachable", "reauth", "stream_closed"):
        _hint(upload_id)
    sys.exit(REJECTED if error.rejected else FAILED)


def _hint(upload_id: str) -> None:
    click.echo(
        f"What has arrived goes on: uploadsvc watch {neutral(upload_id)}", err=True
    )
