"""Pages of a list: ``?limit=`` and ``?cursor=``, and the cursor that leads on.

A cursor is a place (moment, id) in the list's order, not a number of rows: what comes and
goes meanwhile shifts nothing.
"""

from __future__ import annotations

import base64
import json
from contextlib import suppress
from datetime import UTC, datetime

from flask import request

from uploadsvc.errors import InvalidRequest

Place = tuple[datetime, str]

DEFAULT, MOST = 20, 100


def limit() -> int:
    """The rows asked for. Raises InvalidRequest."""
    return number("limit", DEFAULT, 1, MOST)


def number(name: str, default: int, least: int, most: int) -> int:
    """A whole number of the request's arguments, brought between its bounds."""
    given = request.args.get(name)
    if given is None:
        return default
    if not (given.isascii() and given.isdigit() and len(given) < 10):
        raise InvalidRequest(f"{name} needs a whole number", field=name)
    return min(max(int(given), least), most)


def cursor_of(place: Place) -> str:
    moment, id = place
    text = json.dumps([moment.isoformat(), id])
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def place() -> Place | None:
    """Where the page begins; None: at the list's beginning. Raises InvalidRequest."""
    given = request.args.get("cursor")
    if not given:
        return None
    # RecursionError: brackets in brackets; OverflowError: a year that is none in UTC.
    with suppress(ValueError, TypeError, RecursionError, OverflowError):
        padded = given + "=" * (-len(given) % 4)
        moment, id = json.loads(base64.urlsafe_b64decode(padded))
        at = datetime.fromisoformat(moment)
        if at.tzinfo is not None and isinstance(id, str):
            return at.astimezone(UTC), id
    raise InvalidRequest("The cursor is none of ours", field="cursor")
