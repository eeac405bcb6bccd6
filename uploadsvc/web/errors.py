"""One handler turns every error into the contract's JSON."""

from __future__ import annotations

from flask import Flask, Response, jsonify, request
from werkzeug.exceptions import HTTPException, RequestedRangeNotSatisfiable

from uploadsvc import errors, log, wire
from uploadsvc.web import current
from uploadsvc.web.auth import CHALLENGE

logger = log.get(__name__)

BY_STATUS: dict[int, type[errors.UploadError]] = {
    404: errors.NotFound,
    405: errors.MethodNotAllowed,
    413: errors.TooLarge,
}


def configure(app: Flask) -> None:
    app.register_error_handler(errors.UploadError, answer)
    app.register_error_handler(HTTPException, _foreign)
    app.register_error_handler(Exception, _unforeseen)


def answer(error: errors.UploadError) -> Response:
    # Somebody else's upload and one that never was get the same answer, to the letter.
    same = isinstance(error, errors.AccessDenied)
    response = jsonify(wire.error_json(error, None if same else current.upload_id()))
    response.status_code = error.status
    response.headers["Cache-Control"] = "no-store"
    if "retry_after" in error.facts:
        response.headers["Retry-After"] = str(error.facts["retry_after"])
    if error.status == errors.Unauthorized.status:
        response.headers["WWW-Authenticate"] = CHALLENGE
    return response


def _foreign(error: HTTPException) -> Response:
    """What Flask and Werkzeug raise by themselves."""
    ours = BY_STATUS.get(error.code or 500)
    if ours is None:
        ours = errors.InvalidRequest if (error.code or 500) < 500 else errors.Internal
    response = answer(ours())
    valid_methods = getattr(error, "valid_methods", None)
    if valid_methods:
        response.headers["Allow"] = ", ".join(sorted(valid_methods))
    if isinstance(error, RequestedRangeNotSatisfiable):
        # Players ask beyond the end, and read the size from this answer (RFC 9110, 15.5.17).
        response.status_code = 416
        response.headers["Content-Range"] = f"bytes */{error.length or 0}"
    return response


def _unforeseen(error: Exception) -> Response:
    logger.error(
        "request failed",
        exc_info=error,
        method=request.method,
        path=request.path,
        upload_id=current.upload_id(),
    )
    return answer(errors.Internal())
