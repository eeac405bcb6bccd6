"""Uploads over HTTP, once they are sent: look, poll, list, cancel (contract, section 2)."""

from __future__ import annotations

from time import monotonic, time
from typing import Any

from flask import Blueprint, Response, jsonify, request

from uploadsvc import wire
from uploadsvc.errors import AccessDenied, Internal
from uploadsvc.hub import SubscriptionClosed
from uploadsvc.model import Event, State, Upload, ending_event
from uploadsvc.web import auth, current, paging, progress
from uploadsvc.web.current import LOOK_S, services

blueprint = Blueprint("uploads", __name__, url_prefix="/api/media/upload")

LONGEST_POLL_S = 30.0


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
