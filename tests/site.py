"""The real application over the real services, with neither verifier processes nor a server."""

from __future__ import annotations

import io
import time
from dataclasses import dataclass
from typing import Any

import jwt
from flask import Flask
from flask.testing import FlaskClient

from tests.house import VERIFIED, Step, record, scripted
from uploadsvc.model import Ending, Job, Media, State
from uploadsvc.web.current import EXTENSION
from uploadsvc.wiring import Services
from uploadsvc.work.ending import Endings
from uploadsvc.work.run import Runner

SECRET = "the secret of the tests, long enough for HS256"


def token(user: Any = "anna", *, secret: str = SECRET, **claims: Any) -> str:
    """An access token as an existing backend would sign it; a claim that is None is left out."""
    now = int(time.time())
    # Long enough for those made when the tests are collected.
    payload = {"sub": user, "iat": now, "exp": now + 3600} | claims
    said = {name: value for name, value in payload.items() if value is not None}
    return jwt.encode(said, secret, algorithm="HS256")


def bearer(user: Any = "anna", **options: Any) -> dict[str, str]:
    return {"Authorization": f"Bearer {token(user, **options)}"}


@dataclass
class Site:
    """An application and the ways a test reaches into it."""

    app: Flask

    @property
    def services(self) -> Services:
        return self.app.extensions[EXTENSION]

    @property
    def client(self) -> FlaskClient:
        return self.app.test_client()

    def get(self, path: str, method: str = "GET", **options: Any) -> Any:
        """The whole answer, its file closed as a server would."""
        return self.client.open(path, method=method, buffered=True, **options)

    def send(
        self, upload_id: str | None = "upload_123", user: str = "anna", **headers: str
    ) -> Any:
        """POST a file, without waiting for its verification."""
        named = {"X-Upload-ID": upload_id} if upload_id else {}
        return self.client.post(
            "/api/media/upload",
            data={"file": (io.BytesIO(b"picture"), "a.png"), "title": "T"},
            headers=bearer(user) | {"Prefer": "respond-async"} | named | headers,
        )

    def verify(self, upload_id: str, *steps: Step) -> None:
        """Verify a queued upload at once; without steps it goes well."""
        services = self.services
        services.dispatcher.cancel(upload_id)
        endings = Endings(services.uploads, services.hub, services.storage)
        runner = Runner(
            services.uploads,
            services.hub,
            services.storage,
            endings,
            services.presence.id,
        )
        runner.run(Job(upload_id, "T", "", "a.png", 7), scripted(steps or [VERIFIED]))

    def media(self, upload_id: str = "upload_123", **changes: Any) -> Media:
        """Approved media of anna's, its files in the storage and its record in the table."""
        services = self.services
        media = record(f"media_of_{upload_id}", upload_id, **changes)
        suffix = "jpg" if media.facts.mime_type == "image/jpeg" else "png"
        with services.storage.scratch(upload_id) as scratch:
            names = [f"original.{suffix}", "thumbnail.webp"]
            (scratch / names[0]).write_bytes(b"0123456789")
            (scratch / names[1]).write_bytes(b"small picture")
            services.storage.promote(scratch, media.id, names)
        uploads = services.uploads
        uploads.begin(upload_id, media.user_id, "me")
        for before, after in [
            (State.RECEIVING, State.QUEUED),
            (State.QUEUED, State.VERIFYING),
        ]:
            uploads.advance(upload_id, [before], after)
        uploads.complete(upload_id, Ending(9, "", None, (), media.created_at), media)
        return media

    def urls(self, media: Media) -> tuple[str, str]:
        file_url, thumbnail_url = self.services.urls(media)
        assert file_url is not None
        assert thumbnail_url is not None
        return file_url, thumbnail_url
