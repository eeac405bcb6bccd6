"""The real service: gunicorn with the shipped configuration, on a port and a data folder of its own.

Everything a test may do to it from outside is here: ask it, listen to it, send half a body to it, stop, kill and restart
it and its children, and look at what it left behind. Every wait is for a condition.
"""

from __future__ import annotations

import http.client
import json
import os
import secrets
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

import httpx
import jwt

from nginx import PROJECT

T = TypeVar("T")
Json = dict[str, Any]

DEADLINE_S = 60.0
RETRY_NEVER_MS = 86_400_000
BOUNDARY = "b0undary-of-the-tests"
AT_WORK = {"receiving", "queued", "verifying"}
STAGES = [
    "uploading",
    "file_received",
    "validating",
    "analyzing",
    "moderating",
    "processing",
    "finalizing",
    "complete",
]


def eventually(
    condition: Callable[[], T], what: str = "", deadline_s: float = DEADLINE_S
) -> T:
    """The first true value of ``condition()``; a failure naming ``what`` if there is none."""
    deadline = time.monotonic() + deadline_s
    while not (value := condition()):
        assert time.monotonic() < deadline, f"in vain waited for {what or condition}"
        time.sleep(0.02)
    return value


def in_background(work: Callable[..., T], *args: Any, **more: Any) -> Future[T]:
    """``work`` in a thread of its own; its result, or what it raised, is in the future."""
    future: Future[T] = Future()

    def run() -> None:
        try:
            future.set_result(work(*args, **more))
        except Exception as error:
            future.set_exception(error)

    threading.Thread(target=run, daemon=True).start()
    return future


def free_port() -> int:
    """A port of 127.0.0.1 that nobody listens on, below those the kernel gives to others by itself."""
    while True:
        port = 20_000 + secrets.randbelow(12_000)
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


def new_id() -> str:
    return f"upload_{secrets.token_hex(8)}"


# --- Reading a stream ------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Frame:
    """What stood between two empty lines of a stream."""

    retry: int | None = None
    id: int | None = None
    data: Json | None = None
    comment: str | None = None


def frames(text: str) -> list[Frame]:
    """The complete frames of ``text``. Strict: a field or a line end we never send fails."""
    assert "\r" not in text
    return [_frame(block) for block in text.split("\n\n")[:-1]]


def _frame(block: str) -> Frame:
    found: dict[str, Any] = {}
    for line in block.split("\n"):
        name, value = line.split(": ", 1)
        assert name not in found, f"{name} twice in one frame"
        found[name or "comment"] = value
    data = found.pop("data", None)
    return Frame(
        retry=int(found.pop("retry")) if "retry" in found else None,
        id=int(found.pop("id")) if "id" in found else None,
        data=json.loads(data) if data is not None else None,
        **found,
    )


class Stream:
    """A progress stream, read in a thread of its own until it ends or is closed."""

    def __init__(self, url: str, headers: Mapping[str, str]) -> None:
        # Without TLS's certificates, which take longer to load than most tests to run.
        self._client = httpx.Client(timeout=DEADLINE_S, verify=False)
        self._url = url
        self._sent = dict(headers)
        self._text = ""
        self._socket: socket.socket | None = None
        self._answered = threading.Event()
        self.ended = False
        self.status = 0
        self.headers = httpx.Headers()
        self._thread = threading.Thread(target=self._read, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._answered.wait(DEADLINE_S)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        if self._socket is not None:
            with suppress(OSError):
                self._socket.shutdown(socket.SHUT_RDWR)
        self._thread.join(DEADLINE_S)
        self._client.close()

    @property
    def text(self) -> str:
        return self._text

    @property
    def frames(self) -> list[Frame]:
        return frames(self._text)

    @property
    def events(self) -> list[Json]:
        """The progress events so far, each with its id."""
        return [
            {**frame.data, "id": frame.id}
            for frame in self.frames
            if frame.data is not None and frame.data["type"] == "progress"
        ]

    @property
    def percents(self) -> list[int]:
        return [event["progress"] for event in self.events]

    @property
    def cursor(self) -> int:
        """The id of the last event read."""
        return int(self.events[-1]["id"])

    def wait_for(self, stage: str, percent: int = 0) -> Json:
        """The first event of the stage, or of a later percent in it."""

        def found() -> Json | None:
            for event in self.events:
                if event["stage"] == stage and event["progress"] >= percent:
                    return event
            assert not self.ended, f"no {stage} {percent} in {self._text}"
            return None

        return eventually(found, f"{stage} {percent}") or {}

    def wait_for_end(self) -> list[Json]:
        """All events, once the service has closed the stream."""
        eventually(lambda: self.ended, f"the end of {self._url.partition('?')[0]}")
        return self.events

    def _read(self) -> None:
        try:
            with self._client.stream("GET", self._url, headers=self._sent) as response:
                network = response.extensions["network_stream"]
                self._socket = network.get_extra_info("socket")
                self.status, self.headers = response.status_code, response.headers
                self._answered.set()
                for text in response.iter_text():
                    self._text += text
        except httpx.RequestError:
            pass  # a cut stream has ended; what it lacks is the test's business
        finally:
            self.ended = True
            self._answered.set()


def assert_one_story(events: list[Json]) -> None:
    """The law of the contract, section 3, for what one reader has read to the end."""
    ids = [event["id"] for event in events]
    percents = [event["progress"] for event in events if event["stage"] != "error"]
    ranks = [STAGES.index(event["stage"]) for event in events[:-1]]
    terminal = [event for event in events if event["stage"] in {"complete", "error"}]
    assert ids == sorted(set(ids))
    assert percents == sorted(percents)
    assert ranks == sorted(ranks)
    assert terminal == events[-1:]


# --- Posting by hand -------------------------------------------------------------------


def form(content: bytes, name: str = "file.bin", field: str = "file") -> bytes:
    head = (
        f"--{BOUNDARY}\r\n"
        f'Content-Disposition: form-data; name="{field}"; filename="{name}"\r\n'
        "Content-Type: application/octet-stream\r\n\r\n"
    )
    return head.encode() + content + f"\r\n--{BOUNDARY}--\r\n".encode()


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    headers: dict[str, str]
    json: Json


class RawPost:
    """An upload over a plain socket: whoever holds it decides how much is sent, and when."""

    def __init__(
        self, port: int, headers: Mapping[str, str], length: int | None
    ) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), DEADLINE_S)
        body = (
            {"Transfer-Encoding": "chunked"}
            if length is None
            else {"Content-Length": str(length)}
        )
        lines = [
            f"{name}: {value}"
            for name, value in {
                "Host": "127.0.0.1",
                "Content-Type": f"multipart/form-data; boundary={BOUNDARY}",
                **body,
                **headers,
            }.items()
        ]
        self.send("\r\n".join(["POST /api/media/upload HTTP/1.1", *lines, "", ""]))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        # An answer that is being read holds the socket open beyond close().
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()

    def send(self, data: bytes | str) -> None:
        self._socket.sendall(data.encode() if isinstance(data, str) else data)

    def chunk(self, data: bytes) -> None:
        self.send(b"%x\r\n%b\r\n" % (len(data), data))

    def half_close(self) -> None:
        """No more comes from us; the answer can still be read."""
        self._socket.shutdown(socket.SHUT_WR)

    def first_line(self) -> str:
        """The first line that comes back, an interim answer's too."""
        line = b""
        while not line.endswith(b"\r\n"):
            received = self._socket.recv(1)
            assert received, f"closed after {line!r}"
            line += received
        return line.decode().strip()

    def answer(self) -> Answer:
        """The final answer and, where it is one, its JSON."""
        response = http.client.HTTPResponse(self._socket, method="POST")
        response.begin()
        body = response.read()
        headers = {name.lower(): value for name, value in response.getheaders()}
        return Answer(response.status, headers, json.loads(body))


# --- Somebody who uploads --------------------------------------------------------------


class User:
    """Somebody with a token, and the requests such a one makes."""

    def __init__(self, url: str, name: str, token: str) -> None:
        self.url = url
        self.name = name
        self.token = token
        self.bearer = {"Authorization": f"Bearer {token}"}
        # No connection is kept: the service is killed and restarted under us.
        limits = httpx.Limits(max_keepalive_connections=0)
        self._http = httpx.Client(
            base_url=url, timeout=DEADLINE_S, limits=limits, verify=False
        )

    def close(self) -> None:
        self._http.close()

    def request(self, method: str, path: str, **more: Any) -> httpx.Response:
        headers = self.bearer | more.pop("headers", {})
        return self._http.request(method, path, headers=headers, **more)

    def get(self, path: str, **params: Any) -> httpx.Response:
        return self.request("GET", path, params=params)

    def upload(
        self,
        file: Path | bytes,
        id: str | None = None,
        *,
        prefer: str | None = None,
        name: str = "file.bin",
        field: str = "file",
        headers: Mapping[str, str] | None = None,
        **texts: str,
    ) -> httpx.Response:
        sent = dict(headers or {})
        if id is not None:
            sent["X-Upload-ID"] = id
        if prefer is not None:
            sent["Prefer"] = prefer
        content = file.read_bytes() if isinstance(file, Path) else file
        return self.request(
            "POST",
            "/api/media/upload",
            headers=sent,
            files={field: (name, content)},
            data=texts,
        )

    def upload_later(self, *args: Any, **more: Any) -> Future[httpx.Response]:
        return in_background(self.upload, *args, **more)

    def begin(
        self, id: str, length: int | None, headers: Mapping[str, str] | None = None
    ) -> RawPost:
        port = httpx.URL(self.url).port
        assert port is not None
        sent = {**self.bearer, "X-Upload-ID": id, **(headers or {})}
        return RawPost(port, sent, length)

    def stream(
        self,
        id: str,
        last_event_id: int | str | None = None,
        query: str = "",
        *,
        in_query: bool = False,
    ) -> Stream:
        """``in_query`` sends the token as a browser's EventSource has to."""
        headers = {} if in_query else dict(self.bearer)
        if in_query:
            query = f"token={self.token}" + (f"&{query}" if query else "")
        if last_event_id is not None:
            headers["Last-Event-ID"] = str(last_event_id)
        path = f"/api/media/upload/{id}/progress"
        return Stream(f"{self.url}{path}" + (f"?{query}" if query else ""), headers)

    def snapshot(self, id: str) -> Json:
        response = self.get(f"/api/media/upload/{id}")
        assert response.status_code == 200, response.text
        found: Json = response.json()
        return found

    def wait_for_status(self, id: str, *statuses: str) -> Json:
        def found() -> Json | None:
            response = self.get(f"/api/media/upload/{id}")
            reached = response.is_success and response.json()["status"] in statuses
            return response.json() if reached else None

        return eventually(found, f"{id} being {statuses}") or {}

    def cancel(self, id: str) -> httpx.Response:
        return self.request("DELETE", f"/api/media/upload/{id}")


# --- The service -----------------------------------------------------------------------


class Service:
    """A context manager: ``gunicorn -c gunicorn.conf.py wsgi:app``, ready when entered.

    ``settings`` are the service's own by their names (``heartbeat_s=0.5``). One verifier unless told
    otherwise: that is what the default comes to on two cores.
    """

    def __init__(self, **settings: object) -> None:
        self._settings = {"verifiers": 1, "heartbeat_s": 0.5, **settings}
        self._folder = tempfile.TemporaryDirectory(prefix="uploadsvc-")
        self.data_dir = Path(self._folder.name, "data")
        self._log = Path(self._folder.name, "log")
        self.port = free_port()
        self._users: list[User] = []
        self._gunicorn: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        try:
            self.restart()
        except BaseException:
            self._leave()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._leave()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def user(self, name: str = "", *, url: str = "") -> User:
        """Somebody of that name, or a stranger; ``url`` is a front's address."""
        name = name or f"user_{secrets.token_hex(4)}"
        user = User(url or self.url, name, self.token(name))
        self._users.append(user)
        return user

    def token(self, user: str, *, expires_s: float = 3600, secret: str = "") -> str:
        """A token as an existing backend would sign it."""
        signing = secret or (self.data_dir / "secret").read_text()
        claims = {"sub": user, "exp": int(time.time() + expires_s)}
        return jwt.encode(claims, signing, "HS256")

    # Starting and ending

    def restart(self) -> None:
        """Start it again on the same port and data, waiting until it is ready."""
        assert self._gunicorn is None or self._gunicorn.poll() is not None
        own = {
            f"UPLOADSVC_{name.upper()}": str(value)
            for name, value in self._settings.items()
        }
        with self._log.open("ab") as log:
            self._gunicorn = subprocess.Popen(
                [
                    sys.executable,
                    "-m",
                    "gunicorn",
                    "-c",
                    "gunicorn.conf.py",
                    "wsgi:app",
                ],
                cwd=PROJECT,
                stdout=log,
                stderr=log,
                env={
                    **{k: v for k, v in os.environ.items() if "UPLOADSVC" not in k},
                    "UPLOADSVC_BIND": f"127.0.0.1:{self.port}",
                    "UPLOADSVC_DATA_DIR": str(self.data_dir),
                    **own,
                },
            )
        eventually(self._ready, "readyz")

    def signal(self, number: int) -> None:
        """To the master, as a service manager sends it."""
        assert self._gunicorn is not None
        self._gunicorn.send_signal(number)

    def wait_until_gone(self) -> int:
        """The exit status of the master, once it has one."""
        assert self._gunicorn is not None
        return self._gunicorn.wait(DEADLINE_S)

    def kill(self) -> None:
        """kill -9 of master, worker and verifiers at once, as when the machine goes down."""
        assert self._gunicorn is not None
        found = [self._gunicorn.pid, *_descendants(self._gunicorn.pid)]
        for pid in found:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self._gunicorn.wait(DEADLINE_S)
        eventually(lambda: not any(_alive(pid) for pid in found), "all being dead")

    def _ready(self) -> bool:
        assert self._gunicorn is not None
        assert self._gunicorn.poll() is None, f"it did not start:\n{self.logs()}"
        try:
            return httpx.get(f"{self.url}/readyz", timeout=DEADLINE_S).is_success
        except httpx.RequestError:
            return False

    def _leave(self) -> None:
        for user in self._users:
            user.close()
        if self._gunicorn is not None and self._gunicorn.poll() is None:
            self.resume_verifiers()
            found = _descendants(self._gunicorn.pid)
            self._gunicorn.terminate()
            try:
                self._gunicorn.wait(DEADLINE_S)
            except subprocess.TimeoutExpired:
                self.kill()
            for pid in filter(_alive, found):
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        self._folder.cleanup()

    # Its processes

    @property
    def worker_pid(self) -> int:
        """The web worker; the newest, where a reload has two."""
        assert self._gunicorn is not None
        master = self._gunicorn.pid
        return max(eventually(lambda: _children(master), "a worker"))

    def accepts(self, pid: int) -> bool:
        """Whether this process of ours takes new connections."""
        rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()]
        listening, ours = "0A", f"0100007F:{self.port:04X}"
        sockets = {
            f"socket:[{row[9]}]"
            for row in rows
            if row[1] == ours and row[3] == listening
        }
        with suppress(FileNotFoundError):
            for descriptor in Path(f"/proc/{pid}/fd").iterdir():
                with suppress(FileNotFoundError):
                    if str(descriptor.readlink()) in sockets:
                        return True
        return False

    def verifier_pids(self) -> list[int]:
        return [
            pid
            for pid in _children(self.worker_pid)
            if "uploadsvc.verify" in _line(pid)
        ]

    def wait_for_verifier(self, other_than: int = 0) -> int:
        """The verifier that waits for work or does it, once there is one."""

        def found() -> list[int]:
            return [pid for pid in self.verifier_pids() if pid != other_than]

        return eventually(found, "a verifier")[0]

    @contextmanager
    def verifiers_held(self) -> Iterator[None]:
        """Inside, the verifiers stand still: what is sent now stays being verified, or queued."""
        # One that still loads would be held before it takes a job.
        eventually(self._ready, "readyz")
        for pid in self.verifier_pids():
            os.kill(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            self.resume_verifiers()

    def resume_verifiers(self) -> None:
        for pid in _descendants(self._gunicorn.pid) if self._gunicorn else []:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)

    def memory_bytes(self, what: str = "VmRSS") -> int:
        """Of the web worker: VmRSS now, VmHWM at its highest."""
        for line in Path(f"/proc/{self.worker_pid}/status").read_text().splitlines():
            if line.startswith(f"{what}:"):
                return int(line.split()[1]) * 1024
        raise AssertionError(what)

    # What it left

    def logs(self) -> str:
        return self._log.read_text(errors="replace")

    def rows(self, table: str = "uploads") -> dict[str, Json]:
        """The rows of the table by their id, as they are in the database."""
        database = f"file:{self.data_dir}/uploadsvc.sqlite3?mode=ro"
        with closing(sqlite3.connect(database, uri=True)) as connection:
            connection.row_factory = sqlite3.Row
            found = connection.execute(f"SELECT * FROM {table}").fetchall()
        return {row["id"]: dict(row) for row in found}

    def change(self, statement: str, *values: object) -> None:
        """One statement on the database, by hand."""
        with closing(
            sqlite3.connect(self.data_dir / "uploadsvc.sqlite3", timeout=DEADLINE_S)
        ) as connection:
            connection.execute(statement, values)
            connection.commit()

    def leftovers(self) -> list[str]:
        """What no ended upload may leave: received bytes, scratch, media without a record,
        rows at work, children beyond the warm verifiers."""
        records = self.rows("media")
        found = [
            str(path.relative_to(self.data_dir))
            for folder in ("incoming", "scratch", "media")
            for path in (self.data_dir / folder).iterdir()
            if path.name not in records and path.name != ".writable"
        ]
        found += [
            f"{id} {row['state']}"
            for id, row in self.rows().items()
            if row["state"] in AT_WORK
        ]
        children = _children(self.worker_pid)
        if len(children) > int(str(self._settings["verifiers"])):
            found += [f"child {pid} {_line(pid)}" for pid in children]
        return found

    def assert_nothing_left(self) -> None:
        with suppress(AssertionError):
            eventually(lambda: not self.leftovers())
        assert self.leftovers() == []


def _stat(pid: int) -> list[str]:
    """State, parent and the rest of /proc/<pid>/stat; nothing if it is gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return []


def _alive(pid: int) -> bool:
    return _stat(pid)[:1] not in ([], ["Z"])


def _children(parent: int) -> list[int]:
    pids = [int(path.name) for path in Path("/proc").iterdir() if path.name.isdigit()]
    return [pid for pid in pids if _stat(pid)[1:2] == [str(parent)] and _alive(pid)]


def _descendants(parent: int) -> list[int]:
    found = _children(parent)
    return found + [pid for child in found for pid in _descendants(child)]


def _line(pid: int) -> str:
    with suppress(FileNotFoundError, ProcessLookupError):
        raw = Path(f"/proc/{pid}/cmdline").read_bytes()
        return raw.replace(b"\0", b" ").decode(errors="replace")
    return ""
