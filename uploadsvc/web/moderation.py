"""What moderators see and decide over HTTP; every route wants the role ``moderator``."""

from __future__ import annotations

import json
from typing import Any

from flask import Blueprint, Response, jsonify, request, url_for
from werkzeug.exceptions import RequestEntityTooLarge

from uploadsvc import wire
from uploadsvc.errors import InvalidRequest, NotFound
from uploadsvc.model import Media, Verdict
from uploadsvc.web import auth, blur, files, paging
from uploadsvc.web.body import plain
from uploadsvc.web.current import services
from uploadsvc.web.signing import FILE, THUMBNAIL

blueprint = Blueprint("moderation", __name__, url_prefix="/api/moderation")

NOTE_MAX = 1000  # characters
BODY_MAX = 16 * 2**10  # bytes; room for the note, however it is escaped
VERDICTS = {each.value: each for each in (Verdict.APPROVE, Verdict.REJECT)}
# What is held is kept by nobody: a rejection takes it away.
CACHE = "private, no-store"


@blueprint.get("/queue")
def queue() -> Response:
    auth.moderator()
    limit = paging.limit()
    found = services().moderate.queue(limit + 1, paging.place())
    page, more = found[:limit], found[limit:]
    cursor = paging.cursor_of((page[-1].created_at, page[-1].id)) if more else None
    return _answer(
        {
            "success": True,
            "media": [wire.held_json(media, _urls) for media in page],
            "nextCursor": cursor,
        }
    )


@blueprint.get("/<media_id>")
def look(media_id: str) -> Response:
    auth.moderator()
    return _record(media_id)


@blueprint.get("/<media_id>/file")
def file(media_id: str) -> Response:
    auth.moderator()
    media, blob = services().moderate.open(media_id, files.STEMS[FILE])
    return files.sent(blob, media, FILE, cache=CACHE)


@blueprint.get("/<media_id>/thumbnail")
def thumbnail(media_id: str) -> Response:
    auth.moderator()
    media, blob = services().moderate.open(media_id, files.STEMS[THUMBNAIL])
    if request.args.get("clear") == "1":
        return files.sent(blob, media, THUMBNAIL, cache=CACHE)
    picture = blur.blurred(blob.path)
    if picture is None:
        raise NotFound
    response = Response(picture, mimetype=files.THUMBNAIL_TYPE)
    return files.harmless(response, cache=CACHE)


@blueprint.post("/<media_id>/decision")
def decide(media_id: str) -> Response:
    moderator = auth.moderator()
    verdict, note = _decision()
    services().moderate.decide(media_id, moderator, verdict, note)
    return _record(media_id)


@blueprint.get("/upload/<upload_id>")
def refused(upload_id: str) -> Response:
    auth.moderator()
    return _answer(wire.refused_json(services().moderate.refused(upload_id)))


def _record(media_id: str) -> Response:
    media, decisions = services().moderate.find(media_id)
    told = [wire.decision_json(each) for each in decisions]
    return _answer(wire.held_json(media, _urls) | {"decisions": told})


def _answer(said: dict[str, Any]) -> Response:
    response = jsonify(said)
    response.headers["Cache-Control"] = CACHE
    return response


def _urls(media: Media) -> tuple[str | None, str | None]:
    """Where a moderator's token opens the bytes."""
    if media.moderation.verdict is Verdict.REJECT:
        return None, None
    thumbnail_url = url_for(".thumbnail", media_id=media.id)
    file_url = url_for(".file", media_id=media.id)
    return file_url, thumbnail_url if media.has_thumbnail else None


def _decision() -> tuple[Verdict, str]:
    """Verdict and note of the body. Raises InvalidRequest."""
    said = _body()
    verdict, note = said.get("verdict"), said.get("note", "")
    if not isinstance(verdict, str) or verdict not in VERDICTS:
        raise InvalidRequest("The verdict is approve or reject", field="verdict")
    if not isinstance(note, str):
        raise InvalidRequest("The note is a text", field="note")
    cleaned = plain(note, lines=True)
    if len(cleaned) > NOTE_MAX:
        message = f"The note has more than {NOTE_MAX} characters"
        raise InvalidRequest(message, field="note", limit=NOTE_MAX)
    return VERDICTS[verdict], cleaned


def _body() -> dict[str, Any]:
    request.max_content_length = BODY_MAX
    try:
        said = json.loads(request.get_data())
    except RequestEntityTooLarge as error:
        raise InvalidRequest(f"The body has more than {BODY_MAX} bytes") from error
    except (ValueError, RecursionError) as error:
        raise InvalidRequest("The body is no JSON") from error
    if not isinstance(said, dict):
        raise InvalidRequest("The body is no JSON object")
    return said
