"""A team's own code hears of endings and decisions, and can neither delay nor break anything."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import gevent
import pytest
from gevent.event import Event as Signal

from tests.house import DEADLINE_S, MEDIA, START, VERIFIED, House, scripted
from uploadsvc.errors import Cancelled
from uploadsvc.listeners import MAX_WAITING, Decided, Ended, Listeners, News
from uploadsvc.model import Decision, Moderation, Refused, State, Verdict
from uploadsvc.work.ending import Endings
from uploadsvc.work.run import Runner

NEWS = Decided(
    MEDIA, Decision("media_1", "upload_1", "mia", Verdict.APPROVE, "", START)
)


@pytest.fixture
def listeners() -> Iterator[Listeners]:
    listeners = Listeners(call_max_s=0.05)
    yield listeners
    listeners.close()


def installed(folder: Path, module: str, code: str, entry_points: str) -> None:
    """A distribution as an installer leaves it: a module, and metadata that names it."""
    (folder / f"{module}.py").write_text(code)
    metadata = folder / f"{module}-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text(
        f"Metadata-Version: 2.1\nName: {module}\nVersion: 1.0\n"
    )
    (metadata / "entry_points.txt").write_text(entry_points)


@pytest.fixture
def site_packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    before = set(sys.modules)
    monkeypatch.syspath_prepend(tmp_path)
    yield tmp_path
    for name in set(sys.modules) - before:
        del sys.modules[name]


# --- loading ---------------------------------------------------------------------------


def test_listener_of_an_installed_distribution_hears_the_news(
    site_packages: Path, listeners: Listeners
) -> None:
    installed(
        site_packages,
        "our_hooks",
        "heard = []\nlisten = heard.append\n",
        "[uploadsvc.listeners]\nours = our_hooks:listen\n",
    )

    listeners.load()
    listeners.tell(NEWS)
    listeners.finish(DEADLINE_S)

    assert listeners.names == ["ours"]
    assert sys.modules["our_hooks"].heard == [NEWS]


@pytest.mark.parametrize(
    ("code", "names"),
    [
        ("raise RuntimeError('broken')", "broken_hooks:listen"),
        ("raise SystemExit(1)", "broken_hooks:listen"),
        ("import no_such_module_of_ours", "broken_hooks:listen"),
        ("", "broken_hooks:listen"),
        ("listen = 5", "broken_hooks:listen"),
    ],
)
def test_listener_that_cannot_be_loaded_is_left_out_and_logged(
    site_packages: Path,
    listeners: Listeners,
    logged: Callable[[], str],
    code: str,
    names: str,
) -> None:
    installed(
        site_packages,
        "broken_hooks",
        code,
        f"[uploadsvc.listeners]\nbroken = {names}\ngood = builtins:repr\n",
    )

    listeners.load()

    assert listeners.names == ["good"]
    assert "listener cannot be loaded" in logged()


# --- telling ---------------------------------------------------------------------------


def test_whoever_tells_waits_for_nobody(listeners: Listeners) -> None:
    heard: list[News] = []
    listeners.add("ours", heard.append)

    listeners.tell(NEWS)
    before = list(heard)
    listeners.finish(DEADLINE_S)

    assert before == []
    assert heard == [NEWS]


@pytest.mark.parametrize("error", [RuntimeError("no"), SystemExit(3), OSError(5, "x")])
def test_listener_that_fails_is_logged_and_told_again_next_time(
    listeners: Listeners, logged: Callable[[], str], error: BaseException
) -> None:
    calls: list[News] = []

    def fail(news: News) -> None:
        calls.append(news)
        raise error

    listeners.add("failing", fail)

    listeners.tell(NEWS)
    listeners.tell(NEWS)
    listeners.finish(DEADLINE_S)

    assert calls == [NEWS, NEWS]
    assert "listener failed" in logged()


def test_slow_listener_holds_up_no_other(listeners: Listeners) -> None:
    let_go, heard = Signal(), []
    listeners.add("slow", lambda news: let_go.wait(DEADLINE_S))
    listeners.add("quick", heard.append)

    listeners.tell(NEWS)
    gevent.sleep(0.001)

    assert heard == [NEWS]


def test_call_that_hangs_is_given_up(
    listeners: Listeners, logged: Callable[[], str]
) -> None:
    heard: list[News] = []

    def hang_once(news: News) -> None:
        heard.append(news)
        if len(heard) == 1:
            gevent.sleep(DEADLINE_S)

    listeners.add("hanging", hang_once)

    listeners.tell(NEWS)
    listeners.tell(NEWS)
    listeners.finish(DEADLINE_S)

    assert len(heard) == 2
    assert "listener failed" in logged()


def test_listener_that_lags_loses_news_and_the_service_no_memory(
    logged: Callable[[], str],
) -> None:
    listeners = Listeners()
    let_go, heard = Signal(), []

    def wait(news: News) -> None:
        let_go.wait(DEADLINE_S)
        heard.append(news)

    listeners.add("lagging", wait)

    for _ in range(MAX_WAITING + 5):
        listeners.tell(NEWS)
    let_go.set()
    listeners.finish(DEADLINE_S)
    listeners.tell(NEWS)
    listeners.finish(DEADLINE_S)

    assert len(heard) == MAX_WAITING + 1
    assert logged().count("news dropped") == 5


def test_what_does_not_end_in_time_is_not_waited_for() -> None:
    listeners = Listeners()
    started, forever = Signal(), Signal()

    def hang(news: News) -> None:
        started.set()
        forever.wait(DEADLINE_S)

    listeners.add("hanging", hang)
    listeners.tell(NEWS)

    with gevent.Timeout(DEADLINE_S / 2):
        listeners.finish(0.01)
        listeners.close()

    assert started.is_set()


# --- what is told ----------------------------------------------------------------------


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    house = House(tmp_path)
    yield house
    house.close()


def endings_heard(house: House) -> tuple[Endings, list[News]]:
    heard: list[News] = []
    told = Endings(
        house.uploads, house.hub, house.storage, house.clock, tell=heard.append
    )
    return told, heard


def runner_of(house: House, endings: Endings) -> Runner:
    return Runner(
        house.uploads,
        house.hub,
        house.storage,
        endings,
        house.presence.id,
        house.clock,
    )


@pytest.mark.parametrize(
    ("outcome", "state"),
    [
        (VERIFIED, State.COMPLETE),
        (
            Refused(
                "content_rejected",
                "No",
                ("nudity",),
                Moderation(Verdict.REJECT, ("nudity",)),
            ),
            State.REJECTED,
        ),
        (RuntimeError("broken"), State.FAILED),
    ],
)
def test_every_ending_is_told_once_as_it_was_committed(
    house: House, outcome: Any, state: State
) -> None:
    endings, heard = endings_heard(house)
    job = house.queued("upload_123")

    runner_of(house, endings).run(job, scripted([outcome]))

    row = house.row("upload_123")
    assert row.state is state
    assert heard == [Ended(row, house.media.find(row.media_id or ""))]


def test_refused_content_is_told_and_kept_with_the_whole_verdict(house: House) -> None:
    endings, heard = endings_heard(house)
    verdict = Moderation(Verdict.REJECT, ("nudity",), policy="7")
    job = house.queued("upload_123")

    runner_of(house, endings).run(
        job, scripted([Refused("content_rejected", "No", ("nudity",), verdict)])
    )

    (news,) = heard
    assert isinstance(news, Ended)
    assert news.upload.moderation == verdict
    assert house.row("upload_123").moderation == verdict


def test_ending_that_was_lost_to_another_is_not_told(house: House) -> None:
    endings, heard = endings_heard(house)
    house.queued("upload_123")

    endings.fail("upload_123", [State.QUEUED], State.CANCELLED, Cancelled())
    endings.fail("upload_123", [State.QUEUED], State.CANCELLED, Cancelled())

    assert len(heard) == 1
