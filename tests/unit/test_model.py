"""The life of an upload: which state follows which, and what counts as news."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from uploadsvc.model import (
    FOLLOWERS,
    UPLOAD_ID,
    Ending,
    Media,
    Progress,
    State,
    Upload,
    advanced,
    ending_event,
    failure,
    new_media_id,
    new_upload_id,
    opening,
    remembered,
)
from uploadsvc.stages import BANDS, ORDER, RANK, Stage

AT = datetime(2024, 1, 15, 10, 30, tzinfo=UTC)


@st.composite
def progresses(draw: st.DrawFn) -> Progress:
    stage = draw(st.sampled_from(Stage))
    band = BANDS[stage]
    detail = draw(st.sampled_from([{}, {"queue_position": 1}, {"queue_position": 2}]))
    return Progress(
        stage, draw(st.integers(band.first, band.last)), "A sentence", detail
    )


def row(state: State, ending: Ending | None = None) -> Upload:
    return Upload("upload_123", "anna", state, AT, AT, ending=ending)


def test_state_table_speaks_of_every_state() -> None:
    assert set(FOLLOWERS) == set(State)


def test_every_state_is_reached_from_the_two_an_upload_begins_in() -> None:
    reached = {State.OPEN, State.RECEIVING}

    for _ in State:
        reached |= {after for state in reached for after in FOLLOWERS[state]}

    assert reached == set(State)


def test_every_state_can_still_come_to_an_end() -> None:
    ending = {state for state in State if state.final}

    for _ in State:
        ending |= {state for state in State if FOLLOWERS[state] & ending}

    assert ending == set(State)


@pytest.mark.parametrize(
    "state", [State.COMPLETE, State.FAILED, State.REJECTED, State.CANCELLED]
)
def test_ended_upload_is_followed_by_nothing(state: State) -> None:
    assert state.final
    assert not FOLLOWERS[state]


@pytest.mark.parametrize(
    "state", [State.OPEN, State.RECEIVING, State.QUEUED, State.VERIFYING]
)
def test_upload_can_be_cancelled_before_its_end(state: State) -> None:
    assert not state.final
    assert State.CANCELLED in FOLLOWERS[state]


def test_only_a_verified_upload_becomes_complete() -> None:
    before = {state for state in State if State.COMPLETE in FOLLOWERS[state]}

    assert before == {State.VERIFYING}


def test_states_are_the_contracts_words() -> None:
    assert [state.value for state in State] == [
        "waiting",
        "receiving",
        "queued",
        "verifying",
        "complete",
        "failed",
        "rejected",
        "cancelled",
    ]


@given(st.sampled_from(Stage), st.integers(-10, 110))
def test_percent_outside_the_stages_band_is_refused(stage: Stage, percent: int) -> None:
    band = BANDS[stage]

    if band.first <= percent <= band.last:
        assert Progress(stage, percent, "").progress == percent
    else:
        with pytest.raises(ValueError, match="owns"):
            Progress(stage, percent, "")


@given(progresses(), progresses())
def test_news_and_what_it_follows_are_never_news_to_each_other(
    one: Progress, other: Progress
) -> None:
    both = one.follows(other) and other.follows(one)

    # But in the queue, where a place may get better and worse.
    assert not both or one.stage is other.stage is Stage.FILE_RECEIVED


@given(progresses(), progresses(), progresses())
def test_news_after_news_is_news_after_the_first(
    one: Progress, two: Progress, three: Progress
) -> None:
    chained = two.follows(one) and three.follows(two)

    # But in the queue, where the third may say what the first said.
    if chained and (one.stage, one.detail) != (three.stage, three.detail):
        assert three.follows(one)


@given(progresses(), progresses())
def test_news_never_takes_stage_or_percent_back(
    news: Progress, earlier: Progress
) -> None:
    if news.follows(earlier):
        assert RANK[news.stage] >= RANK[earlier.stage]
        if news.stage is not Stage.ERROR:
            assert news.progress >= earlier.progress


@given(progresses())
def test_same_words_again_are_no_news(progress: Progress) -> None:
    assert not progress.follows(progress)


@given(progresses())
def test_error_is_news_after_everything_but_itself(earlier: Progress) -> None:
    error = failure("It broke", "internal_error")

    assert error.follows(earlier) == (earlier.stage is not Stage.ERROR)


def test_changed_place_in_the_queue_is_news() -> None:
    third = opening(Stage.FILE_RECEIVED, queue_position=3)
    second = opening(Stage.FILE_RECEIVED, queue_position=2)

    assert second.follows(third)


def test_changed_detail_of_any_other_stage_is_no_news() -> None:
    one = opening(Stage.VALIDATING, mime_type="image/png")
    other = opening(Stage.VALIDATING, mime_type="image/jpeg")

    assert not other.follows(one)


def test_stage_opens_with_the_guides_words() -> None:
    assert [opening(stage).message for stage in ORDER] == [
        "Uploading...",
        "File received, starting verification...",
        "Validating file format...",
        "Analyzing content with AI...",
        "Checking content guidelines...",
        "Processing and saving content...",
        "Finalizing upload...",
        "Upload complete!",
    ]


def test_analyzing_says_its_percent_in_the_guides_words() -> None:
    progress = advanced(Stage.ANALYZING, 3, 8)

    assert progress.progress == 45
    assert progress.message == "AI verification in progress... 45%"


def test_failure_carries_code_and_sentence() -> None:
    progress = failure("The file is damaged", "invalid_media", reasons=("truncated",))

    assert progress.message == "Upload failed: The file is damaged"
    assert progress.detail == {"code": "invalid_media", "reasons": ("truncated",)}


@pytest.mark.parametrize(
    "sentence", ["{progress}", "{message.__class__}", "100 % {}", "}{"]
)
def test_braces_in_an_errors_sentence_are_said_as_they_are(sentence: str) -> None:
    assert failure(sentence, "internal_error").message == f"Upload failed: {sentence}"


def test_generated_ids_are_upload_ids_and_differ() -> None:
    made = {new_upload_id() for _ in range(100)} | {new_media_id() for _ in range(100)}

    assert len(made) == 200
    assert all(UPLOAD_ID.fullmatch(each) for each in made)


@pytest.mark.parametrize(
    "name",
    [
        "short12",
        "a" * 65,
        "has space",
        "../../etc",
        "schön_genug",
        "newline_\n",
        "with/slash",
        "dot.dot.dot",
        "",
        "\uff11" * 8,
    ],
)
def test_other_names_are_no_upload_ids(name: str) -> None:
    assert not UPLOAD_ID.fullmatch(name)


def test_ending_is_told_from_the_row_with_its_code_and_reasons() -> None:
    ending = Ending(7, "Against the rules", "content_rejected", ("nudity",), AT)

    event = ending_event(row(State.REJECTED, ending), None)

    assert (event.id, event.timestamp, event.terminal) == (7, AT, True)
    assert event.progress.message == "Upload failed: Against the rules"
    assert event.progress.detail == {"code": "content_rejected", "reasons": ("nudity",)}


def test_complete_ending_is_told_without_its_media_once_that_is_deleted() -> None:
    media: Media | None = None

    event = ending_event(row(State.COMPLETE, Ending(9, "", None, (), AT)), media)

    assert event.progress == opening(Stage.COMPLETE)
    assert event.media is None


def test_upload_that_has_not_ended_has_no_ending_to_tell() -> None:
    with pytest.raises(ValueError, match="has not ended"):
        ending_event(row(State.VERIFYING), None)


@given(st.integers(0, 99))
def test_what_a_row_remembers_is_never_less_than_was_published(mark: int) -> None:
    moment = datetime(2026, 1, 1, tzinfo=UTC)
    upload = Upload("upload_1", "anna", State.VERIFYING, moment, moment, mark=mark)

    known = remembered(upload)

    assert (known is None) == (mark == 0)
    if known is not None:
        # Between two bands there is nothing to say; the lower one's end is all that was.
        assert known.progress == max(
            min(mark, band.last) for band in BANDS.values() if band.first <= mark
        )
