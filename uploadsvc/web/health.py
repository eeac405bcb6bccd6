"""Alive, and able to serve: for whoever restarts or routes to us."""

from __future__ import annotations

import shutil
from collections.abc import Callable

from flask import Blueprint, Response, jsonify

from uploadsvc import log
from uploadsvc.web.current import services

blueprint = Blueprint("health", __name__)
logger = log.get(__name__)


@blueprint.get("/healthz")
def healthz() -> Response:
    return jsonify({"status": "ok"})


@blueprint.get("/readyz")
def readyz() -> Response:
    """Each part by name; 503 unless all are well. What went wrong is in the log."""
    parts = {
        "database": _works("database", services().uploads.ping),
        "hub": _works("hub", services().hub.ping),
        "storage": _works("storage", services().storage.ping),
        "verifiers": any(each.ready for each in services().dispatcher.verifiers),
        "disk": _works("disk", _room_for_one),
    }
    layers = [each.layers for each in services().dispatcher.verifiers if each.layers]
    response = jsonify(
        {"ready": all(parts.values()), "parts": parts, "sandbox": layers[:1]}
    )
    response.status_code = 200 if all(parts.values()) else 503
    response.headers["Cache-Control"] = "no-store"
    return response


def _works(name: str, part: Callable[[], None]) -> bool:
    try:
        part()
    except Exception:
        # The outer edge of a probe: whatever it is, the part does not work.
        logger.exception("not ready", part=name)
        return False
    return True


def _room_for_one() -> None:
    settings = services().settings
    free = shutil.disk_usage(settings.storage_dir).free
    if free < settings.max_upload_bytes:
        raise OSError(f"{free} bytes free")
