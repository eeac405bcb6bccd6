"""What a request finds at hand: the services of its app, and the upload it speaks of."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from flask import current_app, g

from uploadsvc.model import UPLOAD_ID

if TYPE_CHECKING:
    from uploadsvc.wiring import Services

EXTENSION = "uploadsvc"
# How often a request that waits looks whether the process is going away.
LOOK_S = 1.0


def services() -> Services:
    return cast("Services", current_app.extensions[EXTENSION])


def speak_of(upload_id: str) -> None:
    """From here on every answer to this request carries the id, if it can be one.

    Said before anything else: the client named it, so repeating it tells nobody anything.
    """
    if UPLOAD_ID.fullmatch(upload_id):
        g.upload_id = upload_id


def upload_id() -> str | None:
    return cast("str | None", g.get("upload_id"))
