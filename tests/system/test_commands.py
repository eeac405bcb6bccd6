"""The commands a newcomer types, against the real service."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from service import Service, eventually

from nginx import PROJECT

PLAIN = {name: value for name, value in os.environ.items() if "UPLOADSVC" not in name}


def uploadsvc(*words: object, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "uploadsvc.cli", *map(str, words)],
        cwd=PROJECT,
        env=PLAIN | variables,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture(scope="module")
def developing() -> Iterator[Service]:
    with Service(env="development") as service:
        yield service


@pytest.fixture
def picture(tmp_path: Path, image: bytes) -> Path:
    path = tmp_path / "picture.jpg"
    path.write_bytes(image)
    return path


def test_development_prints_a_token_and_lines_that_work_when_pasted(
    developing: Service,
) -> None:
    eventually(lambda: "Or with progress bars" in developing.logs(), "the greeting")
    pasted = "\n".join(
        line.strip().removesuffix("&")
        for line in developing.logs().splitlines()
        if line.startswith(("  export", "  curl -H"))
    )

    answer = subprocess.run(
        ["sh", "-euc", pasted], capture_output=True, text=True, check=True
    )

    assert json.loads(answer.stdout)["data"]["media"]["mimeType"] == "video/mp4"


def test_nothing_was_patched_too_late_in_development(developing: Service) -> None:
    """The greeting once imported TLS into the master, whose workers patch it after the fork."""
    eventually(lambda: "Or with progress bars" in developing.logs(), "the greeting")

    assert "MonkeyPatchWarning" not in developing.logs()


def test_production_prints_no_token_and_logs_json(service: Service) -> None:
    lines = service.logs().splitlines()

    assert lines
    assert all("event" in json.loads(line) for line in lines)
    assert not re.search(r"eyJ[\w-]+\.", service.logs())


def test_mistaken_settings_are_all_told_and_the_status_is_78(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "gunicorn", "-c", "gunicorn.conf.py", "wsgi:app"]
    mistakes = {
        "UPLOADSVC_WORKERS": "many",
        "UPLOADSVC_HEARTBEAT_S": "-1",
        "UPLOADSVC_REDIS_URL": "redis://127.0.0.1",
        "UPLOADSVC_DATA_DIR": str(tmp_path),
    }

    ended = subprocess.run(
        command, cwd=PROJECT, env=PLAIN | mistakes, capture_output=True, text=True
    )

    assert ended.returncode == 78
    for name in ("WORKERS", "HEARTBEAT_S", "REDIS_URL"):
        assert f"UPLOADSVC_{name}:" in ended.stderr


def test_upload_prints_the_record_and_leaves_with_0(
    service: Service, picture: Path
) -> None:
    token = service.token("alice")

    ended = uploadsvc("upload", picture, "--url", service.url, "--token", token)

    assert ended.returncode == 0, ended.stderr
    assert json.loads(ended.stdout)["mimeType"] == "image/jpeg"
    assert "complete" in ended.stderr


def test_upload_of_what_is_no_media_leaves_with_1(service: Service) -> None:
    token = service.token("alice")

    ended = uploadsvc("upload", "README.md", "--url", service.url, "--token", token)

    assert ended.returncode == 1
    assert "unsupported_media_type" in ended.stderr
    assert ended.stdout == ""


def test_upload_without_a_service_leaves_with_2(picture: Path) -> None:
    ended = uploadsvc("upload", picture, "--url", "http://127.0.0.1:9", "--token", "t")

    assert ended.returncode == 2


def test_upload_on_the_services_own_machine_needs_no_token(
    service: Service, picture: Path
) -> None:
    ended = uploadsvc(
        "upload",
        picture,
        "--url",
        service.url,
        UPLOADSVC_DATA_DIR=str(service.data_dir),
    )

    assert ended.returncode == 0, ended.stderr


def test_watch_tells_the_story_of_an_upload_that_has_ended(
    service: Service, image: bytes, id: str
) -> None:
    alice = service.user("alice")
    alice.upload(image, id)

    ended = uploadsvc("watch", id, "--url", service.url, "--token", alice.token)

    assert ended.returncode == 0, ended.stderr
    assert "complete" in ended.stderr


def test_token_is_one_the_service_accepts(service: Service) -> None:
    printed = uploadsvc(
        "token", "--user", "bob", UPLOADSVC_DATA_DIR=str(service.data_dir)
    )
    answer = service.user("bob").request(
        "GET",
        "/api/media/upload",
        headers={"Authorization": f"Bearer {printed.stdout.strip()}"},
    )

    assert answer.status_code == 200


def test_verify_needs_no_service_and_prints_one_event_a_line(picture: Path) -> None:
    ended = uploadsvc("verify", picture)

    events = [json.loads(line) for line in ended.stdout.splitlines()]
    assert ended.returncode == 0, ended.stderr
    assert [each["progress"] for each in events[:-1]] == sorted(
        each["progress"] for each in events[:-1]
    )
    assert events[-1]["success"] is True
    assert events[-1]["moderation"]["verdict"] == "approve"


def test_verify_of_a_damaged_file_leaves_with_1(tmp_path: Path, image: bytes) -> None:
    path = tmp_path / "half.jpg"
    path.write_bytes(image[: len(image) // 2])

    ended = uploadsvc("verify", path)

    assert ended.returncode == 1
    assert json.loads(ended.stdout.splitlines()[-1])["code"] == "invalid_media"


def test_settings_hides_the_secret() -> None:
    secret = "a secret of at least 32 characters, no less"

    ended = uploadsvc("settings", UPLOADSVC_JWT_SECRET=secret)

    assert ended.returncode == 0
    assert secret not in ended.stdout
    assert "(hidden)" in ended.stdout


def test_the_demo_ends_well() -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "uploadsvc.server.demo"],
        cwd=PROJECT,
        env=PLAIN,
        capture_output=True,
        text=True,
    )

    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "100%" in ended.stderr


def test_service_does_not_start_with_a_mistaken_policy(tmp_path: Path) -> None:
    policy = tmp_path / "policy.toml"
    policy.write_text('version = "1"\n[pictures.pron]\nreason = "x"\nreject = 2\n')
    command = [sys.executable, "-m", "gunicorn", "-c", "gunicorn.conf.py", "wsgi:app"]
    given = {
        "UPLOADSVC_POLICY_FILE": str(policy),
        "UPLOADSVC_DATA_DIR": str(tmp_path / "data"),
    }

    ended = subprocess.run(
        command, cwd=PROJECT, env=PLAIN | given, capture_output=True, text=True
    )

    assert ended.returncode == 78
    assert "UPLOADSVC_POLICY_FILE" in ended.stderr
    assert "pron" in ended.stderr
