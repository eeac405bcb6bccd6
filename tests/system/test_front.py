"""The service and the shipped nginx together, as they are deployed."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest
from service import Service, User, new_id

from nginx import Nginx

ORIGIN = "https://app.example"


@pytest.fixture(scope="module")
def deployed() -> Iterator[tuple[Service, Nginx]]:
    with (
        Service(accel_prefix="/_media/", cors_origins=ORIGIN) as service,
        Nginx(
            f"127.0.0.1:{service.port}",
            origins=[ORIGIN],
            media=service.data_dir / "media",
        ) as front,
    ):
        yield service, front


@pytest.fixture
def visitor(deployed: tuple[Service, Nginx]) -> User:
    service, front = deployed
    return service.user(url=front.url)


def test_nginx_sends_the_bytes_the_service_authorised(
    visitor: User, image: bytes
) -> None:
    media = visitor.upload(image, name="holiday.jpg").json()["data"]["media"]

    whole = httpx.get(visitor.url + media["fileUrl"], headers={"Origin": ORIGIN})
    part = httpx.get(visitor.url + media["fileUrl"], headers={"Range": "bytes=0-9"})

    assert (whole.status_code, len(whole.content)) == (200, media["size"])
    assert whole.headers["Content-Type"] == "image/jpeg"
    assert whole.headers["X-Content-Type-Options"] == "nosniff"
    assert "sandbox" in whole.headers["Content-Security-Policy"]
    assert "holiday.jpg" in whole.headers["Content-Disposition"]
    assert whole.headers["Access-Control-Allow-Origin"] == ORIGIN
    assert (part.status_code, part.content) == (206, whole.content[:10])


def test_thumbnail_goes_the_same_way(visitor: User, image: bytes) -> None:
    media = visitor.upload(image).json()["data"]["media"]

    thumbnail = httpx.get(visitor.url + media["thumbnailUrl"])

    assert thumbnail.headers["Content-Type"] == "image/webp"
    assert thumbnail.content[8:12] == b"WEBP"


def test_media_folder_cannot_be_asked_directly(visitor: User, image: bytes) -> None:
    media = visitor.upload(image).json()["data"]["media"]

    answer = httpx.get(f"{visitor.url}/_media/{media['_id']}/original.jpg")

    assert answer.status_code == 404


def test_signature_of_another_file_opens_nothing(visitor: User, image: bytes) -> None:
    first, second = (
        visitor.upload(image, new_id()).json()["data"]["media"] for _ in range(2)
    )
    forged = first["fileUrl"].replace(first["_id"], second["_id"])

    assert httpx.get(visitor.url + forged).status_code == 403
