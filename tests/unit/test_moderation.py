"""What the shipped policy decides, and which policy files it refuses."""

from __future__ import annotations

import re
import tomllib
from importlib import resources
from pathlib import Path

import pytest

from uploadsvc.model import Moderation, Verdict
from uploadsvc.verify.moderation import Policy
from uploadsvc.verify.policy import PolicyError

APPROVE, REVIEW, REJECT = Verdict.APPROVE, Verdict.REVIEW, Verdict.REJECT
SHIPPED = (
    resources.files("uploadsvc.verify").joinpath("data", "policy.toml").read_text()
)
CLEAN = {"drawing": 0.1, "hentai": 0.0, "neutral": 0.9, "porn": 0.0, "sexy": 0.0}

TITLES = tomllib.loads(
    (Path(__file__).parent / "data" / "titles.toml").read_text("utf-8")
)


@pytest.fixture(scope="module")
def policy() -> Policy:
    return Policy.load()


def told(policy: Policy, title: str = "", description: str = "") -> Moderation:
    return policy.judge([(0.0, CLEAN)], {"title": title, "description": description})


@pytest.mark.parametrize("title", TITLES["innocent"])
def test_innocent_title_is_approved(policy: Policy, title: str) -> None:
    moderation = told(policy, title)

    assert moderation == Moderation(APPROVE)


@pytest.mark.parametrize("title", TITLES["held"])
def test_profane_title_is_held_however_it_is_spelt(policy: Policy, title: str) -> None:
    moderation = told(policy, title)

    assert moderation == Moderation(REVIEW, ("text_profanity",))


@pytest.mark.parametrize("title", ["nigger", "N1GG3R", "n.i.g.g.e.r", "Gas the Jews"])
def test_hateful_title_is_rejected(policy: Policy, title: str) -> None:
    moderation = told(policy, title)

    assert moderation == Moderation(REJECT, ("text_profanity",))


@pytest.mark.parametrize("title", ["N*****", "n****r", "Nadine N******"])
def test_masked_letters_are_not_guessed_into_a_slur(policy: Policy, title: str) -> None:
    moderation = told(policy, title)

    assert moderation.verdict is not REJECT


def test_description_counts_like_the_title(policy: Policy) -> None:
    moderation = told(policy, "Holiday", "what a fucking view")

    assert moderation == Moderation(REVIEW, ("text_profanity",))


def test_word_far_into_a_long_description_is_found(policy: Policy) -> None:
    description = "a holiday in the sun, " * 200 + "fuck, " + "and home again, " * 200

    moderation = told(policy, description=description)

    assert moderation.verdict is REVIEW


def test_long_text_without_spaces_is_cut_and_not_lost(policy: Policy) -> None:
    moderation = told(policy, description="x" * 5000 + " fuck")

    assert moderation.verdict is REVIEW


@pytest.mark.parametrize(
    ("scores", "expected"),
    [
        ({"porn": 0.59}, Moderation(APPROVE)),
        ({"porn": 0.60}, Moderation(REVIEW, ("sexual_content",))),
        ({"porn": 0.85}, Moderation(REJECT, ("sexual_content",))),
        ({"hentai": 0.79}, Moderation(APPROVE)),
        ({"hentai": 0.80}, Moderation(REVIEW, ("sexual_content",))),
        ({"hentai": 0.92}, Moderation(REJECT, ("sexual_content",))),
        ({"sexy": 0.89}, Moderation(APPROVE)),
        ({"sexy": 1.0}, Moderation(REVIEW, ("suggestive_content",))),
        ({"drawing": 1.0}, Moderation(APPROVE)),
        ({"neutral": 1.0}, Moderation(APPROVE)),
    ],
)
def test_threshold_is_reached_at_its_number(
    policy: Policy, scores: dict[str, float], expected: Moderation
) -> None:
    moderation = policy.judge([(0.0, CLEAN | scores)], {})

    assert moderation == expected


def test_one_bad_sample_among_many_decides(policy: Policy) -> None:
    samples = [(float(at), CLEAN | {"porn": 0.9 * (at == 7)}) for at in range(32)]

    moderation = policy.judge(samples, {})

    assert moderation == Moderation(REJECT, ("sexual_content",))


def test_reasons_are_only_those_that_decided(policy: Policy) -> None:
    samples = [(0.0, CLEAN | {"porn": 0.9}), (1.0, CLEAN | {"sexy": 0.95})]

    moderation = policy.judge(samples, {"title": "fuck"})

    assert moderation == Moderation(REJECT, ("sexual_content",))


def test_reason_is_given_once_and_in_the_order_of_the_file(policy: Policy) -> None:
    sample = CLEAN | {"porn": 0.7, "hentai": 0.85, "sexy": 0.95}

    moderation = policy.judge([(0.0, sample)], {"title": "shit", "description": "shit"})

    assert moderation.reasons == (
        "sexual_content",
        "suggestive_content",
        "text_profanity",
    )


def test_nothing_to_judge_is_approved(policy: Policy) -> None:
    moderation = policy.judge([], {"title": "", "description": ""})

    assert moderation == Moderation(APPROVE)


def test_own_policy_file_is_followed(tmp_path: Path) -> None:
    own = tmp_path / "policy.toml"
    own.write_text(SHIPPED.replace('plain = "review"', 'plain = "reject"'))

    moderation = told(Policy.load(own), "fuck")

    assert moderation.verdict is REJECT


@pytest.mark.parametrize(
    ("there", "instead", "key"),
    [
        ('version = "1"', "version = 1", "version"),
        ("review = 0.60", "reveiw = 0.60", "pictures.porn.reveiw"),
        ("review = 0.60", "review = 60", "pictures.porn.review"),
        ("review = 0.60", "review = true", "pictures.porn.review"),
        ("review = 0.60", "review = 0.9", "pictures.porn.review"),
        ("[pictures.porn]", "[pictures.pron]", "pictures.pron"),
        ("[pictures.porn]", "[picture.porn]", "picture"),
        ('reason = "sexual_content"', 'reason = ""', "pictures.porn.reason"),
        ('languages = ["english"]', 'languages = ["englisch"]', "text.languages"),
        ('languages = ["english"]', "languages = []", "text.languages"),
        ('languages = ["english"]', 'languages = "english"', "text.languages"),
        ('strong = "reject"', 'strong = "refuse"', "text.verdicts.strong"),
        ('mild = "approve"', "", "text.verdicts.mild"),
        ('"pthc"', '"pthc", "merde"', "text.words"),
        ('"pthc"', '"pthc", 4', "text.words.strong"),
        ("[text.words]", "[text.word]", "text.word"),
        ("[text]", "[text", "the policy file"),
    ],
)
def test_mistake_in_the_file_is_refused_by_the_name_of_its_key(
    tmp_path: Path, there: str, instead: str, key: str
) -> None:
    own = tmp_path / "policy.toml"
    assert there in SHIPPED
    own.write_text(SHIPPED.replace(there, instead, 1))

    with pytest.raises(PolicyError, match=rf"^{re.escape(key)}\b"):
        Policy.load(own)


def test_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PolicyError, match="cannot be read"):
        Policy.load(tmp_path / "none.toml")
