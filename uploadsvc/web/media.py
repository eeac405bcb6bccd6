"""Media over HTTP: the record, the bytes, deletion (contract, section 2)."""

from __future__ import annotations

from flask import Blueprint, Response, jsonify, request

from uploadsvc import wire
from uploadsvc.errors import AccessDenied
from uploadsvc.model import Media, Verdict
from uploadsvc.web import auth, files
from uploadsvc.web.current import services
from uploadsvc.web.signing import FILE, THUMBNAIL

blueprint = Blueprint("media", __name__, url_prefix="/api/media")


@blueprint.get("/<media_id>")
def record(media_id: str) -> Response:
    media = _own(media_id)
    response = jsonify(wire.media_json(media, services().urls))
    response.headers["Cache-Control"] = "private, no-store"
    return response


@blueprint.delete("/<media_id>")
def delete(media_id: str) -> tuple[str, int]:
    media = _own(media_id)
    # The bytes first: dying in between leaves a record, which can be deleted again.
    services().storage.delete(media.id)
    services().media.delete(media.id)
    return "", 204


@blueprint.get("/<media_id>/file")
def file(media_id: str) -> Response:
    return _bytes(media_id, FILE)


@blueprint.get("/<media_id>/thumbnail")
def thumbnail(media_id: str) -> Response:
    return _bytes(media_id, THUMBNAIL)


def _own(media_id: str) -> Media:
    user = auth.user_id()
    media = services().media.find(media_id)
    if media is None or media.user_id != user:
        raise AccessDenied
    return media


def _bytes(media_id: str, kind: str) -> Response:
    media = _readable(media_id, kind)
    blob = services().storage.open(media.id, files.STEMS[kind])
    if blob is None or media.moderation.verdict is not Verdict.APPROVE:
        raise AccessDenied
    return files.sent(blob, media, kind, cache="private, no-cache")


def _readable(media_id: str, kind: str) -> Media:
    """The media, by the signature of its URL or by its owner's token."""
    signature = request.args.get("sig")
    if signature is None:
        return _own(media_id)
    expires = request.args.get("exp", "")
    media = services().media.find(media_id)
    if media is None or not services().urls.good(media_id, kind, expires, signature):
        raise AccessDenied
    return media
