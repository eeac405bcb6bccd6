"""The one table of stages is the contract's."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from uploadsvc.stages import BANDS, ORDER, RANK, TERMINAL, Stage, percent

CONTRACT = {
    "uploading": (0, 9),
    "file_received": (10, 10),
    "validating": (20, 20),
    "analyzing": (30, 70),
    "moderating": (70, 85),
    "processing": (85, 95),
    "finalizing": (95, 99),
    "complete": (100, 100),
    "error": (0, 0),
}

amounts = st.floats(-1e12, 1e12) | st.integers(-(2**60), 2**60)


def test_bands_are_those_of_the_contract() -> None:
    bands = {stage.value: (band.first, band.last) for stage, band in BANDS.items()}

    assert bands == CONTRACT


def test_stages_come_in_the_order_of_the_contract() -> None:
    assert [stage.value for stage in ORDER] == [
        name for name in CONTRACT if name != "error"
    ]


def test_band_begins_no_lower_than_the_one_before_ends() -> None:
    for earlier, later in itertools.pairwise(ORDER):
        assert BANDS[earlier].last <= BANDS[later].first


def test_only_complete_and_error_end_an_upload() -> None:
    assert {Stage.COMPLETE, Stage.ERROR} == TERMINAL


def test_error_ranks_above_all() -> None:
    assert set(RANK) == set(Stage)
    assert all(RANK[Stage.ERROR] > RANK[stage] for stage in ORDER)


@given(st.sampled_from(Stage), amounts, amounts)
def test_percent_stays_in_its_band(stage: Stage, done: float, planned: float) -> None:
    reached = percent(stage, done, planned)

    assert isinstance(reached, int)
    assert BANDS[stage].first <= reached <= BANDS[stage].last


@given(st.sampled_from(Stage), amounts, amounts, st.integers(1, 2**60))
def test_percent_never_falls_while_more_is_done(
    stage: Stage, one: float, other: float, planned: int
) -> None:
    less, more = sorted([one, other])

    assert percent(stage, less, planned) <= percent(stage, more, planned)


@given(st.sampled_from(Stage), st.integers(1, 2**50), st.data())
def test_last_percent_of_a_band_is_claimed_only_when_all_is_done(
    stage: Stage, planned: int, data: st.DataObject
) -> None:
    done = data.draw(st.integers(0, planned))
    band = BANDS[stage]

    reached = percent(stage, done, planned)

    if done == planned:
        assert reached == band.last
    elif band.first < band.last and done / planned < 1:
        assert reached < band.last


@pytest.mark.parametrize("stage", list(Stage))
def test_plan_of_nothing_counts_as_done(stage: Stage) -> None:
    assert percent(stage, 0, 0) == BANDS[stage].last
