"""The child's questions to engines on the network, which it cannot reach itself.

The verifier child has no network, so its parent asks for it. On the pipe between the two a
question is one line of the child's, in between its news, and the answer is one line on its
stdin; the child waits for it, so there is never more than one open::

    child   {"kind":"ask","id":7,"to":"vendor","where":"second 12.4","picture":"ask-7.jpg"}
    parent  {"id":7,"labels":[{"label":"nudity","score":0.93}],"model":"vendor-3","failed":""}

The picture lies in the job's scratch folder, for a line holds less than a picture. ``failed``
says why there is no answer, and is empty if there is one.

:class:`Asking` is the child's side, :class:`Desk` the parent's. The parent trusts the child
in nothing: it opened a stranger's file. The name of a picture may be a symlink to a secret,
the picture a pipe that never ends, the questions without end.
"""

from __future__ import annotations

import json
import os
import re
import stat
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Protocol, TextIO

from uploadsvc import wire

MAX_QUESTIONS = 1000  # of one job; a few hundred pictures are the most that is sampled
MAX_PICTURE_BYTES = 2**20  # 512 x 512 of pure noise is 0.4 MB as JPEG
KIND = b'{"kind":"ask",'
PICTURE_NAME = re.compile(r"ask-\d{1,9}\.jpg", re.ASCII)


@dataclass(frozen=True, slots=True)
class Labelled:
    """A label of the engine's own vocabulary and its score from 0 to 1."""

    label: str
    score: float


@dataclass(frozen=True, slots=True)
class Answer:
    """What an engine says of a picture. If ``failed`` says why not, it says nothing."""

    labels: tuple[Labelled, ...] = ()
    model: str = ""
    failed: str = ""


class Engine(Protocol):
    """Somebody on the network who looks at pictures."""

    def ask(self, picture: bytes, where: str) -> Answer:
        """Look at a JPEG. A fault of the engine is an Answer that failed."""


# To whom (an engine's name), the picture (JPEG), where it was taken.
Ask = Callable[[str, bytes, str], Answer]


def directly(engines: Mapping[str, Engine]) -> Ask:
    """Ask in this process, which has a network (``uploadsvc verify``)."""
    return lambda to, picture, where: _asked(engines, to, picture, where)


def _asked(
    engines: Mapping[str, Engine], to: str, picture: bytes, where: str
) -> Answer:
    if to not in engines:
        return Answer(failed=f"nobody here is called {to}")
    return engines[to].ask(picture, where)


# --- the child --------------------------------------------------------------------------


class Asking:
    """An :data:`Ask` over the pipe. ``say`` writes a line to the parent, ``answers`` gives its
    lines. :meth:`begin` comes before each job."""

    def __init__(self, say: Callable[[str], None], answers: TextIO) -> None:
        self._say = say
        self._answers = answers
        self._scratch: Path | None = None
        self._asked = 0

    def begin(self, scratch: Path) -> None:
        self._scratch = scratch

    def __call__(self, to: str, picture: bytes, where: str) -> Answer:
        """Raises EOFError if the parent is gone, ValueError if it speaks of something else:
        the end of this child either way."""
        if self._scratch is None:
            raise ValueError("a question outside of a job")
        self._asked += 1
        path = self._scratch / f"ask-{self._asked}.jpg"
        path.write_bytes(picture)
        try:
            self._say(_question_line(_Question(self._asked, to, where, path.name)))
            line = self._answers.readline()
        finally:
            path.unlink()
        if not line:
            raise EOFError("nobody answers any more")
        return _answer(line, self._asked)


@dataclass(frozen=True, slots=True)
class _Question:
    id: int
    to: str
    where: str
    picture: str


def _question_line(question: _Question) -> str:
    return wire.compact({"kind": "ask", **asdict(question)})


def _answer(line: str, asked: int) -> Answer:
    said = json.loads(line)
    if said["id"] != asked:
        raise ValueError(f"an answer to {said['id']}, the question was {asked}")
    labels = tuple(Labelled(**each) for each in said["labels"])
    return Answer(labels, said["model"], said["failed"])


# --- the parent -------------------------------------------------------------------------


class Desk:
    """Answers the questions of one job, whose scratch folder is ``scratch``."""

    def __init__(self, engines: Mapping[str, Engine], scratch: Path) -> None:
        self._engines = engines
        self._scratch = scratch
        self._answered = 0

    @staticmethod
    def concerns(line: bytes) -> bool:
        """Whether the child's line is a question, and not news."""
        return line.startswith(KIND)

    def answer(self, line: bytes) -> str:
        """The line to say to the child. Raises ValueError for one that is no question of ours."""
        question = _question(line)
        self._answered += 1
        if self._answered > MAX_QUESTIONS:
            answer = Answer(
                failed=f"more than {MAX_QUESTIONS} questions about one file"
            )
        else:
            picture = _picture(self._scratch, question.picture)
            answer = _asked(self._engines, question.to, picture, question.where)
        return wire.compact({"id": question.id, **asdict(answer)})


def _question(line: bytes) -> _Question:
    try:
        data = json.loads(line)
        del data["kind"]
        question = _Question(**data)
    except (KeyError, TypeError, RecursionError) as error:
        raise ValueError(f"not a question of a verifier: {error!r}") from error
    texts = (question.to, question.where, question.picture)
    if not isinstance(question.id, int) or not all(isinstance(t, str) for t in texts):
        raise ValueError("not a question of a verifier: wrong types")
    return question


def _picture(scratch: Path, name: str) -> bytes:
    """The picture, if it is a plain file of that folder and no door to somewhere else."""
    if not PICTURE_NAME.fullmatch(name):
        raise ValueError("not a picture's name")
    try:
        # O_NONBLOCK: opening a named pipe would wait for its writer for ever.
        entry = os.open(scratch / name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        with os.fdopen(entry, "rb") as file:
            facts = os.fstat(file.fileno())
            if not stat.S_ISREG(facts.st_mode) or facts.st_nlink != 1:
                raise ValueError("the picture is no plain file")
            picture = file.read(MAX_PICTURE_BYTES + 1)
    except OSError as error:
        raise ValueError(f"the picture cannot be read: {error.strerror}") from error
    if len(picture) > MAX_PICTURE_BYTES:
        raise ValueError("the picture is too large")
    return picture
