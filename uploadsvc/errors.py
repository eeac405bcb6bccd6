"""What can go wrong, with a stable code each.

::

    UploadError
    ├── Unauthorized 401        ├── TooLarge 413                 ├── RateLimited 429 *
    ├── AccessDenied 403 *      ├── UnsupportedContentType 415   ├── TooManyUploads 429 *
    ├── NotFound 404            ├── UnsupportedMedia 415         ├── Overloaded 503 *
    ├── MethodNotAllowed 405    ├── InvalidMedia 422             ├── ShuttingDown 503 *
    ├── InvalidRequest 400      ├── ContentRejected 422          ├── StorageFull 507 *
    ├── InvalidUploadId 400     ├── IdTaken 409 *                ├── VerificationCrashed 500
    ├── MissingFile 400         ├── AlreadyEnded 409             ├── VerificationTimeout 500
    ├── IncompleteBody 400      ├── AlreadyDecided 409           └── Internal 500
    └── MalformedMultipart 400  └── Cancelled 409

``*`` (and Unauthorized) invite another try: they leave id, row and waiting stream as they were.

This module knows nothing of Flask: ``status`` is a hint to whoever answers over HTTP. The
message is for people: never a path, a storage key, a class name or a traceback.
"""

from __future__ import annotations

from typing import Any, ClassVar


class UploadError(Exception):
    """Base of all. ``facts`` travel beside the message under their camelCase names."""

    code: ClassVar[str] = "internal_error"
    status: ClassVar[int] = 500
    sentence: ClassVar[str] = "Something went wrong on our side"
    invites_retry: ClassVar[bool] = False

    def __init__(self, message: str = "", **facts: Any) -> None:
        self.message = message or self.sentence
        self.facts = facts
        super().__init__(self.message)

    @property
    def reasons(self) -> tuple[str, ...]:
        return tuple(self.facts.get("reasons", ()))


class Internal(UploadError):
    pass


class Unauthorized(UploadError):
    code, status, invites_retry = "unauthorized", 401, True
    sentence = "A valid access token is needed"


class AccessDenied(UploadError):
    code, status, invites_retry = "access_denied", 403, True
    sentence = "Access denied"


class NotFound(UploadError):
    code, status, sentence = "not_found", 404, "There is nothing at this address"


class MethodNotAllowed(UploadError):
    code, status, sentence = "method_not_allowed", 405, "This address cannot do that"


class InvalidRequest(UploadError):
    code, status, sentence = "invalid_request", 400, "The request cannot be understood"


class InvalidUploadId(UploadError):
    code, status = "invalid_upload_id", 400
    sentence = "An upload id has 8 to 64 letters, digits, hyphens or underscores"


class MissingFile(UploadError):
    code, status = "missing_file", 400
    sentence = "The form has no file in its field 'file'"


class IncompleteBody(UploadError):
    code, status = "incomplete_body", 400
    sentence = "The upload was cut off before its end"


class MalformedMultipart(UploadError):
    code, status = "malformed_multipart", 400
    sentence = "The body is not well-formed multipart/form-data"


class IdTaken(UploadError):
    code, status, invites_retry = "upload_id_taken", 409, True
    sentence = "An upload with this id was already sent"


class AlreadyEnded(UploadError):
    code, status, sentence = "already_ended", 409, "The upload has already ended"


class AlreadyDecided(UploadError):
    code, status = "already_decided", 409
    sentence = "This was already decided"


class Cancelled(UploadError):
    code, status, sentence = "cancelled", 409, "The upload was cancelled"


class TooLarge(UploadError):
    code, status, sentence = "file_too_large", 413, "The file is too large"


class UnsupportedContentType(UploadError):
    code, status = "unsupported_content_type", 415
    sentence = "Send the file as multipart/form-data"


class UnsupportedMedia(UploadError):
    code, status = "unsupported_media_type", 415
    sentence = "This kind of file is not accepted"


class InvalidMedia(UploadError):
    code, status, sentence = "invalid_media", 422, "The file is damaged or incomplete"


class ContentRejected(UploadError):
    code, status = "content_rejected", 422
    sentence = "The content is against the guidelines"


class RateLimited(UploadError):
    code, status, invites_retry = "rate_limited", 429, True
    sentence = "Too many requests, try again later"


class TooManyUploads(UploadError):
    code, status, invites_retry = "too_many_uploads", 429, True
    sentence = "Too many uploads at once, try again later"


class Overloaded(UploadError):
    code, status, invites_retry = "overloaded", 503, True
    sentence = "The service is busy, try again shortly"


class ShuttingDown(UploadError):
    code, status, invites_retry = "shutting_down", 503, True
    sentence = "The service is restarting, try again shortly"


class StorageFull(UploadError):
    code, status, invites_retry = "storage_full", 507, True
    sentence = "There is no room for the file at the moment"


class VerificationCrashed(UploadError):
    code, status = "verification_crashed", 500
    sentence = "The file could not be verified"


class VerificationTimeout(UploadError):
    code, status = "verification_timeout", 500
    sentence = "Verifying the file took too long"


def _tree(cls: type[UploadError]) -> dict[str, type[UploadError]]:
    return {cls.code: cls} | {
        code: found
        for child in cls.__subclasses__()
        for code, found in _tree(child).items()
    }


BY_CODE: dict[str, type[UploadError]] = _tree(UploadError)
