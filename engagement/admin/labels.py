"""States and times in words, and the colours of labels."""

from __future__ import annotations

from datetime import UTC, timedelta
from typing import TYPE_CHECKING, Final

from django.template.loader import render_to_string
from django.utils.html import format_html
from django.utils.translation import gettext_lazy

from engagement.formatting import count_text, date_text
from engagement.models import MessageStatus, RunStatus
from engagement.selectors.job_runs import VANISHED
from engagement.states import State

if TYPE_CHECKING:
    from datetime import datetime

    from engagement.models import UserEngagementState
    from engagement.selectors.user_history import UserStatus

STATE_COLORS: Final = {
    State.ACTIVE.label: "success",
    State.GOODBYE_SENT.label: "warning",
    State.HELP_FLOW.label: "info",
    State.REMIND_LATER.label: "primary",
}
MESSAGE_COLORS: Final = {
    MessageStatus.PENDING.label: "info",
    MessageStatus.SENDING.label: "primary",
    MessageStatus.UNKNOWN.label: "warning",
    MessageStatus.SENT.label: "success",
    MessageStatus.FAILED.label: "danger",
}
RUN_COLORS: Final = {
    RunStatus.RUNNING.value: "info",
    RunStatus.SUCCEEDED.value: "success",
    RunStatus.PARTIAL.value: "warning",
    RunStatus.FAILED.value: "danger",
    RunStatus.INTERRUPTED.value: "warning",
    VANISHED: "danger",
}
RUN_STATUS_TEXTS: Final = {
    RunStatus.RUNNING.value: gettext_lazy("running"),
    RunStatus.SUCCEEDED.value: gettext_lazy("succeeded"),
    RunStatus.PARTIAL.value: gettext_lazy("some users failed"),
    RunStatus.FAILED.value: gettext_lazy("failed"),
    RunStatus.INTERRUPTED.value: gettext_lazy("interrupted"),
    VANISHED: gettext_lazy("vanished"),
}

_UNITS: Final = (
    ("year", timedelta(days=365)),
    ("day", timedelta(days=1)),
    ("hour", timedelta(hours=1)),
    ("minute", timedelta(minutes=1)),
)
_ALMOST_A_WEEK: Final = timedelta(days=6)


def relative(instant: datetime, *, now: datetime) -> str:
    """`5 hours ago`, `in 2 days`."""
    return f"{_period(now - instant)} ago" if instant <= now else f"in {_period(instant - now)}"


def near(instant: datetime, *, now: datetime) -> str:
    """`Wednesday 06:00 UTC` where the weekday is unambiguous, the date elsewhere."""
    if abs(instant - now) < _ALMOST_A_WEEK:
        return f"{instant.astimezone(UTC):%A %H:%M} UTC"
    return date_text(instant)


def state_text(
    user_state: UserStatus | UserEngagementState, *, now: datetime, since: datetime | None = None
) -> str:
    """The state of a user, with the time that ends it or the time of the last message."""
    state = State(user_state.state)
    match state:
        case State.GOODBYE_SENT if ends_at := user_state.goodbye_expires_at:
            verb = "times out" if ends_at > now else "timed out"
            return f"{state.label}, {verb} {near(ends_at, now=now)}"
        case State.REMIND_LATER if remind_at := user_state.remind_at:
            verb = "due" if remind_at > now else "was due"
            return f"{state.label}, {verb} {near(remind_at, now=now)}"
    last_message_at = user_state.last_activity_at
    last_message = f"last message {relative(last_message_at, now=now)}"
    if since is None:
        return f"{state.label}, {last_message}"
    return f"{state.label} since {date_text(since)}, {last_message} ({date_text(last_message_at)})"


def badge(text: object, color: str, *, title: str = "") -> str:
    """A label in the theme's style."""
    return render_to_string(
        "unfold/helpers/label.html", {"text": text, "variant": color, "label_title": title}
    )


def moment(instant: datetime, *, now: datetime) -> str:
    """`5 hours ago`; the exact time is shown when the pointer is over it."""
    return format_html(
        '<time datetime="{}" title="{}">{}</time>',
        instant.isoformat(),
        date_text(instant),
        relative(instant, now=now),
    )


def _period(length: timedelta) -> str:
    """The length in its largest unit."""
    for noun, unit in _UNITS:
        if length >= unit:
            return count_text(length // unit, noun)
    return "less than a minute"
