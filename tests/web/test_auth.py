"""Who is asking: tokens that are good, and the many that are not."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Callable
from typing import Any

import jwt
import pytest

from tests.site import SECRET, Site, bearer, token

LIST = "/api/media/upload"
STREAM = "/api/media/upload/upload_123/progress"

MakeSite = Callable[..., Site]


def part(data: Any) -> str:
    return base64.urlsafe_b64encode(json.dumps(data).encode()).decode().rstrip("=")


def unsigned() -> str:
    claims = {"sub": "anna", "exp": int(time.time()) + 3600}
    return f"{part({'alg': 'none', 'typ': 'JWT'})}.{part(claims)}."


def other_algorithm() -> str:
    claims = {"sub": "anna", "exp": int(time.time()) + 3600}
    return jwt.encode(claims, SECRET * 2, algorithm="HS512")


BAD = {
    "no token": {},
    "empty": {"Authorization": ""},
    "no scheme": {"Authorization": token()},
    "another scheme": {"Authorization": f"Basic {token()}"},
    "no value": {"Authorization": "Bearer "},
    "no token at all": {"Authorization": "Bearer abc"},
    "three parts of nothing": {"Authorization": "Bearer a.b.c"},
    "parts that are no JSON": {"Authorization": f"Bearer {part('x')}.{part('y')}.c2ln"},
    "expired": bearer(exp=int(time.time()) - 1),
    "another key": bearer(secret="another secret that is long enough for it"),
    "not yet good": bearer(nbf=int(time.time()) + 3600),
    "unsigned": {"Authorization": f"Bearer {unsigned()}"},
    "another algorithm": {"Authorization": f"Bearer {other_algorithm()}"},
    "cut off": {"Authorization": f"Bearer {token()[:-2]}"},
    "refresh token": bearer(type="refresh"),
    "no user": bearer(None),
    "empty user": bearer(""),
    "true for a user": bearer(True),
    "a list for a user": bearer(["anna"]),
    "an object for a user": bearer({"id": "anna"}),
    "a fraction for a user": bearer(1.5),
    "too long a user": bearer("u" * 256),
    "text for a time": bearer(exp="soon"),
}


@pytest.mark.parametrize("headers", BAD.values(), ids=BAD)
def test_bad_token_is_unauthorized(site: Site, headers: dict[str, str]) -> None:
    answer = site.client.get(LIST, headers=headers)

    assert answer.status_code == 401
    assert answer.json is not None
    assert answer.json["code"] == "unauthorized"
    assert answer.headers["WWW-Authenticate"].startswith("Bearer")


@pytest.mark.parametrize("headers", BAD.values(), ids=BAD)
def test_bad_token_says_nothing_of_why(site: Site, headers: dict[str, str]) -> None:
    answer = site.client.get(LIST, headers=headers)

    assert answer.json == {
        "success": False,
        "error": "A valid access token is needed",
        "code": "unauthorized",
    }


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/api/media/upload"),
        ("GET", "/api/media/upload"),
        ("GET", "/api/media/upload/upload_123"),
        ("GET", "/api/media/upload/upload_123/progress"),
        ("DELETE", "/api/media/upload/upload_123"),
        ("GET", "/api/media/media_123"),
        ("DELETE", "/api/media/media_123"),
        ("GET", "/api/media/media_123/file"),
        ("GET", "/api/media/media_123/thumbnail"),
    ],
)
def test_every_route_wants_a_token(site: Site, method: str, path: str) -> None:
    answer = site.client.open(path, method=method)

    assert answer.status_code == 401


def test_token_without_our_own_claims_is_good(site: Site) -> None:
    """An existing backend signs ``sub`` and ``exp``, and knows nothing of jti or type."""
    answer = site.client.get(LIST, headers=bearer())

    assert answer.status_code == 200


def test_token_that_never_expires_is_good(site: Site) -> None:
    assert site.client.get(LIST, headers=bearer(exp=None)).status_code == 200


@pytest.mark.parametrize(("signed", "named"), [(42, "42"), (0, "0"), ("42", "42")])
def test_number_for_a_user_is_read_as_its_text(
    site: Site, signed: int | str, named: str
) -> None:
    site.services.uploads.begin("upload_123", named, "me")

    answer = site.client.get("/api/media/upload/upload_123", headers=bearer(signed))

    assert answer.status_code == 200


def test_user_may_stand_in_another_claim(make_site: MakeSite) -> None:
    site = make_site(jwt_user_claim="_id")
    site.services.uploads.begin("upload_123", "anna", "me")

    path = "/api/media/upload/upload_123"
    by_claim = site.client.get(path, headers=bearer(None, _id="anna"))
    by_sub = site.client.get(path, headers=bearer("anna"))

    assert (by_claim.status_code, by_sub.status_code) == (200, 401)


@pytest.mark.parametrize(
    ("setting", "claim"), [("jwt_audience", "aud"), ("jwt_issuer", "iss")]
)
def test_audience_and_issuer_are_checked_when_set(
    make_site: MakeSite, setting: str, claim: str
) -> None:
    site = make_site(**{setting: "uploads"})

    answers = [
        site.client.get(LIST, headers=bearer(**claims)).status_code
        for claims in ({claim: "uploads"}, {claim: "others"}, {})
    ]

    assert answers == [200, 401, 401]


def test_stream_takes_its_token_from_the_address(site: Site) -> None:
    answer = site.client.get(f"{STREAM}?token={token()}")

    assert answer.status_code == 200
    answer.close()


def test_bad_token_in_the_address_of_a_stream_is_unauthorized(site: Site) -> None:
    assert site.client.get(f"{STREAM}?token=abc").status_code == 401


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/api/media/upload"),
        ("GET", "/api/media/upload"),
        ("GET", "/api/media/upload/upload_123"),
        ("DELETE", "/api/media/upload/upload_123"),
        ("GET", "/api/media/media_123"),
        ("GET", "/api/media/media_123/file"),
    ],
)
def test_no_other_route_takes_a_token_from_its_address(
    site: Site, method: str, path: str
) -> None:
    answer = site.client.open(f"{path}?token={token()}", method=method)

    assert answer.status_code == 401


def test_cookie_is_no_token(site: Site) -> None:
    client = site.client
    client.set_cookie("access_token_cookie", token())

    assert client.get(LIST).status_code == 401
