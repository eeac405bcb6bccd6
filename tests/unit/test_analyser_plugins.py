"""Analysers of other packages: a real, tiny distribution on the path."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from textwrap import dedent

import pytest

from uploadsvc.verify import Evidence, Subject, Unexamined
from uploadsvc.verify.analysers.plugins import PluginError, installed, load

WORDS = """
    from uploadsvc.verify import Evidence
    from uploadsvc.verify.analysers import Silent


    class Tiny(Silent):
        name = "tiny"

        def __init__(self, config):
            self.word = config.get("word", "tiny")

        def words(self, field, text):
            if self.word in text:
                yield Evidence("tiny", "word", 1.0, field)
"""

Install = Callable[..., None]


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Install:
    """Install a distribution whose module is ``code`` and has one entry point."""

    def install(
        code: str, *, package: str, entry: str = "Tiny", name: str = "tiny"
    ) -> None:
        folder = tmp_path / package
        facts = folder / f"{package}-1.0.dist-info"
        facts.mkdir(parents=True)
        (folder / f"{package}.py").write_text(dedent(code))
        (facts / "METADATA").write_text(
            f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n"
        )
        (facts / "entry_points.txt").write_text(
            f"[uploadsvc.analysers]\n{name} = {package}:{entry}\n"
        )
        monkeypatch.syspath_prepend(str(folder))

    return install


def test_installed_plugin_is_loaded_with_its_table(install: Install) -> None:
    install(WORDS, package="tiny_with_table")

    (tiny,) = load({"tiny": {"word": "badger"}})

    assert installed() == {"tiny"}
    assert tiny.name == "tiny"
    assert list(tiny.words("title", "a badger")) == [
        Evidence("tiny", "word", 1.0, "title")
    ]


def test_plugin_without_a_table_is_given_an_empty_one(install: Install) -> None:
    install(WORDS, package="tiny_without_table")

    (tiny,) = load({})

    assert list(tiny.words("title", "how tiny")) != []


def test_without_plugins_nothing_is_loaded() -> None:
    assert load({}) == ()


def test_plugin_looks_at_nothing_it_does_not_name(
    install: Install, tmp_path: Path
) -> None:
    install(WORDS, package="tiny_silent")
    (tiny,) = load({})

    found = list(tiny.file(Subject(tmp_path, tmp_path), "image/png"))

    assert found == []


@pytest.mark.parametrize(
    ("code", "entry", "complaint"),
    [
        ("import nowhere_to_be_found", "Tiny", "does not load.*nowhere_to_be_found"),
        ("x = 1", "Tiny", "does not load.*Tiny"),
        ("def make(config): return config['depth']", "make", "does not load.*depth"),
        ("def make(config): return 3", "make", "needs file, picture, words"),
        (WORDS.replace('name = "tiny"', 'name = "big"'), "Tiny", "name is 'tiny'"),
    ],
    ids=["import", "no factory", "config", "no analyser", "other name"],
)
def test_plugin_that_cannot_be_used_is_named(
    install: Install,
    request: pytest.FixtureRequest,
    code: str,
    entry: str,
    complaint: str,
) -> None:
    package = "broken_" + request.node.callspec.id.replace(" ", "_")
    install(code, package=package, entry=entry)

    with pytest.raises(PluginError, match=rf"'tiny' \({package} 1\.0.*{complaint}"):
        load({})


def test_two_plugins_of_one_name_are_refused(install: Install) -> None:
    install(WORDS, package="tiny_one")
    install(WORDS, package="tiny_two")

    with pytest.raises(PluginError, match=r"(?s)tiny_(one.*tiny_two|two.*tiny_one)"):
        load({})


@pytest.mark.parametrize(
    "what",
    [
        'raise RuntimeError("its own fault")',
        'yield "nudity"',
        'yield Evidence("clamav", "in the name of another", 1.0, field)',
        'yield Evidence("tiny", "word", 7.0, field)',
        "return None",
    ],
)
def test_fault_of_a_plugin_is_unexamined_and_no_fault_of_ours(
    install: Install, request: pytest.FixtureRequest, what: str
) -> None:
    package = f"faulty_{request.node.callspec.indices['what']}"
    code = WORDS.replace("if self.word in text:", what).replace(
        '            yield Evidence("tiny", "word", 1.0, field)\n', ""
    )
    install(code, package=package)
    (tiny,) = load({})

    found = list(tiny.words("title", "words"))

    assert [(each.source, type(each)) for each in found] == [("tiny", Unexamined)]
    assert (found[0].what, found[0].where) == ("failed", "title")  # type: ignore[union-attr]
