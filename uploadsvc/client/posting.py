"""Getting the file to the service, whatever happens to the answer.

An answer that got lost is not a refusal: the snapshot tells what became of the upload. Only where
nothing of it did (the id is unknown, or still waits) is it sent again, under the same id, so that
it can never become two uploads. One that was cut off in its body has ended, and is told as that.
"""

from __future__ import annotations

from typing import IO, cast

import httpx

from uploadsvc.client.errors import ClientError, refusal
from uploadsvc.client.patience import LONGEST_PAUSE_S, Patience, retry_after_s
from uploadsvc.client.sending import SendingFile
from uploadsvc.client.snapshot import ask
from uploadsvc.errors import IdTaken
from uploadsvc.model import State

# How often the file is sent at most. Each time may cost the whole body.
SENDS = 5
# Failed before a byte of the file left, so that there is nothing to ask about.
NOT_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout)


def send(
    client: httpx.Client,
    upload_id: str,
    file: SendingFile,
    title: str,
    description: str,
    patience: Patience,
) -> None:
    """Returns once the service has the file; raises if it never will."""
    fields = {"title": title, "description": description}
    sends = 0
    while True:
        advised_s: float | None = None
        trouble: Exception
        try:
            response = client.post(
                "api/media/upload",
                headers={"X-Upload-ID": upload_id, "Prefer": "respond-async"},
                data={name: _encodable(text) for name, text in fields.items() if text},
                files={"file": (_encodable(file.name), cast(IO[bytes], file))},
            )
        except NOT_SENT as error:
            patience.pause(None, error)
            continue
        except httpx.RequestError as error:
            trouble, lost = error, True
        else:
            if response.is_success:
                return
            refused = refusal(response)
            lost = response.status_code in (502, 504) or refused.code == IdTaken.code
            if not lost and not _may_be_sent_again(response):
                raise refused
            trouble, advised_s = refused, retry_after_s(response)
        sends += 1
        patience.rewarded()  # sending took its time, which was not lost waiting
        if lost and _arrived(client, upload_id, patience):
            return
        if sends >= SENDS:
            if isinstance(trouble, ClientError):
                raise trouble
            raise ClientError(
                "unreachable", f"The connection broke {sends} times: {trouble}"
            ) from trouble
        patience.pause(advised_s, trouble)


def _may_be_sent_again(response: httpx.Response) -> bool:
    """Whether the refusal is about this moment, and the moment passes soon."""
    return (
        response.status_code in (429, 503)
        and (retry_after_s(response) or 0) <= LONGEST_PAUSE_S
    )


def _arrived(client: httpx.Client, upload_id: str, patience: Patience) -> bool:
    """Whether the file is with the service, whose answer got lost."""
    while True:
        try:
            snapshot = ask(client, upload_id, patience)
        except ClientError as error:
            if error.status == 403:  # an id it never heard of
                return False
            raise
        match snapshot.get("status"):
            case State.OPEN:
                return False
            case State.RECEIVING:
                # It has not noticed the cut yet, or still has bytes to write.
                patience.pause(
                    None,
                    ClientError("unreachable", "The connection broke while sending"),
                )
            case _:
                return True


def _encodable(text: str) -> str:
    """A file name of undecodable bytes arrives as lone surrogates, which no header can carry."""
    return text.encode("utf-8", "replace").decode()
