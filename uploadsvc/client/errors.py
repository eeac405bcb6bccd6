"""What can go wrong for a client, as one class with a code.

The service's own codes are those of :mod:`uploadsvc.errors`. Codes made here:

``unreachable``        nothing answered for as long as patience lasted
``unexpected_answer``  what answered is not this service
``http_<status>``      an answer without a code, a proxy's error page for example
``reauth``             the token expired while the stream was open
``expired``            the id was never used by an upload and is free again
``stream_closed``      the stream was ended from outside, the upload goes on
``file_unreadable``    the file cannot be read, or changed while it was sent
``invalid_url`` · ``invalid_token``  what was given can be neither an address nor a token
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import httpx

from uploadsvc.errors import BY_CODE, ContentRejected, InvalidMedia, TooLarge
from uploadsvc.errors import UnsupportedMedia as Unsupported

# The file's own doing: sending it again changes nothing.
REJECTIONS: frozenset[str] = frozenset(
    error.code for error in (ContentRejected, InvalidMedia, TooLarge, Unsupported)
)


class ClientError(Exception):
    """``status`` is 0 where no answer was involved; ``facts`` are the answer's other fields.

    The message may come from the service: whoever prints it neutralises it first.
    """

    def __init__(
        self,
        code: str,
        message: str,
        status: int = 0,
        facts: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.status = status
        self.facts: Mapping[str, Any] = facts or {}

    @property
    def reasons(self) -> tuple[str, ...]:
        reasons = self.facts.get("reasons")
        return tuple(map(str, reasons)) if isinstance(reasons, list | tuple) else ()

    @property
    def rejected(self) -> bool:
        """Whether the file itself was turned down, as against anything else failing."""
        return self.code in REJECTIONS


def refusal(response: httpx.Response) -> ClientError:
    """The error an answer stands for. Reads the body, whatever it is."""
    response.read()
    try:
        body = response.json()
    except ValueError:
        body = None
    if not isinstance(body, dict) or not isinstance(body.get("code"), str):
        status = response.status_code
        return ClientError(
            f"http_{status}", f"The service answered with status {status}", status
        )
    facts = {
        name: value
        for name, value in body.items()
        if name not in ("success", "error", "code")
    }
    message = str(body.get("error") or body["code"])
    return ClientError(body["code"], message, response.status_code, facts)


def failure(ending: Mapping[str, Any]) -> ClientError:
    """The error that an ``error`` event, or the snapshot of such an ending, stands for."""
    code = str(ending.get("code") or "internal_error")
    known = BY_CODE.get(code)
    return ClientError(
        code,
        str(ending.get("message") or "The upload failed"),
        known.status if known else 0,
        ending,
    )
