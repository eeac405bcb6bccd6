"""In which line something stands, in TOML written every way it may be."""

from __future__ import annotations

import tomllib

import pytest

from uploadsvc.verify.toml_lines import Lines

TEXT = '''\
# a comment with [brackets] = and "quotes
title = "x"  # = [
long = """
[not.a.header]
fake = 1
"""
raw = \'\'\'
also = 2\'\'\'
list = [
  "one", "two",  # [ ignored ]
  "three",

  [1, 2], {a = 1},
]
a.b = 1

[server . "odd key"]
port = 80
inline = {host = "h", ports = [1,
  2]}
[[rule]]
name = "first"
[rule.more]
deep = true
[[rule]]
name = "second"
"quo ted" = 1
[[rule.sub]]
x = 1
[[rule.sub]]
x = 2
last = 1'''

PLACES = [
    ((), 1),
    (("title",), 2),
    (("long",), 3),
    (("raw",), 7),
    (("list",), 9),
    (("list", 0), 10),
    (("list", 1), 10),
    (("list", 2), 11),
    (("list", 3), 13),
    (("list", 4), 13),
    (("list", 9), 9),
    (("a", "b"), 15),
    (("server",), 17),
    (("server", "odd key"), 17),
    (("server", "odd key", "port"), 18),
    (("server", "odd key", "inline", "host"), 19),
    (("server", "odd key", "missing"), 17),
    (("rule", 0), 21),
    (("rule", 0, "name"), 22),
    (("rule", 0, "more", "deep"), 24),
    (("rule", 1, "name"), 26),
    (("rule", 1, "quo ted"), 27),
    (("rule", 1, "sub", 0, "x"), 29),
    (("rule", 1, "sub", 1, "last"), 32),
    (("nowhere",), 1),
]


@pytest.mark.parametrize(("path", "line"), PLACES)
def test_line_is_that_of_the_nearest_thing_named(
    path: tuple[str | int, ...], line: int
) -> None:
    tomllib.loads(TEXT)

    found = Lines(TEXT).of(path)

    assert found == line


def test_empty_file_has_one_line() -> None:
    assert Lines("").of(("version",)) == 1
