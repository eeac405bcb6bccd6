"""What every hub promises (uploadsvc.hub). A further backend is one more name in HUBS."""

from __future__ import annotations

from collections.abc import Callable

import gevent
import pytest

from tests.house import DEADLINE_S, START
from uploadsvc.hub import (
    IDS_A_GENERATION,
    HubFull,
    ProgressHub,
    Reason,
    Subscription,
    SubscriptionClosed,
)
from uploadsvc.hub.fanout import Fanout
from uploadsvc.hub.memory import MemoryHub
from uploadsvc.model import Event, advanced, failure, opening
from uploadsvc.stages import Stage

UPLOAD_ID, OTHER_ID = "upload_123", "upload_456"
MAX_STREAMS, PER_UPLOAD = 5, 2
# News of a hub between processes is on its way for a moment; silence is known after this.
SILENCE_S = 0.02


def memory() -> ProgressHub:
    return MemoryHub(Fanout(max_streams=MAX_STREAMS, per_upload=PER_UPLOAD))


HUBS: dict[str, Callable[[], ProgressHub]] = {"memory": memory}


@pytest.fixture(params=HUBS)
def hub(request: pytest.FixtureRequest) -> ProgressHub:
    return HUBS[request.param]()


def taken(subscription: Subscription) -> list[Event]:
    events = []
    while (event := subscription.take(SILENCE_S)) is not None:
        events.append(event)
    return events


def say(hub: ProgressHub, steps: int, upload_id: str = UPLOAD_ID) -> list[Event]:
    events = [
        hub.publish(upload_id, advanced(Stage.ANALYZING, done, steps))
        for done in range(1, steps + 1)
    ]
    return [event for event in events if event is not None]


def end(hub: ProgressHub, upload_id: str = UPLOAD_ID) -> Event:
    event_id = hub.seal(upload_id)
    assert event_id is not None
    event = Event(event_id, upload_id, failure("No", "internal_error"), START)
    hub.finish(event)
    return event


def test_events_are_numbered_without_a_gap_from_one(hub: ProgressHub) -> None:
    assert [event.id for event in say(hub, 5)] == [1, 2, 3, 4, 5]


def test_uploads_are_numbered_apart(hub: ProgressHub) -> None:
    say(hub, 3)

    assert [event.id for event in say(hub, 2, OTHER_ID)] == [1, 2]


def test_subscriber_gets_what_is_held_and_then_what_is_published(
    hub: ProgressHub,
) -> None:
    before = say(hub, 2)

    subscription = hub.subscribe(UPLOAD_ID, None)
    after = hub.publish(UPLOAD_ID, opening(Stage.PROCESSING))

    assert taken(subscription) == [*before, after]


def test_upload_nobody_has_spoken_of_can_be_listened_to(hub: ProgressHub) -> None:
    subscription = hub.subscribe(UPLOAD_ID, None)

    published = say(hub, 2)

    assert taken(subscription) == published


@pytest.mark.parametrize("after", [0, 1, 2, 3])
def test_cursor_is_followed_by_every_later_event(hub: ProgressHub, after: int) -> None:
    published = say(hub, 3)

    assert hub.since(UPLOAD_ID, after) == published[after:]
    assert taken(hub.subscribe(UPLOAD_ID, after)) == published[after:]


@pytest.mark.parametrize("after", [4, 2**63])
def test_cursor_above_every_id_gets_the_newest_event(
    hub: ProgressHub, after: int
) -> None:
    published = say(hub, 3)

    assert hub.since(UPLOAD_ID, after) == published[-1:]
    assert taken(hub.subscribe(UPLOAD_ID, after)) == published[-1:]


def test_what_is_no_news_is_not_published(hub: ProgressHub) -> None:
    say(hub, 3)

    assert hub.publish(UPLOAD_ID, opening(Stage.VALIDATING)) is None
    assert hub.publish(UPLOAD_ID, advanced(Stage.ANALYZING, 3, 3)) is None
    assert len(hub.since(UPLOAD_ID, None)) == 3


def test_newest_event_is_the_last(hub: ProgressHub) -> None:
    nothing = hub.last(UPLOAD_ID)

    published = say(hub, 3)

    assert nothing is None
    assert hub.last(UPLOAD_ID) == published[-1]


def test_take_waits_for_news(hub: ProgressHub) -> None:
    subscription = hub.subscribe(UPLOAD_ID, None)
    reader = gevent.spawn(subscription.take, DEADLINE_S)
    gevent.sleep(0)

    (event,) = say(hub, 1)

    assert reader.get(timeout=DEADLINE_S) == event


def test_ending_is_the_last_event_with_the_sealed_id(hub: ProgressHub) -> None:
    subscription = hub.subscribe(UPLOAD_ID, None)
    published = say(hub, 3)

    ending = end(hub)

    assert ending.id == 4
    assert taken(subscription) == [*published, ending]
    assert hub.publish(UPLOAD_ID, opening(Stage.PROCESSING)) is None
    assert hub.seal(UPLOAD_ID) is None


def test_only_one_seals(hub: ProgressHub) -> None:
    won = [hub.seal(UPLOAD_ID) for _ in range(3)]

    assert won == [1, None, None]


def test_sealed_upload_is_silent_until_it_is_unsealed(hub: ProgressHub) -> None:
    hub.seal(UPLOAD_ID)
    silent = say(hub, 1)

    hub.unseal(UPLOAD_ID)

    assert silent == []
    assert len(say(hub, 1)) == 1


def test_ending_that_was_not_sealed_is_refused(hub: ProgressHub) -> None:
    ending = Event(1, UPLOAD_ID, failure("No", "internal_error"), START)

    with pytest.raises(ValueError, match="sealed"):
        hub.finish(ending)


def test_ids_of_a_new_owner_lie_above_all_of_the_dead_one(hub: ProgressHub) -> None:
    subscription = hub.subscribe(UPLOAD_ID, None)
    before = say(hub, 1)

    hub.open(UPLOAD_ID, generation=1, mark=70)
    after = hub.publish(UPLOAD_ID, opening(Stage.PROCESSING))

    assert after is not None
    assert after.id > IDS_A_GENERATION
    assert taken(subscription) == [*before, after]


def test_nothing_at_or_below_the_mark_is_published_again(hub: ProgressHub) -> None:
    hub.open(UPLOAD_ID, generation=1, mark=70)

    assert say(hub, 5) == []
    assert hub.publish(UPLOAD_ID, opening(Stage.PROCESSING)) is not None


def test_closed_subscription_gets_nothing_more(hub: ProgressHub) -> None:
    subscription = hub.subscribe(UPLOAD_ID, None)

    subscription.close()
    subscription.close()
    say(hub, 1)

    assert hub.listeners(UPLOAD_ID) == 0
    assert taken(subscription) == []


def test_further_stream_of_an_upload_replaces_the_oldest(hub: ProgressHub) -> None:
    oldest, *others = (hub.subscribe(UPLOAD_ID, None) for _ in range(PER_UPLOAD + 1))

    with pytest.raises(SubscriptionClosed) as caught:
        oldest.take(SILENCE_S)

    assert caught.value.reason is Reason.REPLACED
    assert hub.listeners(UPLOAD_ID) == len(others) == PER_UPLOAD


def test_stream_beyond_the_limit_is_refused_and_our_own_are_not(
    hub: ProgressHub,
) -> None:
    for number in range(MAX_STREAMS):
        hub.subscribe(f"upload_{number}", None)

    with pytest.raises(HubFull):
        hub.subscribe(UPLOAD_ID, None)

    assert hub.subscribe(UPLOAD_ID, None, limited=False)


def test_released_upload_is_forgotten_and_its_streams_are_told(
    hub: ProgressHub,
) -> None:
    subscription = hub.subscribe(UPLOAD_ID, None)
    say(hub, 1)

    hub.release(UPLOAD_ID)

    with pytest.raises(SubscriptionClosed) as caught:
        taken(subscription)
    assert caught.value.reason is Reason.EXPIRED
    assert hub.since(UPLOAD_ID, None) == []


def test_draining_closes_streams_now_and_later_but_not_our_own(
    hub: ProgressHub,
) -> None:
    stream = hub.subscribe(UPLOAD_ID, None)
    own = hub.subscribe(UPLOAD_ID, None, limited=False)

    hub.drain()

    for each in (stream, hub.subscribe(UPLOAD_ID, None)):
        with pytest.raises(SubscriptionClosed) as caught:
            each.take(SILENCE_S)
        assert caught.value.reason is Reason.DRAINING
    assert taken(own) == []


def test_hub_answers(hub: ProgressHub) -> None:
    hub.ping()
