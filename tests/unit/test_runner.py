"""From claim to ending, whatever the verifier does, whoever cancels and whichever process dies."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import count, pairwise
from pathlib import Path
from typing import Any

import gevent
import pytest
from gevent.event import Event as Signal
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import update

from tests.house import DEADLINE_S, VERIFIED, House, ScriptedVerifier, Step, scripted
from uploadsvc.db import BOUND_MAX_S
from uploadsvc.db.tables import uploads as uploads_table
from uploadsvc.errors import (
    AlreadyEnded,
    Cancelled,
    ContentRejected,
    IncompleteBody,
    Overloaded,
    StorageFull,
    UploadError,
    VerificationCrashed,
    VerificationTimeout,
)
from uploadsvc.hub import IDS_A_GENERATION, Reason, SubscriptionClosed
from uploadsvc.model import (
    Ending,
    Event,
    Media,
    Progress,
    Refused,
    State,
    Upload,
    advanced,
    opening,
)
from uploadsvc.stages import Stage
from uploadsvc.work.ending import Endings
from uploadsvc.work.run import MAX_ATTEMPTS, Runner
from uploadsvc.work.sweep import FILE_AGE_S, MAX_GENERATIONS, OURS_AGE_S

ids = (f"upload_{number:08d}" for number in count())
WORK: list[Progress] = [
    opening(Stage.VALIDATING),
    opening(Stage.ANALYZING),
    *[advanced(Stage.ANALYZING, done, 4) for done in (1, 2, 3, 4)],
    opening(Stage.MODERATING),
    advanced(Stage.MODERATING, 1, 1),
    opening(Stage.PROCESSING),
    advanced(Stage.PROCESSING, 1, 1),
]
REFUSED = Refused("content_rejected", "Against the guidelines", ("nudity",))


@pytest.fixture(scope="module")
def shared() -> Iterator[House]:
    """One house for the laws: each example has an upload id of its own."""
    with tempfile.TemporaryDirectory() as folder:
        house = House(Path(folder))
        yield house
        house.close()


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    house = House(tmp_path)
    yield house
    house.close()


Restart = Callable[..., House]


@pytest.fixture
def restart(tmp_path: Path) -> Iterator[Restart]:
    """Makes a further process on the folder of ``house``."""
    houses: list[House] = []

    def start(*verifiers: ScriptedVerifier, **options: Any) -> House:
        houses.append(House(tmp_path, verifiers, **options))
        return houses[-1]

    yield start
    for each in houses:
        each.close()


def heard(house: House, upload_id: str) -> list[Event]:
    return house.hub.since(upload_id, None)


def endings(house: House, upload_id: str) -> list[Event]:
    return [event for event in heard(house, upload_id) if event.terminal]


def until(condition: Callable[[], object]) -> None:
    """Wait for the condition, letting the other greenlets run."""
    with gevent.Timeout(DEADLINE_S):
        while not condition():
            gevent.sleep(0.002)


# --- one run ---------------------------------------------------------------------------


def test_verified_upload_passes_every_stage_and_ends_with_its_media(
    house: House,
) -> None:
    job = house.queued("upload_123")

    house.runner.run(job, scripted([*WORK, VERIFIED]))

    events = heard(house, "upload_123")
    row = house.row("upload_123")
    assert [event.id for event in events] == list(range(1, len(events) + 1))
    assert {event.progress.stage for event in events} == set(Stage) - {
        Stage.ERROR,
        Stage.UPLOADING,
    }
    assert (row.state, row.attempts) == (State.COMPLETE, 1)
    assert row.ending is not None
    assert row.ending.event_id == events[-1].id
    assert events[-1].media == house.media.find(row.media_id or "")
    assert house.files() == {f"media/{row.media_id}"}


def test_refused_upload_ends_rejected_with_its_reasons(house: House) -> None:
    job = house.queued("upload_123")

    house.runner.run(job, scripted([*WORK[:6], REFUSED]))

    ending = house.row("upload_123").ending
    assert ending is not None
    assert (ending.code, ending.message, ending.reasons) == (
        "content_rejected",
        "Against the guidelines",
        ("nudity",),
    )
    assert house.row("upload_123").state is State.REJECTED
    assert house.files() == set()


@pytest.mark.parametrize(
    ("fault", "code"),
    [
        (VerificationTimeout(), "verification_timeout"),
        (ContentRejected("No"), "content_rejected"),
        (RuntimeError("/secret/path"), "internal_error"),
        (OSError(5, "I/O error", "/secret/path"), "internal_error"),
    ],
)
def test_fault_of_a_verifier_ends_the_upload_with_its_code(
    house: House, fault: Exception, code: str
) -> None:
    job = house.queued("upload_123")

    house.runner.run(job, scripted([WORK[0], fault]))

    row = house.row("upload_123")
    assert row.state is State.FAILED
    assert row.ending is not None
    assert row.ending.code == code
    assert "secret" not in row.ending.message
    assert len(endings(house, "upload_123")) == 1


def test_second_attempt_says_nothing_twice(house: House) -> None:
    job = house.queued("upload_123")
    crash = [*WORK[:5], VerificationCrashed()]

    house.runner.run(job, scripted(crash, [*WORK, VERIFIED]))

    events = heard(house, "upload_123")
    verifying = [event.progress for event in events if event.progress.progress > 10]
    said = [(progress.stage, progress.progress) for progress in verifying]
    assert len(said) == len(set(said))
    for earlier, later in pairwise(events):
        assert later.progress.follows(earlier.progress)
    assert house.row("upload_123").attempts == 2
    assert house.row("upload_123").state is State.COMPLETE


def test_file_that_kills_three_verifiers_is_given_up(house: House) -> None:
    job = house.queued("upload_123")
    verifier = scripted([WORK[0], VerificationCrashed()])

    house.runner.run(job, verifier)

    row = house.row("upload_123")
    assert len(verifier.jobs) == MAX_ATTEMPTS == 3
    assert row.state is State.FAILED
    assert row.ending is not None
    assert row.ending.code == "verification_crashed"
    assert house.files() == set()


def test_upload_that_cannot_be_claimed_is_left_alone(house: House) -> None:
    job = house.queued("upload_123")
    house.uploads.claim("upload_123", "another process")
    verifier = scripted([VERIFIED])

    house.runner.run(job, verifier)

    assert verifier.jobs == []
    assert house.row("upload_123").owner == "another process"
    assert house.files() == {"incoming/upload_123"}


def test_only_one_of_two_runs_verifies(house: House) -> None:
    job = house.queued("upload_123")
    verifiers = [scripted([*WORK, VERIFIED]) for _ in range(2)]

    gevent.joinall(
        [gevent.spawn(house.runner.run, job, each) for each in verifiers],
        timeout=DEADLINE_S,
    )

    assert sorted(len(each.jobs) for each in verifiers) == [0, 1]
    assert len(endings(house, "upload_123")) == 1


def test_received_file_that_is_gone_is_a_fault_of_ours(house: House) -> None:
    job = house.queued("upload_123")
    house.storage.discard("upload_123")

    house.runner.run(job, scripted([VERIFIED]))

    ending = house.row("upload_123").ending
    assert ending is not None
    assert ending.code == "internal_error"


@dataclass
class FailingUploads:
    """The real repository, but the record cannot be committed."""

    real: Any

    def complete(self, upload_id: str, ending: Ending, media: Media) -> Upload | None:
        raise RuntimeError("database is gone")

    def __getattr__(self, name: str) -> Any:
        return getattr(self.real, name)


def runner_over(house: House, uploads: Any) -> Runner:
    endings = Endings(uploads, house.hub, house.storage, house.clock)
    return Runner(
        uploads, house.hub, house.storage, endings, house.presence.id, house.clock
    )


def test_media_that_cannot_be_recorded_leaves_no_files(house: House) -> None:
    job = house.queued("upload_123")
    failing = runner_over(house, FailingUploads(house.uploads))

    failing.run(job, scripted([*WORK, VERIFIED]))

    row = house.row("upload_123")
    assert (row.state, row.media_id) == (State.FAILED, None)
    assert house.files() == set()
    assert len(endings(house, "upload_123")) == 1


def test_storage_that_is_full_at_the_end_ends_the_upload_once(house: House) -> None:
    job = house.queued("upload_123")

    house.runner.run(job, scripted([*WORK, StorageFull(retry_after=60)]))

    assert house.row("upload_123").state is State.FAILED
    assert len(endings(house, "upload_123")) == 1
    assert house.files() == set()


faults = st.sampled_from(
    [
        VerificationCrashed(),
        VerificationTimeout(),
        RuntimeError("a fault"),
        IncompleteBody(),
    ]
)
attempts = st.builds(
    lambda upto, end: [*WORK[:upto], end],
    st.integers(0, len(WORK)),
    faults | st.sampled_from([VERIFIED, REFUSED]),
)


@settings(max_examples=60)
@given(
    script=st.lists(attempts, min_size=1, max_size=4),
    cancel_after=st.none() | st.integers(0, 30),
)
def test_any_script_and_any_cancel_gives_exactly_one_ending(
    shared: House, script: list[list[Step]], cancel_after: int | None
) -> None:
    upload_id = next(ids)
    job = shared.queued(upload_id)
    subscription = shared.hub.subscribe(upload_id, None)
    verifier = scripted(*script)
    run = gevent.spawn(shared.runner.run, job, verifier)

    if cancel_after is not None:
        for _ in range(cancel_after):
            gevent.sleep(0)
        try:
            shared.intake.cancel(upload_id, "anna")
            verifier.kill()
        except AlreadyEnded:
            pass
    run.get(timeout=DEADLINE_S)

    events = []
    while (event := subscription.take(0)) is not None:
        events.append(event)
    subscription.close()
    row = shared.row(upload_id)
    assert [event for event in events if event.terminal] == events[-1:]
    assert row.state.final
    assert row.ending is not None
    assert row.ending.event_id == events[-1].id
    assert (row.ending.code or "complete") == events[-1].progress.detail.get(
        "code", "complete"
    )
    percents = [event.progress.progress for event in events[:-1]]
    assert percents == sorted(percents)
    assert (row.media_id is not None) == (row.state is State.COMPLETE)
    assert f"incoming/{upload_id}" not in shared.files()
    assert f"scratch/{upload_id}" not in shared.files()


# --- cancelling ------------------------------------------------------------------------


def test_queued_upload_is_cancelled_and_never_verified(restart: Restart) -> None:
    verifier = scripted([VERIFIED])
    house = restart(verifier)
    job = house.queued("upload_123")
    house.dispatcher.submit(job)

    house.intake.cancel("upload_123", "anna")
    house.dispatcher.start()
    gevent.sleep(0)

    assert verifier.jobs == []
    assert house.row("upload_123").state is State.CANCELLED
    assert [
        event.progress.detail["code"] for event in endings(house, "upload_123")
    ] == ["cancelled"]
    assert house.files() == set()


def test_upload_is_cancelled_while_it_is_verified(restart: Restart) -> None:
    held = Signal()
    verifier = scripted([WORK[0], held, VERIFIED])
    house = restart(verifier)
    house.dispatcher.start()
    house.dispatcher.submit(house.queued("upload_123"))
    until(lambda: heard(house, "upload_123")[-1].progress == WORK[0])

    house.intake.cancel("upload_123", "anna")
    until(lambda: not house.dispatcher.busy)

    assert len(verifier.jobs) == 1, "a killed verifier is not tried again"
    assert house.row("upload_123").state is State.CANCELLED
    assert len(endings(house, "upload_123")) == 1
    assert house.files() == set()


def test_cancelling_again_is_no_error(house: House) -> None:
    house.queued("upload_123")
    house.intake.cancel("upload_123", "anna")

    upload = house.intake.cancel("upload_123", "anna")

    assert upload.state is State.CANCELLED
    assert len(endings(house, "upload_123")) == 1


def test_ended_upload_cannot_be_cancelled(house: House) -> None:
    house.runner.run(house.queued("upload_123"), scripted([REFUSED]))

    with pytest.raises(AlreadyEnded) as caught:
        house.intake.cancel("upload_123", "anna")

    assert caught.value.facts == {"status": "rejected"}


def test_upload_is_cancelled_while_it_is_received(house: House) -> None:
    begun = Signal()

    def receive() -> None:
        with house.intake.receive("upload_123", "anna") as reception:
            reception.write(b"some")
            begun.set()
            gevent.sleep(DEADLINE_S)

    receiver = gevent.spawn(receive)
    begun.wait(DEADLINE_S)

    house.intake.cancel("upload_123", "anna")

    receiver.join(DEADLINE_S)
    assert isinstance(receiver.exception, Cancelled)
    assert house.row("upload_123").state is State.CANCELLED
    assert len(endings(house, "upload_123")) == 1
    assert house.files() == set()


# --- receiving -------------------------------------------------------------------------


def begin_and_fail(house: House, error: UploadError) -> None:
    """Receive a part of a file, and then raise ``error``."""
    with house.intake.receive("upload_123", "anna") as reception:
        reception.write(b"some")
        raise error


def test_fault_of_the_body_ends_the_upload_and_leaves_no_bytes(house: House) -> None:
    with pytest.raises(IncompleteBody):
        begin_and_fail(house, IncompleteBody())

    assert house.row("upload_123").state is State.FAILED
    assert len(endings(house, "upload_123")) == 1
    assert house.files() == set()


def test_refusal_that_invites_another_try_leaves_the_id_open(house: House) -> None:
    stream = house.hub.subscribe("upload_123", None)

    with pytest.raises(StorageFull):
        begin_and_fail(house, StorageFull(retry_after=60))

    assert stream.take(0) is None
    assert house.row("upload_123").state is State.OPEN
    assert house.files() == set()


def test_upload_that_was_refused_can_be_sent_again(house: House) -> None:
    with pytest.raises(StorageFull):
        begin_and_fail(house, StorageFull(retry_after=60))

    house.queued("upload_123")

    assert house.row("upload_123").state is State.QUEUED


def test_upload_refused_by_a_full_queue_can_be_sent_again(restart: Restart) -> None:
    house = restart(max_queue=1)
    house.dispatcher.submit(house.queued("upload_first"))
    with pytest.raises(Overloaded), house.intake.receive("upload_123", "anna"):
        pytest.fail("a full queue refuses before anything is read")

    house.dispatcher.cancel("upload_first")

    assert house.queued("upload_123").size == 7
    assert house.row("upload_123").state is State.QUEUED


# --- the queue -------------------------------------------------------------------------


def test_waiting_upload_hears_its_place_in_the_queue(restart: Restart) -> None:
    held = Signal()
    house = restart(scripted([held, VERIFIED]))
    house.dispatcher.start()
    jobs = [house.queued(f"upload_{number}_of_3") for number in (1, 2, 3)]
    for job in jobs:
        house.dispatcher.submit(job)
        gevent.sleep(0)
    until(lambda: len(house.dispatcher.verifiers[0].jobs) == 1)  # type: ignore[attr-defined]

    held.set()
    until(lambda: not house.dispatcher.busy)

    places = [
        event.progress.detail["queue_position"]
        for event in heard(house, jobs[2].upload_id)
        if "queue_position" in event.progress.detail
    ]
    assert places in ([2, 1], [3, 2, 1])
    assert [house.row(job.upload_id).state for job in jobs] == [State.COMPLETE] * 3


def test_jobs_are_worked_off_in_their_order(restart: Restart) -> None:
    verifier = scripted([VERIFIED])
    house = restart(verifier)
    jobs = [house.queued(f"upload_{number}_of_4") for number in range(4)]
    for job in jobs:
        house.dispatcher.submit(job)

    house.dispatcher.start()
    until(lambda: not house.dispatcher.busy)

    assert verifier.jobs == jobs


def test_full_queue_refuses_all_but_what_is_taken_over(restart: Restart) -> None:
    house = restart(max_queue=1)
    one, two, three = (house.queued(f"upload_{number}_of_3") for number in range(3))
    house.dispatcher.submit(one)

    with pytest.raises(Overloaded):
        house.dispatcher.submit(two)
    house.dispatcher.submit(three, forced=True)

    assert not house.dispatcher.at_work(two.upload_id)
    assert house.dispatcher.at_work(three.upload_id)


# --- other processes dying -------------------------------------------------------------


def test_upload_of_a_dead_process_is_verified_by_the_next(
    house: House, restart: Restart
) -> None:
    job = house.queued("upload_123")
    held = Signal()
    first = gevent.spawn(house.runner.run, job, scripted([*WORK[:4], held, VERIFIED]))
    until(lambda: heard(house, "upload_123")[-1].progress == WORK[3])
    before = heard(house, "upload_123")

    first.kill()
    house.crash()
    second = restart(scripted([*WORK, VERIFIED]))
    second.sweeper.sweep()
    second.dispatcher.start()
    until(lambda: second.row("upload_123").state.final)

    after = heard(second, "upload_123")
    told_before = max(event.progress.progress for event in before)
    assert second.row("upload_123").state is State.COMPLETE
    assert min(event.id for event in after) > IDS_A_GENERATION > before[-1].id
    assert all(event.progress.progress > told_before for event in after)
    assert len(endings(second, "upload_123")) == 1


def test_queued_upload_of_a_dead_process_is_verified_by_the_next(
    house: House, restart: Restart
) -> None:
    house.queued("upload_123")

    house.crash()
    second = restart(scripted([*WORK, VERIFIED]))
    second.sweeper.sweep()
    second.dispatcher.start()
    until(lambda: second.row("upload_123").state.final)

    assert second.row("upload_123").state is State.COMPLETE
    assert second.row("upload_123").generation == 1


def test_upload_of_a_living_process_is_left_to_it(
    house: House, restart: Restart
) -> None:
    house.queued("upload_123")
    second = restart(scripted([VERIFIED]))

    second.sweeper.sweep()

    assert second.row("upload_123").owner == house.presence.id
    assert not second.dispatcher.busy


def test_half_received_upload_of_a_dead_process_ends_incomplete(
    house: House, restart: Restart
) -> None:
    house.uploads.begin("upload_123", "anna", house.presence.id)
    half = house.storage.receive("upload_123")
    half.write(b"half")

    house.crash()
    second = restart()
    second.sweeper.sweep()

    row = second.row("upload_123")
    assert row.state is State.FAILED
    assert row.ending is not None
    assert row.ending.code == "incomplete_body"
    assert row.ending.event_id > IDS_A_GENERATION
    assert second.files() == set()
    half.abort()


def test_file_that_killed_its_verifiers_is_given_up_after_a_restart(
    house: House, restart: Restart
) -> None:
    house.queued("upload_123")
    house.uploads.claim("upload_123", house.presence.id)
    for _ in range(MAX_ATTEMPTS):
        house.uploads.retry("upload_123")

    house.crash()
    second = restart(scripted([VERIFIED]))
    second.sweeper.sweep()

    ending = second.row("upload_123").ending
    assert ending is not None
    assert ending.code == "verification_crashed"


def test_restart_in_the_middle_is_not_counted_as_the_files_doing(
    house: House, restart: Restart
) -> None:
    """Three deployments during one long verification once ended it as a crash."""
    house.queued("upload_123")
    house.uploads.claim("upload_123", house.presence.id)
    house.crash()

    second = restart(scripted([VERIFIED]))
    second.sweeper.sweep()

    assert second.row("upload_123").attempts in {0, 1}


def test_file_that_killed_whole_processes_is_given_up_in_the_end(
    house: House, restart: Restart
) -> None:
    house.queued("upload_123")
    house.uploads.claim("upload_123", house.presence.id)
    house.database.run(
        lambda connection: connection.execute(
            update(uploads_table).values(generation=MAX_GENERATIONS)
        )
    )

    house.crash()
    second = restart(scripted([VERIFIED]))
    second.sweeper.sweep()

    ending = second.row("upload_123").ending
    assert ending is not None
    assert ending.code == "verification_crashed"


def test_files_of_media_that_were_never_recorded_are_removed_by_the_next_process(
    house: House, restart: Restart
) -> None:
    house.queued("upload_123")
    house.uploads.claim("upload_123", house.presence.id)
    house.uploads.intend("upload_123", "media_1")
    with house.storage.scratch("upload_123") as scratch:
        (scratch / "original.jpg").write_bytes(b"made")
        house.storage.promote(scratch, "media_1", ["original.jpg"])

    house.crash()
    second = restart(scripted([REFUSED]))
    second.sweeper.sweep()

    assert not any(path.startswith("media/media_1") for path in second.files())


def test_two_processes_take_over_an_upload_once(house: House, restart: Restart) -> None:
    house.queued("upload_123")
    house.crash()
    others = [restart(), restart()]

    gevent.joinall([gevent.spawn(each.sweeper.sweep) for each in others], DEADLINE_S)

    assert sorted(each.dispatcher.at_work("upload_123") for each in others) == [
        False,
        True,
    ]
    assert others[0].row("upload_123").generation == 1


def test_own_upload_nobody_works_on_any_more_is_taken_up_again(
    restart: Restart,
) -> None:
    """The database was gone when its ending should have been recorded."""
    house = restart(scripted([VERIFIED]))
    house.queued("upload_123")
    house.uploads.claim("upload_123", house.presence.id)
    house.sweeper.sweep()
    at_once = house.row("upload_123").state

    house.clock.pass_(OURS_AGE_S + 1)
    house.sweeper.sweep()
    house.dispatcher.start()
    until(lambda: house.row("upload_123").state.final)

    assert at_once is State.VERIFYING
    assert house.row("upload_123").state is State.COMPLETE


# --- bindings and left files -----------------------------------------------------------


def test_binding_that_ended_is_released_and_its_stream_told(house: House) -> None:
    house.intake.follow("upload_123", "anna")
    stream = house.hub.subscribe("upload_123", None)

    house.clock.pass_(BOUND_MAX_S + 1)
    house.sweeper.sweep()

    with pytest.raises(SubscriptionClosed) as caught:
        stream.take(0)
    assert caught.value.reason is Reason.EXPIRED
    assert house.uploads.find("upload_123") is None


def test_released_id_may_be_anybodys(house: House) -> None:
    house.intake.follow("upload_123", "anna")
    house.clock.pass_(BOUND_MAX_S + 1)
    house.sweeper.sweep()

    upload = house.intake.follow("upload_123", "ben")

    assert upload.user_id == "ben"


def test_binding_ends_a_minute_after_its_last_stream(house: House) -> None:
    house.intake.follow("upload_123", "anna")

    house.intake.unfollow("upload_123")
    house.clock.pass_(59)
    house.sweeper.sweep()
    still = house.uploads.find("upload_123")
    house.clock.pass_(2)
    house.sweeper.sweep()

    assert still is not None
    assert house.uploads.find("upload_123") is None


def old(path: Path) -> None:
    before = time.time() - FILE_AGE_S - 60
    os.utime(path, (before, before))


def test_files_of_nobody_are_removed_once_they_are_old(house: House) -> None:
    house.storage.receive("upload_left").commit()
    (house.folder / "scratch" / "upload_left").mkdir()
    (house.folder / "media" / "media_unknown").mkdir()
    house.queued("upload_kept")
    for left in ("incoming/upload_left", "scratch/upload_left", "media/media_unknown"):
        old(house.folder / left)
    old(house.folder / "incoming/upload_kept")

    house.sweeper.sweep()

    # Media nobody knows stay: it may be the database that is the wrong one.
    assert house.files() == {"incoming/upload_kept", "media/media_unknown"}


def test_recorded_media_is_never_swept(house: House) -> None:
    house.runner.run(house.queued("upload_123"), scripted([VERIFIED]))
    media_id = house.row("upload_123").media_id
    old(house.folder / "media" / str(media_id))

    house.sweeper.sweep()

    assert house.files() == {f"media/{media_id}"}


def test_ended_rows_are_kept_unless_retention_says_otherwise(house: House) -> None:
    house.runner.run(house.queued("upload_123"), scripted([REFUSED]))
    house.clock.pass_(2 * 86_400)

    house.sweeping(retention_days=0).sweep()
    kept = house.uploads.find("upload_123")
    house.sweeping(retention_days=1).sweep()

    assert kept is not None
    assert house.uploads.find("upload_123") is None
