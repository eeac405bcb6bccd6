"""What the service says of an upload when asked, as against told by the stream."""

from __future__ import annotations

from typing import Any

import httpx

from uploadsvc.client.connection import upload_path
from uploadsvc.client.errors import ClientError, refusal
from uploadsvc.client.patience import TRY_AGAIN, Patience, retry_after_s


def ask(client: httpx.Client, upload_id: str, patience: Patience) -> dict[str, Any]:
    """The snapshot. Asks again while the service cannot answer; raises its refusal."""
    while True:
        advised_s: float | None = None
        trouble: Exception
        try:
            response = client.get(upload_path(upload_id))
        except httpx.RequestError as error:
            trouble = error
        else:
            patience.answered()
            if response.status_code == 200:
                return _json(response)
            trouble, advised_s = refusal(response), retry_after_s(response)
            if response.status_code not in TRY_AGAIN:
                raise trouble
        patience.pause(advised_s, trouble)


def _json(response: httpx.Response) -> dict[str, Any]:
    try:
        body = response.json()
    except ValueError as error:
        raise ClientError("unexpected_answer", "The answer is not JSON", 200) from error
    if not isinstance(body, dict):
        raise ClientError("unexpected_answer", "The answer is not an object", 200)
    return body
