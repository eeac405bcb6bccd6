"""Errors of the whole application have one shape, and cross-origin pages may read them."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.site import Site, bearer

APP = "https://app.example"
OTHER = "https://evil.example"
LIST = "/api/media/upload"

MakeSite = Callable[..., Site]


@pytest.mark.parametrize("path", ["/", "/nowhere", "/api/media/a/b/c", "/favicon.ico"])
def test_unknown_address_is_not_found_in_json(site: Site, path: str) -> None:
    answer = site.client.get(path)

    assert answer.status_code == 404
    assert answer.json == {
        "success": False,
        "error": "There is nothing at this address",
        "code": "not_found",
    }


@pytest.mark.parametrize(
    ("method", "path"),
    [("PUT", LIST), ("POST", "/healthz"), ("PATCH", "/api/media/media_123")],
)
def test_method_an_address_does_not_know_is_told_so(
    site: Site, method: str, path: str
) -> None:
    answer = site.client.open(path, method=method, headers=bearer())

    assert answer.status_code == 405
    assert answer.json is not None
    assert answer.json["code"] == "method_not_allowed"
    assert "GET" in answer.headers["Allow"]


def test_fault_of_ours_tells_nothing_of_itself(site: Site) -> None:
    site.services.database.migrate()
    with site.services.database.engine.begin() as connection:
        connection.exec_driver_sql("DROP TABLE uploads")

    answer = site.client.get(LIST, headers=bearer())

    assert answer.status_code == 500
    assert answer.json == {
        "success": False,
        "error": "Something went wrong on our side",
        "code": "internal_error",
    }


def test_errors_are_not_cached(site: Site) -> None:
    assert site.client.get(LIST).headers["Cache-Control"] == "no-store"


def test_alive_is_told_to_everybody(site: Site) -> None:
    answer = site.client.get("/healthz")

    assert (answer.status_code, answer.json) == (200, {"status": "ok"})


def test_service_without_verifiers_is_not_ready_and_names_the_part(site: Site) -> None:
    answer = site.client.get("/readyz")

    assert answer.status_code == 503
    assert answer.json is not None
    assert answer.json["parts"]["verifiers"] is False
    assert answer.json["parts"]["database"] is True


# --- other origins ---------------------------------------------------------------------


def preflight(site: Site, origin: str) -> dict[str, str]:
    answer = site.client.options(
        LIST,
        headers={
            "Origin": origin,
            "Access-Control-Request-Method": "POST",
            "Access-Control-Request-Headers": "authorization, x-upload-id, prefer",
        },
    )
    assert answer.status_code in {200, 204}
    return dict(answer.headers)


def words(value: str) -> set[str]:
    return {word.strip().lower() for word in value.split(",")}


def test_allowed_page_may_send_the_contracts_headers(make_site: MakeSite) -> None:
    site = make_site(cors_origins=(APP, "https://other.example"))

    headers = preflight(site, APP)

    assert headers["Access-Control-Allow-Origin"] == APP
    assert {"authorization", "x-upload-id", "prefer"} <= words(
        headers["Access-Control-Allow-Headers"]
    )
    assert {"GET", "POST", "DELETE"} <= set(
        headers["Access-Control-Allow-Methods"].replace(" ", "").split(",")
    )
    assert "Origin" in headers["Vary"]


@pytest.mark.parametrize(
    "header",
    [
        "Authorization",
        "X-Upload-ID",
        "Last-Event-ID",
        "Prefer",
        "Cache-Control",
        "If-None-Match",
        "Range",
    ],
)
def test_allowed_page_may_send_each_of_them(make_site: MakeSite, header: str) -> None:
    site = make_site(cors_origins=(APP,))

    answer = site.client.options(
        LIST,
        headers={
            "Origin": APP,
            "Access-Control-Request-Method": "GET",
            "Access-Control-Request-Headers": header.lower(),
        },
    )

    assert header.lower() in words(answer.headers["Access-Control-Allow-Headers"])


@pytest.mark.parametrize("authorised", [True, False])
def test_allowed_page_may_read_answers_and_errors(
    make_site: MakeSite, authorised: bool
) -> None:
    site = make_site(cors_origins=(APP,))

    answer = site.client.get(
        LIST, headers={"Origin": APP} | (bearer() if authorised else {})
    )

    assert answer.status_code == (200 if authorised else 401)
    assert answer.headers["Access-Control-Allow-Origin"] == APP
    assert words(answer.headers["Access-Control-Expose-Headers"]) == {
        "x-upload-id",
        "location",
        "retry-after",
        "etag",
        "preference-applied",
        "content-range",
    }


@pytest.mark.parametrize(
    "origin", [OTHER, "https://app.example.evil.example", "http://app.example", "null"]
)
def test_other_page_may_read_nothing(make_site: MakeSite, origin: str) -> None:
    site = make_site(cors_origins=(APP,))

    asked = preflight(site, origin)
    answer = site.client.get(LIST, headers={"Origin": origin} | bearer())

    assert "Access-Control-Allow-Origin" not in asked
    assert "Access-Control-Allow-Origin" not in answer.headers


def test_no_page_may_read_unless_one_is_named(site: Site) -> None:
    asked = preflight(site, APP)
    answer = site.client.get(LIST, headers={"Origin": APP} | bearer())

    assert "Access-Control-Allow-Origin" not in asked
    assert "Access-Control-Allow-Origin" not in answer.headers


def test_credentials_are_not_asked_of_browsers(make_site: MakeSite) -> None:
    site = make_site(cors_origins=(APP,))

    assert "Access-Control-Allow-Credentials" not in preflight(site, APP)
