"""Whether all is well: what needs attention, and the next step."""

from __future__ import annotations

from shlex import quote
from typing import TYPE_CHECKING, Final, NamedTuple

from django.core.exceptions import ImproperlyConfigured
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from engagement.admin import links
from engagement.admin.labels import relative
from engagement.delivery_wording import pause_sentence
from engagement.formatting import count_text, duration_text, number_text
from engagement.local_times import shown_short_time, shown_time
from engagement.message_backends.base import named_backend
from engagement.models import MessageStatus, RunStatus
from engagement.privacy import redact
from engagement.selectors.deliveries import pauses
from engagement.selectors.job_runs import VANISHED, status_of_run
from engagement.services import run_monitor
from engagement.services.delivery import monitor
from engagement.services.delivery.capacity import late_since

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import datetime, timedelta

    from engagement.models import EngagementJobRun
    from engagement.selectors.dashboard import Backlog


URGENT: Final = "danger"
NOTABLE: Final = "warning"

RUN_COMMAND: Final = "manage.py run_engagement_daily"
SEND_COMMAND: Final = "manage.py send_messages"
RESUME_COMMAND: Final = "manage.py resume_sending"


class Problem(NamedTuple):
    """Something that needs attention."""

    level: str
    text: str
    next_step: str
    """What to do, in words."""
    url: str = ""
    """The page that the next step leads to."""
    command: str = ""

    @property
    def is_urgent(self) -> bool:
        return self.level == URGENT


class Status(NamedTuple):
    """The first thing on the dashboard."""

    problems: Sequence[Problem]
    last_run: str
    last_run_url: str
    next_run: str

    @property
    def level(self) -> str:
        """The worst level of the problems; `success` without any."""
        levels = {problem.level for problem in self.problems}
        return next((level for level in (URGENT, NOTABLE) if level in levels), "success")

    @property
    def title(self) -> str:
        if not self.problems:
            return _("All is well.")
        number = len(self.problems)
        return ngettext("%(number)d thing needs attention", "%(number)d things need attention", number) % {
            "number": number
        }


def status(
    *,
    runs: Sequence[EngagementJobRun],
    backlog: Backlog,
    sees_pauses: bool,
    next_run_at: datetime,
    now: datetime,
) -> Status:
    """Look at the runs (the latest first), the queue and the pauses, in a constant number of statements."""
    last = runs[0] if runs else None
    problems = [
        *_run_problems(last, run_monitor.age_of_good_run(now=now), now=now),
        *(_pause_problems(now) if sees_pauses else ()),
        *_waiting_problems(backlog.oldest_due_at, now=now),
        *_message_problems(backlog),
    ]
    return Status(
        problems=sorted(problems, key=lambda problem: not problem.is_urgent),
        last_run=_last_run(last, now=now),
        last_run_url=links.run_url(last.job_id) if last else "",
        next_run=shown_short_time(next_run_at),
    )


def _last_run(run: EngagementJobRun | None, *, now: datetime) -> str:
    if run is None:
        return _("none yet")
    return _("%(when)s, %(moved)s moved, %(failed)s failed") % {
        "when": relative(run.started_at, now=now),
        "moved": number_text(run.succeeded),
        "failed": number_text(run.failed),
    }


def _run_problems(
    last: EngagementJobRun | None, age: timedelta | None, *, now: datetime
) -> Iterator[Problem]:
    if last is None:
        yield Problem(NOTABLE, _("The daily job has not run yet."), _("Start it:"), command=RUN_COMMAND)
        return
    url, outcome = links.run_url(last.job_id), status_of_run(last, now=now)
    is_fresh = age is not None and age <= run_monitor.DEFAULT_MAX_AGE
    if not is_fresh and outcome != RunStatus.RUNNING:
        yield _overdue(age)
    if outcome in {RunStatus.FAILED, RunStatus.INTERRUPTED, VANISHED}:
        yield Problem(URGENT, str(_LAST_RUN_TEXTS[outcome]), _("See the run"), url)
    elif outcome == RunStatus.PARTIAL:
        users = count_text(last.failed, "user")
        yield Problem(NOTABLE, _("In the last run %(users)s failed.") % {"users": users}, _("See why"), url)


_LAST_RUN_TEXTS: Final = {
    RunStatus.FAILED.value: gettext_lazy("The last run failed."),
    RunStatus.INTERRUPTED.value: gettext_lazy("The last run was interrupted."),
    VANISHED: gettext_lazy("The last run has stopped without an end: its process is gone."),
}


def _overdue(age: timedelta | None) -> Problem:
    if age is None:
        text = _("No run has succeeded yet.")
    else:
        text = _("The daily run is overdue: the last good one was %(age)s ago.") % {
            "age": duration_text(age, units=2)
        }
    return Problem(URGENT, text, _("Check cron, or start it:"), command=RUN_COMMAND)


def _pause_problems(now: datetime) -> Iterator[Problem]:
    for channel in pauses(now=now):
        level = NOTABLE if channel.scope else URGENT
        text, step = pause_sentence(channel, date=shown_time), _("Resume when the cause is gone")
        command = f"{RESUME_COMMAND} --backend {quote(redact(channel.backend))}"
        yield Problem(level, text, step, links.list_url("pauses"), command)


def _waiting_problems(oldest: datetime | None, *, now: datetime) -> Iterator[Problem]:
    if oldest is None or now - oldest <= monitor.DEFAULT_MAX_AGE:
        return
    # Only now, because it takes more statements.
    oldest = _late_since(oldest, now=now)
    if oldest is None:
        return
    text = _("The oldest message has been due for %(period)s.") % {
        "period": duration_text(now - oldest, units=1)
    }
    url = links.messages_with(MessageStatus.PENDING)
    yield Problem(URGENT, text, _("See pending messages; is the sender running?"), url, SEND_COMMAND)


def _late_since(oldest: datetime, *, now: datetime) -> datetime | None:
    """Since when the oldest late message waits: `oldest` on a web server without the sender's settings."""
    try:
        return late_since(backend=named_backend(), max_age=monitor.DEFAULT_MAX_AGE, now=now)
    except ImproperlyConfigured:
        return oldest


def _message_problems(backlog: Backlog) -> Iterator[Problem]:
    if number := backlog.unknown:
        text = ngettext(
            "%(number)s message has an unknown outcome.",
            "%(number)s messages have an unknown outcome.",
            number,
        )
        step = _("Look at the chats and say whether they arrived")
        yield Problem(
            NOTABLE, text % {"number": number_text(number)}, step, links.messages_with(MessageStatus.UNKNOWN)
        )
    if number := backlog.failed_of_late:
        text = ngettext(
            "%(number)s message failed in the last 24 hours.",
            "%(number)s messages failed in the last 24 hours.",
            number,
        )
        url = links.messages_with(MessageStatus.FAILED)
        yield Problem(NOTABLE, text % {"number": number_text(number)}, _("See why, and retry"), url)
