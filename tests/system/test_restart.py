"""Death and restarts in the middle of it all: what was durable is finished, streams come back, nothing is said twice."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator

import httpx
import pytest
from service import (
    DEADLINE_S,
    STAGES,
    Frame,
    Json,
    Service,
    User,
    assert_one_story,
    eventually,
    form,
    frames,
    in_background,
    new_id,
)


@pytest.fixture(scope="module")
def mortal() -> Iterator[Service]:
    """A service that is killed again and again; each test leaves it running."""
    with Service() as service:
        yield service


@pytest.fixture
def user(mortal: Service) -> User:
    return mortal.user()


def assert_one_record(
    service: Service, user: User, id: str, events: list[Json]
) -> None:
    """The upload ended well, once, as read by one client across the restart."""
    records = [row for row in service.rows("media").values() if row["upload_id"] == id]
    snapshot = user.snapshot(id)
    assert_one_story(events)
    assert [event["stage"] for event in events[-1:]] == ["complete"]
    assert snapshot["status"] == "complete"
    assert [row["id"] for row in records] == [snapshot["media"]["_id"]]
    service.assert_nothing_left()


def kill_worker(service: Service) -> None:
    killed = service.worker_pid
    os.kill(killed, signal.SIGKILL)
    eventually(lambda: service.worker_pid != killed, "another worker")
    wait_until_ready(service)


def wait_until_ready(service: Service) -> None:
    def ready() -> bool:
        try:
            return httpx.get(f"{service.url}/readyz", timeout=DEADLINE_S).is_success
        except httpx.RequestError:
            return False

    eventually(ready, "readyz")


def kill_all(service: Service) -> None:
    service.kill()
    service.restart()


DEATHS = {"worker": kill_worker, "everything": kill_all}


@pytest.mark.parametrize("death", DEATHS)
def test_verification_killed_in_the_middle_is_finished_and_the_stream_comes_back(
    mortal: Service, user: User, long_film: bytes, death: str
) -> None:
    id = new_id()
    with user.stream(id) as before:
        user.upload(long_film, id, prefer="respond-async")
        before.wait_for("analyzing", 45)
        DEATHS[death](mortal)
        before.wait_for_end()

    with user.stream(id, before.cursor) as after:
        rest = after.wait_for_end()

    assert rest[0]["id"] > before.cursor
    assert_one_record(mortal, user, id, before.events + rest)


@pytest.mark.parametrize("death", DEATHS)
def test_uploads_that_waited_in_the_queue_are_verified_after_the_death(
    mortal: Service, user: User, image: bytes, death: str
) -> None:
    ids = [new_id() for _ in range(3)]
    with mortal.verifiers_held():
        for id in ids:
            user.upload(image, id, prefer="respond-async")
        user.wait_for_status(ids[0], "verifying")
        cursors = {id: user.snapshot(id)["id"] for id in ids}
        DEATHS[death](mortal)

    for id in ids:
        with user.stream(id, cursors[id]) as stream:
            events = stream.wait_for_end()
        assert_one_record(mortal, user, id, events)


def test_reader_without_a_cursor_gets_an_ending_from_before_the_death(
    mortal: Service, user: User, image: bytes
) -> None:
    id = new_id()
    record = user.upload(image, id).json()["data"]["media"]
    ending = user.snapshot(id)
    kill_all(mortal)

    with user.stream(id) as stream:
        events = stream.wait_for_end()
    with user.stream(id, ending["id"]) as resting:
        resting.wait_for_end()

    assert [(event["id"], event["stage"]) for event in events] == [
        (ending["id"], "complete")
    ]
    assert events[0]["media"]["_id"] == record["_id"]
    assert resting.status == 204


@pytest.mark.parametrize("death", DEATHS)
def test_body_cut_by_the_death_ends_as_incomplete(
    mortal: Service, user: User, death: str
) -> None:
    id = new_id()
    body = form(bytes(400_000))
    with user.stream(id) as before, user.begin(id, len(body)) as post:
        post.send(body[:200_000])
        before.wait_for("uploading", 1)
        DEATHS[death](mortal)
        before.wait_for_end()

    with user.stream(id, before.cursor) as after:
        events = before.events + after.wait_for_end()

    assert_one_story(events)
    assert (events[-1]["stage"], events[-1]["code"]) == ("error", "incomplete_body")
    assert user.snapshot(id)["code"] == "incomplete_body"
    mortal.assert_nothing_left()


def test_waiting_stream_of_before_the_death_is_followed_by_one_that_gets_the_story(
    mortal: Service, user: User, image: bytes
) -> None:
    id = new_id()
    with user.stream(id) as before:
        eventually(lambda: before.frames, "the first frames")
        kill_worker(mortal)
        before.wait_for_end()

    with user.stream(id) as after:
        answer = user.upload(image, id)
        events = after.wait_for_end()

    assert answer.status_code == 200
    assert_one_story(events)
    assert list(dict.fromkeys(event["stage"] for event in events)) == STAGES


def test_file_that_kills_the_whole_worker_is_given_up_too(
    mortal: Service, user: User, image: bytes
) -> None:
    # What the last of them had in scratch was left until a sweep an hour later.
    id = new_id()
    with mortal.verifiers_held():
        user.upload(image, id, prefer="respond-async")
        user.wait_for_status(id, "verifying")
        # Ten workers died of it already; this is the next.
        mortal.change("UPDATE uploads SET generation = 10 WHERE id = ?", id)
        kill_worker(mortal)

    ended = user.wait_for_status(id, "failed")

    assert ended["code"] == "verification_crashed"
    mortal.assert_nothing_left()


def read_on(user: User, id: str, cursor: int) -> list[Json]:
    """What a client reads that comes back as often as it is told to."""
    events: list[Json] = []

    def ended() -> bool:
        with user.stream(id, events[-1]["id"] if events else cursor) as stream:
            events.extend(stream.wait_for_end())
        return bool(events) and events[-1]["stage"] in {"complete", "error"}

    eventually(ended, f"the ending of {id}")
    return events


# --- Asked to go -----------------------------------------------------------------------


def told_to_come_back(last: Frame) -> bool:
    return last.data is None and last.retry is not None and 2000 <= last.retry <= 10_000


def test_service_asked_to_go_ends_streams_at_once_and_finishes_what_runs(
    mortal: Service, user: User, long_film: bytes
) -> None:
    id = new_id()
    posting = in_background(user.upload, long_film, id)
    with user.stream(id) as working, user.stream(new_id()) as waiting:
        working.wait_for("analyzing", 35)

        mortal.signal(signal.SIGTERM)

        waiting.wait_for_end()
        working.wait_for_end()
        answer = posting.result(DEADLINE_S)
    status = mortal.wait_until_gone()
    mortal.restart()

    assert told_to_come_back(frames(waiting.text)[-1])
    assert told_to_come_back(frames(working.text)[-1])
    assert (answer.status_code, status) == (200, 0)
    with user.stream(id, working.cursor) as after:
        rest = after.wait_for_end()
    assert_one_record(mortal, user, id, working.events + rest)


def test_service_asked_to_go_leaves_what_it_cannot_finish_to_the_next_start(
    image: bytes,
) -> None:
    ids = [new_id() for _ in range(2)]
    with Service(grace_s=2) as service:
        user = service.user()
        with service.verifiers_held():
            posting = [user.upload_later(image, id) for id in ids]
            for id in ids:
                user.wait_for_status(id, "queued", "verifying")
            cursors = {id: user.snapshot(id)["id"] for id in ids}

            service.signal(signal.SIGTERM)

            answers = [each.result(DEADLINE_S) for each in posting]
            status = service.wait_until_gone()
        service.restart()

        assert [answer.status_code for answer in answers] == [202, 202]
        assert status == 0
        for id in ids:
            with user.stream(id, cursors[id]) as stream:
                events = stream.wait_for_end()
            assert_one_record(service, user, id, events)


def test_body_on_its_way_may_arrive_while_the_service_is_asked_to_go(
    mortal: Service, user: User, image: bytes
) -> None:
    id = new_id()
    body = form(image)
    with user.begin(id, len(body), {"Prefer": "respond-async"}) as post:
        post.send(body[:100])
        user.wait_for_status(id, "receiving")
        mortal.signal(signal.SIGTERM)
        eventually(lambda: "draining" in mortal.logs().splitlines()[-1], "draining")

        post.send(body[100:])
        answer = post.answer()
    mortal.wait_until_gone()
    mortal.restart()

    assert answer.status == 202
    assert user.wait_for_status(id, "complete")["media"]["_id"]


def test_reload_keeps_accepting_and_finishes_what_the_old_worker_has(
    mortal: Service, user: User, image: bytes, long_film: bytes
) -> None:
    id = new_id()
    old = mortal.worker_pid
    posting = in_background(user.upload, long_film, id)
    with user.stream(id) as before:
        before.wait_for("analyzing", 35)

        mortal.signal(signal.SIGHUP)

        before.wait_for_end()
    eventually(lambda: mortal.worker_pid != old, "the new worker")
    # For up to a second the old worker still accepts, and sends whoever it gets away.
    answers = [user.upload(image).status_code]
    while answers[-1] == 503:
        answers.append(user.upload(image).status_code)
    rest = read_on(user, id, before.cursor)

    assert told_to_come_back(frames(before.text)[-1])
    assert posting.result(DEADLINE_S).status_code == 200
    assert answers[-1] == 200
    assert_one_record(mortal, user, id, before.events + rest)


def test_new_worker_cancels_what_the_old_one_verifies(
    mortal: Service, user: User, image: bytes
) -> None:
    # The ending's id was 1, below all that were sent, and the POST was answered 202.
    id = new_id()
    old = mortal.worker_pid
    with mortal.verifiers_held():
        with user.stream(id) as before:
            posting = in_background(user.upload, image, id)
            user.wait_for_status(id, "verifying")
            mortal.signal(signal.SIGHUP)
            before.wait_for_end()
        eventually(lambda: mortal.worker_pid != old, "the new worker")
        eventually(lambda: not mortal.accepts(old), "the old one to stop accepting")

        cancelled = user.cancel(id)

        rest = read_on(user, id, before.cursor)
    answer = posting.result(DEADLINE_S)
    assert cancelled.status_code == 202
    assert_one_story(before.events + rest)
    assert rest[-1]["code"] == "cancelled"
    assert (answer.status_code, answer.json()["code"]) == (409, "cancelled")
    mortal.assert_nothing_left()
