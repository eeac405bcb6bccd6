"""Writes docs/settings.md from the settings themselves: ``python tools/settings_doc.py``."""

from pathlib import Path

from uploadsvc.settings import Settings, shown

HEAD = """# Settings

Read from the environment at start. All mistakes are told together, each naming its variable, and the
service does not start (exit status 78). `uploadsvc settings` prints the values in force.

| variable | default | unit | meaning |
|---|---|---|---|
"""


def text() -> str:
    rows = (
        f"| `{each.variable}` | {f'`{each.default}`' if each.default else ''} "
        f"| {each.unit} | {each.meaning} |\n"
        for each in shown(Settings())
    )
    return HEAD + "".join(rows)


if __name__ == "__main__":
    Path("docs/settings.md").write_text(text())
