"""One service for the tests that leave it as they found it; those that kill start their own."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

pytest.register_assert_rewrite("service", "nginx")

from service import Service, User, new_id  # noqa: E402

from tests import media, media_av  # noqa: E402


@pytest.fixture(scope="session")
def service() -> Iterator[Service]:
    with Service() as service:
        yield service


@pytest.fixture
def user(service: Service) -> User:
    """A stranger to the service, so that limits on users do not join tests."""
    return service.user()


@pytest.fixture
def id() -> str:
    return new_id()


@pytest.fixture(scope="session")
def image() -> bytes:
    return media.jpeg(320, 240)


@pytest.fixture(scope="session")
def film(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """Two seconds of film with sound."""
    path = tmp_path_factory.mktemp("film") / "film.mp4"
    return media_av.mp4(path, 2).read_bytes()


@pytest.fixture(scope="session")
def long_film(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """Small, but with so many pictures to look at that a test can act in between."""
    path = tmp_path_factory.mktemp("film") / "long.mp4"
    made = media_av.mp4(
        path, 120, size=(160, 120), fps=2, keyframe_every=2, audio=False
    )
    return made.read_bytes()
