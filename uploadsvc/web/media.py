"""Media over HTTP: the record, the bytes, deletion (contract, section 2)."""

from __future__ import annotations

from flask import Blueprint, Response, jsonify, request, send_file

from uploadsvc import wire
from uploadsvc.errors import AccessDenied
from uploadsvc.model import Media, Verdict
from uploadsvc.storage import Blob
from uploadsvc.web import auth
from uploadsvc.web.current import services
from uploadsvc.web.signing import FILE, THUMBNAIL

blueprint = Blueprint("media", __name__, url_prefix="/api/media")

STEMS = {FILE: "original", THUMBNAIL: "thumbnail"}
THUMBNAIL_TYPE = "image/webp"
# Shown inside a page; anything else is offered for saving, a PDF with its scripts too.
INLINE = ("image/", "video/", "audio/")
# Whatever the bytes are, a browser that opens them runs nothing of them.
POLICY = "default-src 'none'; style-src 'unsafe-inline'; sandbox"


@blueprint.get("/<media_id>")
def record(media_id: str) -> Response:
    media = _own(media_id)
    response = jsonify(wire.media_json(media, services().urls))
    response.headers["Cache-Control"] = "private, no-store"
    return response


@blueprint.delete("/<media_id>")
def delete(media_id: str) -> tuple[str, int]:
    media = _own(media_id)
    services().media.delete(media.id)
    services().storage.delete(media.id)
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
    blob = services().storage.open(media.id, STEMS[kind])
    if blob is None or media.moderation.verdict is not Verdict.APPROVE:
        raise AccessDenied
    mime_type = THUMBNAIL_TYPE if kind == THUMBNAIL else media.facts.mime_type
    response = _sent(blob, media, kind, mime_type)
    response.headers["X-Content-Type-Options"] = "nosniff"
    response.headers["Content-Security-Policy"] = POLICY
    response.headers["Cache-Control"] = "private, no-cache"
    return response


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


def _sent(blob: Blob, media: Media, kind: str, mime_type: str) -> Response:
    prefix = services().settings.accel_prefix
    name = media.file_name if kind == FILE else ""
    if name and not name.lower().endswith(blob.path.suffix):
        name += blob.path.suffix  # HEIC comes out as JPEG, and says so
    response = send_file(
        blob.path,
        mimetype=mime_type,
        as_attachment=not mime_type.startswith(INLINE),
        download_name=name or blob.path.name,
        conditional=not prefix,
        etag=media.facts.sha256 if kind == FILE else True,
    )
    if prefix:
        # The front sends the bytes, with its own ETag and ranges; send_file has opened them.
        response.close()
        response.response = []
        response.headers["X-Accel-Redirect"] = prefix + blob.name
        for header in ("Content-Length", "ETag", "Last-Modified"):
            response.headers.pop(header, None)
    return response
