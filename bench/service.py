"""A service of our own to measure, direct and behind the shipped nginx; ended with the block."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT / "tests" / "system"))

from nginx import Nginx  # noqa: E402 - the tests' harness for the shipped front

START_DEADLINE_S = 60

__all__ = ["Nginx", "Running", "service"]


@dataclass
class Running:
    url: str
    token: str
    worker: int
    data: Path

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.token}"}

    def resident_bytes(self) -> int:
        """Of the web worker; its peak would count start-up as well."""
        pages = Path(f"/proc/{self.worker}/statm").read_text().split()[1]
        return int(pages) * os.sysconf("SC_PAGESIZE")

    def cpu_s(self) -> float:
        fields = Path(f"/proc/{self.worker}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@contextmanager
def service(**settings: str) -> Iterator[Running]:
    with tempfile.TemporaryDirectory(prefix="uploadsvc-bench-") as folder:
        bind = f"127.0.0.1:{free_port()}"
        environment = dict(os.environ) | {
            "UPLOADSVC_DATA_DIR": folder,
            "UPLOADSVC_BIND": bind,
            "UPLOADSVC_LOG_LEVEL": "warning",
            **settings,
        }
        master = subprocess.Popen(
            [sys.executable, "-m", "gunicorn", "-c", "gunicorn.conf.py", "wsgi:app"],
            cwd=ROOT,
            env=environment,
        )
        try:
            _until_ready(f"http://{bind}")
            command = [sys.executable, "-m", "uploadsvc.cli", "token", "--user", "b"]
            token = subprocess.check_output(command, env=environment, text=True).strip()
            worker = children(master.pid)[0]
            yield Running(f"http://{bind}", token, worker, Path(folder))
        finally:
            master.terminate()
            master.wait()


def children(pid: int) -> list[int]:
    text = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    return [int(each) for each in text.split()]


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
    return port


def _until_ready(url: str) -> None:
    ends = time.monotonic() + START_DEADLINE_S
    while time.monotonic() < ends:
        try:
            if httpx.get(f"{url}/readyz").status_code == 200:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.05)
    raise SystemExit("the service did not come up")
