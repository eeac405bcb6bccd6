"""The Flask application."""

from __future__ import annotations

import os

from flask import Flask, Response
from flask_cors import CORS
from werkzeug.middleware.proxy_fix import ProxyFix

from uploadsvc import log, wiring
from uploadsvc.settings import Settings
from uploadsvc.web import (
    auth,
    current,
    errors,
    health,
    media,
    moderation,
    progress,
    sending,
    uploads,
)

logger = log.get(__name__)

SHORTEST_SECRET = (
    32  # bytes; existing backends sign with less, so it is no reason to refuse
)

ALLOWED_HEADERS = [
    "Authorization",
    "Cache-Control",
    "Content-Type",
    "If-None-Match",
    "Last-Event-ID",
    "Prefer",
    "Range",
    "X-Upload-ID",
]
EXPOSED_HEADERS = [
    "Content-Range",
    "ETag",
    "Location",
    "Preference-Applied",
    "Retry-After",
    "X-Upload-ID",
]


def create_app(settings: Settings | None = None) -> Flask:
    """The application, its services built but not started.

    ``settings`` are read from the environment if none are given; raises SettingsError.
    """
    settings = settings or Settings.from_env(os.environ)
    log.configure(development=settings.development, level=settings.log_level)
    services = wiring.build(settings, os.environ)
    if len(services.secret.encode()) < SHORTEST_SECRET:
        logger.warning(
            "UPLOADSVC_JWT_SECRET is shorter than HS256 wants (RFC 7518, 3.2)",
            needs_bytes=SHORTEST_SECRET,
        )
    app = Flask(__name__, static_folder=None)
    app.extensions[current.EXTENSION] = services
    app.json.sort_keys = False  # type: ignore[attr-defined]
    # One proxy in front, the shipped nginx, which overwrites these.
    app.wsgi_app = ProxyFix(app.wsgi_app, x_for=1, x_proto=1, x_host=1)  # type: ignore[method-assign]
    auth.configure(app, settings, services.secret)
    errors.configure(app)
    for module in (sending, uploads, progress, media, moderation, health):
        app.register_blueprint(module.blueprint)
    if settings.cors_origins:
        CORS(
            app,
            resources=r"/api/*",
            origins=list(settings.cors_origins),
            allow_headers=ALLOWED_HEADERS,
            expose_headers=EXPOSED_HEADERS,
            max_age=600,
        )

    @app.after_request
    def name_the_upload(response: Response) -> Response:
        upload_id = current.upload_id()
        if upload_id is not None:
            response.headers["X-Upload-ID"] = upload_id
        response.headers.setdefault("X-Content-Type-Options", "nosniff")
        if settings.cors_origins:
            # Flask-CORS leaves it out where there is one origin only; a cache must know.
            response.vary.add("Origin")
        return response

    return app
