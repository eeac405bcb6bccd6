"""The real nginx in front of something, with the nginx.conf we ship.

The configuration is copied into a prefix of its own and used unchanged; only what a deployment replaces is replaced:
``nginx/listen.conf`` and ``nginx/upstream.conf``.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

PROJECT = Path(__file__).parents[2]
DEADLINE_S = 30.0


def wait_until(condition: Callable[[], object], what: str) -> None:
    """Return once ``condition()`` is true; fail naming ``what`` when it never gets there."""
    deadline = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < deadline, (
            f"waited {DEADLINE_S} s in vain until {what}"
        )
        time.sleep(0.01)


def reserve_port() -> socket.socket:
    """A port of 127.0.0.1 that is bound and refuses connections, until somebody listens on it with ``reuseport``.

    Nobody else can be given the port in between, as happens to one that was only found free.
    """
    reservation = socket.socket()
    reservation.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    reservation.bind(("127.0.0.1", 0))
    return reservation


def port_of(listener: socket.socket) -> int:
    port: int = listener.getsockname()[1]
    return port


def program() -> str:
    """The nginx to run. Not finding one is a failure: ``make test`` installs it."""
    found = shutil.which(
        "nginx", path=os.environ.get("PATH", "") + ":/usr/sbin:/usr/local/sbin"
    )
    assert found, "nginx is not installed"
    return found


def copy_configuration(prefix: Path) -> None:
    """Lay out what a deployment lays out: the configuration as shipped, and the one folder it asks for."""
    shutil.copy(PROJECT / "nginx.conf", prefix)
    shutil.copytree(PROJECT / "nginx", prefix / "nginx")
    (prefix / "var/nginx").mkdir(parents=True)


def command(prefix: Path, *options: str) -> list[str]:
    return [program(), "-e", "stderr", "-p", str(prefix), "-c", "nginx.conf", *options]


class Nginx:
    """A context manager: nginx listening on 127.0.0.1 in front of ``upstream`` ("127.0.0.1:8000").

    ``media`` is the folder X-Accel-Redirect serves from (``<data_dir>/media``); without it, an empty one in the
    prefix. ``origins`` is nginx's CORS allow-list. Entering returns once connections are accepted.
    """

    def __init__(
        self, upstream: str, *, origins: Sequence[str] = (), media: Path | None = None
    ) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="nginx-")
        self.prefix = Path(self._folder.name)
        self._port = reserve_port()
        self._process: subprocess.Popen[bytes] | None = None
        copy_configuration(self.prefix)
        self._replace_includes(upstream, origins)
        if media is None:
            (self.prefix / "var/media").mkdir()
        else:
            (self.prefix / "var/media").symlink_to(media.resolve())

    @property
    def port(self) -> int:
        return port_of(self._port)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def __enter__(self) -> Self:
        try:
            self._start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    def stop(self) -> None:
        """Stop nginx and forget its folder, logs included. A second call does nothing."""
        if self._process:
            self._process.terminate()
            try:
                self._process.wait(DEADLINE_S)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        self._port.close()
        self._folder.cleanup()

    def log_text(self) -> str:
        """All that nginx has written so far: its logs and its stderr."""
        files = sorted((self.prefix / "var/nginx").glob("*.log"))
        return "".join(file.read_text(errors="replace") for file in files)

    def _replace_includes(self, upstream: str, origins: Sequence[str]) -> None:
        allowed = "".join(f'    "{origin}" $http_origin;\n' for origin in origins)
        (self.prefix / "nginx/listen.conf").write_text(
            f"listen 127.0.0.1:{self.port} reuseport backlog=4096;\n"
        )
        (self.prefix / "nginx/upstream.conf").write_text(
            f"upstream uploadsvc {{\n    server {upstream};\n    keepalive 32;\n    keepalive_timeout 1s;\n}}\n"
            f'map $http_origin $cors_origin {{\n    default "";\n{allowed}}}\n'
        )

    def _start(self) -> None:
        # Root's workers would run as nobody, who cannot enter our folder.
        main = "daemon off;" + (" user root;" if os.geteuid() == 0 else "")
        with (self.prefix / "var/nginx/stderr.log").open("wb") as stderr:
            self._process = subprocess.Popen(
                command(self.prefix, "-g", main), stderr=stderr
            )
        wait_until(self._accepts, "nginx accepts connections")

    def _accepts(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, f"nginx did not start: {self.log_text()}"
        try:
            socket.create_connection(
                ("127.0.0.1", self.port), timeout=DEADLINE_S
            ).close()
        except ConnectionRefusedError:
            return False
        return True
