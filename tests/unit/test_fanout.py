"""From one upload's story to its readers: those who keep up, lag, return or never read."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime

import gevent
import pytest
from hypothesis import given
from hypothesis import strategies as st

from uploadsvc.hub import HubFull, Reason, Subscription, SubscriptionClosed
from uploadsvc.hub.fanout import MAILBOX, Fanout
from uploadsvc.hub.memory import ENDED_KEPT_S, MemoryHub
from uploadsvc.model import Event, Progress, advanced, failure, opening
from uploadsvc.stages import ORDER, Stage

UPLOAD_ID = "upload_123"
AT = datetime(2024, 1, 15, tzinfo=UTC)


def hub(
    *,
    max_streams: int = 1000,
    per_upload: int = 1000,
    at: Callable[[], float] | None = None,
) -> MemoryHub:
    fanout = Fanout(max_streams=max_streams, per_upload=per_upload)
    return MemoryHub(fanout, clock=lambda: AT, monotonic=at or (lambda: 0.0))


def ended(hub: MemoryHub, upload_id: str = UPLOAD_ID) -> Event:
    event_id = hub.seal(upload_id)
    assert event_id is not None
    event = Event(event_id, upload_id, failure("It broke", "internal_error"), AT)
    hub.finish(event)
    return event


def taken(subscription: Subscription) -> list[Event]:
    events = []
    while (event := subscription.take(0)) is not None:
        events.append(event)
    return events


def reason_of(subscription: Subscription) -> Reason:
    with pytest.raises(SubscriptionClosed) as caught:
        subscription.take(0)
    return caught.value.reason


@dataclass
class Reader:
    """A client: takes as much as it likes, and returns with its cursor."""

    hub: MemoryHub
    seen: list[Event] = field(default_factory=list)
    subscription: Subscription | None = None

    def connect(self) -> None:
        self.leave()
        after = self.seen[-1].id if self.seen else None
        self.subscription = self.hub.subscribe(UPLOAD_ID, after)

    def leave(self) -> None:
        if self.subscription is not None:
            self.subscription.close()
        self.subscription = None

    def take(self, most: int) -> None:
        while most > 0 and self.subscription is not None:
            event = self.subscription.take(0)
            if event is None:
                return
            self.seen.append(event)
            most -= 1


@st.composite
def histories(draw: st.DrawFn, longest_queue: int) -> list[Progress]:
    """What is published of an upload: its places in the queue, and work in its order."""
    places = draw(st.integers(0, longest_queue))
    work: list[Progress] = []
    for stage in ORDER[:-1]:
        for done in sorted(draw(st.sets(st.integers(0, 5), max_size=4))):
            work.append(advanced(stage, done, 5))
    queue = [
        opening(Stage.FILE_RECEIVED, queue_position=n) for n in range(places, 0, -1)
    ]
    return (
        [each for each in work if each.progress < 10]
        + queue
        + [each for each in work if each.progress > 10]
    )


def firsts(events: list[Event]) -> set[int]:
    """The ids of the first event of every stage."""
    return set({event.progress.stage: event.id for event in reversed(events)}.values())


@given(histories(400), st.data())
def test_reader_that_keeps_up_gets_every_event_once_and_in_order(
    history: list[Progress], data: st.DataObject
) -> None:
    """However often it loses its connection and returns with its cursor."""
    news = hub()
    reader = Reader(news)
    reader.connect()
    breaks = data.draw(st.sets(st.integers(0, max(0, len(history) - 1)), max_size=10))

    published = []
    for place, progress in enumerate(history):
        if place in breaks:
            reader.leave()
        event = news.publish(UPLOAD_ID, progress)
        published += [event] if event else []
        if place in breaks:
            reader.connect()
        reader.take(1000)
    published.append(ended(news))
    reader.take(1000)

    assert reader.seen == published


@given(histories(900), st.data())
def test_reader_that_lags_gets_the_first_of_every_stage_and_the_ending(
    history: list[Progress], data: st.DataObject
) -> None:
    news = hub()
    reader = Reader(news)
    steps = data.draw(
        st.dictionaries(
            st.integers(0, max(0, len(history) - 1)),
            st.sampled_from(["connect", "leave"]) | st.integers(1, 300),
            max_size=12,
        )
    )

    published = []
    for place, progress in enumerate(history):
        event = news.publish(UPLOAD_ID, progress)
        published += [event] if event else []
        step = steps.get(place)
        if step == "connect":
            reader.connect()
        elif step == "leave":
            reader.leave()
        elif isinstance(step, int):
            reader.take(step)
    published.append(ended(news))
    if reader.subscription is None:
        reader.connect()
    reader.take(10_000)

    ids = [event.id for event in reader.seen]
    assert ids == sorted(set(ids))
    assert set(ids) <= {event.id for event in published}
    assert firsts(published) <= set(ids)
    assert reader.seen[-1] == published[-1]


@given(st.integers(1, 2000))
def test_reader_that_never_reads_holds_a_bounded_number_of_events(places: int) -> None:
    news = hub()
    subscription = news.subscribe(UPLOAD_ID, None)
    published = [
        news.publish(UPLOAD_ID, opening(Stage.FILE_RECEIVED, queue_position=n))
        for n in range(places, 0, -1)
    ]

    held = taken(subscription)

    assert len(held) <= MAILBOX + 1
    assert held[0] == published[0]
    assert held[-1] == published[-1]


@pytest.mark.parametrize("cursor", [4, 10**9, 2**63])
def test_cursor_nobody_gave_gets_the_newest_state(cursor: int) -> None:
    news = hub()
    for done in range(3):
        news.publish(UPLOAD_ID, advanced(Stage.ANALYZING, done, 3))

    got = taken(news.subscribe(UPLOAD_ID, cursor))

    assert got == [news.last(UPLOAD_ID)]


def test_cursor_of_a_lost_history_gets_what_the_new_owner_said() -> None:
    news = hub()
    news.open(UPLOAD_ID, generation=1, mark=50)
    said = news.publish(UPLOAD_ID, advanced(Stage.ANALYZING, 3, 4))

    got = taken(news.subscribe(UPLOAD_ID, 7))

    assert got == [said]
    assert got[0].id > 7


def test_mark_of_the_dead_owner_suppresses_what_it_may_have_said() -> None:
    news = hub()

    news.open(UPLOAD_ID, generation=1, mark=70)

    assert news.publish(UPLOAD_ID, opening(Stage.FILE_RECEIVED)) is None
    assert news.publish(UPLOAD_ID, opening(Stage.MODERATING)) is None
    assert news.publish(UPLOAD_ID, advanced(Stage.MODERATING, 1, 1)) is not None


def test_waiting_reader_hears_an_event_published_later() -> None:
    news = hub()
    subscription = news.subscribe(UPLOAD_ID, None)
    reader = gevent.spawn(subscription.take, 10)
    gevent.sleep(0)

    event = news.publish(UPLOAD_ID, opening(Stage.UPLOADING))

    assert reader.get(timeout=10) == event


def test_readers_of_other_uploads_hear_nothing() -> None:
    news = hub()
    other = news.subscribe("another_upload", None)

    news.publish(UPLOAD_ID, opening(Stage.UPLOADING))

    assert taken(other) == []


def test_further_stream_of_an_upload_replaces_the_oldest() -> None:
    news = hub(per_upload=2)
    oldest, second = (news.subscribe(UPLOAD_ID, None) for _ in range(2))

    third = news.subscribe(UPLOAD_ID, None)

    assert reason_of(oldest) is Reason.REPLACED
    assert taken(second) == taken(third) == []
    assert news.listeners(UPLOAD_ID) == 2


def test_replacing_comes_before_the_limit_of_all_streams() -> None:
    news = hub(max_streams=1, per_upload=1)
    oldest = news.subscribe(UPLOAD_ID, None)

    news.subscribe(UPLOAD_ID, None)

    assert reason_of(oldest) is Reason.REPLACED


def test_stream_beyond_the_limit_of_all_is_refused_until_one_closes() -> None:
    news = hub(max_streams=1)
    first = news.subscribe(UPLOAD_ID, None)

    with pytest.raises(HubFull):
        news.subscribe("another_upload", None)
    first.close()

    assert news.subscribe("another_upload", None)


def test_our_own_readers_are_neither_counted_nor_replaced() -> None:
    news = hub(max_streams=1, per_upload=1)
    own = [news.subscribe(UPLOAD_ID, None, limited=False) for _ in range(3)]

    limited = news.subscribe(UPLOAD_ID, None)

    assert [taken(each) for each in [*own, limited]] == [[]] * 4
    assert news.listeners(UPLOAD_ID) == 1


def test_drain_closes_streams_and_leaves_our_own_readers() -> None:
    news = hub()
    stream = news.subscribe(UPLOAD_ID, None)
    own = news.subscribe(UPLOAD_ID, None, limited=False)

    news.drain()

    event = news.publish(UPLOAD_ID, opening(Stage.UPLOADING))
    assert reason_of(stream) is Reason.DRAINING
    assert taken(own) == [event]


def test_stream_opened_while_draining_is_closed_at_once() -> None:
    news = hub()
    news.drain()

    stream = news.subscribe(UPLOAD_ID, None)

    assert reason_of(stream) is Reason.DRAINING
    assert news.listeners(UPLOAD_ID) == 0


def test_released_upload_closes_its_streams_as_expired() -> None:
    news = hub()
    stream = news.subscribe(UPLOAD_ID, None)
    waiting = gevent.spawn(stream.take, 10)
    gevent.sleep(0)

    news.release(UPLOAD_ID)

    waiting.join(timeout=10)
    assert isinstance(waiting.exception, SubscriptionClosed)
    assert waiting.exception.reason is Reason.EXPIRED


def test_closing_twice_counts_once() -> None:
    news = hub(max_streams=2)
    first, _ = news.subscribe(UPLOAD_ID, None), news.subscribe(UPLOAD_ID, None)

    first.close()
    first.close()

    assert news.fanout.streams == 1


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["open", "own", "close", "publish", "release", "drain"]),
            st.integers(0, 5),
        ),
        max_size=30,
    )
)
def test_closed_subscriptions_leave_nothing_behind(
    steps: list[tuple[str, int]],
) -> None:
    news = hub(max_streams=4, per_upload=2)
    opened: list[Subscription] = []
    for step, number in steps:
        upload_id = f"upload_{number % 2}"
        if step in {"open", "own"}:
            try:
                opened.append(news.subscribe(upload_id, None, limited=step == "open"))
            except HubFull:
                continue
        elif step == "close" and opened:
            opened[number % len(opened)].close()
        elif step == "publish":
            news.publish(upload_id, advanced(Stage.ANALYZING, number, 5))
        elif step == "release":
            news.release(upload_id)
        elif step == "drain":
            news.drain()

    for subscription in opened:
        subscription.close()

    assert news.fanout.streams == 0
    assert news.listeners("upload_0") == news.listeners("upload_1") == 0


@pytest.mark.parametrize("limited", [True, False])
def test_closed_subscription_is_let_go(limited: bool) -> None:
    news = hub()
    subscription = news.subscribe(UPLOAD_ID, None, limited=limited)
    trace = weakref.ref(subscription)

    subscription.close()
    del subscription
    gc.collect()

    assert trace() is None


def test_ended_story_is_kept_for_those_who_return_and_then_forgotten() -> None:
    time = [0.0]
    news = hub(at=lambda: time[0])
    ending = ended(news)
    kept = news.since(UPLOAD_ID, None)

    time[0] = ENDED_KEPT_S + 1
    ended(news, "another_upload")

    assert kept == [ending]
    assert news.since(UPLOAD_ID, None) == []


def test_seal_given_back_before_anything_was_said_leaves_no_story() -> None:
    news = hub()
    news.seal(UPLOAD_ID)

    news.unseal(UPLOAD_ID)

    assert news.last(UPLOAD_ID) is None
    assert news.seal(UPLOAD_ID) == 1
