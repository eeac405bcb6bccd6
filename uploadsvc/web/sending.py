"""``POST /api/media/upload``: a file comes in, and the answer goes out when it may.

The body is received and handed over; then, as the client prefers, the answer waits for the
ending of the upload or says where to look for it (contract, section 2).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from time import monotonic

from flask import Blueprint, Response, jsonify, request, url_for

from uploadsvc import wire
from uploadsvc.errors import BY_CODE, IdTaken, Internal, UploadError
from uploadsvc.hub import Subscription
from uploadsvc.intake import Reception, too_large
from uploadsvc.model import Event, Upload, ending_event
from uploadsvc.web import auth, body, current
from uploadsvc.web.current import LOOK_S, services
from uploadsvc.web.prefer import Preference, preference

blueprint = Blueprint("sending", __name__, url_prefix="/api/media/upload")


@blueprint.post("")
def send() -> Response:
    given = request.headers.get("X-Upload-ID")
    if given is not None:
        current.speak_of(given)
    user = auth.user_id()
    wish = preference(request.headers.get("Prefer"))
    with _known(given), services().intake.receive(given, user) as reception:
        current.speak_of(reception.upload_id)
        form = _receive(reception)
        # Listen before handing over, or a fast ending would be missed.
        subscription = services().hub.subscribe(
            reception.upload_id, None, limited=False
        )
        try:
            upload = reception.hand_over(
                title=form.title,
                description=form.description,
                file_name=form.file_name,
            )
        except BaseException:
            subscription.close()
            raise
    try:
        ending = _wait(subscription, upload, wish)
    finally:
        subscription.close()
    return _ended(ending) if ending is not None else _accepted(upload, wish)


def _receive(reception: Reception) -> body.Form:
    """The body, once the request's head is found good."""
    settings = services().settings
    boundary = body.boundary_of(request.headers.get("Content-Type", ""))
    declared = request.content_length
    limit = settings.max_upload_bytes
    if declared is not None and declared > limit + body.FORM_ALLOWANCE:
        raise too_large(limit)
    return body.receive(
        request.environ["wsgi.input"],
        reception,
        boundary=boundary,
        declared=declared,
        max_bytes=limit,
        idle_s=settings.body_idle_s,
    )


def _wait(subscription: Subscription, upload: Upload, wish: Preference) -> Event | None:
    """The terminal event, if it comes while the client wishes to wait and we are here."""
    ends = monotonic() + wish.wait_s
    while (left := ends - monotonic()) > 0:
        event = subscription.take(min(left, LOOK_S))
        if event is not None and event.terminal:
            return event
        if event is None and services().leaving(upload.id):
            # Or another worker ended it, which this one's hub did not hear.
            return _ending_in_row(upload.id)
    return None


def _ending_in_row(upload_id: str) -> Event | None:
    found = services().find(upload_id)
    if found is None or found[0].ending is None:
        return None
    return ending_event(*found)


def _ended(event: Event) -> Response:
    if event.media is not None:
        media = wire.media_json(event.media, services().urls)
        return jsonify(
            {"success": True, "data": {"media": media}, "uploadId": event.upload_id}
        )
    raise _error_of(event)


def _error_of(event: Event) -> UploadError:
    upload = services().uploads.find(event.upload_id)
    if upload is None or upload.ending is None or upload.ending.code is None:
        return Internal()
    kind = BY_CODE.get(upload.ending.code, Internal)
    reasons = upload.ending.reasons
    return kind(upload.ending.message, **({"reasons": reasons} if reasons else {}))


@contextmanager
def _known(upload_id: str | None) -> Iterator[None]:
    """A client whose answer got lost sends again: tell it where its upload is."""
    try:
        yield
    except IdTaken as error:
        raise IdTaken(error.message, **error.facts, **_urls(upload_id or "")) from error


def _urls(upload_id: str) -> dict[str, str]:
    return {
        "progress_url": url_for("progress.stream", upload_id=upload_id),
        "status_url": url_for("uploads.look", upload_id=upload_id),
    }


def _accepted(upload: Upload, wish: Preference) -> Response:
    urls = _urls(upload.id)
    found = services().uploads.find(upload.id) or upload
    response = jsonify(
        {
            "success": True,
            "uploadId": upload.id,
            "status": found.state.value,
            "progressUrl": urls["progress_url"],
            "statusUrl": urls["status_url"],
        }
    )
    response.status_code = 202
    response.headers["Location"] = urls["status_url"]
    if wish.applied:
        response.headers["Preference-Applied"] = wish.applied
    return response
