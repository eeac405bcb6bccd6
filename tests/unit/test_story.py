"""The law of one upload's events: what may be said next, and what is still held of it."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from uploadsvc.hub import IDS_A_GENERATION
from uploadsvc.hub.story import HISTORY, Story, coalesced
from uploadsvc.model import Event, Progress, advanced, failure, opening
from uploadsvc.stages import BANDS, Stage

AT = datetime(2024, 1, 15, tzinfo=UTC)
UPLOAD_ID = "upload_123"
WORKING = [stage for stage in Stage if stage not in {Stage.COMPLETE, Stage.ERROR}]


@st.composite
def progresses(draw: st.DrawFn) -> Progress:
    stage = draw(st.sampled_from(WORKING))
    percent = draw(st.integers(BANDS[stage].first, BANDS[stage].last))
    detail = draw(
        st.fixed_dictionaries({}, optional={"queue_position": st.integers(1, 3)})
    )
    return Progress(stage, percent, "", detail)


def queued(position: int) -> Progress:
    return opening(Stage.FILE_RECEIVED, queue_position=position)


def told(story: Story, count: int) -> list[Event]:
    """So many events of a place in the queue."""
    events = [story.add(queued(count - place), AT) for place in range(count)]
    return [event for event in events if event is not None]


def ending(event_id: int) -> Event:
    return Event(event_id, UPLOAD_ID, failure("It broke", "internal_error"), AT)


@given(st.lists(progresses(), max_size=30))
def test_ids_grow_by_one_and_nothing_goes_back(said: list[Progress]) -> None:
    story = Story(UPLOAD_ID)

    events = [event for each in said if (event := story.add(each, AT)) is not None]

    assert [event.id for event in events] == list(range(1, len(events) + 1))
    for earlier, later in itertools.pairwise(events):
        assert later.progress.follows(earlier.progress)
        assert later.progress.progress >= earlier.progress.progress


@given(st.lists(progresses(), max_size=30), st.integers(-1, 40))
def test_reader_with_a_held_cursor_gets_exactly_what_came_after(
    said: list[Progress], cursor: int
) -> None:
    story = Story(UPLOAD_ID)
    events = [event for each in said if (event := story.add(each, AT)) is not None]

    since = story.since(cursor)

    if cursor <= len(events):
        assert since == [event for event in events if event.id > cursor]
    else:
        assert since == events[-1:]


def test_reader_without_a_cursor_gets_all_that_is_held() -> None:
    story = Story(UPLOAD_ID)
    events = told(story, 5)

    assert story.since(None) == events
    assert story.since(0) == events


@pytest.mark.parametrize("cursor", [6, 10**6, 2**63])
def test_reader_with_a_cursor_nobody_gave_gets_the_newest_state(cursor: int) -> None:
    story = Story(UPLOAD_ID)
    events = told(story, 5)

    assert story.since(cursor) == events[-1:]


def test_nothing_said_is_nothing_held() -> None:
    story = Story(UPLOAD_ID)

    assert story.since(None) == []
    assert story.since(99) == []
    assert story.last is None


@given(st.integers(1, 700), st.integers(0, 30))
def test_history_is_bounded_and_holds_the_first_of_every_stage(
    places: int, steps: int
) -> None:
    story = Story(UPLOAD_ID)
    events = told(story, places)
    for done in range(steps):
        event = story.add(advanced(Stage.ANALYZING, done, steps), AT)
        events += [event] if event else []

    held = story.since(None)

    firsts = {event.progress.stage: event.id for event in reversed(events)}
    assert len(held) <= HISTORY
    assert held == sorted(held, key=lambda event: event.id)
    assert set(firsts.values()) <= {event.id for event in held}
    assert held[-1] == events[-1]


@given(st.integers(0, 60), st.integers(1, 20))
def test_coalesced_events_keep_their_order_and_the_newest(
    places: int, newest: int
) -> None:
    events = told(Story(UPLOAD_ID), places)

    kept = coalesced(events, newest)

    assert kept == [event for event in events if event in kept]
    assert kept[-newest:] == events[-newest:]
    assert kept[:1] == events[:1]
    assert len(kept) <= newest + 1


@given(
    st.lists(
        st.sampled_from(["add", "seal", "unseal", "finish", "finish late", "resume"]),
        max_size=20,
    )
)
def test_there_is_one_ending_at_most_and_it_is_last(steps: list[str]) -> None:
    story = Story(UPLOAD_ID)
    position, generation = 10_000, 0
    sealed: int | None = None
    finished = 0

    for step in steps:
        if step == "add":
            position -= 1
            event = story.add(queued(position), AT)
            assert event is None or (sealed is None and not finished)
        elif step == "seal":
            won = story.seal()
            assert (won is None) == (sealed is not None or finished > 0)
            sealed = won if won is not None else sealed
        elif step == "unseal":
            story.unseal()
            sealed = None
        elif step == "resume" and sealed is None and not finished:
            generation += 1
            story.resume(generation, -1)
        elif step == "finish" and sealed is not None:
            story.finish(ending(sealed))
            sealed, finished = None, finished + 1
        elif step == "finish late" and sealed is None:
            with pytest.raises(ValueError, match="once"):
                story.finish(ending((story.last.id if story.last else 0) + 1))

    events = story.since(None)
    assert [event for event in events if event.terminal] == events[-1:] * finished
    assert finished <= 1
    assert story.ended == bool(finished)


@pytest.mark.parametrize("wrong", [-1, 1])
def test_ending_has_the_id_it_was_sealed_with(wrong: int) -> None:
    story = Story(UPLOAD_ID)
    told(story, 3)
    reserved = story.seal()
    assert reserved is not None

    with pytest.raises(ValueError, match="sealed"):
        story.finish(ending(reserved + wrong))


@pytest.mark.parametrize(
    "progress", [opening(Stage.COMPLETE), failure("It broke", "internal_error")]
)
def test_ending_is_never_added_like_any_other_event(progress: Progress) -> None:
    story = Story(UPLOAD_ID)

    with pytest.raises(ValueError, match="sealed"):
        story.add(progress, AT)


def test_unsealed_story_goes_on() -> None:
    story = Story(UPLOAD_ID)
    told(story, 1)
    story.seal()

    story.unseal()

    event = story.add(opening(Stage.VALIDATING), AT)
    assert event is not None
    assert event.id == 2


@given(st.lists(st.tuples(st.integers(0, 50), st.integers(0, 3)), max_size=5))
def test_ids_after_each_owner_lie_above_all_earlier_ones(
    owners: list[tuple[int, int]],
) -> None:
    """Each owner of the upload says something and dies; the story may be lost with it."""
    seen: list[int] = []
    generation = 0

    for spoken, skipped in owners:
        generation += 1 + skipped
        story = Story(UPLOAD_ID)
        story.resume(generation, -1)
        seen += [event.id for event in told(story, spoken)]

    assert seen == sorted(set(seen))
    assert all(each > IDS_A_GENERATION for each in seen)


def test_story_taken_over_in_the_same_process_goes_on_above_its_own_ids() -> None:
    story = Story(UPLOAD_ID)
    before = told(story, 3)

    story.resume(1, -1)

    after = story.add(opening(Stage.VALIDATING), AT)
    assert after is not None
    assert after.id > before[-1].id
    assert story.since(before[-1].id) == [after]


@given(st.lists(progresses(), max_size=30), st.integers(0, 99))
def test_nothing_at_or_below_the_mark_is_said_again(
    said: list[Progress], mark: int
) -> None:
    story = Story(UPLOAD_ID)
    story.resume(1, mark)

    events = [story.add(each, AT) for each in said]

    assert all(event.progress.progress > mark for event in events if event is not None)


def test_story_may_be_forgotten_only_while_nothing_is_told_or_remembered() -> None:
    fresh, resumed, spoken = Story("a" * 8), Story("b" * 8), Story("c" * 8)
    resumed.resume(1, 10)
    told(spoken, 1)

    assert fresh.untold
    assert not resumed.untold
    assert not spoken.untold
