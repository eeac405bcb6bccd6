"""The Prefer header of a POST (RFC 7240)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from uploadsvc.web.prefer import LONGEST_WAIT_S, Preference, preference

HOUR = LONGEST_WAIT_S


@pytest.mark.parametrize(
    ("header", "wait_s", "applied"),
    [
        (None, HOUR, ""),
        ("", HOUR, ""),
        ("respond-async", 0, "respond-async"),
        ("Respond-Async", 0, "respond-async"),
        ('respond-async=""', 0, "respond-async"),
        ("wait=20", 20, "wait=20"),
        ("WAIT=20", 20, "wait=20"),
        ('wait="20"', 20, "wait=20"),
        ("wait=0", 0, "wait=0"),
        ("respond-async, wait=20", 20, "wait=20"),
        ("wait=20, respond-async", 20, "wait=20"),
        ("handling=lenient, respond-async", 0, "respond-async"),
        ("wait=-1", HOUR, ""),
        ("wait=soon", HOUR, ""),
        ("wait=1.5", HOUR, ""),
        ("wait", HOUR, ""),
        ("wait=²", HOUR, ""),
        ("wait=soon, respond-async", 0, "respond-async"),
        ("return=minimal", HOUR, ""),
    ],
)
def test_header_says_how_long_to_wait(
    header: str | None, wait_s: float, applied: str
) -> None:
    assert preference(header) == Preference(wait_s, applied)


def test_wait_is_never_longer_than_the_front_waits() -> None:
    assert preference("wait=99999").wait_s == HOUR


@given(st.text())
def test_whatever_the_header_says_is_no_error(header: str) -> None:
    wish = preference(header)

    assert 0 <= wish.wait_s <= HOUR
