"""Words: evasions that are caught, innocent words that are not, rules of one's own."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from uploadsvc.model import Verdict
from uploadsvc.verify import Evidence, Subject, Unexamined, policy_file
from uploadsvc.verify.analysers.words import Words
from uploadsvc.verify.folding import forms
from uploadsvc.verify.moderation import TextRules

POLICY = policy_file.load()
SUBJECT = Subject(Path("file"), Path("scratch"))
TITLES = tomllib.loads(
    (Path(__file__).parent / "data" / "titles.toml").read_text("utf-8")
)


@pytest.fixture(scope="module")
def words() -> Words:
    return Words(POLICY.text)


def verdict(words: Words, text: str) -> Verdict:
    found = [each for each in words.words("title", text) if isinstance(each, Evidence)]
    return POLICY.judge(found).verdict


def labels(rules: TextRules, text: str) -> list[str]:
    return [
        each.label
        for each in Words(rules).words("title", text)
        if isinstance(each, Evidence)
    ]


def listed(**labels: str) -> TextRules:
    return TextRules(
        ("english",), {word.replace("_", " "): label for word, label in labels.items()}
    )


def patterns(*found: tuple[str, str]) -> TextRules:
    return TextRules(("english",), {}, found)


@pytest.mark.parametrize("title", TITLES["innocent"])
def test_innocent_title_is_approved(words: Words, title: str) -> None:
    assert verdict(words, title) is Verdict.APPROVE


@pytest.mark.parametrize("title", TITLES["held"])
def test_profane_title_is_held_however_it_is_spelt(words: Words, title: str) -> None:
    assert verdict(words, title) is Verdict.REVIEW


@pytest.mark.parametrize(
    "title",
    [
        "nigger",
        "N1GG3R",
        "n.i.g.g.e.r",
        "Gas the Jews",
        "n\u0456gg\u0435r",
        "Gas_the_Jews",
    ],
)
def test_hateful_title_is_rejected(words: Words, title: str) -> None:
    assert verdict(words, title) is Verdict.REJECT


@pytest.mark.parametrize("title", ["N*****", "n****r", "Nadine N******"])
def test_masked_letters_are_not_guessed_into_a_slur(words: Words, title: str) -> None:
    assert verdict(words, title) is not Verdict.REJECT


def test_evidence_says_how_bad_and_where(words: Words) -> None:
    found = list(words.words("page 3", "a sexy beach, what a fucking view"))

    assert found == [
        Evidence("words", "mild", 1.0, "page 3"),
        Evidence("words", "plain", 1.0, "page 3"),
    ]


def test_word_far_into_a_long_text_is_found(words: Words) -> None:
    text = "a holiday in the sun, " * 200 + "fuck, " + "and home again, " * 200

    assert verdict(words, text) is Verdict.REVIEW


def test_long_text_without_spaces_is_cut_and_not_lost(words: Words) -> None:
    assert verdict(words, "x" * 5000 + " fuck") is Verdict.REVIEW


@given(st.text())
def test_any_text_is_read_and_its_normal_form_comes_first(text: str) -> None:
    first, *others = forms(text)

    assert len(first) >= len(text) / 4
    assert first not in others


@pytest.mark.parametrize(
    "text",
    [
        "free money",
        "FREE MONEY!",
        "fr33 m0ney",
        "get free_money now",
        "fr\u0435e money",
    ],
)
def test_own_term_is_found_in_every_spelling(text: str) -> None:
    assert labels(listed(free_money="spam/plain"), text) == ["spam/plain"]


@pytest.mark.parametrize(
    ("pattern", "text"),
    [
        (r"\bcall \d{3}\b", "Call 555 now"),
        (r"\bwhatsapp\b", "WhatsApp me"),
        (r"\bwhatsapp\b", "wh\u0430tsapp me"),
        (r"\bwhatsapp\b", "what\u200bsapp me"),
        (r"\bwhatsapp\b", "\uff57\uff48atsapp"),
    ],
)
def test_own_pattern_is_found_in_every_case_and_script(pattern: str, text: str) -> None:
    assert labels(patterns((pattern, "contact/plain")), text) == ["contact/plain"]


def test_pattern_that_is_not_there_is_not_found() -> None:
    assert labels(patterns((r"\d{9}", "contact/plain")), "12345678") == []


ENDLESS = r"(?:a|aa)+$"


def endless() -> Words:
    rules = patterns((ENDLESS, "strong"), ("fun", "mild"))
    return Words(rules, pattern_s=0.05)


def test_pattern_that_runs_out_of_time_is_unexamined_and_the_others_go_on() -> None:
    found = list(endless().words("title", "fun " + "a" * 80 + "b"))

    assert found == [
        Unexamined("words", "text_rule_timeout", "title", f"out of time: {ENDLESS}"),
        Evidence("words", "mild", 1.0, "title"),
    ]


def test_pattern_out_of_time_costs_no_more_of_it_for_the_same_file() -> None:
    words = endless()
    list(words.words("title", "a" * 80 + "b"))

    found = list(words.words("page 1", "aaa"))

    assert [type(each) for each in found] == [Unexamined]


def test_next_file_gives_a_pattern_its_time_again() -> None:
    words = endless()
    list(words.words("title", "a" * 80 + "b"))
    list(words.file(SUBJECT, "image/png"))

    found = list(words.words("title", "aaa"))

    assert found == [Evidence("words", "strong", 1.0, "title")]
