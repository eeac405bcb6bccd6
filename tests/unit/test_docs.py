"""What the docs list is what the code has."""

from __future__ import annotations

import re
import sys
from pathlib import Path

from uploadsvc.errors import BY_CODE
from uploadsvc.stages import BANDS

PROJECT = Path(__file__).parents[2]


def table(heading: str) -> list[list[str]]:
    """The rows of the first table after ``heading`` in docs/api.md."""
    text = (PROJECT / "docs" / "api.md").read_text()
    lines = text[text.index(heading) :].splitlines()
    rows = []
    for line in lines[
        lines.index(next(x for x in lines if x.startswith("|---"))) + 1 :
    ]:
        if not line.startswith("|"):
            break
        rows.append([cell.strip().strip("`") for cell in line.strip("|").split("|")])
    return rows


def test_every_error_code_is_documented_with_its_status() -> None:
    documented = {row[0]: int(row[1]) for row in table("## Errors")}

    assert documented == {code: each.status for code, each in BY_CODE.items()}


def test_every_stage_is_documented_with_its_percents() -> None:
    text = (PROJECT / "docs" / "api.md").read_text()
    rows = re.findall(r"^\| `(\w+)` \| (\d+)(?:\u2013(\d+))? \|", text, re.MULTILINE)
    documented = {
        stage: (int(first), int(last or first)) for stage, first, last in rows
    }

    ours = {stage.value: (band.first, band.last) for stage, band in BANDS.items()}
    assert {stage: documented[stage] for stage in ours} == ours


def test_the_settings_page_is_what_the_settings_say() -> None:
    sys.path.insert(0, str(PROJECT / "tools"))
    from settings_doc import text

    assert (PROJECT / "docs" / "settings.md").read_text() == text()


def test_every_page_the_readme_links_to_is_there() -> None:
    readme = (PROJECT / "README.md").read_text()
    links = re.findall(r"\]\(([^)#]+)\)", readme)

    missing = [each for each in links if not (PROJECT / each).exists()]
    assert links
    assert missing == []
