"""Uploads over HTTP: send, look, list, cancel (contract, section 2)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from time import monotonic, time
from typing import Any

from flask import Blueprint, Response, jsonify, request, url_for

from uploadsvc import wire
from uploadsvc.errors import BY_CODE, AccessDenied, IdTaken, Internal, UploadError
from uploadsvc.hub import Subscription, SubscriptionClosed
from uploadsvc.intake import Reception, too_large
from uploadsvc.model import Event, State, Upload, ending_event
from uploadsvc.web import auth, body, current, paging, progress
from uploadsvc.web.current import services
from uploadsvc.web.prefer import Preference, preference

blueprint = Blueprint("uploads", __name__, url_prefix="/api/media/upload")

LONGEST_POLL_S = 30.0
# How often a waiting POST looks whether the process is going away.
LOOK_S = 1.0


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


@blueprint.get("/<upload_id>")
def look(upload_id: str) -> Response:
    current.speak_of(upload_id)
    user = auth.user_id()
    upload = services().intake.find(upload_id, user)
    if "after" in request.args:
        return _poll(upload)
    snapshot, version = _snapshot(upload_id)
    response = jsonify(snapshot)
    response.headers["Cache-Control"] = "private, no-cache"
    response.set_etag(version, weak=True)
    response.make_conditional(request)
    return response


@blueprint.get("")
def list_mine() -> Response:
    user = auth.user_id()
    limit = paging.limit()
    found = services().uploads.newest(user, limit + 1, paging.place())
    page, more = found[:limit], found[limit:]
    media = services().media.find_many(
        [each.media_id for each in page if each.media_id]
    )
    uploads = [
        wire.snapshot_json(
            each,
            _last_event(each),
            media.get(each.media_id or ""),
            services().urls,
        )
        for each in page
    ]
    last = page[-1] if more else None
    next_cursor = paging.cursor_of((last.created_at, last.id)) if last else None
    return jsonify({"success": True, "uploads": uploads, "nextCursor": next_cursor})


@blueprint.delete("/<upload_id>")
def cancel(upload_id: str) -> tuple[Response, int]:
    current.speak_of(upload_id)
    user = auth.user_id()
    upload = services().intake.cancel(upload_id, user)
    answer = {"success": True, "uploadId": upload.id, "status": upload.state.value}
    return jsonify(answer), 202


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


def _snapshot(upload_id: str) -> tuple[dict[str, Any], str]:
    """The snapshot as it is now, and its version for the ETag."""
    app = services()
    found = app.find(upload_id)
    if found is None:
        raise Internal
    upload, media = found
    event = _last_event(upload)
    snapshot = wire.snapshot_json(upload, event, media, app.urls)
    version = f"{event.id if event else 0}-{upload.state.value}"
    if media is not None:
        # A moderator may decide after the end. The URLs in it expire: half their life later
        # it is another snapshot.
        version += f"-{media.moderation.verdict.value}"
        version += f"-{int(time() / (app.settings.media_url_s / 2))}"
    elif upload.state is State.COMPLETE:
        version += "-deleted"
    return snapshot, version


def _last_event(upload: Upload) -> Event | None:
    """The newest event of a row: the ending where there is one, else what the hub knows,
    else, after a restart, what the state itself says."""
    if upload.ending is not None:
        return ending_event(upload, None)
    return services().hub.last(upload.id)


def _poll(upload: Upload) -> Response:
    """The long-poll: ``events`` after the cursor, waiting for the first of them."""
    after = progress.number(request.args["after"])
    wait_s = paging.number("wait", 0, 0, int(LONGEST_POLL_S))
    events = _events_after(upload.id, after, wait_s)
    found = services().find(upload.id)
    if found is None:
        raise AccessDenied  # nobody posted to it, and the id was given back meanwhile
    if not events and found[0].ending is not None:
        # The hub may have forgotten the story; the row has not forgotten the ending.
        ending = ending_event(*found)
        events = [ending] if ending.id != after else []
    snapshot, _ = _snapshot(upload.id)
    urls = services().urls
    told = [wire.event_json(event, urls) | {"id": event.id} for event in events]
    response = jsonify(snapshot | {"events": told})
    response.headers["Cache-Control"] = "no-store"
    return response


def _events_after(upload_id: str, after: int, wait_s: float) -> list[Event]:
    """What is held after the cursor; if that is nothing, what comes first within the wait."""
    ends = monotonic() + wait_s
    subscription = services().hub.subscribe(upload_id, after, limited=False)
    events: list[Event] = []
    try:
        event = subscription.take(0)
        upload = services().uploads.find(upload_id)
        more = upload is not None and upload.ending is None
        while event is None and more and (left := ends - monotonic()) > 0:
            event = subscription.take(min(left, LOOK_S))
            more = not services().intake.closing
        while event is not None:
            events.append(event)
            event = subscription.take(0)
    except SubscriptionClosed:
        pass
    finally:
        subscription.close()
    return events
