"""Deciding what is held for review: who wins, what goes, what a crash in between leaves."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import gevent
import pytest

from tests.house import DEADLINE_S, FACTS, House, scripted
from uploadsvc.errors import AlreadyDecided, NotFound
from uploadsvc.listeners import Decided, News
from uploadsvc.model import Decision, Moderation, Verdict, Verified
from uploadsvc.moderate import Moderate
from uploadsvc.work.sweep import FILE_AGE_S

HELD = Verified(
    FACTS,
    Moderation(Verdict.REVIEW, ("nudity",)),
    "original.png",
    "thumbnail.webp",
)


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    house = House(tmp_path)
    yield house
    house.close()


@pytest.fixture
def heard() -> list[News]:
    return []


@pytest.fixture
def moderate(house: House, heard: list[News]) -> Moderate:
    return Moderate(
        house.uploads, house.media, house.storage, heard.append, house.clock
    )


def held(house: House, upload_id: str = "upload_123", outcome: Verified = HELD) -> str:
    """The id of media whose verification ended so."""
    house.runner.run(house.queued(upload_id), scripted([outcome]))
    media_id = house.row(upload_id).media_id
    assert media_id is not None
    return media_id


def age(house: House, media_id: str) -> None:
    """Its files have lain there for long."""
    long_ago = time.time() - FILE_AGE_S - 60
    os.utime(house.folder / "media" / media_id, (long_ago, long_ago))


@pytest.mark.parametrize("verdict", [Verdict.APPROVE, Verdict.REJECT])
def test_decision_is_recorded_and_told(
    house: House, moderate: Moderate, heard: list[News], verdict: Verdict
) -> None:
    media_id = held(house)
    house.clock.pass_(60)

    moderate.decide(media_id, "mia", verdict, "seen")

    media, decisions = moderate.find(media_id)
    decision = Decision(media_id, "upload_123", "mia", verdict, "seen", house.clock.at)
    assert media.moderation.verdict is verdict
    assert decisions == [decision]
    assert heard == [Decided(media, decision)]
    assert moderate.queue(10, None) == []


def test_rejection_takes_the_bytes_away_and_leaves_the_ending(
    house: House, moderate: Moderate
) -> None:
    media_id = held(house)
    before = house.row("upload_123")

    moderate.decide(media_id, "mia", Verdict.REJECT, "")

    assert house.files() == set()
    assert house.row("upload_123") == before
    with pytest.raises(NotFound):
        moderate.open(media_id, "original")


def test_approval_leaves_the_bytes(house: House, moderate: Moderate) -> None:
    media_id = held(house)

    moderate.decide(media_id, "mia", Verdict.APPROVE, "")

    assert house.files() == {f"media/{media_id}"}
    assert moderate.open(media_id, "original")[1].path.read_bytes() == b"picture"


def test_second_decision_is_refused_and_told_to_nobody(
    house: House, moderate: Moderate, heard: list[News]
) -> None:
    media_id = held(house)
    moderate.decide(media_id, "mia", Verdict.APPROVE, "")

    with pytest.raises(AlreadyDecided) as caught:
        moderate.decide(media_id, "max", Verdict.REJECT, "")

    assert caught.value.facts == {"verdict": "approve"}
    assert len(heard) == 1
    assert house.files() == {f"media/{media_id}"}


def test_of_two_moderators_at_once_one_decides(
    house: House, moderate: Moderate, heard: list[News]
) -> None:
    media_id = held(house)

    both = [
        gevent.spawn(moderate.decide, media_id, name, verdict, "")
        for name, verdict in [("mia", Verdict.APPROVE), ("max", Verdict.REJECT)]
    ]
    gevent.joinall(both, timeout=DEADLINE_S)

    lost = [each.exception for each in both if each.exception is not None]
    media, decisions = moderate.find(media_id)
    assert [type(each) for each in lost] == [AlreadyDecided]
    assert [each.verdict for each in decisions] == [media.moderation.verdict]
    assert len(heard) == 1


def test_review_is_no_decision(house: House, moderate: Moderate) -> None:
    media_id = held(house)

    with pytest.raises(ValueError, match="approve or reject"):
        moderate.decide(media_id, "mia", Verdict.REVIEW, "")


def test_media_approved_by_verification_are_neither_shown_nor_decided(
    house: House, moderate: Moderate
) -> None:
    approved = replace(HELD, moderation=Moderation(Verdict.APPROVE))
    media_id = held(house, outcome=approved)

    for ask in (
        lambda: moderate.find(media_id),
        lambda: moderate.open(media_id, "original"),
        lambda: moderate.decide(media_id, "mia", Verdict.REJECT, ""),
        lambda: moderate.find("media_unknown"),
        lambda: moderate.refused("upload_123"),
    ):
        with pytest.raises(NotFound):
            ask()
    assert house.files() == {f"media/{media_id}"}


# --- when something fails in between ---------------------------------------------------


def test_bytes_left_by_a_crash_after_the_rejection_are_swept(
    house: House, moderate: Moderate
) -> None:
    rejected, waiting = held(house, "upload_1_of_2"), held(house, "upload_2_of_2")
    house.media.decide(rejected, "mia", Verdict.REJECT, "", house.clock.at)
    age(house, rejected)
    age(house, waiting)

    house.sweeping().sweep()

    assert house.files() == {f"media/{waiting}"}


def test_storage_that_fails_does_not_undo_the_rejection(
    house: House, heard: list[News], logged: Callable[[], str]
) -> None:
    class Stuck:
        def __getattr__(self, name: str) -> Any:
            return getattr(house.storage, name)

        def delete(self, media_id: str) -> None:
            raise OSError(5, "Input/output error")

    media_id = held(house)
    stuck = Moderate(house.uploads, house.media, Stuck(), heard.append, house.clock)

    stuck.decide(media_id, "mia", Verdict.REJECT, "")
    age(house, media_id)
    house.sweeping().sweep()

    assert stuck.find(media_id)[0].moderation.verdict is Verdict.REJECT
    assert "bytes of rejected media left" in logged()
    assert len(heard) == 1
    assert house.files() == set()
