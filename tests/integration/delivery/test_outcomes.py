"""Outcomes that come late or are repeated: which counts, and what it pauses."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import psycopg
import pytest
from django.db import transaction

from engagement.message_backends.base import Accepted, Refused, Scope, Unknown
from engagement.models import EngagementMessage, MessageStatus, SendingChannel, UserProfile
from engagement.selectors.deliveries import database_now
from engagement.services.delivery.attempts import Attempt
from engagement.services.delivery.channels import pause_sending, resume_sending
from engagement.services.delivery.outcomes import AttemptOutcome, Ending, lock_user, record_outcome
from tests.database import another_connection, in_thread, wait_for_somebody_at_a_row
from tests.integration.delivery.sending import goodbye_of, statuses, told_user
from tests.times import DAY, HOUR, MINUTE

pytestmark = pytest.mark.django_db


def test_late_refusal_of_an_earlier_attempt_changes_nothing() -> None:
    """The fence: an attempt that was given up must not end the one that followed it."""
    message = goodbye_of(told_user())
    now = database_now()
    earlier, present = Attempt.at(now - HOUR), Attempt.at(now)
    message.status, message.attempt_id, message.claimed_at = MessageStatus.SENDING, present.id, now
    message.save()
    late = AttemptOutcome(message.id, earlier.id, Refused(Scope.RECIPIENT, "131026"))
    assert record(late) is Ending.STALE
    assert record(replace(late, result=Unknown("timeout"))) is Ending.STALE
    message.refresh_from_db()
    assert (message.status, message.retry_count, message.attempt_id) == ("sending", 0, present.id)


def test_first_outcome_of_an_attempt_counts_unless_it_was_accepted() -> None:
    outcome = replace(refused_by_account(), result=Unknown("timeout"))
    assert record(outcome) is Ending.UNKNOWN
    assert record(replace(outcome, result=Refused(Scope.RECIPIENT, "131026"))) is Ending.STALE
    assert statuses() == ["unknown"]
    assert record(replace(outcome, result=Accepted("wamid.late"))) is Ending.SENT
    assert statuses() == ["sent"]


def test_repeated_refusal_of_an_account_pauses_no_more_after_sending_was_resumed() -> None:
    outcome = refused_by_account()
    assert record(outcome) is Ending.WAITING
    SendingChannel.objects.update(paused_until=None)
    assert record(outcome) is Ending.STALE  # as after a failure between the two transactions
    assert SendingChannel.objects.filter(paused_until__isnull=False).exists()
    resume_sending(backend="scripted", now=database_now())
    assert record(outcome) is Ending.STALE
    assert not SendingChannel.objects.filter(paused_until__isnull=False).exists()


def test_refusal_of_an_account_after_acceptance_changes_nothing() -> None:
    outcome = refused_by_account()
    assert record(replace(outcome, result=Accepted("wamid.A"))) is Ending.SENT
    assert record(outcome) is Ending.STALE
    assert not SendingChannel.objects.exists()


def test_a_final_refusal_says_why_and_is_not_tried_again() -> None:
    outcome = replace(refused_by_account(), result=Refused(Scope.RECIPIENT, "131026"))
    assert record(outcome) is Ending.FAILED
    message = EngagementMessage.objects.get()
    assert (message.outcome_reason, message.next_attempt_at) == ("recipient", None)
    assert (message.error_code, message.error_message) == ("131026", "recipient (131026)")


@pytest.mark.parametrize(
    ("earlier", "asked_for", "wait"),
    [
        (0, None, MINUTE),
        (1, None, 5 * MINUTE),
        (2, None, 25 * MINUTE),
        (3, None, 125 * MINUTE),
        (0, HOUR, HOUR),
        (2, timedelta(seconds=1), MINUTE),
        (0, 9 * DAY, DAY),
    ],
)
def test_the_wait_grows_or_is_what_the_answer_says(
    earlier: int, asked_for: timedelta | None, wait: timedelta
) -> None:
    outcome = refused_by_account()
    EngagementMessage.objects.update(retry_count=earlier)
    before = database_now()
    record(replace(outcome, result=Refused(Scope.RECIPIENT_LATER, "131056", asked_for)))
    next_attempt_at = EngagementMessage.objects.get().next_attempt_at
    assert next_attempt_at
    assert wait <= next_attempt_at - before < wait + MINUTE / 2


@pytest.mark.parametrize(
    ("asked_for", "ending"), [(DAY, Ending.FAILED), (DAY - MINUTE, Ending.WAITING), (None, Ending.WAITING)]
)
def test_a_refusal_that_asks_for_a_day_is_tried_once_more(
    asked_for: timedelta | None, ending: Ending
) -> None:
    outcome = replace(refused_by_account(), result=Refused(Scope.RECIPIENT_LATER, "131049", asked_for))
    assert record(outcome) is Ending.WAITING
    again = outcome_of_another_attempt(outcome)
    assert record(again) is ending


def outcome_of_another_attempt(outcome: AttemptOutcome) -> AttemptOutcome:
    attempt = Attempt.at(database_now())
    EngagementMessage.objects.update(status=MessageStatus.SENDING, attempt_id=attempt.id)
    return replace(outcome, attempt_id=attempt.id)


def test_a_refusal_that_says_stop_is_recorded_as_the_provider_s_word() -> None:
    outcome = replace(refused_by_account(), result=Refused(Scope.OPTED_OUT, "131050"))
    assert record(outcome) is Ending.FAILED
    assert UserProfile.objects.get().opt_out_source == "provider"


def test_a_refusal_that_says_stop_needs_no_profile() -> None:
    outcome = replace(refused_by_account(), result=Refused(Scope.OPTED_OUT, "131050"))
    UserProfile.objects.all().delete()
    assert record(outcome) is Ending.FAILED


def test_sending_that_another_backend_resumed_is_paused_all_the_same() -> None:
    outcome = refused_by_account()
    pause_sending(backend="other", until=database_now() + HOUR, reason="x", now=database_now())
    resume_sending(backend="other", now=database_now() + HOUR)
    SendingChannel.objects.filter(backend="other").update(resumed_at=database_now() + HOUR)
    record(outcome)
    assert SendingChannel.objects.get(backend="scripted").paused_until


@pytest.mark.django_db(transaction=True)
def test_a_user_is_locked_with_state_and_profile_and_keeps_the_key() -> None:
    user = told_user()
    with transaction.atomic(), another_connection() as other:
        lock_user(user.user_id)
        for table in ("user_engagement_states", "user_profiles"):
            with pytest.raises(psycopg.errors.LockNotAvailable):
                other.execute(f"SELECT FROM {table} WHERE user_id = %s FOR UPDATE NOWAIT", [user.user_id])
            # Rows that point to the user may be inserted meanwhile.
            other.execute(f"SELECT FROM {table} WHERE user_id = %s FOR KEY SHARE NOWAIT", [user.user_id])


@pytest.mark.usefixtures("committed")
def test_a_refusal_that_opts_out_locks_the_user_before_the_message() -> None:
    outcome = replace(refused_by_account(), result=Refused(Scope.OPTED_OUT, "131050"))
    with another_connection(autocommit=False) as other, another_connection() as third:
        other.execute("SELECT FROM user_engagement_states FOR UPDATE")
        thread = in_thread(lambda: record(outcome))
        wait_for_somebody_at_a_row(third)
        third.execute("SELECT FROM engagement_message_queue FOR UPDATE NOWAIT")
        other.rollback()
        thread.join()
    assert statuses() == ["failed"]


def refused_by_account() -> AttemptOutcome:
    """The outcome of an attempt that is under way."""
    message = goodbye_of(told_user())
    attempt = Attempt.at(database_now())
    message.status, message.attempt_id = MessageStatus.SENDING, attempt.id
    message.claimed_at = attempt.claimed_at
    message.save()
    return AttemptOutcome(message.id, attempt.id, Refused(Scope.ACCOUNT, "368"))


def record(outcome: AttemptOutcome) -> Ending:
    return record_outcome(
        outcome, backend="scripted", template="goodbye/en", max_attempts=5, now=database_now()
    )
