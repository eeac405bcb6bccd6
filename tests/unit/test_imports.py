"""The ladder of the architecture: imports point down, on one rung only within a package."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "uploadsvc"

# The first that fits, counts. A name ending with a dot stands for all of a package.
LADDER: list[tuple[str, int]] = [
    ("wsgi", 5),
    ("gunicorn.conf", 5),
    ("uploadsvc.cli.", 5),
    ("uploadsvc.client.", 5),
    ("uploadsvc.server.", 5),
    ("uploadsvc.verify.__main__", 5),
    ("uploadsvc.app", 4),
    ("uploadsvc.wiring", 4),
    ("uploadsvc.web.", 3),
    ("uploadsvc.realtime.", 3),
    ("uploadsvc.intake", 2),
    ("uploadsvc.moderate", 2),
    ("uploadsvc.work.", 2),
    ("uploadsvc.hub.", 1),
    ("uploadsvc.storage.", 1),
    ("uploadsvc.db.", 1),
    ("uploadsvc.verify.", 1),
    ("uploadsvc.listeners", 1),
    ("uploadsvc.model", 0),
    ("uploadsvc.errors", 0),
    ("uploadsvc.wire", 0),
    ("uploadsvc.settings", 0),
    ("uploadsvc.log", 0),
    ("uploadsvc.stages", 0),
    ("uploadsvc.secret", 0),
]
# Neighbours on one rung, each deliberate; the first may import the second, never the reverse.
NEIGHBOURS = {
    ("gunicorn.conf", "uploadsvc.server"),  # gunicorn's hooks lead there
    ("uploadsvc.cli", "uploadsvc.client"),  # the commands are a client
    (
        "uploadsvc.server",
        "uploadsvc.cli",
    ),  # make run prints a token as the command does
    ("uploadsvc.app", "uploadsvc.wiring"),  # the factory builds the services
    ("uploadsvc.intake", "uploadsvc.work"),  # what came in is handed over
}
FLASK = {"flask", "flask_cors", "flask_jwt_extended", "werkzeug"}


def rung(module: str) -> int:
    for name, level in LADDER:
        if f"{module}.".startswith(name) if name.endswith(".") else module == name:
            return level
    raise AssertionError(f"{module} has no place on the ladder")


def house(module: str) -> str:
    """The package whose modules may import one another; rung 0 is one house."""
    if rung(module) == 0:
        return "ground"
    return ".".join(module.split(".")[:2])


def modules() -> Iterator[tuple[str, Path]]:
    yield "wsgi", ROOT / "wsgi.py"
    yield "gunicorn.conf", ROOT / "gunicorn.conf.py"
    for path in sorted(PACKAGE.rglob("*.py")):
        if "migrations" in path.parts or path == PACKAGE / "__init__.py":
            continue
        parts = path.relative_to(ROOT).with_suffix("").parts
        yield ".".join(parts).removesuffix(".__init__"), path


def imported(tree: ast.AST) -> Iterator[str]:
    """Every module imported anywhere, but under ``if TYPE_CHECKING``."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are written in full"
            yield from (
                each
                if is_module(each := f"{node.module}.{alias.name}")
                else node.module
                for alias in node.names
                if node.module
            )
        else:
            yield from imported(node)


def is_module(name: str) -> bool:
    path = ROOT / name.replace(".", "/")
    return path.with_suffix(".py").exists() or (path / "__init__.py").exists()


def own_imports(path: Path) -> set[str]:
    found = set(imported(ast.parse(path.read_text())))
    return {name for name in found if name.startswith("uploadsvc.")}


MODULES = dict(modules())


@pytest.mark.parametrize("module", MODULES)
def test_imports_point_down(module: str) -> None:
    wrong = {
        other
        for other in own_imports(MODULES[module])
        if rung(other) >= rung(module)
        and house(other) != house(module)
        and (house(module), house(other)) not in NEIGHBOURS
    }

    assert not wrong


@pytest.mark.parametrize("module", [each for each in MODULES if rung(each) < 3])
def test_only_the_web_knows_flask(module: str) -> None:
    names = {
        name.split(".")[0] for name in imported(ast.parse(MODULES[module].read_text()))
    }

    assert not names & FLASK


def test_clients_know_nothing_of_the_service() -> None:
    wrong = {
        (module, other)
        for module, path in MODULES.items()
        if house(module) == "uploadsvc.client"
        for other in own_imports(path)
        if house(other) != "uploadsvc.client" and rung(other) > 0
    }

    assert not wrong


def test_environment_is_read_in_few_places() -> None:
    """Elsewhere a value arrives as an argument; the doors hand the environment over."""
    readers = {
        module
        for module, path in MODULES.items()
        if rung(module) < 5 and "os.environ" in path.read_text()
    }

    # app: its default; supervisor: what a child's environment keeps of ours; classifier: tells
    # onnxruntime, which reads it there, not to report.
    assert readers == {
        "uploadsvc.app",
        "uploadsvc.verify.classifier",
        "uploadsvc.work.supervisor",
    }
