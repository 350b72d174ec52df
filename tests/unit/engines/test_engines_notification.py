"""What happens to alarms meets the rules that tell of it, and the sender takes what is due."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from engines_fakes import NOW, FakeContext, event

from canopsis.core.envelope import Envelope, KnownEntity
from canopsis.core.rules.notification import Message
from canopsis.engines import notification_sender
from canopsis.engines.alarm import AlarmEngine, AlarmOptions
from canopsis.engines.notification import NotificationEngine
from canopsis.engines.notification_sender import NotificationSender, SenderOptions
from canopsis.errors import DeliveryError
from canopsis.notifiers import webhook
from canopsis.notifiers.notifier import Notifier
from canopsis.ops.wait import until
from canopsis.runtime.contract import Batch
from canopsis.store import notifications, rules
from canopsis.store.notifications import Claimed
from canopsis.store.operations import Document, Insert

SETTINGS = {"url": "http://127.0.0.1/"}


def rule(name: str = "r", *on: str, **fields: Any) -> Document:
    found = {"id": name, "pattern": {"component": "web"}, "on": list(on) or ["opened", "resolve"]}
    return found | {"notifier": "webhook", "settings": SETTINGS} | fields


class Chain:
    """The alarm engine, and behind it ours."""

    def __init__(self, *telling: Document, **facts: Any) -> None:
        self.ctx = FakeContext(rules_of={"notification-rule": list(telling)}, **facts)
        self.alarm = AlarmEngine(AlarmOptions(resolve_delay=0.0), 4)
        self.ours = NotificationEngine()
        self.rules: dict[str, int] = {}

    def told(self, *events: Any, **known: KnownEntity) -> list[tuple[str, list[str]]]:
        """Return rule and words of each notification of a batch."""
        batch = Batch(list(events), envelope=Envelope(known))
        effects = self.alarm.process(batch, self.ctx)
        batch.envelope.add(effects.envelope)
        after = self.ours.process(Batch(effects.forward, envelope=batch.envelope), self.ctx)
        assert after.forward == effects.forward
        self.rules = {name: count.matched for (_, name), count in after.rules.items()}
        self.written = [
            each.document for each in after.write.get(notifications.COLLECTION, []) if isinstance(each, Insert)
        ]
        return [(each["rule"], each["happened"]) for each in self.written]


def check(state: int, name: str, **fields: Any) -> Any:
    return event(state=state, event_id=name, **fields)


def act(kind: str, name: str, **fields: Any) -> Any:
    return event(event_type=kind, event_id=name, author="ann", **fields)


def resolve(name: str = "end") -> Any:
    return act("resolve", name, timestamp=NOW)


def test_without_an_alert_nothing_is_read() -> None:
    chain = Chain(rule())
    assert chain.told(check(0, "quiet")) == []
    assert ("rules", "notification-rule", "table") not in chain.ctx.reads


def test_each_rule_tells_of_what_it_is_for() -> None:
    chain = Chain(rule("both", "opened", "stateinc"), rule("ack", "ack"), rule("other", pattern={"component": "db"}))
    assert chain.told(check(2, "e1")) == [("both", ["opened", "stateinc"])]
    assert chain.told(act("ack", "e2"), check(1, "e3"), check(2, "e4", output="x")) == [
        ("ack", ["ack"]),
        ("both", ["stateinc"]),
    ]
    assert chain.rules == {"ack": 1, "both": 1}
    first, second = chain.written
    assert first["order"] < second["order"]


def test_the_same_event_has_the_same_notification() -> None:
    first, second = Chain(rule()), Chain(rule())
    first.told(check(2, "e1"))
    second.told(check(2, "e1"))
    assert [each["_id"] for each in first.written] == [each["_id"] for each in second.written]
    first.told(check(2, "e1"))
    assert [each["_id"] for each in first.written] == [each["_id"] for each in second.written]


def test_the_end_is_told_to_those_who_heard_of_the_alarm() -> None:
    critical = rule("critical", pattern={"state": 2})
    chain = Chain(critical, rule("minor", pattern={"state": 1}), rule("ends", "resolve"), rule("opens", "opened"))
    assert chain.told(check(2, "e1"), check(0, "e2"), resolve()) == [
        ("critical", ["opened"]),
        ("opens", ["opened"]),
        ("critical", ["resolve"]),
        ("ends", ["resolve"]),
    ]
    later = Chain(critical, told={(chain.written[0]["alarm_id"], "critical")})
    later.told(check(1, "e1"))
    assert later.told(check(0, "e2"), resolve()) == [("critical", ["resolve"])]


def test_a_snoozed_alarm_is_quiet_until_it_is_back() -> None:
    chain = Chain(rule("r", "opened", "ack", "snooze", "unsnooze", "resolve"))
    chain.told(check(2, "e1"))
    assert chain.told(act("snooze", "e2", duration=60), act("ack", "e3")) == [("r", ["snooze"])]
    assert chain.told(act("unsnooze", "e4"), act("ack", "e5", output="again")) == [("r", ["unsnooze"]), ("r", ["ack"])]
    quiet = Chain(rule())
    quiet.told(check(2, "e1"), act("snooze", "e2", duration=60))
    quiet.ctx.told = {(quiet.written[0]["alarm_id"], "r")}
    assert quiet.told(check(0, "e3"), resolve()) == [("r", ["resolve"])]


def test_patterns_see_what_is_known_of_the_entity() -> None:
    chain = Chain(rule(pattern={"infos.owner": "dba"}))
    assert chain.told(check(2, "e1"), **{"component:web": KnownEntity({"owner": "dba"})}) == [("r", ["opened"])]
    assert msgspec.json.decode(chain.written[0]["alert"])["infos"] == {"owner": "dba"}


class Outbox:
    """The outbox in memory, as the sender asks it; ``notes`` is what came of attempts."""

    def __init__(self, *waiting: Claimed, telling: list[Document] | None = None) -> None:
        self.now = NOW
        self.waiting = list(waiting)
        self.notes: list[tuple[Any, ...]] = []
        self.telling = [rule()] if telling is None else telling

    def new_id(self) -> str:
        raise AssertionError("the sender makes no ids")

    def ask(self, read: Callable[..., Any], *args: Any) -> Any:
        if read is rules.changed:
            return rules.Rules({"x": 1}, {"notification-rule": self.telling, "table": []})
        if read is notifications.due_rules:
            return [each for each in dict.fromkeys(one.rule for one in self.waiting) if each not in args[1]]
        if read is notifications.claim:
            found = next((each for each in self.waiting if each.rule == args[0]), None)
            if found is not None:
                self.waiting.remove(found)
            return found
        self.notes.append((read.__name__, *args[1:]))
        return True


def claimed(attempts: int = 1, queued: float = NOW, **facts: Any) -> Claimed:
    steps = [{"type": "stateinc"}]
    alert = {"alarm_id": "a", "kind": "opened", "state": 2, "component": "web", "resource": None, "steps": steps}
    return Claimed("n", "r", alert | facts, attempts, queued)


class Way:
    """A notifier that does as it is told."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.error: Exception | None = None
        self.open = threading.Event()
        self.open.set()
        self.messages: list[Message] = []
        made = Notifier("webhook", "", webhook.WebhookSettings, self.deliver)
        monkeypatch.setattr(notification_sender, "notifier_of", lambda _kind: made)
        self.sender = NotificationSender(SenderOptions(attempts=3, give_up=100.0))

    def deliver(self, message: Message, _settings: object) -> str:
        assert self.open.wait(10)
        if self.error is not None:
            raise self.error
        self.messages.append(message)
        return "200 OK"

    def notes(self, outbox: Outbox, count: int = 1, step: float = 0.0) -> list[tuple[Any, ...]]:
        """Beat until the outbox has notes; the clock moves by ``step`` each time."""

        def noted() -> bool:
            outbox.now += step
            self.sender.beat(outbox.now, outbox)
            return len(outbox.notes) >= count

        assert until(noted, 10)
        return outbox.notes


@pytest.fixture
def way(monkeypatch: pytest.MonkeyPatch) -> Way:
    return Way(monkeypatch)


def test_what_is_due_is_sent_one_after_the_other(way: Way) -> None:
    outbox = Outbox(claimed(), claimed(state=3))
    assert way.notes(outbox, 2) == [("sent", "200 OK")] * 2
    assert [each.subject for each in way.messages] == ["[critical] web: opened", "[unknown] web: opened"]


@pytest.mark.parametrize(
    ("attempts", "queued", "after", "pause"),
    [(1, NOW, 0.0, 5), (2, NOW, 0.0, 10), (1, NOW, 60.0, 60), (3, NOW, 0.0, None), (1, NOW - 100, 0.0, None)],
)
def test_it_is_tried_again_later_but_not_for_ever(
    way: Way, attempts: int, queued: float, after: float, pause: float | None
) -> None:
    way.error = DeliveryError("503", again=True, after=after)
    ((what, reason, *at),) = way.notes(Outbox(claimed(attempts, queued)))
    assert (what, reason) == (("again" if pause else "failed"), "503")
    assert [each - NOW for each in at] == pytest.approx([pause] if pause else [], abs=1)


def test_a_rule_rests_while_its_receiver_is_away(way: Way) -> None:
    way.error = DeliveryError("away", again=True)
    outbox = Outbox(claimed(), claimed())
    assert len(way.notes(outbox)) == 1
    way.error = None
    for _ in range(3):
        way.sender.beat(NOW, outbox)
    assert len(outbox.waiting) == 1
    assert way.notes(outbox, 2, step=1.0)[1] == ("sent", "200 OK")


@pytest.mark.parametrize(
    ("error", "told", "reason"),
    [
        (DeliveryError("400", again=False), "failed", "400"),
        (KeyError("S3CRET"), "again", "the notifier failed with KeyError; the log of the process has it"),
    ],
)
def test_what_a_notifier_raises(way: Way, error: Exception, told: str, reason: str) -> None:
    way.error = error
    assert way.notes(Outbox(claimed()))[0][:2] == (told, reason)


def test_what_cannot_be_said_fails_and_a_rule_that_is_not_known_yet_is_waited_for(way: Way) -> None:
    bad = Outbox(claimed(), telling=[rule(body="{{ nothing }}")])
    assert way.notes(bad)[0][0] == "failed"
    other = Way.__new__(Way)
    other.sender = NotificationSender(SenderOptions())
    assert other.notes(Outbox(claimed(), telling=[]))[0][:2] == ("again", "there is no rule r in force")


def test_one_that_ends_its_sender_each_time_is_given_up(way: Way) -> None:
    assert way.notes(Outbox(claimed(attempts=4))) == [("failed", "whoever delivers it ends without a word")]


def test_a_receiver_that_is_slow_holds_no_other_rule_up(way: Way) -> None:
    way.open.clear()
    outbox = Outbox(claimed(), telling=[rule(), rule("other", body="{{ nothing }}")])
    way.sender.beat(NOW, outbox)
    outbox.waiting.append(Claimed("m", "other", claimed().alert, 1, NOW))
    assert way.notes(outbox)[0][0] == "failed"
    way.open.set()
    assert way.notes(outbox, 2)[1] == ("sent", "200 OK")
