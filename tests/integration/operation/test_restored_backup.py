"""The statements of the guide for a backup that is older than the last message: nothing is said twice."""

from __future__ import annotations

import re

import pytest

from engagement.message_backends.base import Refused, Scope
from engagement.models import MessageType
from engagement.selectors.deliveries import database_now
from engagement.services.delivery.outcomes import AttemptOutcome, record_outcome
from engagement.services.inbound_messages import receive_message
from tests.database import execute
from tests.factories import make_user, queue_for
from tests.integration.delivery.sending import ScriptedBackend, goodbye_of, send, told_user
from tests.integration.services.users import state_of
from tests.project.docs.markdown import DOCS
from tests.running import run_command, run_job
from tests.times import DAY, HOUR

pytestmark = pytest.mark.django_db


def statements() -> list[str]:
    """Of the guide: for the queue, and for the silence of users."""
    section = (DOCS / "operating.md").read_text().partition("## After restoring a backup")[2]
    found = re.findall(r"```sql\n(.*?)```", section.partition("\n## ")[0], re.DOTALL)
    assert len(found) == 2
    return found


def test_what_was_sent_since_the_backup_is_not_sent_again() -> None:
    """The backup is from after the run; the goodbye was sent after it."""
    told = told_user()
    later = queue_for(told, MessageType.WELCOME, scheduled_for=database_now() + HOUR)
    execute(statements()[0])
    backend = ScriptedBackend()
    send(backend)
    assert backend.received == []
    assert goodbye_of(told).status == "unknown"
    later.refresh_from_db()
    assert later.status == "pending"
    resolved = run_command(
        *("resolve_message", "--backend", "restored", "--claimed-before", database_now().isoformat()),
        *("--arrived", "--yes"),
    )
    assert resolved.out == "1 message resolved as sent.\n"


def test_an_outcome_that_is_reported_again_does_not_make_it_pending() -> None:
    told = told_user()
    send(ScriptedBackend(Refused(Scope.RECIPIENT_LATER, "131056")))
    message = goodbye_of(told)
    assert message.attempt_id
    execute(statements()[0])
    outcome = AttemptOutcome(message.id, message.attempt_id, Refused(Scope.RECIPIENT_LATER, "131056"))
    now = database_now()
    record_outcome(outcome, backend="scripted", template="goodbye/en", max_attempts=5, now=now)
    assert goodbye_of(told).status == "unknown"


def test_an_answer_to_it_is_still_an_answer() -> None:
    told = told_user(ago=3 * HOUR)
    execute(statements()[0])
    at = database_now() - HOUR
    receive_message(user_id=told.user_id, text="3", received_at=at, now=database_now(), message_id="wamid.3")
    assert state_of(told) == "dormant"


def test_a_goodbye_of_a_run_since_the_backup_is_not_said_again_for_fourteen_days() -> None:
    """The backup is from before the run: it has the users who were told as active ones."""
    now = database_now()
    silent = make_user("silent", last_activity_at=now - 20 * DAY)
    not_yet = make_user(last_activity_at=now - 10 * DAY)
    execute(statements()[1])
    run_job(now=now + 13 * DAY)
    assert state_of(silent) == "active"
    assert state_of(not_yet) == "goodbye_sent"
    run_job(now=now + 15 * DAY)
    assert state_of(silent) == "goodbye_sent"
