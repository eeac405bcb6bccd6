"""The tree of errors: every code of the contract, once, with a sentence for people."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from uploadsvc.errors import BY_CODE, ContentRejected, TooLarge, UploadError

CONTRACT = {
    "unauthorized": 401,
    "invalid_upload_id": 400,
    "access_denied": 403,
    "upload_id_taken": 409,
    "file_too_large": 413,
    "unsupported_content_type": 415,
    "rate_limited": 429,
    "too_many_uploads": 429,
    "overloaded": 503,
    "shutting_down": 503,
    "storage_full": 507,
    "missing_file": 400,
    "incomplete_body": 400,
    "malformed_multipart": 400,
    "unsupported_media_type": 415,
    "invalid_media": 422,
    "content_rejected": 422,
    "verification_crashed": 500,
    "verification_timeout": 500,
    "already_ended": 409,
    "cancelled": 409,
}
INVITES_RETRY = {401, 403, 429, 503, 507}


def tree(root: type[UploadError] = UploadError) -> Iterator[type[UploadError]]:
    for child in root.__subclasses__():
        yield child
        yield from tree(child)


CLASSES = list(tree())


def test_codes_are_unique() -> None:
    codes = [each.code for each in CLASSES if each.__name__ != "Internal"]

    assert len(codes) == len(set(codes))
    assert UploadError.code not in codes


@pytest.mark.parametrize(("code", "status"), CONTRACT.items())
def test_contracts_code_exists_with_its_status(code: str, status: int) -> None:
    assert BY_CODE[code].status == status


def test_every_class_is_found_by_its_code() -> None:
    assert {BY_CODE[each.code].code for each in CLASSES} == set(BY_CODE)


@pytest.mark.parametrize("error", CLASSES, ids=lambda each: each.__name__)
def test_refusal_invites_another_try_as_the_contract_says(
    error: type[UploadError],
) -> None:
    wanted = error.status in INVITES_RETRY or error.code == "upload_id_taken"

    assert error.invites_retry == wanted


@pytest.mark.parametrize("error", CLASSES, ids=lambda each: each.__name__)
def test_sentence_is_for_people(error: type[UploadError]) -> None:
    message = error().message

    assert re.fullmatch(r"[A-Z][^\n]{9,99}[^.]", message)
    assert not re.search(r"/\w+/|\\|Error\b|Exception|Traceback|\w\(\)|None", message)


def test_reasons_come_from_the_facts() -> None:
    assert ContentRejected("No", reasons=["nudity"]).reasons == ("nudity",)
    assert TooLarge(limit_bytes=5).reasons == ()


def test_own_sentence_stands_before_the_class_sentence() -> None:
    assert TooLarge("At most a megabyte").message == "At most a megabyte"
    assert str(TooLarge()) == TooLarge.sentence
