"""Addresses that open one file for a while, for ``<img>`` and players that send no token.

``?exp=<unix seconds>&sig=<HMAC-SHA256>``; the key is derived from the service's secret and
used for nothing else. A signature is as good as a token: it is never logged.
"""

from __future__ import annotations

import base64
import hmac
from collections.abc import Callable
from time import time

from uploadsvc.model import Media

FILE, THUMBNAIL = "file", "thumbnail"


class SignedUrls:
    """Implements :data:`uploadsvc.wire.MediaUrls`. ``base`` is put before the paths."""

    def __init__(
        self,
        secret: str,
        *,
        lifetime_s: int,
        base: str = "",
        clock: Callable[[], float] = time,
    ) -> None:
        self._key = hmac.digest(secret.encode(), b"uploadsvc media url", "sha256")
        self._lifetime_s = lifetime_s
        self._base = base
        self._clock = clock

    def __call__(self, media: Media) -> tuple[str | None, str | None]:
        thumbnail = self._url(media.id, THUMBNAIL) if media.has_thumbnail else None
        return self._url(media.id, FILE), thumbnail

    def good(self, media_id: str, kind: str, expires: str, signature: str) -> bool:
        """Whether the signature is ours, for this very file, and still good."""
        if not (expires.isascii() and expires.isdigit() and len(expires) < 12):
            return False
        made = self._sign(media_id, kind, int(expires)).encode()
        matches = hmac.compare_digest(made, signature.encode())
        return matches and int(expires) >= self._clock()

    def _url(self, media_id: str, kind: str) -> str:
        expires = int(self._clock()) + self._lifetime_s
        signature = self._sign(media_id, kind, expires)
        path = f"/api/media/{media_id}/{kind}?exp={expires}&sig={signature}"
        return self._base + path

    def _sign(self, media_id: str, kind: str, expires: int) -> str:
        said = f"{media_id}/{kind}/{expires}".encode()
        digest = hmac.digest(self._key, said, "sha256")
        return base64.urlsafe_b64encode(digest).decode().rstrip("=")
