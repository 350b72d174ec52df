"""Events as messages: keys, sizes, order, whatever the events are."""

from __future__ import annotations

import itertools

import msgspec
import pytest
from api_fakes import NOW, FakeBroker, FakeDatabase, event
from hypothesis import given
from hypothesis import strategies as st

from canopsis.api import intake
from canopsis.api.auth import LEVEL, Identity, demand, identify, of_user
from canopsis.api.ports import Backend
from canopsis.core.event import routing_key
from canopsis.core.normalise import normalise
from canopsis.core.text import name_of
from canopsis.errors import RequestError
from canopsis.store.users import User

NAMES = st.text(alphabet=st.characters(blacklist_categories=["Cc", "Cs"]), min_size=1, max_size=8).filter(name_of)
EVENTS = st.builds(
    event,
    connector=NAMES,
    connector_name=NAMES,
    component=NAMES,
    resource=st.none() | NAMES,
    source_type=st.none(),
    output=st.text(alphabet=st.characters(blacklist_categories=["Cs"]), max_size=30),
)


def backend() -> Backend:
    database, numbers = FakeDatabase(), itertools.count()
    return Backend(database, FakeBroker(), lambda: NOW, lambda: f"id{next(numbers)}")


@given(EVENTS)
def test_one_event_travels_under_its_own_key(raw: dict[str, object]) -> None:
    taken = intake.examine([raw], backend()).taken
    [message] = intake.messages(taken)
    assert message.routing_key == routing_key(normalise(raw, NOW))
    assert msgspec.json.decode(message.body) == raw | {"event_id": "id0", "timestamp": NOW}


@given(st.lists(EVENTS, min_size=2, max_size=8))
def test_a_list_keeps_its_order_and_its_key_fits(raws: list[dict[str, object]]) -> None:
    taken = intake.examine(raws, backend()).taken
    messages = list(intake.messages(taken))
    found = [each for message in messages for each in msgspec.json.decode(message.body)]
    assert [each["component"] for each in found] == [raw["component"] for raw in raws]
    assert len({each["event_id"] for each in found}) == len(raws)
    longest = max(len(routing_key(each.event).encode()) for each in taken)
    assert all(len(message.routing_key.encode()) <= longest + 2 for message in messages)


@given(EVENTS, st.integers(2, 5))
def test_equal_events_travel_under_the_key_of_each(raw: dict[str, object], count: int) -> None:
    taken = intake.examine([raw] * count, backend()).taken
    assert {message.routing_key for message in intake.messages(taken)} == {routing_key(taken[0].event)}


@given(EVENTS)
def test_what_is_published_is_accepted_again(raw: dict[str, object]) -> None:
    [first] = intake.examine([raw], backend()).taken
    [second] = intake.examine([first.raw], backend()).taken
    assert second.raw == first.raw
    assert second.event == msgspec.structs.replace(first.event, event_id=first.event_id)


@given(st.lists(EVENTS, min_size=1, max_size=5), st.integers(0, 4))
def test_one_bad_event_anywhere_and_nothing_of_an_atomic_request_is_published(
    raws: list[dict[str, object]], place: int
) -> None:
    place %= len(raws)
    site = backend()
    with pytest.raises(RequestError) as refused:
        intake.publish([*raws[:place], raws[place] | {"state": 9}, *raws[place + 1 :]], site)
    assert refused.value.members["index"] == place
    assert refused.value.members["field"] == "state"
    assert site.broker.published == []  # type: ignore[attr-defined]


class TestRoles:
    """Each role may do what the ones below it may."""

    @pytest.mark.parametrize(("has", "needs"), list(itertools.product(LEVEL, LEVEL)))
    def test_a_higher_role_is_enough(self, has: str, needs: str) -> None:
        identity = Identity("ann", has, "authkey")  # type: ignore[arg-type]
        if LEVEL[has] >= LEVEL[needs]:  # type: ignore[index]
            demand(identity, needs)  # type: ignore[arg-type]
        else:
            with pytest.raises(RequestError) as refused:
                demand(identity, needs)  # type: ignore[arg-type]
            assert refused.value.status == 403
            assert has not in str(refused.value.members["allowed"]).split(", ")

    def test_a_disabled_user_is_nobody(self) -> None:
        assert of_user(User(name="ann", role="admin"), "session") == Identity("ann", "admin", "session")
        assert of_user(User(name="ann", role="admin", enabled=False), "session") is None

    def test_no_provider_no_identity(self) -> None:
        with pytest.raises(RequestError) as refused:
            identify((), None)  # type: ignore[arg-type]
        assert refused.value.status == 401
