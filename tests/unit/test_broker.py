"""The child's questions over the pipe: what is said, and what the parent will not believe."""

from __future__ import annotations

import io
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from uploadsvc.verify import Evidence, Sample, Subject, Unexamined
from uploadsvc.verify.analysers.remote import RemoteAnalyser
from uploadsvc.verify.broker import (
    MAX_PICTURE_BYTES,
    MAX_QUESTIONS,
    Answer,
    Asking,
    Desk,
    Labelled,
    directly,
)

ANSWER = Answer((Labelled("nudity", 0.93), Labelled("naïve", 0.5)), "vendor-3")


class Vendor:
    """An engine without a network that notes what it was asked."""

    def __init__(self, answer: Answer = ANSWER) -> None:
        self.answer = answer
        self.asked: list[tuple[bytes, str]] = []

    def ask(self, picture: bytes, where: str) -> Answer:
        self.asked.append((picture, where))
        return self.answer


def connected(desk: Desk) -> Asking:
    """A child whose parent is ``desk``: what it says is answered at once."""
    answers = io.StringIO()

    def say(line: str) -> None:
        assert Desk.concerns(line.encode())
        answers.seek(0)
        answers.truncate()
        answers.write(desk.answer(line.encode()) + "\n")
        answers.seek(0)

    return Asking(say, answers)


def question(**changes: Any) -> bytes:
    said = {"kind": "ask", "id": 1, "to": "vendor", "where": "file"}
    said |= {"picture": "ask-1.jpg"} | changes
    return json.dumps(said).encode()


# --- both sides ------------------------------------------------------------------------


def test_question_of_the_child_is_answered_by_the_engine(tmp_path: Path) -> None:
    vendor = Vendor()
    ask = connected(Desk({"vendor": vendor}, tmp_path))
    ask.begin(tmp_path)

    answers = [ask("vendor", b"one", "second 1"), ask("vendor", b"two", "Seite ü\n")]

    assert answers == [ANSWER, ANSWER]
    assert vendor.asked == [(b"one", "second 1"), (b"two", "Seite ü\n")]
    assert list(tmp_path.iterdir()) == [], "a picture is gone once it was looked at"


@pytest.mark.parametrize("ways", ["over the pipe", "directly"])
def test_engine_nobody_configured_is_a_failure(tmp_path: Path, ways: str) -> None:
    pipe = connected(Desk({}, tmp_path))
    pipe.begin(tmp_path)
    ask = pipe if ways == "over the pipe" else directly({})

    answer = ask("vendor", b"picture", "file")

    assert answer == Answer(failed="nobody here is called vendor")


def test_questions_about_one_file_have_an_end(tmp_path: Path) -> None:
    vendor = Vendor()
    ask = connected(Desk({"vendor": vendor}, tmp_path))
    ask.begin(tmp_path)

    answers = [ask("vendor", b"picture", "file") for _ in range(MAX_QUESTIONS + 1)]

    assert len(vendor.asked) == MAX_QUESTIONS
    assert answers[-2] == ANSWER
    assert answers[-1].failed


# --- the child -------------------------------------------------------------------------


def test_child_whose_parent_is_gone_ends(tmp_path: Path) -> None:
    ask = Asking(lambda _: None, io.StringIO(""))
    ask.begin(tmp_path)

    with pytest.raises(EOFError):
        ask("vendor", b"picture", "file")


@pytest.mark.parametrize("line", ["no json", '{"id":7,"labels":[],"failed":""}'])
def test_child_that_hears_something_else_ends(tmp_path: Path, line: str) -> None:
    ask = Asking(lambda _: None, io.StringIO(line + "\n"))
    ask.begin(tmp_path)

    with pytest.raises(ValueError):  # noqa: PT011
        ask("vendor", b"picture", "file")


# --- the parent ------------------------------------------------------------------------


@pytest.mark.parametrize(
    "line",
    [b'{"kind":"progress","stage":"x"}', b"ask", b"", b'{"id":1,"kind":"ask"}'],
)
def test_other_lines_are_no_questions(line: bytes) -> None:
    assert not Desk.concerns(line)


@pytest.mark.parametrize(
    "line",
    [
        b'{"kind":"ask",',
        b'{"kind":"ask","id":1}',
        b'{"kind":"ask","x":' + b"[" * 20_000,
        question(id="1"),
        question(to=["vendor"]),
        question(more=1),
    ],
    ids=["cut off", "keys missing", "very deep", "id as text", "list", "more keys"],
)
def test_malformed_question_is_refused(tmp_path: Path, line: bytes) -> None:
    desk = Desk({"vendor": Vendor()}, tmp_path)

    with pytest.raises(ValueError):  # noqa: PT011
        desk.answer(line)


def outside(folder: Path) -> str:
    return "../secret"


def absolute(folder: Path) -> str:
    return str(folder.parent / "secret")


def another(folder: Path) -> str:
    (folder / "original.jpg").write_bytes(b"the file itself")
    return "original.jpg"


def missing(folder: Path) -> str:
    return "ask-1.jpg"


def symlink(folder: Path) -> str:
    (folder / "ask-1.jpg").symlink_to(folder.parent / "secret")
    return "ask-1.jpg"


def hard_link(folder: Path) -> str:
    (folder / "ask-1.jpg").hardlink_to(folder.parent / "secret")
    return "ask-1.jpg"


def named_pipe(folder: Path) -> str:
    os.mkfifo(folder / "ask-1.jpg")
    return "ask-1.jpg"


def directory(folder: Path) -> str:
    (folder / "ask-1.jpg").mkdir()
    return "ask-1.jpg"


def huge(folder: Path) -> str:
    (folder / "ask-1.jpg").write_bytes(b"x" * (MAX_PICTURE_BYTES + 1))
    return "ask-1.jpg"


@pytest.mark.parametrize(
    "trick",
    [
        outside,
        absolute,
        another,
        missing,
        symlink,
        hard_link,
        named_pipe,
        directory,
        huge,
    ],
    ids=lambda trick: trick.__name__,
)
def test_child_cannot_have_anything_but_its_picture_sent_out(
    tmp_path: Path, trick: Callable[[Path], str]
) -> None:
    (tmp_path / "secret").write_bytes(b"a secret")
    folder = tmp_path / "scratch"
    folder.mkdir()
    vendor = Vendor()
    desk = Desk({"vendor": vendor}, folder)
    name = trick(folder)

    with pytest.raises(ValueError, match="picture"):
        desk.answer(question(picture=name))

    assert vendor.asked == []


# --- the analyser that asks ------------------------------------------------------------


def frame(width: int = 1600, height: int = 900) -> Sample:
    return Sample(12.4, np.full((height, width, 3), (200, 30, 30), np.uint8))


@pytest.fixture
def subject(tmp_path: Path) -> Iterator[Subject]:
    return Subject(tmp_path / "file", tmp_path)


def test_picture_is_sent_as_a_small_jpeg() -> None:
    vendor = Vendor()
    analyser = RemoteAnalyser("vendor", directly({"vendor": vendor}))

    list(analyser.picture(frame(), "second 12.4"))

    ((picture, where),) = vendor.asked
    with Image.open(io.BytesIO(picture)) as image:
        assert (image.format, image.size) == ("JPEG", (512, 288))
    assert where == "second 12.4"


def test_every_label_of_an_answer_is_evidence() -> None:
    analyser = RemoteAnalyser("vendor", directly({"vendor": Vendor()}))

    found = list(analyser.picture(frame(), "second 12.4"))

    assert found == [
        Evidence("vendor", "nudity", 0.93, "second 12.4"),
        Evidence("vendor", "naïve", 0.5, "second 12.4"),
    ]
    assert analyser.model == "vendor-3"


def test_answer_that_failed_is_unexamined() -> None:
    vendor = Vendor(Answer(failed="it answered 503"))
    analyser = RemoteAnalyser("vendor", directly({"vendor": vendor}))

    found = list(analyser.picture(frame(), "page 3"))

    assert found == [Unexamined("vendor", "unreachable", "page 3", "it answered 503")]


def test_first_picture_of_each_file_and_every_third_after_it_is_asked_about(
    subject: Subject,
) -> None:
    vendor = Vendor()
    analyser = RemoteAnalyser("vendor", directly({"vendor": vendor}), every=3)

    for pictures in (5, 1):
        list(analyser.file(subject, "video/mp4"))
        for number in range(pictures):
            list(analyser.picture(frame(8, 8), f"{number} of {pictures}"))

    assert [where for _, where in vendor.asked] == ["0 of 5", "3 of 5", "0 of 1"]
