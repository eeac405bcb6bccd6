"""Bytes of media on their way out, with headers that make them harmless wherever they land.

Who may have them is decided before; here is only how they are sent: from the local file with
ranges and ETag, or by the front (nginx), which is told where they are.
"""

from __future__ import annotations

from flask import Response, send_file

from uploadsvc.model import Media
from uploadsvc.storage import Blob
from uploadsvc.web.current import services
from uploadsvc.web.signing import FILE, THUMBNAIL

STEMS = {FILE: "original", THUMBNAIL: "thumbnail"}
THUMBNAIL_TYPE = "image/webp"
# Shown inside a page; anything else is offered for saving, a PDF with its scripts too.
INLINE = ("image/", "video/", "audio/")
# Whatever the bytes are, a browser that opens them runs nothing of them.
POLICY = "default-src 'none'; style-src 'unsafe-inline'; sandbox"


def sent(blob: Blob, media: Media, kind: str, *, cache: str) -> Response:
    """The file or the thumbnail of ``media``; ``cache`` is the Cache-Control."""
    mime_type = THUMBNAIL_TYPE if kind == THUMBNAIL else media.facts.mime_type
    return harmless(_sent(blob, media, kind, mime_type), cache=cache)


def harmless(response: Response, *, cache: str) -> Response:
    response.headers["X-Content-Type-Options"] = "nosniff"
    response.headers["Content-Security-Policy"] = POLICY
    response.headers["Cache-Control"] = cache
    return response


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
