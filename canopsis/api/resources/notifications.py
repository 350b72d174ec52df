"""Notifications: what was told to whom, what they answered, and why not."""

from __future__ import annotations

from typing import Any

import msgspec
from flask import Response

from canopsis.api.endpoints import Call, Resource, Thing
from canopsis.api.responses import one
from canopsis.errors import RequestError
from canopsis.store import notifications
from canopsis.store.notifications import Notification, NotificationQuery

resource = Resource("notifications", service="notifications")

NOTIFICATION = Thing("notification", "notification_id", notifications.get)


class Whole(Notification, kw_only=True):
    """A notification with the alert that it tells."""

    alert: dict[str, Any]


class Marked(msgspec.Struct):
    """What was done with a notification."""

    id: str = msgspec.field(name="_id")
    status: str = "accepted"


resource.listing(
    "/notifications", "List notifications, latest first.", notifications.listing, NotificationQuery, answer=Notification
)
resource.item("/notifications/<notification_id>", "Show a notification.", NOTIFICATION, answer=Whole)


@resource.post(
    "/notifications/<notification_id>/retry",
    "Try a notification again that failed.",
    role="admin",
    segments=NOTIFICATION.segments,
    answer=Marked,
    answers={202: "It is tried again.", 404: NOTIFICATION.none, 409: "It has not failed."},
)
def retry(call: Call) -> Response:
    """Have the sender take it once more, as the rule is now."""
    found = NOTIFICATION.find(call)
    if not call.ask(notifications.retry, found["_id"], call.user, call.now):
        raise RequestError(409, f"the notification {found['_id']} is not one that failed: it is {found['state']}")
    return one(Marked(found["_id"]), status=202)
