"""The parent's side of a question: a child of a few lines asks, and an engine answers late,
never, or not at all."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import gevent
import pytest
from gevent.event import Event as Signal

from uploadsvc.errors import VerificationCrashed, VerificationTimeout
from uploadsvc.model import Job, Progress, Refused
from uploadsvc.verify.broker import Answer, Engine, Labelled
from uploadsvc.work.supervisor import ChildVerifier

JOB = Job("upload_of_a_test", "A title", "", "file", 0)

# Reads its jobs and its answers from the same pipe, as the real one does.
CHILD = """
import json, os, sys
from pathlib import Path
from uploadsvc import wire
from uploadsvc.model import Refused, opening
from uploadsvc.stages import Stage
from uploadsvc.verify.broker import Asking

def say(line):
    print(line, flush=True)

ask = Asking(say, sys.stdin)
say('{"kind":"ready","layers":{"none":true}}')
for line in sys.stdin:
    job = json.loads(line)
    ask.begin(Path(job["scratch"]))
    say(wire.to_line(opening(Stage.ANALYZING)))
    MIDDLE
    say(wire.to_line(Refused("content_rejected", repr(answer))))
"""
ASKS = 'answer = ask("vendor", b"a picture", "second 1")'
LIES = """say('{"kind":"ask","id":1,"to":"vendor","where":"","picture":"../secret"}'); answer = 0"""


@dataclass
class Vendor:
    """An engine that answers once it may."""

    may_answer: Signal = field(default_factory=Signal)
    asked: Signal = field(default_factory=Signal)
    given_up: Signal = field(default_factory=Signal)

    def ask(self, picture: bytes, where: str) -> Answer:
        self.asked.set()
        try:
            self.may_answer.wait()
        except BaseException:
            self.given_up.set()
            raise
        return Answer((Labelled(f"{where} {picture!r}", 0.5),))


Make = Callable[..., ChildVerifier]


@pytest.fixture
def vendor() -> Vendor:
    return Vendor()


@pytest.fixture
def make(tmp_path: Path, vendor: Vendor) -> Iterator[Make]:
    made = []

    def make(
        middle: str = ASKS,
        deadline_s: float = 60,
        engines: dict[str, Engine] | None = None,
    ) -> ChildVerifier:
        script = tmp_path / "child.py"
        script.write_text(CHILD.replace("MIDDLE", middle))
        (tmp_path / "scratch").mkdir(exist_ok=True)
        child = ChildVerifier(
            {},
            deadline_s=deadline_s,
            engines={"vendor": vendor} if engines is None else engines,
            program=[sys.executable, str(script)],
        )
        made.append(child)
        return child

    yield make
    for each in made:
        each.kill()


@pytest.fixture(autouse=True)
def own_code_in_the_child(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))


def test_answer_reaches_the_child_and_its_news_go_on(
    make: Make, vendor: Vendor, tmp_path: Path
) -> None:
    vendor.may_answer.set()
    child = make()

    jobs = [list(child.verify(JOB, tmp_path, tmp_path / "scratch")) for _ in range(2)]

    for news in jobs:
        progress, outcome = news
        assert isinstance(progress, Progress)
        assert isinstance(outcome, Refused)
        assert "second 1 b'a picture'" in outcome.message
    assert list((tmp_path / "scratch").iterdir()) == []


def test_child_asking_for_nobody_hears_that(make: Make, tmp_path: Path) -> None:
    child = make(engines={})

    *_, outcome = child.verify(JOB, tmp_path, tmp_path / "scratch")

    assert isinstance(outcome, Refused)
    assert "nobody here is called vendor" in outcome.message


def test_engine_that_never_answers_ends_with_the_deadline(
    make: Make, vendor: Vendor, tmp_path: Path
) -> None:
    child = make(deadline_s=0.5)
    child.warm()

    with pytest.raises(VerificationTimeout):
        list(child.verify(JOB, tmp_path, tmp_path / "scratch"))

    assert vendor.given_up.wait(20)
    assert child.pid is None


def test_killed_child_does_not_wait_for_its_engine(
    make: Make, vendor: Vendor, tmp_path: Path
) -> None:
    child = make()
    run = gevent.spawn(lambda: list(child.verify(JOB, tmp_path, tmp_path / "scratch")))
    assert vendor.asked.wait(20)

    child.kill()

    assert vendor.given_up.wait(20)
    with pytest.raises(VerificationCrashed):
        run.get(timeout=20)


def test_child_that_asks_for_a_file_elsewhere_is_ended(
    make: Make, vendor: Vendor, tmp_path: Path
) -> None:
    (tmp_path / "secret").write_text("a secret")
    child = make(LIES)

    with pytest.raises(VerificationCrashed):
        list(child.verify(JOB, tmp_path, tmp_path / "scratch"))

    assert not vendor.asked.is_set()
    assert child.pid is None
