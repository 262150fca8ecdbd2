"""The statements of the guide for a backup that is older than the last message: nothing is said twice."""

from __future__ import annotations

import re

import pytest

from engagement.models import EngagementMessage, UserEngagementState
from engagement.selectors.deliveries import database_now
from tests.database import execute
from tests.factories import make_user
from tests.integration.delivery.sending import ScriptedBackend, send, told_user
from tests.project.docs.markdown import DOCS
from tests.running import run_job
from tests.times import DAY, HOUR

pytestmark = pytest.mark.django_db


def prepare_as_the_guide_says() -> None:
    section = (DOCS / "operating.md").read_text().partition("## After restoring a backup")[2]
    found = re.search(r"```sql\n(.*?)```", section, re.DOTALL)
    assert found
    execute(found[1])


def test_what_was_sent_since_the_backup_is_not_sent_again() -> None:
    """The backup is from after the run; the goodbye was sent after it."""
    told = told_user()
    later = EngagementMessage.objects.get()
    later.pk, later.idempotency_key, later.scheduled_for = None, "later", database_now() + HOUR
    later.save()
    prepare_as_the_guide_says()
    backend = ScriptedBackend()
    send(backend)
    assert backend.received == []
    message = EngagementMessage.objects.get(
        user_id=told.user_id, idempotency_key__endswith=f"{later.created_at:%Y-%m-%d}"
    )
    assert (message.status, message.outcome_reason) == ("cancelled", "by_staff")
    assert EngagementMessage.objects.get(idempotency_key="later").status == "pending"


def test_a_goodbye_of_a_run_since_the_backup_is_not_said_again_for_fourteen_days() -> None:
    """The backup is from before the run: it has the users who were told as active ones."""
    now = database_now()
    silent = make_user("silent", last_activity_at=now - 20 * DAY)
    waiting = make_user("goodbye_sent", goodbye_sent_at=now - HOUR, goodbye_expires_at=now + 47 * HOUR)
    prepare_as_the_guide_says()
    run_job(now=now + 13 * DAY)
    silent.refresh_from_db()
    assert silent.state == "active"
    assert not EngagementMessage.objects.filter(user_id=silent.user_id).exists()
    assert UserEngagementState.objects.get(pk=waiting.pk).state == "dormant"
    run_job(now=now + 15 * DAY)
    silent.refresh_from_db()
    assert silent.state == "goodbye_sent"
