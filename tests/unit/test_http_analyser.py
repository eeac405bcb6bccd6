"""An engine over HTTP: a real server that answers, delays, fails and talks nonsense."""

from __future__ import annotations

import base64
import gzip
import json
import re
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from http.server import ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from vendor import NUDITY, Reply, Vendor, hangs_up, says

from uploadsvc.verify.analysers.breaker import Breaker
from uploadsvc.verify.analysers.config import KEYS, HttpConfig, from_file, read
from uploadsvc.verify.analysers.http import MAX_ANSWER_BYTES, HttpAnalyser, engines
from uploadsvc.verify.broker import Answer, Labelled
from uploadsvc.verify.policy import PolicyError

PICTURE = b"\xff\xd8 no picture, but nobody here looks at it \xff\xd9"
ANSWER = Answer((Labelled("nudity", 0.93),), "vendor-3")
DOCS = Path(__file__).parents[2] / "docs" / "analysers.md"


class Clock:
    """Stands until it is set; pausing lets it pass."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.pauses: list[float] = []

    def __call__(self) -> float:
        return self.now

    def pause(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self.now += seconds


Make = Callable[..., HttpAnalyser]


@pytest.fixture
def vendor() -> Iterator[Vendor]:
    with Vendor() as vendor:
        yield vendor


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def make(vendor: Vendor, clock: Clock) -> Iterator[Make]:
    """An analyser of the vendor, with what a test wants configured otherwise."""
    made = []

    def make(token: str = "", **changes: Any) -> HttpAnalyser:
        config = replace(HttpConfig("vendor", vendor.url, retries=0), **changes)
        analyser = HttpAnalyser(config, token, clock=clock, pause=clock.pause)
        made.append(analyser)
        return analyser

    yield make
    for each in made:
        each.close()


# --- asking and answering --------------------------------------------------------------


def test_picture_is_posted_as_jpeg_and_the_labels_come_back(
    vendor: Vendor, make: Make
) -> None:
    analyser = make(token="a-token")

    answer = analyser.ask(PICTURE, "second 12.4")

    (request,) = vendor.requests
    assert answer == ANSWER
    assert (request.path, request.body) == ("/look", PICTURE)
    assert request.headers["content-type"] == "image/jpeg"
    assert request.headers["authorization"] == "Bearer a-token"


def test_picture_is_posted_as_a_url_to_those_who_want_one(
    vendor: Vendor, make: Make
) -> None:
    analyser = make(send="url")

    analyser.ask(PICTURE, "page 3")

    (request,) = vendor.requests
    said = json.loads(request.body)
    kind, _, data = said["url"].partition(",")
    assert request.headers["content-type"] == "application/json"
    assert (kind, said["where"]) == ("data:image/jpeg;base64", "page 3")
    assert base64.b64decode(data) == PICTURE


def test_engine_without_a_token_is_sent_none(vendor: Vendor, make: Make) -> None:
    analyser = make()

    analyser.ask(PICTURE, "file")

    assert "authorization" not in vendor.requests[0].headers


def test_what_an_answer_holds_beyond_the_schema_is_ignored(
    vendor: Vendor, make: Make
) -> None:
    vendor.will(says({"labels": [{"label": "a b", "score": 1, "box": []}], "cost": 3}))

    answer = make().ask(PICTURE, "file")

    assert answer == Answer((Labelled("a b", 1.0),))


NONSENSE: dict[str, Any] = {
    "nothing": b"",
    "a page": b"<html>It works!</html>",
    "no text": b"\xff\xfe\x00",
    "packed": gzip.compress(json.dumps(NUDITY).encode()),
    "very deep": b"[" * 50_000,
    "null": b"null",
    "a list": [],
    "no labels": {},
    "labels as an object": {"labels": {"nudity": 0.9}},
    "labels as texts": {"labels": ["nudity"]},
    "a label without a score": {"labels": [{"label": "nudity"}]},
    "a label without a name": {"labels": [{"score": 0.9}]},
    "a label with an empty name": {"labels": [{"label": "", "score": 0.9}]},
    "a label of two lines": {"labels": [{"label": "a\nb", "score": 0.9}]},
    "a long label": {"labels": [{"label": "a" * 101, "score": 0.9}]},
    "a score above 1": {"labels": [{"label": "nudity", "score": 1.1}]},
    "a score below 0": {"labels": [{"label": "nudity", "score": -0.1}]},
    "a score of true": {"labels": [{"label": "nudity", "score": True}]},
    "a score as text": {"labels": [{"label": "nudity", "score": "0.9"}]},
    "a score of NaN": {"labels": [{"label": "nudity", "score": float("nan")}]},
    "too many labels": {"labels": [{"label": "nudity", "score": 0.9}] * 201},
    "a model that is a number": {"labels": [], "model": 3},
}


@pytest.mark.parametrize("body", NONSENSE.values(), ids=NONSENSE.keys())
def test_nonsense_is_a_failure_and_never_nothing_found(
    vendor: Vendor, make: Make, body: Any
) -> None:
    vendor.will(says(body))

    answer = make(retries=2).ask(PICTURE, "file")

    assert answer.failed.startswith("its answer is not of our schema")
    assert len(vendor.requests) == 1, "what talks nonsense will do it again"


def test_huge_answer_is_not_read_to_its_end(vendor: Vendor, make: Make) -> None:
    vendor.will(says(b" " * (50 * MAX_ANSWER_BYTES)))

    answer = make().ask(PICTURE, "file")

    assert answer == Answer(failed=f"its answer is above {MAX_ANSWER_BYTES} bytes")


def test_redirect_is_not_followed(vendor: Vendor, make: Make) -> None:
    vendor.will(says(b"", 307, {"Location": vendor.url}), says(NUDITY))

    answer = make(token="a-token").ask(PICTURE, "file")

    assert answer == Answer(failed="it answered 307")
    assert len(vendor.requests) == 1


# --- waiting and trying again ----------------------------------------------------------


def test_engine_that_never_answers_is_given_up(vendor: Vendor, make: Make) -> None:
    vendor.will(vendor.never)

    answer = make(timeout_s=0.1).ask(PICTURE, "file")

    assert answer == Answer(failed="no answer within 0.1 s")


def test_engine_that_sends_a_byte_now_and_then_is_given_up(vendor: Vendor) -> None:
    vendor.will(vendor.drips)
    config = HttpConfig("vendor", vendor.url, timeout_s=0.3, retries=0)

    with HttpAnalyser(config) as analyser:
        answer = analyser.ask(PICTURE, "file")

    assert answer == Answer(failed="no answer within 0.3 s")


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504])
def test_fault_that_may_pass_is_tried_again(
    vendor: Vendor, make: Make, status: int
) -> None:
    vendor.will(says(b"", status), says(b"", status), says(NUDITY))

    answer = make(retries=2).ask(PICTURE, "file")

    assert answer == ANSWER
    assert len(vendor.requests) == 3


def test_lost_connection_is_tried_again(vendor: Vendor, make: Make) -> None:
    vendor.will(hangs_up, says(NUDITY))

    answer = make(retries=1).ask(PICTURE, "file")

    assert answer == ANSWER


@pytest.mark.parametrize("status", [400, 401, 403, 404, 413, 415, 422])
def test_refusal_is_not_tried_again(vendor: Vendor, make: Make, status: int) -> None:
    vendor.will(says(b"", status))

    answer = make(retries=2).ask(PICTURE, "file")

    assert answer == Answer(failed=f"it answered {status}")
    assert len(vendor.requests) == 1


def test_attempts_end_after_the_retries_configured(vendor: Vendor, make: Make) -> None:
    vendor.will(says(b"", 503))

    answer = make(retries=2).ask(PICTURE, "file")

    assert answer == Answer(failed="it answered 503")
    assert len(vendor.requests) == 3


def test_pauses_between_attempts_are_short_and_grow(
    vendor: Vendor, make: Make, clock: Clock
) -> None:
    vendor.will(says(b"", 503))

    make(retries=3).ask(PICTURE, "file")

    assert len(clock.pauses) == 3
    assert all(
        0 <= pause <= most
        for pause, most in zip(clock.pauses, [0.2, 0.4, 0.8], strict=True)
    )


def test_attempts_at_one_picture_have_one_key_and_two_pictures_have_two(
    vendor: Vendor, make: Make
) -> None:
    vendor.will(says(b"", 503), says(NUDITY))
    analyser = make(retries=1)

    analyser.ask(PICTURE, "file")
    analyser.ask(PICTURE, "file")

    first, again, other = (each.headers["idempotency-key"] for each in vendor.requests)
    assert first == again
    assert first != other


def test_nobody_listening_is_a_failure(make: Make) -> None:
    with socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{reserved.getsockname()[1]}/"

        answer = make(url=url).ask(PICTURE, "file")

    assert answer == Answer(failed="no connection: ConnectError")


# --- the breaker -----------------------------------------------------------------------


def broken(vendor: Vendor, make: Make, **changes: Any) -> HttpAnalyser:
    """An analyser whose vendor has just failed too often."""
    analyser = make(failures=3, rest_s=30, **changes)
    vendor.will(says(b"", 500))
    while not analyser.resting:
        analyser.ask(PICTURE, "file")
    vendor.requests.clear()
    return analyser


def test_engine_that_failed_too_often_is_left_alone(vendor: Vendor, make: Make) -> None:
    analyser = broken(vendor, make)

    answer = analyser.ask(PICTURE, "file")

    assert answer == Answer(failed="it failed too often, and rests")
    assert vendor.requests == []


def test_retries_end_when_the_engine_is_to_be_left_alone(
    vendor: Vendor, make: Make
) -> None:
    vendor.will(says(b"", 500))

    answer = make(failures=2, retries=5).ask(PICTURE, "file")

    assert answer == Answer(failed="it answered 500")
    assert len(vendor.requests) == 2


def test_after_its_rest_one_question_goes_through_and_a_good_answer_ends_the_rest(
    vendor: Vendor, make: Make, clock: Clock
) -> None:
    analyser = broken(vendor, make)
    vendor.will(says(NUDITY))

    clock.now += 30
    answers = [analyser.ask(PICTURE, "file") for _ in range(3)]

    assert answers == [ANSWER] * 3
    assert not analyser.resting


def test_after_its_rest_a_failure_means_another_rest(
    vendor: Vendor, make: Make, clock: Clock
) -> None:
    analyser = broken(vendor, make, retries=2)

    clock.now += 30
    answers = [analyser.ask(PICTURE, "file") for _ in range(3)]

    assert len(vendor.requests) == 1
    assert answers[0] == Answer(failed="it answered 500")
    assert answers[1:] == [Answer(failed="it failed too often, and rests")] * 2


def test_question_lost_after_the_rest_does_not_rest_the_engine_for_ever(
    clock: Clock,
) -> None:
    """The verifier that asked was killed in between: nobody says how it went."""
    breaker = Breaker(1, 30, clock)
    breaker.failed()
    clock.now += 30

    lost = breaker.allows()
    at_once = breaker.allows()
    clock.now += 30
    later = breaker.allows()

    assert (lost, at_once, later) == (True, False, True)


def test_failures_with_a_good_answer_in_between_are_not_in_a_row(
    vendor: Vendor, make: Make
) -> None:
    analyser = make(failures=2)
    vendor.will(*[says(b"", 500), says(NUDITY)] * 3)

    for _ in range(6):
        analyser.ask(PICTURE, "file")

    assert len(vendor.requests) == 6
    assert not analyser.resting


@pytest.mark.parametrize(
    ("reply", "counts"),
    [(says(b"", 422), False), (says(b"", 401), False), (says(b"nonsense"), True)],
    ids=["a picture it refuses", "a token it refuses", "nonsense"],
)
def test_breaker_counts_what_is_a_fault_of_the_engine(
    vendor: Vendor, make: Make, reply: Reply, counts: bool
) -> None:
    """Otherwise a film of pictures the vendor refuses would close it to everybody."""
    vendor.will(reply)
    analyser = make(failures=2)

    for _ in range(4):
        analyser.ask(PICTURE, "file")

    assert analyser.resting is counts


# --- in the web process ----------------------------------------------------------------

PATCHED = """
from gevent import monkey
monkey.patch_all()
import sys
import gevent
from uploadsvc.verify.analysers.config import HttpConfig
from uploadsvc.verify.analysers.http import HttpAnalyser

ticks = 0
def tick():
    global ticks
    while True:
        ticks += 1
        gevent.sleep(0.01)

gevent.spawn(tick)
config = HttpConfig("vendor", sys.argv[1], timeout_s=1, retries=0)
with HttpAnalyser(config) as analyser:
    answer = analyser.ask(b"a picture", "file")
print(answer.failed, ticks > 10, sep=";")
"""


def test_waiting_for_an_engine_holds_up_no_other_greenlet(vendor: Vendor) -> None:
    vendor.will(vendor.never)
    command = [sys.executable, "-c", PATCHED, vendor.url]

    said = subprocess.run(command, capture_output=True, text=True, check=True)

    assert said.stdout.splitlines()[-1] == "no answer within 1 s;True"


# --- configuration ---------------------------------------------------------------------


def test_table_of_the_policy_file_becomes_a_configuration(tmp_path: Path) -> None:
    policy = tmp_path / "policy.toml"
    policy.write_text(
        'version = "1"\n[analysers.vendor]\nurl = "https://vendor.example/look"\n'
        'token_env = "VENDOR_TOKEN"\ntimeout_s = 3\nevery = 2\n[analysers.mine]\ndepth = 3\n'
    )

    configured = from_file(policy, plugins={"mine", "other"})

    url = "https://vendor.example/look"
    expected = HttpConfig(
        "vendor", url, token_env="VENDOR_TOKEN", timeout_s=3.0, every=2
    )
    assert configured.http == (expected,)
    assert configured.plugins == {"mine": {"depth": 3}}


@pytest.mark.parametrize(
    ("table", "complaint"),
    [
        ({}, "analysers.vendor.url is missing"),
        ({"url": "vendor.example"}, "analysers.vendor.url must be an address"),
        ({"url": "ftp://vendor.example"}, "analysers.vendor.url must be an address"),
        ({"url": "https://v.example:x/"}, "analysers.vendor.url must be an address"),
        ({"url": "https://a:b@v.example"}, "analysers.vendor.url must not hold"),
        ({"url": 3}, "analysers.vendor.url must be an address"),
        ({"token_env": "A TOKEN"}, "analysers.vendor.token_env must be the name"),
        ({"token_env": "UPLOADSVC_JWT_SECRET"}, "must not begin with UPLOADSVC_"),
        ({"ca_file": ""}, "analysers.vendor.ca_file must be the path"),
        ({"send": "png"}, "analysers.vendor.send must be one of jpeg, url"),
        ({"every": 0}, "analysers.vendor.every must be a whole number from 1"),
        ({"every": True}, "analysers.vendor.every must be a whole number"),
        ({"retries": 9}, "analysers.vendor.retries must be a whole number from 0 to 5"),
        ({"timeout_s": "5"}, "analysers.vendor.timeout_s must be seconds from 0.1"),
        ({"timeout_s": float("nan")}, "analysers.vendor.timeout_s must be seconds"),
        ({"timeout": 5}, "analysers.vendor.timeout is not known"),
    ],
)
def test_mistake_in_a_table_is_told_with_its_key(
    table: dict[str, Any], complaint: str
) -> None:
    url = {"url": "https://vendor.example/"} if table else {}

    with pytest.raises(PolicyError, match=re.escape(complaint)):
        read({"vendor": {**url, **table}}, plugins=())


@pytest.mark.parametrize("tables", [[], {"vendor": 3}, {"clamav": {"url": "http://x"}}])
def test_tables_that_are_none_are_refused(tables: Any) -> None:
    with pytest.raises(PolicyError, match="analysers"):
        read(tables, plugins=())


def test_token_comes_out_of_the_environment(vendor: Vendor) -> None:
    config = HttpConfig("vendor", vendor.url, token_env="VENDOR_TOKEN")

    with engines([config], {"VENDOR_TOKEN": "a-token\n"})["vendor"] as engine:
        engine.ask(PICTURE, "file")

    assert vendor.requests[0].headers["authorization"] == "Bearer a-token"


@pytest.mark.parametrize(
    "environ", [{}, {"VENDOR_TOKEN": ""}, {"VENDOR_TOKEN": "a\nb"}]
)
def test_token_that_is_missing_stops_the_start(environ: dict[str, str]) -> None:
    config = HttpConfig("vendor", "https://v.example", token_env="VENDOR_TOKEN")

    with pytest.raises(
        PolicyError, match=r"analysers\.vendor\.token_env.*VENDOR_TOKEN"
    ):
        engines([config], environ)


def test_certificate_that_is_missing_stops_the_start(tmp_path: Path) -> None:
    missing = str(tmp_path / "missing.pem")
    config = HttpConfig("vendor", "https://v.example", ca_file=missing)

    with pytest.raises(PolicyError, match=r"analysers\.vendor"):
        engines([config], {})


# --- the page about it -----------------------------------------------------------------


def test_every_key_is_documented_with_its_default() -> None:
    rows = re.findall(r"^\| `(\w+)` \| (.*?) \|", DOCS.read_text(), re.MULTILINE)

    defaults = HttpConfig("vendor", "")
    assert dict(rows) == {
        key: f"`{json.dumps(getattr(defaults, key))}`" if key != "url" else "needed"
        for key in KEYS
    }


def test_example_server_of_the_docs_answers_as_the_schema_says(make: Make) -> None:
    (code,) = re.findall(r"```python\n(.*?)```", DOCS.read_text(), re.DOTALL)[:1]
    names: dict[str, Any] = {"__name__": "example"}
    exec(code, names)
    server = ThreadingHTTPServer(("127.0.0.1", 0), names["Analyser"])
    names["Analyser"].log_message = lambda *_: None
    thread = threading.Thread(
        target=server.serve_forever, kwargs={"poll_interval": 0.01}
    )
    thread.start()
    try:
        answer = make(url=f"http://127.0.0.1:{server.server_port}/").ask(
            PICTURE, "file"
        )
    finally:
        server.shutdown()
        thread.join()
        server.server_close()

    assert answer.failed == ""
    assert [each.label for each in answer.labels] == ["nudity"]
    assert answer.model
