"""The guide's own client, in Node with npm's ``eventsource``, through the nginx we ship: it must work unchanged."""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest
from service import DEADLINE_S, STAGES, Json, Service, in_background, new_id

from nginx import PROJECT, Nginx

CLIENT = PROJECT / "tests/clients/guide_client.mjs"

# The guide's own table; `uploading` comes before it.
GUIDE = {
    "file_received": (10, 10),
    "validating": (20, 20),
    "analyzing": (30, 70),
    "moderating": (70, 85),
    "processing": (85, 95),
    "finalizing": (95, 99),
    "complete": (100, 100),
}


@dataclass(frozen=True)
class Run:
    """What a client saw, and the streams it had opened when it had been at rest for a while."""

    id: str
    seen: Json
    streams: list[str]


def run(service: Service, front: Nginx, file: Path, mode: str) -> Run:
    id = new_id()
    done = subprocess.run(
        ["node", CLIENT, front.url, service.token("ann"), id, file, mode],
        capture_output=True,
        text=True,
        timeout=2 * DEADLINE_S,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    log = front.log_text().splitlines()
    streams = [line for line in log if f"{id}/progress" in line]
    return Run(id, json.loads(done.stdout), streams)


@pytest.fixture(scope="module")
def runs(
    service: Service, film: bytes, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Run]:
    """A client of each mode, all at once, and one whose file is refused."""
    folder = tmp_path_factory.mktemp("guide")
    good, bad = folder / "film.mp4", folder / "holiday.jpg"
    good.write_bytes(film)
    bad.write_text("no picture")
    files = {"component": good, "script": good, "forgetful": good, "refused": bad}
    with Nginx(f"127.0.0.1:{service.port}") as front:
        running = {
            name: in_background(
                run, service, front, file, "forgetful" if file is bad else name
            )
            for name, file in files.items()
        }
        return {name: each.result(3 * DEADLINE_S) for name, each in running.items()}


@pytest.mark.parametrize("mode", ["script", "forgetful"])
def test_guide_client_sees_every_stage_of_the_guides_table_in_order(
    runs: dict[str, Run], mode: str
) -> None:
    seen = runs[mode].seen

    hello, *events = seen["messages"]
    percents = [event["progress"] for event in events]

    assert hello["type"] == "connected"
    assert list(dict.fromkeys(event["stage"] for event in events)) == STAGES
    assert list(GUIDE) == STAGES[1:]
    for event in events:
        first, last = GUIDE.get(event["stage"], (0, 9))
        assert first <= event["progress"] <= last
    assert percents == sorted(percents)
    assert (percents[0] < 10, percents[-1]) == (True, 100)
    assert seen["states"][-1]["status"] == "success"


@pytest.mark.parametrize("mode", ["component", "script", "forgetful"])
def test_guide_client_is_answered_with_the_media(
    runs: dict[str, Run], mode: str
) -> None:
    answer = runs[mode].seen["answer"]

    media = answer["body"]["data"]["media"]

    assert (answer["status"], answer["body"]["success"]) == (200, True)
    assert answer["body"]["uploadId"] == runs[mode].id
    assert media["title"] == "From the guide"
    assert media["_id"].startswith("media_")


def test_guide_client_is_told_why_its_file_is_refused(runs: dict[str, Run]) -> None:
    seen = runs["refused"].seen

    ending = seen["messages"][-1]

    assert seen["answer"]["status"] == 415
    assert seen["answer"]["body"]["code"] == "unsupported_media_type"
    assert (ending["stage"], ending["code"]) == ("error", "unsupported_media_type")
    assert ending["message"].startswith("Upload failed: ")


@pytest.mark.parametrize("name", ["component", "script", "forgetful", "refused"])
def test_client_comes_to_rest_after_the_end(runs: dict[str, Run], name: str) -> None:
    streams = runs[name].streams

    assert 1 <= len(streams) <= 2
