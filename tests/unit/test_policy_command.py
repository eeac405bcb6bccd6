"""``uploadsvc policy check`` and ``uploadsvc verify --explain``, as commands."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from tests import media, media_av
from uploadsvc.cli import main
from uploadsvc.verify import policy_file
from uploadsvc.verify.analysers import config

SHIPPED = policy_file.shipped().read_text("utf-8")


def command(*words: object, **environment: str) -> Result:
    return CliRunner().invoke(main, [str(word) for word in words], env=environment)


def test_good_policy_is_summed_up() -> None:
    result = command("policy", "check")

    assert result.exit_code == 0
    assert "is a good policy" in result.stdout
    assert "review from 0.60, reject from 0.85" in result.stdout
    assert "beyond_bound (pdf)" in result.stdout


def test_policy_in_use_is_the_one_of_the_settings(tmp_path: Path) -> None:
    own = tmp_path / "own.toml"
    own.write_text(SHIPPED.replace('version = "2"', 'version = "of ours"'))

    result = command("policy", "check", UPLOADSVC_POLICY_FILE=str(own))

    assert "Version of ours" in result.stdout


def test_every_mistake_is_told_with_file_and_line(tmp_path: Path) -> None:
    own = tmp_path / "own.toml"
    own.write_text(
        SHIPPED.replace("review = 0.60", "reveiw = 0.60")
        + "[analysers.vendor]\nurl = 'ftp://x'\n"
    )
    last = own.read_text().count("\n")

    result = command("policy", "check", own)

    first, second = result.stderr.splitlines()
    assert result.exit_code == 1
    assert first == f"{own}:20: pictures.porn.reveiw is not known; did you mean review?"
    assert second.startswith(f"{own}:{last - 1}: analysers.vendor.labels must name")


def test_mistake_in_an_engines_own_table_is_told_with_its_line(tmp_path: Path) -> None:
    own = tmp_path / "own.toml"
    labels = "[analysers.vendor.labels.x]\nreason = 'x'\n"
    own.write_text(f"{SHIPPED}[analysers.vendor]\nurl = 'ftp://x'\n{labels}")
    line = SHIPPED.count("\n") + 2

    result = command("policy", "check", own)

    assert result.exit_code == 1
    assert result.stderr.startswith(f"{own}:{line}: analysers.vendor.url must be")


def test_labels_of_an_engine_are_no_concern_of_the_engine(tmp_path: Path) -> None:
    own = tmp_path / "own.toml"
    labels = "[analysers.vendor.labels.x]\nreason = 'x'\n"
    own.write_text(f"{SHIPPED}[analysers.vendor]\nurl = 'http://x'\n{labels}")

    found = config.from_file(own, ())

    assert [each.name for each in found.http] == ["vendor"]


def test_foreign_text_in_a_policy_does_nothing_to_the_terminal(tmp_path: Path) -> None:
    own = tmp_path / "own.toml"
    own.write_text(SHIPPED.replace('version = "2"', r'version = "\u001b[31m[bold]"'))

    result = command("policy", "check", own)

    assert r"Version \x1b[31m[bold]" in result.stdout


def test_explain_prints_the_reasoning_and_no_events(tmp_path: Path) -> None:
    path = media_av.mp3(tmp_path / "a.mp3", 1, metadata={"title": "what the fuck"})

    result = command("verify", path, "--explain")

    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    assert lines[0] == "review: text_profanity"
    assert any(
        line.split()
        == ["review", "text_profanity", "plain", "metadata", "title", "words"]
        for line in lines
    )
    assert "Not examined: speech (what is said or sung in the sound)" in lines
    assert "{" not in result.stdout


def test_explained_rejection_leaves_with_its_status(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(media.png())

    result = command("verify", path, "--title", "Gas the Jews", "--explain")

    assert result.exit_code == 1
    assert result.stdout.startswith("reject: text_profanity\n")


def test_policy_with_a_mistake_ends_verify_before_it_begins(tmp_path: Path) -> None:
    own = tmp_path / "own.toml"
    own.write_text("version = 1\n")

    result = command("verify", own, UPLOADSVC_POLICY_FILE=str(own))

    assert result.exit_code == 78
    assert f"{own}:1: version must be some text" in result.stderr


@pytest.mark.parametrize("words", [("policy",), ("policy", "check", "nowhere.toml")])
def test_wrong_use_is_answered_with_how_to_use_it(words: tuple[str, ...]) -> None:
    result = command(*words)

    assert result.exit_code == 2
