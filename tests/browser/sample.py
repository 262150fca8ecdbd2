"""The sample of real customers, played through six weeks as they happened."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

from django.core.management import call_command
from django.db.models import F
from django.utils import timezone

from engagement.models import (
    EngagementJobRun,
    EngagementMessage,
    MessageStatus,
    UserEngagementState,
    UserProfile,
)
from engagement.services.activity_log import user_id_of
from engagement.services.activity_log_file import open_activity_log
from engagement.services.inbound import receive_message
from tests.running import PROJECT, run_job

if TYPE_CHECKING:
    from engagement.services.activity_log_file import Event

FILE: Final = PROJECT / "data" / "cdnow_activity.csv.gz"
FIRST_RUN_AT: Final = datetime(1998, 5, 20, 6, tzinfo=UTC)
LAST_RUN_AT: Final = datetime(1998, 7, 1, 6, tzinfo=UTC)
DAY: Final = timedelta(days=1)


def play_sample() -> None:
    """Load what was known on the first day; then every day the job, what is sent and what people wrote."""
    call_command("load_activity_log", str(FILE), "--as-of", FIRST_RUN_AT.isoformat(), verbosity=0)
    with open_activity_log(FILE) as log:
        later = sorted((event for event in log.events if event.occurred_at > FIRST_RUN_AT), key=_when)
    now = FIRST_RUN_AT
    while now <= LAST_RUN_AT:
        run_job(now=now)
        _send(at=now + timedelta(minutes=1))
        for event in later:
            if now < event.occurred_at <= now + DAY:
                _hear(event)
        now += DAY
    _forget_the_real_clock()


def _send(*, at: datetime) -> None:
    """What the assistant's sender does."""
    pending = EngagementMessage.objects.filter(status=MessageStatus.PENDING)
    pending.update(status=MessageStatus.SENT, sent_at=at)


def _when(event: Event) -> datetime:
    return event.occurred_at


def _hear(event: Event) -> None:
    receive_message(
        user_id=user_id_of(event.user), text="", received_at=event.occurred_at, now=event.occurred_at
    )


def _forget_the_real_clock() -> None:
    """What the database stamped with its own clock happened when the run was for."""
    EngagementJobRun.objects.update(
        started_at=F("now"), last_seen_at=F("now"), finished_at=F("now") + timedelta(seconds=2)
    )
    first_heard_at = datetime(1997, 1, 2, tzinfo=UTC)
    UserProfile.objects.update(created_at=first_heard_at, updated_at=first_heard_at)
    UserEngagementState.objects.update(created_at=first_heard_at)
    assert timezone.now().year > LAST_RUN_AT.year
