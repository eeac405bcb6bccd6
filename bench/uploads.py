"""One large upload at full speed: its cost, its memory, and what the others notice of it."""

from __future__ import annotations

import hashlib
import os
import socket
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import httpx

from bench.service import Running

SIZE = 500 * 2**20 - 2**16
PIECE = 2**20

# Runs in a process of its own, so that the measuring side's work is not in its way.
PROBE = """
import sys, time, httpx
url, seconds = sys.argv[1], float(sys.argv[2])
ends, worst, count = time.monotonic() + seconds, 0.0, 0
with httpx.Client(timeout=60) as client:
    client.get(url)
    print("ready", flush=True)
    while time.monotonic() < ends:
        asked = time.perf_counter()
        client.get(url)
        worst, count = max(worst, time.perf_counter() - asked), count + 1
        time.sleep(0.005)
print(worst, count)
"""


@dataclass
class Figures:
    seconds: float
    cpu_s: float
    grown_bytes: int
    worst_wait_s: float
    requests: int
    status: int


def big_upload(running: Running, url: str) -> Figures:
    """500 MB that no stage will like, so that only receiving is measured."""
    grown = 0
    before, cpu = running.resident_bytes(), running.cpu_s()
    done = threading.Event()

    def watch_memory() -> None:
        nonlocal grown
        while not done.wait(0.02):
            grown = max(grown, running.resident_bytes() - before)

    probe = subprocess.Popen(
        [sys.executable, "-c", PROBE, f"{url}/healthz", "6"],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert probe.stdout is not None
    probe.stdout.readline()
    watcher = threading.Thread(target=watch_memory)
    watcher.start()
    started = time.perf_counter()
    status = _send(running, url)
    seconds = time.perf_counter() - started
    done.set()
    watcher.join()
    worst, count = probe.communicate()[0].split()
    return Figures(
        seconds, running.cpu_s() - cpu, grown, float(worst), int(count), status
    )


def floor_s(folder: Path) -> float:
    """The least anybody must do: receive the bytes, hash them, write them, make them durable."""
    server = socket.create_server(("127.0.0.1", 0))
    sender = threading.Thread(target=_pour, args=(server.getsockname(),))
    started = time.perf_counter()
    sender.start()
    connection, _ = server.accept()
    digest, target = hashlib.sha256(), folder / "floor"
    with connection, target.open("wb", buffering=0) as file:
        buffer = bytearray(PIECE)
        while read := connection.recv_into(buffer):
            piece = memoryview(buffer)[:read]
            file.write(piece)
            digest.update(piece)
        os.fsync(file.fileno())
    seconds = time.perf_counter() - started
    sender.join()
    server.close()
    target.unlink()
    return seconds


def _pour(address: tuple[str, int]) -> None:
    piece = os.urandom(PIECE)
    with socket.create_connection(address) as connection:
        for _ in range(SIZE // PIECE):
            connection.sendall(piece)


def _send(running: Running, url: str) -> int:
    """By hand, for HTTP clients spend more on sending than the service on receiving."""
    where = urlsplit(url)
    head = (
        b"--bench\r\nContent-Disposition: form-data; "
        b'name="file"; filename="big.bin"\r\n\r\n'
    )
    tail = b"\r\n--bench--\r\n"
    length = len(head) + (SIZE // PIECE) * PIECE + len(tail)
    request = (
        f"POST /api/media/upload HTTP/1.1\r\nHost: {where.netloc}\r\n"
        f"Authorization: Bearer {running.token}\r\nConnection: close\r\n"
        "Content-Type: multipart/form-data; boundary=bench\r\n"
        f"Content-Length: {length}\r\n\r\n"
    )
    piece = os.urandom(PIECE)
    address = (where.hostname or "", where.port or 80)
    with socket.create_connection(address, timeout=300) as connection:
        connection.sendall(request.encode() + head)
        for _ in range(SIZE // PIECE):
            connection.sendall(piece)
        connection.sendall(tail)
        return int(connection.recv(4096).split()[1])


def many(running: Running, url: str, files: list[Path]) -> tuple[int, float]:
    """Uploads at once; how many ended well, each with its own events only, and seconds."""
    ended: list[bool] = []

    def one(number: int) -> None:
        upload_id = f"bench-many-{number:03d}-{time.time_ns()}"
        path = f"{url}/api/media/upload"
        with httpx.Client(headers=running.headers, timeout=300) as client:
            file = files[number % len(files)]
            client.post(
                path,
                headers={"X-Upload-ID": upload_id, "Prefer": "respond-async"},
                files={"file": (file.name, file.read_bytes())},
            )
            with client.stream("GET", f"{path}/{upload_id}/progress") as response:
                told = [line for line in response.iter_lines() if "uploadId" in line]
        own = all(f'"uploadId":"{upload_id}"' in line for line in told)
        ended.append(own and '"stage":"complete"' in told[-1])

    threads = [threading.Thread(target=one, args=(number,)) for number in range(20)]
    started = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sum(ended), time.perf_counter() - started
