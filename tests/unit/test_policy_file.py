"""Which policy files are refused, with which line; what a good one is read to."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from uploadsvc.model import Verdict
from uploadsvc.verify import policy_file
from uploadsvc.verify.moderation import Found, Threshold
from uploadsvc.verify.policy import PolicyError

SHIPPED = policy_file.shipped().read_text("utf-8")

# What stands there, what stands there instead, how the complaint begins, of what it speaks.
MISTAKES = [
    ('version = "2"', "version = 2", "version", "some text"),
    ('version = "2"', "", "version", "missing"),
    ("review = 0.60", "reveiw = 0.60", "pictures.porn.reveiw", "did you mean review?"),
    ("review = 0.60", "review = 60", "pictures.porn.review", "at most 1"),
    ("review = 0.60", "review = true", "pictures.porn.review", "at most 1"),
    ("review = 0.60", "review = nan", "pictures.porn.review", "at most 1"),
    ("review = 0.60", "review = 0.9", "pictures.porn.review", "not be above reject"),
    ("[pictures.porn]", "[pictures.pron]", "pictures.pron", "drawing, hentai"),
    ("[pictures.porn]", "[picture.porn]", "picture", "did you mean pictures?"),
    ('reason = "sexual_content"', 'reason = ""', "pictures.porn.reason", "text"),
    ('reason = "sexual_content"', 'reason = "S c"', "pictures.porn.reason", "word"),
    ('languages = ["english"]', 'languages = ["eng"]', "text.languages.1", "'eng'"),
    ('languages = ["english"]', "languages = []", "text.languages", "one at least"),
    ('languages = ["english"]', 'languages = "english"', "text.languages", "list"),
    ('strong = "reject"', 'strong = "refuse"', "text.verdicts.strong", "one of"),
    ('mild = "approve"', "", "text.verdicts.mild", "missing"),
    ('"pthc"', '"pthc", "merde"', "text.words.plain", "'merde' a second time"),
    ('"pthc"', '"pthc", 4', "text.words.strong.6", "some text"),
    ("[text.words]", "[text.word]", "text.word", "did you mean words?"),
    ("[known_bad.sha256]", "[known_bad.sha265]", "known_bad.sha265", "sha256"),
    ("review = 0.87", "review = 0.99", "known_bad.perceptual.review", "reject"),
    ("[malware]", "[malwear]", "malwear", "did you mean malware?"),
    ('speech = "approve"', 'speech = "ok"', "unexamined.speech", "approve, review"),
    ('default = "review"', "", "unexamined.default", "missing"),
    ("[unexamined.pdf]", "[unexamined.pfd]", "unexamined.pfd", "some text"),
]
ADDED = [
    ("[analysers.vendor]\nurl = 'u'", "analysers.vendor.labels", "one label at least"),
    (
        "[analysers.vendor.labels.x]\nreview = 0.5",
        "analysers.vendor.labels.x.reason",
        "missing",
    ),
    ("[analysers.words.labels.x]\nreason = 'x'", "analysers.words", "engine of ours"),
    ("[[text.rules]]\nseverity = 'plain'", "text.rules.1", "terms or a pattern"),
    (
        "[[text.rules]]\nseverity = 'plain'\nterms = ['a']\npattern = 'b'",
        "text.rules.1",
        "terms or a pattern",
    ),
    (
        "[[text.rules]]\nseverity = 'plain'\npattern = '(a'",
        "text.rules.1.pattern",
        "no regular expression",
    ),
    (
        "[[text.rules]]\nseverity = 'plain'\npattern = 'a*'",
        "text.rules.1.pattern",
        "every text",
    ),
    (
        "[[text.rules]]\nseverity = 'worst'\nterms = ['free money']",
        "text.rules.1.severity",
        "strong, plain, mild",
    ),
    (
        "[[text.rules]]\nseverity = 'plain'\nterms = [\n 'free money',\n 'merde']",
        "text.rules.1.terms.2",
        "a second time",
    ),
]


def refusal(path: Path, text: str) -> str:
    path.write_text(text, "utf-8")
    with pytest.raises(PolicyError) as caught:
        policy_file.load(path)
    return str(caught.value)


@pytest.mark.parametrize(("there", "instead", "key", "what"), MISTAKES)
def test_mistake_is_told_by_its_key_and_what_is_allowed(
    tmp_path: Path, there: str, instead: str, key: str, what: str
) -> None:
    assert there in SHIPPED

    told = refusal(tmp_path / "own.toml", SHIPPED.replace(there, instead, 1))

    lines = [line for line in told.splitlines() if f": {key}" in line]
    assert any(
        re.search(rf":\d+: {re.escape(key)}[. ]", line) and what in line
        for line in lines
    ), told


@pytest.mark.parametrize(("added", "key", "what"), ADDED)
def test_mistake_in_a_rule_of_ones_own_is_told(
    tmp_path: Path, added: str, key: str, what: str
) -> None:
    told = refusal(tmp_path / "own.toml", f"{SHIPPED}\n{added}\n")

    assert any(f": {key} " in line and what in line for line in told.splitlines()), told


@pytest.mark.parametrize(
    ("there", "instead"),
    [
        ("review = 0.60", "reveiw = 0.60"),
        ('speech = "approve"', 'speech = "ok"'),
        ("[malware]", "[malwear]"),
        ('"pthc"', "4"),
        ('"twink", ', '"twink", "", '),
        ('beyond_bound = "review"\n', "beyond_bound = 3\n"),
    ],
)
def test_mistake_is_told_with_its_line(
    tmp_path: Path, there: str, instead: str
) -> None:
    path = tmp_path / "own.toml"
    text = SHIPPED.replace(there, instead, 1)
    line = SHIPPED[: SHIPPED.index(there)].count("\n") + 1

    told = refusal(path, text)

    assert f"{path}:{line}: " in told


def test_all_mistakes_are_told_at_once_in_the_order_of_the_file(tmp_path: Path) -> None:
    text = (
        SHIPPED.replace('speech = "approve"', 'speech = "ok"')
        .replace("review = 0.60", "review = 60")
        .replace('"pthc"', '"pthc", 4')
    )

    told = refusal(tmp_path / "own.toml", text).splitlines()

    keys = [line.split(": ", 1)[1].split(" ")[0] for line in told]
    assert keys == ["pictures.porn.review", "text.words.strong.6", "unexamined.speech"]


def test_file_that_is_no_toml_is_told_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "own.toml"

    told = refusal(path, 'version = "1"\n\n[text\n')

    assert told.startswith(f"{path}:3: is not TOML: ")


def test_toml_that_ends_too_early_is_told_with_its_last_line(tmp_path: Path) -> None:
    path = tmp_path / "own.toml"

    told = refusal(path, 'version = "1"\nlist = [\n  1,\n')

    assert told.startswith(f"{path}:3: is not TOML: ")


def test_file_that_is_not_utf8_is_told_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "own.toml"
    path.write_bytes(b'version = "1"\n# \xff\n')

    with pytest.raises(PolicyError, match=r"own\.toml:2: is not UTF-8"):
        policy_file.load(path)


def test_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PolicyError, match="cannot be read"):
        policy_file.load(tmp_path / "none.toml")


def test_windows_line_ends_change_nothing(tmp_path: Path) -> None:
    own = tmp_path / "own.toml"
    own.write_bytes(SHIPPED.replace("\n", "\r\n").encode())

    policy = policy_file.load(own)

    assert policy == policy_file.load()


def test_every_example_in_the_shipped_files_comments_is_a_good_one(
    tmp_path: Path,
) -> None:
    own = tmp_path / "own.toml"
    bare = re.sub(
        r"^# ?(?=\[\[?(?:text\.rules|analysers)|(?:terms|pattern|severity|category|url|"
        r"token_env|reason|review|reject|lists) = )",
        "",
        SHIPPED,
        flags=re.MULTILINE,
    )
    own.write_text(bare, "utf-8")

    policy = policy_file.load(own)

    assert policy.rules["vendor"] == {"nudity": Threshold("sexual_content", 0.60, 0.90)}
    assert policy.analysers == {
        "vendor": {"url": "https://vendor.example/look", "token_env": "VENDOR_TOKEN"}
    }
    assert policy.lists == tmp_path / "known-bad"
    assert policy.rules["words"]["spam/plain"] == Found("spam", Verdict.REVIEW)
    assert len(policy.text.patterns) == 1


def test_own_table_of_an_analyser_is_handed_on_as_it_is(tmp_path: Path) -> None:
    own = tmp_path / "own.toml"
    table = "[analysers.mine]\nword = 'x'\ndeep = {a = [1]}\n"
    labels = "[analysers.mine.labels.y]\nreason = 'y'\nreject = 0.5\n"
    own.write_text(f"{SHIPPED}\n{table}{labels}", "utf-8")

    policy = policy_file.load(own)

    assert policy.analysers == {"mine": {"word": "x", "deep": {"a": [1]}}}


def test_policy_without_a_table_for_an_engine_has_no_rules_for_it(
    tmp_path: Path,
) -> None:
    own = tmp_path / "own.toml"
    start, end = SHIPPED.index("[known_bad]"), SHIPPED.index("[unexamined]")
    own.write_text(SHIPPED[:start] + SHIPPED[end:], "utf-8")

    policy = policy_file.load(own)

    assert set(policy.rules) == {"pictures", "words"}
