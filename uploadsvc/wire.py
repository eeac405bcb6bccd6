"""Model to JSON and back: the one place where camelCase is made.

Two audiences: clients (:func:`event_json` and its kin, contract sections 2 and 3) and the
verifier child (:func:`to_line` / :func:`from_line`, one JSON object a line).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from uploadsvc.errors import UploadError
from uploadsvc.model import (
    Decision,
    Event,
    Facts,
    Finding,
    Job,
    Media,
    Moderation,
    Outcome,
    Progress,
    Refused,
    State,
    Upload,
    Verdict,
    Verified,
    remembered,
)
from uploadsvc.stages import Stage

Json = dict[str, Any]
MediaUrls = Callable[[Media], tuple[str | None, str | None]]

MAX_EVENT_BYTES = 1000  # contract, section 3: at most 1 kB of JSON an event,
MAX_COMPLETE_BYTES = 8000  # 8 kB for complete
TITLE_MAX = 300  # characters; with the description they bound the complete event
DESCRIPTION_MAX = 1000


def compact(data: Mapping[str, Any]) -> str:
    """One line of JSON. Never a raw CR or LF: JSON escapes them inside strings."""
    return json.dumps(data, separators=(",", ":"), ensure_ascii=False)


def timestamp(moment: datetime) -> str:
    """RFC 3339 in UTC with milliseconds, as JavaScript's ``toISOString`` writes it."""
    moment = moment.astimezone(UTC)
    return moment.strftime("%Y-%m-%dT%H:%M:%S.") + f"{moment.microsecond // 1000:03d}Z"


def media_json(media: Media, urls: MediaUrls) -> Json:
    """The record. ``urls`` makes the signed addresses; they are null until approved."""
    approved = media.moderation.verdict is Verdict.APPROVE
    file_url, thumbnail_url = urls(media) if approved else (None, None)
    facts = media.facts
    return {
        "_id": media.id,
        "title": media.title,
        "description": media.description,
        "fileUrl": file_url,
        "thumbnailUrl": thumbnail_url,
        "mimeType": facts.mime_type,
        "size": facts.size,
        "sha256": facts.sha256,
        "width": facts.width,
        "height": facts.height,
        "duration": facts.duration,
        "codec": facts.codec,
        "blurhash": facts.blurhash,
        "moderation": {
            "verdict": media.moderation.verdict.value,
            "reasons": list(media.moderation.reasons),
        },
        "createdAt": timestamp(media.created_at),
    }


def held_json(media: Media, urls: MediaUrls) -> Json:
    """The record as a moderator sees it: whose it is, and all of the verdict. ``urls`` are
    the moderator's."""
    file_url, thumbnail_url = urls(media)
    return media_json(media, urls) | {
        "fileUrl": file_url,
        "thumbnailUrl": thumbnail_url,
        "uploadId": media.upload_id,
        "userId": media.user_id,
        "fileName": media.file_name,
        "moderation": report_of(media.moderation),
    }


def decision_json(decision: Decision) -> Json:
    return {
        "verdict": decision.verdict.value,
        "moderator": decision.moderator,
        "note": decision.note,
        "at": timestamp(decision.at),
    }


def refused_json(upload: Upload) -> Json:
    """A moderator's view of an upload whose content was refused."""
    ending, moderation = upload.ending, upload.moderation
    return {
        "uploadId": upload.id,
        "userId": upload.user_id,
        "status": upload.state.value,
        "title": upload.title,
        "description": upload.description,
        "fileName": upload.file_name,
        "size": upload.size,
        "sha256": upload.sha256,
        "code": ending.code if ending else None,
        "moderation": report_of(moderation) if moderation else None,
        "endedAt": timestamp(ending.at) if ending else None,
    }


def event_json(event: Event, urls: MediaUrls) -> Json:
    """An event as it goes over the stream, but for its id, which the frame carries."""
    progress = event.progress
    answer: Json = {
        "type": "progress",
        "uploadId": event.upload_id,
        "progress": progress.progress,
        "stage": progress.stage.value,
        "message": progress.message,
        "timestamp": timestamp(event.timestamp),
    }
    detail = _camel(progress.detail)
    if progress.stage is Stage.ERROR:
        answer["code"] = detail.pop("code", UploadError.code)
        answer["reasons"] = list(detail.pop("reasons", ()))
    if detail:
        answer["detail"] = detail
    if event.media is not None:
        answer["media"] = media_json(event.media, urls)
    return answer


def snapshot_json(
    upload: Upload, event: Event | None, media: Media | None, urls: MediaUrls
) -> Json:
    """``GET /api/media/upload/<id>``: the last event's fields and ``status``."""
    answer: Json = {
        "uploadId": upload.id,
        "status": upload.state.value,
        "progress": 0,
        "stage": None,
        "message": "",
        "timestamp": timestamp(upload.updated_at),
    }
    known = remembered(upload)
    if event is None and known is not None:
        answer["progress"] = known.progress
        answer["stage"] = known.stage.value
        answer["message"] = known.message
    if event is not None:
        answer |= event_json(event, urls) | {"id": event.id}
        del answer["type"]
        answer.pop("media", None)
    if upload.state is State.COMPLETE:
        answer["media"] = media_json(media, urls) if media is not None else None
    return answer


def error_json(error: UploadError, upload_id: str | None) -> Json:
    """The body of every error answer, over every transport."""
    answer: Json = {"success": False, "error": error.message, "code": error.code}
    if upload_id is not None:
        answer["uploadId"] = upload_id
    return answer | _camel(error.facts)


def _camel(facts: Mapping[str, Any]) -> Json:
    """Names of facts as the wire spells them: ``retry_after`` is ``retryAfter``."""
    answer: Json = {}
    for name, value in facts.items():
        first, *rest = name.split("_")
        spelled = first + "".join(word.capitalize() for word in rest)
        answer[spelled] = list(value) if isinstance(value, tuple) else value
    return answer


def news_json(news: Progress | Outcome) -> Json:
    """What verification says, for whoever runs it without a service: progress as an event
    has it, the outcome with its facts."""
    if isinstance(news, Progress):
        return {
            "type": "progress",
            "progress": news.progress,
            "stage": news.stage.value,
            "message": news.message,
            "detail": _camel(news.detail),
        }
    if isinstance(news, Refused):
        return {
            "type": "outcome",
            "success": False,
            "error": news.message,
            "code": news.code,
            "reasons": list(news.reasons),
        }
    return {
        "type": "outcome",
        "success": True,
        **_camel(asdict(news.facts)),
        "moderation": {
            "verdict": news.moderation.verdict.value,
            "reasons": list(news.moderation.reasons),
        },
    }


# --- the verifier child ----------------------------------------------------------------


def job_line(job: Job, path: str, scratch: str) -> str:
    return compact({**asdict(job), "path": path, "scratch": scratch})


def to_line(news: Progress | Outcome) -> str:
    """What the child says, as one line of JSON."""
    kind = {Progress: "progress", Verified: "verified", Refused: "refused"}[type(news)]
    plain = asdict(news) if not isinstance(news, Progress) else _progress_dict(news)
    return compact({"kind": kind, **plain})


def from_line(line: str | bytes) -> Progress | Outcome:
    """What the child said. Raises ValueError for a line that is none of ours."""
    try:
        data = json.loads(line)
        kind = data.pop("kind")
        if kind == "progress":
            return Progress(
                Stage(data["stage"]),
                data["progress"],
                data["message"],
                data["detail"],
            )
        if kind == "refused":
            judged = data["moderation"]
            return Refused(
                data["code"],
                data["message"],
                tuple(data["reasons"]),
                moderation_of(judged) if judged is not None else None,
            )
        if kind == "verified":
            return Verified(
                Facts(**data["facts"]),
                moderation_of(data["moderation"]),
                data["original"],
                data["thumbnail"],
            )
    except (KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError(f"not a line of a verifier: {error!r}") from error
    raise ValueError(f"not a line of a verifier: kind {kind!r}")


def report_of(moderation: Moderation) -> Json:
    """All of a verdict as plain values: for the verifier's line and for the database."""
    return asdict(moderation)


def moderation_of(report: Mapping[str, Any]) -> Moderation:
    """The verdict :func:`report_of` was made of. Raises KeyError, TypeError, ValueError."""
    return Moderation(
        Verdict(report["verdict"]),
        tuple(report["reasons"]),
        tuple(
            Finding(**{**each, "verdict": Verdict(each["verdict"])})
            for each in report["findings"]
        ),
        tuple(report["unexamined"]),
        report["policy"],
        tuple(report["models"]),
    )


def _progress_dict(progress: Progress) -> Json:
    return {
        "stage": progress.stage,
        "progress": progress.progress,
        "message": progress.message,
        "detail": dict(progress.detail),
    }
