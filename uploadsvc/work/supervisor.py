"""A warm child that verifies, and what becomes of it.

The child (``python -m uploadsvc.verify``) is started fresh with a command line, never forked
from this patched process. It leads its own session, so that one killpg ends it and all it
may have started; it dies with us (PR_SET_PDEATHSIG); its environment holds no secret. Its
death is an outcome with a name, and the next job finds a new one.

What the child wants to know of engines on the network, which it has none of, is asked for
it (``uploadsvc.verify.broker``), in the time of the same deadline.

Runs in a greenlet: reading from the child waits for the child alone.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from time import monotonic
from typing import Any

import gevent
from gevent import subprocess

from uploadsvc import log, wire
from uploadsvc.errors import VerificationCrashed, VerificationTimeout
from uploadsvc.model import Job, Outcome, Progress
from uploadsvc.verify.broker import Desk, Engine

logger = log.get(__name__)

START_DEADLINE_S = 120.0  # loading the model on a busy machine
JOBS_A_CHILD = 500  # after so many a fresh one, should a decoder leak
MAX_LINE = (
    64 * 1024
)  # bytes of one line of the child, which say at most a title and facts
PROGRAM = (sys.executable, "-m", "uploadsvc.verify")
PASSED_ON = ("PATH", "LANG", "LC_ALL", "TZ", "PYTHONPATH", "VIRTUAL_ENV")
# Children are as many as there are cores to use; threads would make them wait for each other.
# onnxruntime would report to its maker from each, with an identifier kept at home.
GIVEN = {"OPENBLAS_NUM_THREADS": "1", "ORT_DISABLE_TELEMETRY": "1"}


class ChildVerifier:
    """Implements :class:`uploadsvc.work.Verifier`.

    ``options`` are handed to the child as they are (see ``uploadsvc.verify.__main__``);
    ``deadline_s`` bounds one verification. ``engines`` answer what the child asks, by name.
    """

    def __init__(
        self,
        options: Mapping[str, Any],
        *,
        deadline_s: float,
        engines: Mapping[str, Engine] | None = None,
        program: Sequence[str] = PROGRAM,
    ) -> None:
        self._options = json.dumps(dict(options))
        self._deadline_s = deadline_s
        self._engines = engines or {}
        self._program = program
        self._asking: Any = None
        self._process: Any = None
        self._jobs = 0
        self._told: dict[str, bool] = {}
        self.layers: dict[str, bool] = {}

    def warm(self) -> None:
        """Start the child, if none is alive, and wait until it can work.

        Raises VerificationCrashed or VerificationTimeout if it does not come up.
        """
        if self._process is not None and self._process.poll() is None:
            return
        self._start()
        ready = json.loads(self._line(START_DEADLINE_S))
        self.layers = ready.get("layers", {})
        self._tell_layers()
        self._jobs = 0

    @property
    def ready(self) -> bool:
        return bool(
            self._process is not None and self.layers and self._process.poll() is None
        )

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process is not None else None

    def verify(
        self, job: Job, path: Path, scratch: Path
    ) -> Iterator[Progress | Outcome]:
        self.warm()
        ends = monotonic() + self._deadline_s
        desk = Desk(self._engines, scratch)
        finished = False
        try:
            self._say(wire.job_line(job, str(path), str(scratch)))
            while not finished:
                line = self._line(ends - monotonic())
                if desk.concerns(line):
                    self._say(self._answer(desk, line, ends - monotonic()))
                    continue
                news = _news(line)
                finished = not isinstance(news, Progress)
                yield news
        finally:
            self._jobs += 1
            if not finished or self._jobs >= JOBS_A_CHILD:
                self.kill()

    def kill(self) -> None:
        process, self._process = self._process, None
        if self._asking is not None:
            self._asking.kill(block=False)
        if process is None:
            return
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        for pipe in (process.stdin, process.stdout):
            with suppress(OSError):
                pipe.close()

    def _start(self) -> None:
        self.kill()
        self.layers = {}  # not ready until it has said so itself
        environment = GIVEN | {
            name: os.environ[name] for name in PASSED_ON if name in os.environ
        }
        self._process = subprocess.Popen(
            [*self._program, "--child", self._options],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
            env=environment,
        )
        gevent.spawn(_pass_on_stderr, self._process.stderr)

    def _tell_layers(self) -> None:
        """Once, not with every fresh child: they differ only if the machine does."""
        if self.layers == self._told:
            return
        self._told = self.layers
        logger.info("sandbox holds", layers=[n for n, on in self.layers.items() if on])
        missing = [name for name, on in self.layers.items() if not on]
        if missing:
            logger.warning("sandbox lacks", layers=missing)

    def _answer(self, desk: Desk, line: bytes, seconds: float) -> str:
        """Asks in a greenlet of its own, so that kill() need not wait for an engine."""
        self._asking = gevent.spawn(_answered, desk, line)
        try:
            self._asking.join(max(seconds, 0.001))
            if not self._asking.ready():
                raise VerificationTimeout
            answer = self._asking.value
        finally:
            self._asking.kill(block=False)
            self._asking = None
        if not isinstance(answer, str):  # no question of ours, or ended by kill()
            raise VerificationCrashed
        return answer

    def _say(self, line: str) -> None:
        process = self._process
        if process is None:
            raise VerificationCrashed
        try:
            process.stdin.write(line.encode() + b"\n")
            process.stdin.flush()
        except (
            OSError,
            ValueError,
            RuntimeError,
        ) as error:  # closed under us by kill()
            raise VerificationCrashed from error

    def _line(self, seconds: float) -> bytes:
        process = self._process
        if process is None:
            raise VerificationCrashed
        try:
            with gevent.Timeout(max(seconds, 0.001), VerificationTimeout):
                line: bytes = process.stdout.readline(MAX_LINE)
        except VerificationTimeout:
            self.kill()
            raise
        except (
            OSError,
            ValueError,
            RuntimeError,
        ) as error:  # closed under us by kill()
            raise VerificationCrashed from error
        if not line.endswith(b"\n"):
            self.kill()
            raise VerificationCrashed
        return line


def _news(line: bytes) -> Progress | Outcome:
    try:
        return wire.from_line(line)
    except ValueError as error:
        raise VerificationCrashed from error


def _answered(desk: Desk, line: bytes) -> str | None:
    try:
        return desk.answer(line)
    except ValueError:
        logger.warning("verifier asks what it may not", exc_info=True)
        return None


def _pass_on_stderr(pipe: Any) -> None:
    """What a decoder's library prints goes to the log, a line at a time."""
    with suppress(OSError, ValueError), pipe:
        for line in iter(lambda: pipe.readline(1000), b""):
            logger.info("verifier says", line=line.decode(errors="replace").rstrip())
