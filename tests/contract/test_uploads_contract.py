"""What every repository promises (uploadsvc.db). A further backend is one more name in
BACKENDS: how to get a database for one test, clean and migrated."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from typing import Any

import gevent
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.house import DEADLINE_S, START, Clock, record
from uploadsvc.db import BOUND_MAX_S, MAX_BOUND, MediaRepository, UploadRepository
from uploadsvc.db.engine import Database
from uploadsvc.db.media import SqlMedia
from uploadsvc.db.uploads import SqlUploads
from uploadsvc.errors import AccessDenied, IdTaken, TooManyUploads
from uploadsvc.model import (
    FOLLOWERS,
    Decision,
    Ending,
    Finding,
    Media,
    Moderation,
    State,
    Upload,
    Verdict,
)

numbers = count()  # hypothesis runs its examples on one database
LATER = START + timedelta(seconds=60)
ENDING = Ending(7, "", None, (), START)
FAILURE = Ending(2**53, "No 🦆", "content_rejected", ("nudity", "violence"), START)


def sqlite(folder: Path) -> str:
    return f"sqlite:///{folder / 'uploads.sqlite3'}"


BACKENDS: dict[str, Callable[[Path], str]] = {"sqlite": sqlite}


@dataclass
class Process:
    """One process's way to the database."""

    database: Database
    clock: Clock

    @property
    def uploads(self) -> UploadRepository:
        return SqlUploads(self.database, self.clock)

    @property
    def media(self) -> MediaRepository:
        return SqlMedia(self.database)


@pytest.fixture(params=BACKENDS)
def processes(
    request: pytest.FixtureRequest, tmp_path: Path
) -> Iterator[list[Process]]:
    """Two processes on one database."""
    url, clock = BACKENDS[request.param](tmp_path), Clock()
    both = [Process(Database(url), clock) for _ in range(2)]
    both[0].database.migrate()
    yield both
    for each in both:
        each.database.close()


@pytest.fixture
def process(processes: list[Process]) -> Process:
    return processes[0]


@pytest.fixture
def uploads(process: Process) -> UploadRepository:
    return process.uploads


def at(
    uploads: UploadRepository, state: State, upload_id: str = "upload_123"
) -> Upload:
    """A row of anna's in this state."""
    uploads.bind(upload_id, "anna", LATER)
    path: dict[State, list[State]] = {State.OPEN: []}
    while state not in path:
        for known, way in list(path.items()):
            for after in FOLLOWERS[known]:
                path.setdefault(after, [*way, after])
    here = State.OPEN
    for after in path[state]:
        assert uploads.advance(upload_id, [here], after, owner="me")
        here = after
    found = uploads.find(upload_id)
    assert found is not None
    return found


def test_unknown_id_is_found_nowhere(uploads: UploadRepository) -> None:
    assert uploads.find("upload_123") is None


def test_named_id_is_bound_to_its_user(uploads: UploadRepository) -> None:
    bound = uploads.bind("upload_123", "anna", LATER)

    assert (bound.state, bound.user_id, bound.bound_until) == (
        State.OPEN,
        "anna",
        LATER,
    )
    assert uploads.find("upload_123") == bound


def test_binding_again_moves_its_end_but_never_beyond_a_quarter_of_an_hour(
    uploads: UploadRepository,
) -> None:
    uploads.bind("upload_123", "anna", LATER)

    bound = uploads.bind("upload_123", "anna", START + timedelta(days=1))

    assert bound.bound_until == START + timedelta(seconds=BOUND_MAX_S)


def test_somebody_elses_id_is_denied(uploads: UploadRepository) -> None:
    uploads.bind("upload_123", "anna", LATER)

    with pytest.raises(AccessDenied):
        uploads.bind("upload_123", "ben", LATER)
    with pytest.raises(AccessDenied):
        uploads.begin("upload_123", "ben", "me")


def test_user_holds_a_bounded_number_of_bindings(uploads: UploadRepository) -> None:
    for number in range(MAX_BOUND):
        uploads.bind(f"upload_{number}", "anna", LATER)

    with pytest.raises(TooManyUploads) as caught:
        uploads.bind("upload_more", "anna", LATER)

    assert caught.value.facts["retry_after"] > 0
    assert uploads.bind("upload_0", "anna", LATER), "one held may be named again"
    assert uploads.bind("upload_more", "ben", LATER), "others have their own"


def test_begun_upload_is_no_binding_any_more(uploads: UploadRepository) -> None:
    for number in range(MAX_BOUND):
        uploads.bind(f"upload_{number}", "anna", LATER)

    begun = uploads.begin("upload_0", "anna", "me")

    assert (begun.state, begun.owner, begun.bound_until) == (
        State.RECEIVING,
        "me",
        None,
    )
    assert uploads.bind("upload_more", "anna", LATER)


def test_upload_begins_without_a_binding(uploads: UploadRepository) -> None:
    begun = uploads.begin("upload_123", "anna", "me")

    assert uploads.find("upload_123") == begun
    assert begun.state is State.RECEIVING


@pytest.mark.parametrize("state", [state for state in State if state is not State.OPEN])
def test_second_post_with_an_id_is_told_where_the_first_stands(
    uploads: UploadRepository, state: State
) -> None:
    at(uploads, state)

    with pytest.raises(IdTaken) as caught:
        uploads.begin("upload_123", "anna", "me")

    assert caught.value.facts["status"] == state.value


def test_advance_wins_once(uploads: UploadRepository) -> None:
    at(uploads, State.RECEIVING)

    first = uploads.advance("upload_123", [State.RECEIVING], State.QUEUED, size=5)
    second = uploads.advance("upload_123", [State.RECEIVING], State.QUEUED, size=6)

    assert first is not None
    assert second is None
    assert uploads.find("upload_123") == first
    assert first.size == 5


@pytest.mark.parametrize("state", list(State))
@pytest.mark.parametrize("to", list(State))
def test_advance_follows_the_state_table(
    uploads: UploadRepository, state: State, to: State
) -> None:
    if to in FOLLOWERS[state]:
        at(uploads, state)
        assert uploads.advance("upload_123", [state], to)
    else:
        with pytest.raises(ValueError, match="never followed"):
            uploads.advance("upload_123", [state], to)


def test_unknown_upload_does_not_advance(uploads: UploadRepository) -> None:
    assert uploads.advance("upload_123", [State.QUEUED], State.VERIFYING) is None


def test_ending_is_read_back_as_it_was_written(uploads: UploadRepository) -> None:
    at(uploads, State.VERIFYING)

    uploads.advance("upload_123", [State.VERIFYING], State.REJECTED, ending=FAILURE)

    found = uploads.find("upload_123")
    assert found is not None
    assert found.ending == FAILURE


def test_complete_records_ending_and_media_together(process: Process) -> None:
    at(process.uploads, State.VERIFYING)
    media = record(
        "media_1",
        "upload_123",
        title="🦆",
        moderation=Moderation(Verdict.REVIEW, ("text_profanity",)),
    )

    done = process.uploads.complete("upload_123", ENDING, media)

    assert done is not None
    assert (done.state, done.ending, done.media_id) == (
        State.COMPLETE,
        ENDING,
        "media_1",
    )
    assert process.media.find("media_1") == media


@pytest.mark.parametrize("state", [State.QUEUED, State.CANCELLED, State.COMPLETE])
def test_upload_that_was_lost_meanwhile_records_no_media(
    process: Process, state: State
) -> None:
    at(process.uploads, state)

    done = process.uploads.complete(
        "upload_123", ENDING, record("media_1", "upload_123")
    )

    assert done is None
    assert process.media.find("media_1") is None


def test_media_that_cannot_be_recorded_leaves_the_upload_unended(
    process: Process,
) -> None:
    at(process.uploads, State.VERIFYING, "upload_one")
    at(process.uploads, State.VERIFYING, "upload_two")
    process.uploads.complete("upload_one", ENDING, record("media_1", "upload_one"))

    with pytest.raises(Exception, match=r"(?i)unique"):
        process.uploads.complete("upload_two", ENDING, record("media_1", "upload_two"))

    found = process.uploads.find("upload_two")
    assert found is not None
    assert (found.state, found.ending) == (State.VERIFYING, None)


def test_claim_counts_an_attempt_and_names_its_owner(uploads: UploadRepository) -> None:
    at(uploads, State.QUEUED)

    claimed = uploads.claim("upload_123", "worker")

    assert claimed is not None
    assert (claimed.state, claimed.owner, claimed.attempts) == (
        State.VERIFYING,
        "worker",
        1,
    )


def test_exactly_one_of_many_concurrent_claims_wins(processes: list[Process]) -> None:
    for number in range(10):
        at(processes[0].uploads, State.QUEUED, f"upload_{number}")
        claims = [
            # Each waits on a thread of its process's pool: they are at the database at once.
            gevent.spawn(
                processes[n % 2].uploads.claim, f"upload_{number}", f"worker {n}"
            )
            for n in range(8)
        ]

        gevent.joinall(claims, timeout=DEADLINE_S, raise_error=True)

        won = [claim.value for claim in claims if claim.value is not None]
        assert len(won) == 1
        assert processes[1].uploads.find(f"upload_{number}") == won[0]
        assert won[0].attempts == 1


def test_exactly_one_of_many_concurrent_posts_begins(processes: list[Process]) -> None:
    def begin(process: Process, owner: str) -> Upload | None:
        try:
            return process.uploads.begin("upload_123", "anna", owner)
        except IdTaken:
            return None

    posts = [gevent.spawn(begin, processes[n % 2], f"worker {n}") for n in range(8)]
    gevent.joinall(posts, timeout=DEADLINE_S, raise_error=True)

    assert len([post for post in posts if post.value is not None]) == 1


def test_bindings_stay_bounded_when_many_are_made_at_once(
    processes: list[Process],
) -> None:
    def bind(process: Process, number: int) -> bool:
        try:
            process.uploads.bind(f"upload_{number}", "anna", LATER)
        except TooManyUploads:
            return False
        return True

    made = [gevent.spawn(bind, processes[n % 2], n) for n in range(MAX_BOUND + 5)]
    gevent.joinall(made, timeout=DEADLINE_S, raise_error=True)

    assert sum(each.value for each in made) == MAX_BOUND


@pytest.mark.parametrize(
    ("state", "after"),
    [
        (State.RECEIVING, State.RECEIVING),
        (State.QUEUED, State.QUEUED),
        (State.VERIFYING, State.QUEUED),
    ],
)
def test_upload_of_a_dead_owner_is_taken_over_once(
    uploads: UploadRepository, state: State, after: State
) -> None:
    upload = at(uploads, state)

    taken = uploads.take_over(upload, "heir")
    again = uploads.take_over(upload, "late heir")

    assert taken is not None
    assert again is None
    assert (taken.state, taken.owner, taken.generation) == (after, "heir", 1)


def test_upload_that_moved_on_is_not_taken_over(uploads: UploadRepository) -> None:
    upload = at(uploads, State.QUEUED)
    uploads.claim("upload_123", "me")

    assert uploads.take_over(upload, "heir") is None


def test_retry_counts_while_the_verification_goes_on(uploads: UploadRepository) -> None:
    at(uploads, State.QUEUED)
    uploads.claim("upload_123", "me")

    again = uploads.retry("upload_123")
    uploads.advance("upload_123", [State.VERIFYING], State.CANCELLED, ending=FAILURE)

    assert again is not None
    assert again.attempts == 2
    assert uploads.retry("upload_123") is None


def test_mark_is_remembered_while_there_is_work(uploads: UploadRepository) -> None:
    at(uploads, State.VERIFYING)

    uploads.mark("upload_123", 70)

    found = uploads.find("upload_123")
    assert found is not None
    assert found.mark == 70


def test_loosened_binding_ends_earlier_but_never_later(
    uploads: UploadRepository,
) -> None:
    uploads.bind("upload_123", "anna", LATER)

    uploads.loosen("upload_123", LATER + timedelta(seconds=1))
    still = uploads.find("upload_123")
    uploads.loosen("upload_123", START)
    earlier = uploads.find("upload_123")

    assert still is not None
    assert earlier is not None
    assert (still.bound_until, earlier.bound_until) == (LATER, START)


def test_ended_bindings_are_released_and_nothing_else(
    uploads: UploadRepository,
) -> None:
    at(uploads, State.QUEUED, "upload_queued")
    uploads.bind("upload_ends", "anna", LATER)
    uploads.bind("upload_stays", "anna", LATER + timedelta(seconds=2))

    released = uploads.release_expired(LATER + timedelta(seconds=1))

    assert released == ["upload_ends"]
    assert uploads.find("upload_ends") is None
    assert uploads.find("upload_stays")
    assert uploads.find("upload_queued")


def test_old_ended_rows_are_forgotten_and_nothing_else(
    uploads: UploadRepository,
) -> None:
    for number, ended in enumerate([START, LATER]):
        at(uploads, State.VERIFYING, f"upload_{number}")
        uploads.advance(
            f"upload_{number}",
            [State.VERIFYING],
            State.FAILED,
            ending=replace(FAILURE, at=ended),
        )
    at(uploads, State.VERIFYING, "upload_works")

    forgotten = uploads.forget_ended(LATER)

    assert forgotten == 1
    assert [uploads.find(f"upload_{number}") is None for number in (0, 1)] == [
        True,
        False,
    ]
    assert uploads.find("upload_works")


def test_unfinished_are_those_somebody_works_on_oldest_first(process: Process) -> None:
    for number, state in enumerate(State):
        process.clock.pass_(-1)
        at(process.uploads, state, f"upload_{number}")

    unfinished = process.uploads.unfinished()

    assert [upload.state for upload in unfinished] == [
        State.VERIFYING,
        State.QUEUED,
        State.RECEIVING,
    ]


def test_list_is_the_users_own_newest_first(process: Process) -> None:
    for number in range(5):
        process.clock.pass_(1)
        process.uploads.begin(f"upload_{number}", "anna" if number else "ben", "me")

    newest = process.uploads.newest("anna", 3, None)

    assert [upload.id for upload in newest] == ["upload_4", "upload_3", "upload_2"]


@settings(
    max_examples=20,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    st.lists(st.sampled_from([0, 0, 1, 999_999, 1_000_000]), min_size=1, max_size=7),
    st.integers(1, 4),
)
def test_pages_give_every_upload_once_however_close_in_time(
    process: Process, gaps_us: list[int], limit: int
) -> None:
    user = f"user_{next(numbers)}"
    made = []
    for number, gap in enumerate(gaps_us):
        process.clock.pass_(gap / 1_000_000)
        made.append(process.uploads.begin(f"{user}_{number}", user, "me"))

    read: list[Upload] = []
    place = None
    while page := process.uploads.newest(user, limit, place):
        read += page
        place = (page[-1].created_at, page[-1].id)

    assert read == sorted(
        made, key=lambda each: (each.created_at, each.id), reverse=True
    )


def test_moments_come_back_in_utc_with_their_microseconds(process: Process) -> None:
    moment = datetime(2024, 7, 1, 23, 59, 59, 123_456, tzinfo=UTC)
    process.clock.at = moment

    process.uploads.begin("upload_123", "anna", "me")

    found = process.uploads.find("upload_123")
    assert found is not None
    assert (found.created_at, found.created_at.tzinfo) == (moment, UTC)


def test_texts_are_data_whatever_they_hold(uploads: UploadRepository) -> None:
    at(uploads, State.RECEIVING)
    text = "'; DROP TABLE uploads; -- %s :x \\ \" 🦆\n"

    uploads.advance(
        "upload_123",
        [State.RECEIVING],
        State.QUEUED,
        title=text,
        description=text * 50,
        file_name=text,
    )

    found = uploads.find("upload_123")
    assert found is not None
    assert (found.title, found.description, found.file_name) == (text, text * 50, text)


def test_media_are_found_together_and_deleted_once(process: Process) -> None:
    for number in (1, 2):
        at(process.uploads, State.VERIFYING, f"upload_{number}")
        media = record(f"media_{number}", f"upload_{number}")
        process.uploads.complete(f"upload_{number}", ENDING, media)

    found = process.media.find_many(["media_1", "media_2", "media_3"])
    deleted = [process.media.delete("media_1") for _ in range(2)]

    assert set(found) == {"media_1", "media_2"}
    assert deleted == [True, False]
    assert process.media.find("media_1") is None
    assert process.media.find_many([]) == {}


# --- moderation ------------------------------------------------------------------------

REPORT = Moderation(
    Verdict.REVIEW,
    ("nudity", "violence"),
    (
        Finding("nudity", Verdict.REVIEW, "nsfw", "second 12.4", 0.93, 0.9),
        Finding("violence", Verdict.REVIEW, "vendor 🦆", "page 3"),
    ),
    ("speech", "middle"),
    "2024-01",
    ("model_a", "model_b"),
)


def recorded(process: Process, name: str, **changes: Any) -> Media:
    """Complete media of an upload of this name, held for review unless told otherwise."""
    at(process.uploads, State.VERIFYING, f"upload_{name}")
    told = {"moderation": REPORT} | changes
    media = record(f"media_{name}", f"upload_{name}", **told)
    assert process.uploads.complete(f"upload_{name}", ENDING, media)
    return media


def test_verdict_is_read_back_with_all_its_findings(process: Process) -> None:
    media = recorded(process, "one")

    assert process.media.find(media.id) == media


def test_refused_upload_keeps_the_whole_verdict(uploads: UploadRepository) -> None:
    at(uploads, State.VERIFYING)
    verdict = replace(REPORT, verdict=Verdict.REJECT)

    uploads.advance(
        "upload_123",
        [State.VERIFYING],
        State.REJECTED,
        ending=FAILURE,
        moderation=verdict,
    )

    found = uploads.find("upload_123")
    assert found is not None
    assert (found.ending, found.moderation) == (FAILURE, verdict)


def test_what_waits_for_review_comes_oldest_first_and_in_pages(
    process: Process,
) -> None:
    moments = {"d": 3, "a": 1, "c": 2, "b": 2}
    for name, seconds in moments.items():
        moment = START + timedelta(seconds=seconds)
        recorded(process, name, created_at=moment)
    recorded(process, "approved", moderation=Moderation(Verdict.APPROVE))
    recorded(process, "rejected", moderation=Moderation(Verdict.REJECT))

    read: list[str] = []
    place = None
    while page := process.media.waiting_for_review(3, place):
        read += [media.id for media in page]
        place = (page[-1].created_at, page[-1].id)

    assert read == ["media_a", "media_b", "media_c", "media_d"]


@pytest.mark.parametrize(
    ("verdict", "reasons"),
    [(Verdict.APPROVE, ()), (Verdict.REJECT, ("nudity", "violence"))],
)
def test_decision_changes_the_verdict_and_keeps_its_findings(
    process: Process, verdict: Verdict, reasons: tuple[str, ...]
) -> None:
    media = recorded(process, "one")

    decided = process.media.decide(media.id, "mia", verdict, "because 🦆", LATER)

    stands = replace(REPORT, verdict=verdict, reasons=reasons)
    assert decided == replace(media, moderation=stands)
    assert process.media.find(media.id) == decided
    assert process.media.waiting_for_review(10, None) == []


def test_decision_is_remembered_beyond_its_media(process: Process) -> None:
    media = recorded(process, "one")
    process.media.decide(media.id, "mia", Verdict.REJECT, "because 🦆", LATER)

    process.media.delete(media.id)

    assert process.media.decisions_of(media.id) == [
        Decision(media.id, "upload_one", "mia", Verdict.REJECT, "because 🦆", LATER)
    ]
    assert process.media.decisions_of("media_two") == []


@pytest.mark.parametrize("verdict", [Verdict.APPROVE, Verdict.REJECT])
def test_only_what_waits_for_review_is_decided(
    process: Process, verdict: Verdict
) -> None:
    media = recorded(process, "one", moderation=Moderation(verdict))

    decided = process.media.decide(media.id, "mia", Verdict.REJECT, "", LATER)
    unknown = process.media.decide("media_two", "mia", Verdict.REJECT, "", LATER)

    assert decided is unknown is None
    assert process.media.find(media.id) == media
    assert process.media.decisions_of(media.id) == []


def test_exactly_one_of_many_concurrent_decisions_holds(
    processes: list[Process],
) -> None:
    media = recorded(processes[0], "one")

    decisions = [
        gevent.spawn(
            processes[n % 2].media.decide,
            media.id,
            f"moderator {n}",
            [Verdict.APPROVE, Verdict.REJECT][n // 2 % 2],
            "",
            LATER,
        )
        for n in range(8)
    ]
    gevent.joinall(decisions, timeout=DEADLINE_S, raise_error=True)

    won = [each.value for each in decisions if each.value is not None]
    recorded_decisions = processes[1].media.decisions_of(media.id)
    assert len(won) == len(recorded_decisions) == 1
    assert won[0].moderation.verdict is recorded_decisions[0].verdict
    assert processes[1].media.find(media.id) == won[0]


def test_latest_rejections_are_known_by_their_media(process: Process) -> None:
    for name in "abc":
        recorded(process, name, moderation=Moderation(Verdict.REVIEW))
        verdict = Verdict.APPROVE if name == "b" else Verdict.REJECT
        process.media.decide(f"media_{name}", "mia", verdict, "", LATER)

    assert process.media.latest_rejected(10) == ["media_c", "media_a"]
    assert process.media.latest_rejected(1) == ["media_c"]


def test_reader_does_not_wait_for_a_writer(processes: list[Process]) -> None:
    writer, reader = processes
    writer.uploads.begin("upload_123", "anna", "me")
    writing, let_go = threading.Event(), threading.Event()

    def write_slowly(_: object) -> None:
        writing.set()
        let_go.wait(DEADLINE_S)

    held = gevent.spawn(writer.database.run, write_slowly)
    with gevent.Timeout(DEADLINE_S):
        while not writing.is_set():
            gevent.sleep(0.001)

    seen = reader.uploads.find("upload_123")

    let_go.set()
    held.get(timeout=DEADLINE_S)
    assert seen is not None


def test_database_answers(uploads: UploadRepository) -> None:
    uploads.ping()
