"""The application for one test each."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.site import SECRET, Site
from uploadsvc.app import create_app
from uploadsvc.settings import Settings


@pytest.fixture
def make_site(tmp_path: Path) -> Iterator[Callable[..., Site]]:
    """Makes the application with the given settings."""
    made: list[Site] = []
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level

    def make(**changes: Any) -> Site:
        settings = Settings(**({"data_dir": tmp_path, "jwt_secret": SECRET} | changes))
        site = Site(create_app(settings))
        site.services.database.migrate()
        made.append(site)
        return site

    yield make
    for site in made:
        site.services.close()
    root.handlers[:] = handlers
    root.setLevel(level)


@pytest.fixture
def site(make_site: Callable[..., Site]) -> Site:
    return make_site()
