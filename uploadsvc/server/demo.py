"""``make demo``: a throw-away service, a real film, its progress, its record, and the end.

Leaves with 0 when the upload was verified; nothing is left behind.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path

from uploadsvc.server.sample import film
from uploadsvc.settings import PREFIX

START_DEADLINE_S = 120.0


def main() -> int:
    with tempfile.TemporaryDirectory(prefix="uploadsvc-demo-") as folder:
        data = Path(folder)
        bind = f"127.0.0.1:{_free_port()}"
        environment = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(PREFIX)
        } | {
            "UPLOADSVC_DATA_DIR": str(data),
            "UPLOADSVC_BIND": bind,
            "UPLOADSVC_LOG_LEVEL": "warning",
        }
        print("Making a film ...", flush=True)
        film(data / "demo.mp4")
        print(f"Starting a service on http://{bind} ...", flush=True)
        service = subprocess.Popen(
            [sys.executable, "-m", "gunicorn", "-c", "gunicorn.conf.py", "wsgi:app"],
            env=environment,
        )
        try:
            _wait_until_ready(f"http://{bind}", service)
            command = [
                *(sys.executable, "-m", "uploadsvc.cli", "upload"),
                *(str(data / "demo.mp4"), "--url", f"http://{bind}"),
                *("--title", "Demo"),
            ]
            status = subprocess.run(command, env=environment, check=False).returncode
        finally:
            service.terminate()
            service.wait()
    print("Verified: 100 %." if status == 0 else f"Ended with status {status}.")
    return status


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
    return port


def _wait_until_ready(url: str, service: subprocess.Popen[bytes]) -> None:
    ends = time.monotonic() + START_DEADLINE_S
    while time.monotonic() < ends and service.poll() is None:
        try:
            with urllib.request.urlopen(f"{url}/readyz", timeout=5):  # noqa: S310
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.1)
    raise SystemExit("The service did not come up; its words are above.")


if __name__ == "__main__":
    sys.exit(main())
