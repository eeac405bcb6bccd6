"""How the service is reached: one httpx client, checked before the first byte leaves."""

from __future__ import annotations

import ipaddress
import socket
import threading

import httpx

from uploadsvc.client.errors import ClientError
from uploadsvc.model import UPLOAD_ID

CONNECT_S = 10.0
# One write or one read. An answer to an upload waits until a large file is durable and
# hashed on a busy disk; a stream has its own, shorter limit.
WRITE_S = 60.0
READ_S = 300.0


def connect(url: str, token: str) -> httpx.Client:
    """A client whose relative addresses are the service's; the caller closes it.

    Redirects are not followed, so that the token goes to the given host and no other.
    """
    address = _address(url)
    token = token.strip()
    if not token or not (token.isascii() and token.isprintable()) or " " in token:
        raise ClientError("invalid_token", "That is not an access token")
    return httpx.Client(
        base_url=address,
        headers={"Authorization": f"Bearer {token}"},
        timeout=httpx.Timeout(READ_S, connect=CONNECT_S, write=WRITE_S, pool=CONNECT_S),
        # A proxy of the environment cannot reach this machine's own loopback.
        trust_env=not _is_loopback(address.host),
    )


def upload_path(upload_id: str) -> str:
    if not UPLOAD_ID.fullmatch(upload_id):
        raise ClientError(
            "invalid_upload_id",
            "An upload id has 8 to 64 letters, digits, hyphens or underscores",
        )
    return f"api/media/upload/{upload_id}"


def _address(url: str) -> httpx.URL:
    try:
        address = httpx.URL(url.strip())
    except httpx.InvalidURL as error:
        raise ClientError("invalid_url", f"Not an address: {error}") from error
    if address.scheme not in ("http", "https") or not address.host:
        raise ClientError(
            "invalid_url", "The address must begin with http:// or https:// and a host"
        )
    if address.userinfo or address.query or address.fragment:
        # httpx would make the user part into an Authorization of its own, over the token.
        raise ClientError(
            "invalid_url", "The address may have a host, a port and a path only"
        )
    return address


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


class Stop:
    """Ends a stream from another thread, at once, also while it waits for the network.

    Closing a socket does not wake a thread that reads it; shutting it down does.
    """

    def __init__(self) -> None:
        self._stopped = threading.Event()
        self._lock = threading.Lock()
        self._socket: socket.socket | None = None

    def is_set(self) -> bool:
        return self._stopped.is_set()

    def wait(self, seconds: float) -> None:
        """Sleeps, but no longer than until the stop."""
        self._stopped.wait(seconds)

    def set(self) -> None:
        self._stopped.set()
        self._shut()

    def attach(self, response: httpx.Response) -> None:
        stream = response.extensions["network_stream"]
        with self._lock:
            self._socket = stream.get_extra_info("socket")
        if self.is_set():
            # Stopped between the decision to connect and here: nobody else will shut it.
            self._shut()

    def detach(self) -> None:
        with self._lock:
            self._socket = None

    def _shut(self) -> None:
        with self._lock:
            if self._socket is None:
                return
            try:
                # The plain socket's method: SSLSocket's own pulls the TLS state from
                # under the thread that reads.
                socket.socket.shutdown(self._socket, socket.SHUT_RDWR)
            except OSError:
                return
