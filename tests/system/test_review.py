"""From a file held for review to a moderator's decision, over the real service."""

from __future__ import annotations

import io
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import jwt
import pytest
from PIL import Image, ImageChops
from service import Json, Service, User, assert_one_story, eventually, new_id

from tests import media

POLICY = Path(__file__).parents[2] / "uploadsvc" / "verify" / "data" / "policy.toml"
# Labels that are no reason for anything: with these every picture is held for a person.
HARMLESS = "\n".join(
    f'[pictures.{label}]\nreason = "looked_at_by_a_person"\nreview = 0.01\n'
    for label in ("drawing", "neutral")
)


# A team's own code: it writes what it hears.
LISTENER = """
from pathlib import Path

def listen(news):
    decision = getattr(news, "decision", None)
    with Path(__file__).with_name("heard").open("a") as file:
        print(news.media.id, decision.verdict if decision else "ended", file=file)
"""


@pytest.fixture(scope="module")
def site_packages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with an installed distribution that listens."""
    folder = tmp_path_factory.mktemp("site-packages")
    (folder / "our_hooks.py").write_text(LISTENER)
    metadata = folder / "our_hooks-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: our-hooks\nVersion: 1.0\n"
    )
    (metadata / "entry_points.txt").write_text(
        "[uploadsvc.listeners]\nours = our_hooks:listen\n"
    )
    return folder


@pytest.fixture(scope="module")
def cautious(
    tmp_path_factory: pytest.TempPathFactory, site_packages: Path
) -> Iterator[Service]:
    """A service whose policy is the shipped one, but approves no picture by itself."""
    policy = tmp_path_factory.mktemp("policy") / "policy.toml"
    policy.write_text(POLICY.read_text() + "\n\n" + HARMLESS)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(site_packages))
        with Service(policy_file=policy) as service:
            yield service


@pytest.fixture
def uploader(cautious: Service) -> User:
    return cautious.user()


@pytest.fixture
def moderator(cautious: Service) -> Iterator[User]:
    secret = (cautious.data_dir / "secret").read_text()
    claims = {"sub": "mia", "role": "moderator", "exp": int(time.time() + 3600)}
    user = User(cautious.url, "mia", jwt.encode(claims, secret, "HS256"))
    yield user
    user.close()


def decide(moderator: User, media_id: str, verdict: str, note: str) -> httpx.Response:
    path = f"/api/moderation/{media_id}/decision"
    return moderator.request("POST", path, json={"verdict": verdict, "note": note})


def upload_held(uploader: User) -> tuple[str, Json]:
    """An upload that ended held for review, and its record."""
    id = new_id()
    record: Json = uploader.upload(media.jpeg(320, 240), id).json()["data"]["media"]
    assert record["moderation"]["verdict"] == "review"
    return id, record


def test_held_upload_ends_complete_and_is_served_to_nobody(uploader: User) -> None:
    id = new_id()

    with uploader.stream(id) as stream:
        uploader.upload(media.jpeg(320, 240), id)
        events = stream.wait_for_end()

    record = events[-1]["media"]
    snapshot = uploader.snapshot(id)
    assert_one_story(events)
    assert events[-1]["stage"] == snapshot["status"] == "complete"
    assert record["moderation"] == snapshot["media"]["moderation"]
    assert record["moderation"] == {
        "verdict": "review",
        "reasons": ["looked_at_by_a_person"],
    }
    assert (record["fileUrl"], record["thumbnailUrl"]) == (None, None)
    for kind in ("file", "thumbnail"):
        assert uploader.get(f"/api/media/{record['_id']}/{kind}").status_code == 403


def test_approved_upload_is_served_from_then_on(
    uploader: User, moderator: User
) -> None:
    id, held = upload_held(uploader)
    queue = moderator.get("/api/moderation/queue", limit=100).json()["media"]
    (found,) = [each for each in queue if each["uploadId"] == id]
    blurred = moderator.get(found["thumbnailUrl"])
    clear = moderator.get(found["thumbnailUrl"], clear=1)

    answer = decide(moderator, held["_id"], "approve", "a meadow")
    again = decide(moderator, held["_id"], "reject", "")

    record = uploader.get(f"/api/media/{held['_id']}").json()
    pictures = [Image.open(io.BytesIO(each.content)) for each in (blurred, clear)]
    assert found["userId"] == uploader.name
    assert {
        each["category"]
        for each in found["moderation"]["findings"]
        if each["verdict"] == "review"
    } == {"looked_at_by_a_person"}
    assert pictures[0].size == pictures[1].size
    assert ImageChops.difference(*(each.convert("RGB") for each in pictures)).getbbox()
    assert answer.json()["decisions"][0]["moderator"] == "mia"
    assert (again.status_code, again.json()["code"]) == (409, "already_decided")
    assert record["moderation"] == {"verdict": "approve", "reasons": []}
    assert uploader.snapshot(id)["media"]["moderation"] == record["moderation"]
    assert len(httpx.get(uploader.url + record["fileUrl"]).content) == record["size"]
    assert httpx.get(uploader.url + record["thumbnailUrl"]).content == clear.content


def test_rejected_upload_is_gone_from_the_disk_and_its_snapshot_says_so(
    cautious: Service, uploader: User, moderator: User
) -> None:
    id, held = upload_held(uploader)
    folder = cautious.data_dir / "media" / held["_id"]
    before = folder.exists()
    file = moderator.get(f"/api/moderation/{held['_id']}/file")

    answer = decide(moderator, held["_id"], "reject", "not here")

    snapshot = uploader.snapshot(id)
    assert (before, file.status_code, len(file.content)) == (True, 200, held["size"])
    assert answer.status_code == 200
    assert not folder.exists()
    assert snapshot["status"] == "complete"
    assert snapshot["media"]["moderation"]["verdict"] == "reject"
    assert snapshot["media"]["fileUrl"] is None
    assert uploader.get(f"/api/media/{held['_id']}/file").status_code == 403
    decisions = cautious.rows("decisions").values()
    assert [
        (each["moderator"], each["verdict"], each["note"])
        for each in decisions
        if each["upload_id"] == id
    ] == [("mia", "reject", "not here")]


def test_uploader_has_no_way_into_the_queue(uploader: User) -> None:
    _, held = upload_held(uploader)

    answers = [
        uploader.get("/api/moderation/queue"),
        uploader.get(f"/api/moderation/{held['_id']}/file"),
        decide(uploader, held["_id"], "approve", ""),
    ]

    assert [each.status_code for each in answers] == [403, 403, 403]


def test_code_of_a_team_hears_of_ending_and_decision(
    uploader: User, moderator: User, site_packages: Path
) -> None:
    _, held = upload_held(uploader)

    decide(moderator, held["_id"], "approve", "")

    def heard() -> list[str]:
        lines = (site_packages / "heard").read_text().splitlines()
        found = [line.split() for line in lines]
        return [word for media_id, word in found if media_id == held["_id"]]

    eventually(lambda: len(heard()) == 2, "both news")
    assert heard() == ["ended", "approve"]
