"""Outcomes that come late or are repeated: which counts, and what it pauses."""

from __future__ import annotations

from dataclasses import replace

import pytest

from engagement.message_backends.base import Accepted, Refused, Scope, Unknown
from engagement.models import MessageStatus, SendingChannel
from engagement.selectors.deliveries import database_now
from engagement.services.delivery.attempts import Attempt
from engagement.services.delivery.channels import resume_sending
from engagement.services.delivery.outcomes import AttemptOutcome, Ending, record_outcome
from tests.integration.delivery.sending import goodbye_of, statuses, told_user
from tests.times import HOUR

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
