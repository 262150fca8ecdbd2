"""The same job as it is usually written: a loop over the due users, a transaction for each."""

from __future__ import annotations

from django.db import transaction
from uuid_utils.compat import uuid7

from engagement.selectors import due_users
from engagement.selectors.due_users import DueUser
from engagement.services.job.goodbye import goodbye_for
from engagement.services.message_queue import queue_message
from engagement.services.state_machine import lock_states, transition_states
from engagement.states import CHECKS, Policy, Trigger, UserState
from tests.bench.tables import NOW


def run() -> None:
    """Move every due user on their own."""
    job_id = uuid7()
    due = due_users.due(CHECKS[0], now=NOW, policy=Policy()).select_related("user")
    for row in due.iterator():
        user = DueUser(
            UserState(*(getattr(row, name) for name in UserState._fields)),
            row.user.preferred_destination,
            row.user.whatsapp_jid or "",
        )
        with transaction.atomic():
            goodbye = queue_message(message=goodbye_for(user, now=NOW), now=NOW)
            transition_states(
                user_states=lock_states(user_ids=[row.user_id], trigger=Trigger.INACTIVITY_14D, now=NOW),
                trigger=Trigger.INACTIVITY_14D,
                now=NOW,
                policy=Policy(),
                job_id=job_id,
                details={row.user_id: {"goodbye_message_id": str(goodbye and goodbye.pk)}},
            )
