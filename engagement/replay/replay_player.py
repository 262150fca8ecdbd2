"""Plays the messages of a log through the services that the assistant and cron call, as time goes by."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from uuid_utils.compat import uuid7

from engagement.models import RunStatus, UserProfile
from engagement.replay.loading import profile_of
from engagement.replay.replay_result import Counts, DayResult
from engagement.replies import Preference
from engagement.selectors import due_users
from engagement.services.inbound_messages import Novelty, receive_message
from engagement.services.job.daily_job import run_daily_job
from engagement.services.job.mover import RunRequest
from engagement.services.preferences import set_preference
from engagement.states import State, Trigger

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import datetime

    from engagement.replay.replay_log import Day, Message
    from engagement.services.job.result import RunResult
    from engagement.services.resilience.stop import StopRequest
    from engagement.states import Policy

ORDINARY_TEXT: Final = "oi"
"""What a user wrote of whom the log knows only that they did something: no reply to anything."""

PROFILES_PER_STATEMENT: Final = 2_000


class ReplayInterrupted(Exception):
    """Somebody asked the replay to stop."""


class ReplayFailed(Exception):
    """The job could not do its work, so that the rest would not be what would have happened."""


@dataclass(frozen=True, slots=True)
class Player:
    """Plays on the default connection, which must lead to a database of nobody else's users."""

    policy: Policy
    stop: StopRequest
    is_rehearsal: bool = True
    """Whether the runs leave no trace in the ledger."""

    def introduce(self, first_messages: Iterable[Message]) -> None:
        """Make the profiles, as each one's first message has them. They appear when they write it."""
        profiles = [
            profile_of(message.user_id, message.event, now=message.event.occurred_at)
            for message in first_messages
        ]
        UserProfile.objects.bulk_create(profiles, batch_size=PROFILES_PER_STATEMENT)

    def receive_all(self, messages: Sequence[Message]) -> int:
        """Take in messages in this order; how many of them brought somebody back."""
        return sum(map(self._receive, messages))

    def play_day(self, day: Day) -> DayResult:
        """What came before the job, the job, what came after it."""
        returns = self.receive_all(day.before_job)
        job = self.run_job(now=day.job_at)
        returns += self.receive_all(day.after_job)
        counts = Counts(
            goodbyes=job.checks[Trigger.INACTIVITY_14D.value].succeeded,
            goodbye_timeouts=job.checks[Trigger.GOODBYE_TIMEOUT.value].succeeded,
            reminders_due=job.checks[Trigger.REMINDER_DUE.value].succeeded,
            returns=returns,
        )
        return DayResult(day.date, counts, due_users.count_by_state())

    def run_job(self, *, now: datetime) -> RunResult:
        """The daily job. Raises ReplayFailed unless it succeeds, ReplayInterrupted if it was stopped."""
        request = RunRequest(job_id=uuid7(), now=now, policy=self.policy, is_rehearsal=self.is_rehearsal)
        result = run_daily_job(request=request, stop=self.stop)
        if result.status is RunStatus.INTERRUPTED:
            raise ReplayInterrupted
        if result.status is not RunStatus.SUCCEEDED:
            users = "1 user" if result.failed == 1 else f"{result.failed:,} users"
            reason = result.failure or f"{users} could not be moved; the log says why."
            raise ReplayFailed(f"The job of {now.date()} failed: {reason}")
        return result

    def _receive(self, message: Message) -> bool:
        if self.stop.is_set():
            raise ReplayInterrupted
        event = message.event
        _keep_profile_up_to_date(message)
        result = receive_message(
            user_id=message.user_id,
            text=event.text or ORDINARY_TEXT,
            received_at=event.occurred_at,
            now=event.occurred_at,
        )
        move = result.transition
        return result.novelty is Novelty.NEW and move is not None and move.to_state == State.ACTIVE


def _keep_profile_up_to_date(message: Message) -> None:
    """Where the log says something else than at the user's event before; what it repeats is no news.

    So whoever opts out by a text stays so, though their next row still has the value of the former one.
    """
    user_id, event, before = message
    if before is None:
        return
    if (event.locale, event.whatsapp_jid) != (before.locale, before.whatsapp_jid):
        profile = UserProfile.objects.filter(pk=user_id)
        profile.update(locale=event.locale, whatsapp_jid=event.whatsapp_jid, updated_at=event.occurred_at)
    if event.reengagement_opt_out != before.reengagement_opt_out:
        preference = Preference.OPTED_OUT if event.reengagement_opt_out else Preference.OPTED_IN
        set_preference(user_id=user_id, preference=preference, now=event.occurred_at)
