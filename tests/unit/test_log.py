"""Log lines: one JSON object a line in production, and never a secret."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator

import pytest

from uploadsvc import log

TOKEN = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhIn0.c2ln"


@pytest.fixture(params=["production", "development"])
def lines(request: pytest.FixtureRequest) -> Iterator[io.StringIO]:
    """What is logged in the test, in both modes; the root logger is put back afterwards."""
    root = logging.getLogger()
    before, level = root.handlers[:], root.level
    log.configure(development=request.param == "development", level="info")
    stream = io.StringIO()
    handler = root.handlers[0]
    assert isinstance(handler, logging.StreamHandler)
    handler.setStream(stream)
    yield stream
    root.handlers[:] = before
    root.setLevel(level)


@pytest.mark.parametrize("argument", ["token", "ticket", "sig"])
def test_secret_argument_of_an_address_is_not_logged(
    lines: io.StringIO, argument: str
) -> None:
    logging.getLogger("gunicorn.error").error(
        "Error handling request %s", f"/api/x?exp=1&{argument}={TOKEN}&b=2"
    )

    assert TOKEN not in lines.getvalue()
    assert f"{argument}=..." in lines.getvalue()
    assert "b=2" in lines.getvalue()


def test_secret_argument_in_a_field_is_not_logged(lines: io.StringIO) -> None:
    log.get("uploadsvc").info("asked", path=f"/ws?token={TOKEN}")

    assert TOKEN not in lines.getvalue()


def test_secret_argument_in_an_exception_is_not_logged(lines: io.StringIO) -> None:
    try:
        raise RuntimeError(f"cannot parse /ws?token={TOKEN}")
    except RuntimeError:
        log.get("uploadsvc").exception("failed")

    assert "cannot parse" in lines.getvalue()
    assert TOKEN not in lines.getvalue()


def test_logged_exception_tells_no_local_values(lines: io.StringIO) -> None:
    """structlog and rich add every frame's variables unless told not to: a token, a secret
    or a piece of somebody's file among them."""

    def view(encoded_token: str) -> None:
        raise RuntimeError("failed inside")

    try:
        view(TOKEN)
    except RuntimeError:
        log.get("uploadsvc").exception("failed", upload_id="upload_123")

    assert "failed inside" in lines.getvalue()
    assert TOKEN not in lines.getvalue()


def test_exception_of_a_library_tells_no_local_values(lines: io.StringIO) -> None:
    def view(encoded_token: str) -> None:
        raise RuntimeError("failed inside")

    try:
        view(TOKEN)
    except RuntimeError:
        logging.getLogger("gunicorn.error").exception("Error handling request")

    assert "failed inside" in lines.getvalue()
    assert TOKEN not in lines.getvalue()


@pytest.mark.parametrize("lines", ["production"], indirect=True)
def test_production_writes_one_json_object_a_line(lines: io.StringIO) -> None:
    log.get("uploadsvc").info("two\nlines", upload_id="upload_123")
    logging.getLogger("gunicorn.error").warning("foreign")
    try:
        raise RuntimeError("one\ntwo")
    except RuntimeError:
        log.get("uploadsvc").exception("failed")

    told = [json.loads(line) for line in lines.getvalue().splitlines()]
    assert [each["event"] for each in told] == ["two\nlines", "foreign", "failed"]
    assert told[0]["upload_id"] == "upload_123"
    assert [each["level"] for each in told] == ["info", "warning", "error"]


def test_lines_below_the_level_are_not_written(lines: io.StringIO) -> None:
    log.get("uploadsvc").debug("too much")

    assert lines.getvalue() == ""
