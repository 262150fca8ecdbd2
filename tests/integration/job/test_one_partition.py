"""Every statement is answered from the rows of one partition of the users.

So the tables can be distributed by user (docs/performance.md, "Several servers"). Row-level security hides
one of two partitions, and refuses to write to it: the users of the other must end up the same.
"""

from __future__ import annotations

import json
import re
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

import pytest
from django.apps import apps
from django.db import connection, transaction

from engagement.models import EngagementMessage, EngagementStateTransition, MessageType, UserEngagementState
from engagement.selectors.goodbyes import goodbye_key
from engagement.services.inbound_messages import receive_message
from engagement.services.undo.undo_batch import UndoRequest
from engagement.services.undo.undo_run import undo_run
from tests.database import execute
from tests.factories import NOW, make_user, queue_for
from tests.integration.delivery.sending import ScriptedBackend, send
from tests.running import run_job

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

pytestmark = pytest.mark.django_db

HERE: Final = "get_byte(uuid_send(user_id), 15) % 2 = 0"
"""The partition that is seen: users with an even id."""
TABLES: Final = (
    *("user_profiles", "user_engagement_states", "engagement_state_transitions"),
    *("engagement_message_queue", "engagement_inbound_messages"),
)
MADE_ANEW: Final = {
    *("id", "created_at", "updated_at", "digest", "text_digest", "job_id", "undone_job_id"),
    *("transition_id", "undone_transition_id", "goodbye_message_id", "cancelled_message_id"),
    *("attempt_id", "provider_message_id", "idempotency_key"),
    *("claimed_at", "claim_expires_at", "sent_at", "goodbye_expires_at"),
}
"""Ids, and times of the sender's clock."""
SHARED: Final = {"engagement_job_runs", "engagement_sending_channels", "engagement_suppressed_addresses"}
"""Rows of a run, of a sender, and of addresses that belong to nobody any more."""


@pytest.fixture(autouse=True)
def _users() -> None:
    number = 0
    for trait in ("silent", "goodbye_sent", "remind_later", "dormant"):
        for opted_out in (False, False, False, False, True, True):
            number += 1
            profile = {"user__user_id": UUID(int=number), "user__reengagement_opt_out": opted_out}
            user = make_user(trait, **profile)
            if trait == "goodbye_sent":
                key = goodbye_key(user.user_id, now=NOW - timedelta(hours=48))
                queue_for(user, MessageType.GOODBYE, idempotency_key=key)


@contextmanager
def statements() -> Iterator[list[str]]:
    seen: list[str] = []

    def record(call: Callable[..., Any], sql: str, *arguments: Any) -> Any:
        seen.append(sql)
        return call(sql, *arguments)

    with connection.execute_wrapper(record):
        yield seen


def hide_the_others() -> None:
    """Become a role that sees and writes the users of one partition alone."""
    execute("SET CONSTRAINTS ALL IMMEDIATE")  # a table that has checks to come cannot be altered
    execute("CREATE ROLE one_partition; GRANT ALL ON ALL TABLES IN SCHEMA public TO one_partition")
    for table in TABLES:
        execute(f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY")
        execute(f"CREATE POLICY here ON {table} TO one_partition USING ({HERE}) WITH CHECK ({HERE})")
    execute("SET LOCAL ROLE one_partition")


def rows_here() -> list[tuple[str, Any]]:
    """The rows of the partition, without what each run makes anew."""
    rows = []
    with connection.cursor() as cursor:
        for table in TABLES:
            cursor.execute(f"SELECT to_jsonb(r)::text FROM {table} AS r WHERE {HERE}")
            found = [_compared(json.loads(text)) for (text,) in cursor.fetchall()]
            rows += [(table, row) for row in sorted(found, key=str)]
    return rows


def _compared(row: dict[str, Any]) -> dict[str, Any]:
    return {
        name: _compared(value) if isinstance(value, dict) else value
        for name, value in row.items()
        if name not in MADE_ANEW
    }


def rows_after(step: Callable[[], object], *, hidden: bool) -> list[tuple[str, Any]]:
    """What a step leaves of the users of the partition. It is rolled back."""
    # Not atomic(): the job opens the outermost transaction, as far as Django knows.
    savepoint = transaction.savepoint()
    if hidden:
        hide_the_others()
    step()
    execute("RESET ROLE")
    rows = rows_here()
    transaction.savepoint_rollback(savepoint)
    return rows


def run() -> None:
    run_job(batch_size=2)


def run_and_undo() -> None:
    undo_run(request=UndoRequest(job_id=run_job().job_id, now=NOW))


def receive() -> None:
    for number in range(2, 24, 2):
        receive_message(
            user_id=UUID(int=number), text="parar", received_at=NOW, now=NOW, message_id=f"wamid.{number}"
        )


def run_and_send() -> None:
    run_job()
    send(ScriptedBackend())


@pytest.mark.parametrize("step", [run, run_and_undo, receive, run_and_send])
def test_step_does_the_same_to_a_partition_when_it_sees_no_other(step: Callable[[], object]) -> None:
    before = rows_here()
    whole = rows_after(step, hidden=False)
    assert rows_after(step, hidden=True) == whole != before


def test_run_moves_the_users_of_its_partition_alone() -> None:
    hide_the_others()
    result = run_job()
    execute("RESET ROLE")
    moved = set(EngagementStateTransition.objects.values_list("user_id", flat=True))
    assert result.succeeded == len(moved) == 2 + 3 + 3
    assert all(user_id.int % 2 == 0 for user_id in moved)


@pytest.mark.parametrize("step", [run, run_and_undo, receive, run_and_send])
def test_statements_read_no_table_without_a_user(step: Callable[[], object]) -> None:
    with statements() as seen:
        step()
    named = {name for sql in seen for name in re.findall(r'(?:FROM|JOIN|INTO|UPDATE)\s+"?(\w+)"?', sql)}
    known = {model._meta.db_table for model in apps.get_app_config("engagement").get_models()}
    assert named & known <= {*TABLES, *SHARED}
    assert {"user_engagement_states", "engagement_state_transitions"} <= named


def test_every_key_that_is_unique_contains_the_user_or_is_a_random_id() -> None:
    run()
    for message in EngagementMessage.objects.filter(created_at=NOW):
        assert message.idempotency_key.startswith(f"{message.user_id}:")
    unique = {
        (model._meta.db_table, *constraint.fields)
        for model in (UserEngagementState, EngagementStateTransition, EngagementMessage)
        for constraint in model._meta.total_unique_constraints
    }
    assert unique == {("engagement_message_queue", "idempotency_key")}
