"""States and times in words, and the colours of badges."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Final

from django.template.loader import render_to_string
from django.utils.translation import gettext as _
from django.utils.translation import pgettext_lazy

from engagement.formatting import duration_text, fill
from engagement.local_times import shown_as, shown_time
from engagement.models import MessageStatus, RunStatus
from engagement.selectors.job_runs import VANISHED
from engagement.states import State

if TYPE_CHECKING:
    from datetime import datetime

    from engagement.models import UserEngagementState
    from engagement.selectors.user_history import UserStatus

STATE_COLORS: Final = {
    State.ACTIVE.value: "success",
    State.GOODBYE_SENT.value: "warning",
    State.HELP_FLOW.value: "info",
    State.REMIND_LATER.value: "primary",
    State.DORMANT.value: "",
}
MESSAGE_COLORS: Final = {
    MessageStatus.PENDING.value: "info",
    MessageStatus.SENDING.value: "primary",
    MessageStatus.UNKNOWN.value: "warning",
    MessageStatus.SENT.value: "success",
    MessageStatus.FAILED.value: "danger",
    MessageStatus.CANCELLED.value: "",
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
    RunStatus.RUNNING.value: pgettext_lazy("run", "running"),
    RunStatus.SUCCEEDED.value: pgettext_lazy("run", "succeeded"),
    RunStatus.PARTIAL.value: pgettext_lazy("run", "some users failed"),
    RunStatus.FAILED.value: pgettext_lazy("run", "failed"),
    RunStatus.INTERRUPTED.value: pgettext_lazy("run", "interrupted"),
    VANISHED: pgettext_lazy("run", "vanished"),
}


def badge(text: object, color: str, *, title: str = "") -> str:
    """A label in the theme's style."""
    return render_to_string(
        "unfold/helpers/label.html", {"text": text, "variant": color, "label_title": title}
    )


def moment(instant: datetime, *, now: datetime) -> str:
    """`5 hours ago`; the tooltip has the time, in the account's zone and in UTC."""
    return shown_as(instant, relative(instant, now=now))


def dated(instant: datetime, *, now: datetime) -> str:
    """The time, and in parentheses how long ago it was or how soon it will be."""
    return fill("%(date)s (%(ago)s)", date=shown_time(instant), ago=relative(instant, now=now))


def run_status_text(status: str) -> str:
    """The status of a run, `vanished` included."""
    return str(RUN_STATUS_TEXTS[status])


def relative(instant: datetime, *, now: datetime) -> str:
    """`5 hours ago`, `in 2 days`."""
    if instant <= now:
        return _("%(period)s ago") % {"period": _period(now - instant)}
    return _("in %(period)s") % {"period": _period(instant - now)}


def state_text(
    user_state: UserStatus | UserEngagementState, *, now: datetime, since: datetime | None = None
) -> str:
    """The state of a user, with the time that ends it or the time of the last message.

    A reply to a goodbye is not counted as a message: it leads to help, reminder or dormant.
    """
    state = State(user_state.state)
    match state:
        case State.GOODBYE_SENT if ends_at := user_state.goodbye_expires_at:
            template = (
                _("%(state)s, times out %(date)s") if ends_at > now else _("%(state)s, timed out %(date)s")
            )
            return fill(template, state=state.label, date=shown_time(ends_at))
        case State.REMIND_LATER if remind_at := user_state.remind_at:
            template = _("%(state)s, due %(date)s") if remind_at > now else _("%(state)s, was due %(date)s")
            return fill(template, state=state.label, date=shown_time(remind_at))
    ago = relative(user_state.last_activity_at, now=now)
    is_active = state is State.ACTIVE
    if since is None:
        template = (
            _("%(state)s, last message %(ago)s")
            if is_active
            else _("%(state)s, last message other than a reply %(ago)s")
        )
        return fill(template, state=state.label, ago=ago)
    template = (
        _("%(state)s since %(since)s, last message %(ago)s (%(date)s)")
        if is_active
        else _("%(state)s since %(since)s, last message other than a reply %(ago)s (%(date)s)")
    )
    date = shown_time(user_state.last_activity_at)
    return fill(template, state=state.label, since=shown_time(since), ago=ago, date=date)


def _period(length: timedelta) -> str:
    """The length in its largest unit."""
    return duration_text(length, units=1) if length >= timedelta(minutes=1) else _("less than a minute")
