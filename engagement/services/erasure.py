"""Erasing a person: what identifies them goes, and the counts stay true. docs/privacy.md explains it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final
from uuid import uuid4

import structlog
from django.apps import apps
from django.db import connection, transaction

from engagement.conf import refuse_short_suppression_key
from engagement.models import (
    Destination,
    EngagementJobRun,
    EngagementMessage,
    EngagementStateTransition,
    InboundMessage,
    MessageStatus,
    RunStatus,
    UserEngagementState,
    UserProfile,
)
from engagement.privacy import CODE
from engagement.selectors.deliveries import database_now
from engagement.selectors.due_users import lock_states_of
from engagement.selectors.job_runs import runs_with_status
from engagement.services import suppression
from engagement.services.message_queue import ERASED, ERASED_KEY, EXPIRED_CLAIM
from engagement.services.resilience.retries import retry_own_transaction
from engagement.states import require_aware

if TYPE_CHECKING:
    from collections.abc import Collection
    from datetime import datetime
    from uuid import UUID

    from django.db.models import QuerySet


log = structlog.get_logger("engagement")


class BeingSent(Exception):
    """A message to the user is being sent; its outcome must be known first."""


class RunInProgress(Exception):
    """A run that may name the user among its errors is still writing them."""


class NoSuppressionKey(Exception):
    """Without ENGAGEMENT_SUPPRESSION_KEY the address cannot be kept from being written to again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Erasure:
    """What was erased, or would be: rows of each table."""

    profile: int
    state: int
    transitions: int
    messages: int
    cancelled: int
    """Of the messages: pending ones."""
    inbound: int
    runs: int
    """Runs whose errors name the user."""
    admin_log: int
    suppressed: bool
    """Whether the user's addresses are on the suppression list now."""
    deleted: tuple[str, ...]
    """Tables whose rows are deleted, because a foreign key of the assistant's refuses a random id."""

    @property
    def found_nothing(self) -> bool:
        rows = (self.profile, self.state, self.transitions, self.messages)
        return not any((*rows, self.inbound, self.runs, self.admin_log))


@retry_own_transaction
def erase_user(*, user_id: UUID, now: datetime, dry_run: bool = False) -> Erasure:
    """Erase a user: delete the profile and the state, and let every other row name a random id instead.

    Rows of the audit log and the queue that a foreign key ties to the user's id are deleted.
    Messages lose their address, parameters, the provider's id and every reason that is no code; pending ones
    are cancelled, and those whose claim has expired become unknown. The audit log keeps its transitions,
    without the digests of texts. The address goes to the suppression list.
    Transaction: opens one. Locks the state, the profile and the messages, in this order. Repeatable: the
    second time nothing is found.
    Raises BeingSent while a message to the user is being sent; RunInProgress; for a user with an address,
    NoSuppressionKey without the key, and ImproperlyConfigured with a short one; an IntegrityError if a
    foreign key of another table refuses it, also as a dry run, which erases and rolls back; ValueError for a
    naive `now`. Nothing has changed then.
    """
    require_aware(now)
    with transaction.atomic():
        lock_states_of([user_id])
        profile = UserProfile.objects.select_for_update(no_key=False).filter(pk=user_id).first()
        messages = EngagementMessage.objects.filter(user_id=user_id)
        locked = messages.order_by("id").select_for_update(no_key=False)
        claims = list(locked.values_list("status", "claim_expires_at"))
        clock = database_now()
        if any(status == MessageStatus.SENDING and not (end and end < clock) for status, end in claims):
            raise BeingSent
        if EngagementJobRun.objects.filter(runs_with_status([RunStatus.RUNNING], now=now)).exists():
            raise RunInProgress
        addresses = _addresses(profile, messages)
        if addresses:
            refuse_short_suppression_key()
            if not suppression.has_key():
                raise NoSuppressionKey
        erasure = _count(
            user_id,
            [status for status, _ in claims],
            has_profile=profile is not None,
            suppressed=bool(addresses),
        )
        _erase(user_id, addresses=addresses, deleted=erasure.deleted, now=now)
        if dry_run:
            connection.check_constraints()
            transaction.set_rollback(True)
    if not (dry_run or erasure.found_nothing):
        # The id names nobody any more. By it they are found again in a backup that is restored.
        facts = {"transitions": erasure.transitions, "messages": erasure.messages}
        log.info("engagement_user_erased", user_id=str(user_id), **facts)
    return erasure


def _addresses(profile: UserProfile | None, messages: QuerySet[EngagementMessage]) -> set[str]:
    """Where the user alone could be reached: the profile's address, and those of earlier messages."""
    used = messages.filter(destination=Destination.INDIVIDUAL).values_list("destination_jid", flat=True)
    addresses = {profile.whatsapp_jid if profile else None, *used.order_by().distinct()}
    return {address for address in addresses if suppression.is_of_a_person(address)}


def _count(user_id: UUID, statuses: Collection[str], *, has_profile: bool, suppressed: bool) -> Erasure:
    return Erasure(
        profile=int(has_profile),
        state=UserEngagementState.objects.filter(user_id=user_id).count(),
        transitions=EngagementStateTransition.objects.filter(user_id=user_id).count(),
        messages=len(statuses),
        cancelled=sum(status == MessageStatus.PENDING for status in statuses),
        inbound=InboundMessage.objects.filter(user_id=user_id).count(),
        runs=_number(f"SELECT count(*) FROM engagement_job_runs WHERE {_RUN_NAMES_USER}", user_id),
        admin_log=_number(f"SELECT count(*) FROM django_admin_log WHERE {_ENTRY_NAMES_USER}", user_id)
        if _has_admin_log()
        else 0,
        suppressed=suppressed,
        deleted=_tables_with_foreign_keys(),
    )


def _tables_with_foreign_keys() -> tuple[str, ...]:
    """The audit log and the queue, if a foreign key on `user_id` refuses an unknown id."""
    with connection.cursor() as cursor:
        cursor.execute(_FOREIGN_KEYS, {"tables": [_QUEUE, _AUDIT_LOG]})
        return tuple(table for (table,) in cursor.fetchall())


def _erase(user_id: UUID, *, addresses: Collection[str], deleted: Collection[str], now: datetime) -> None:
    for address in addresses:
        suppression.suppress(address, now=now)
    if _QUEUE in deleted:
        EngagementMessage.objects.filter(user_id=user_id).delete()
    if _AUDIT_LOG in deleted:
        EngagementStateTransition.objects.filter(user_id=user_id).delete()
    values = {"old": str(user_id), "new": str(uuid4())}
    with connection.cursor() as cursor:
        for statement in (*_ERASE, *((_ERASE_ADMIN_LOG,) if _has_admin_log() else ())):
            cursor.execute(statement, values)
    UserEngagementState.objects.filter(user_id=user_id).delete()
    UserProfile.objects.filter(pk=user_id).delete()


def _has_admin_log() -> bool:
    return apps.is_installed("django.contrib.admin")


def _number(statement: str, user_id: UUID) -> int:
    with connection.cursor() as cursor:
        cursor.execute(statement, {"old": str(user_id)})
        ((number,),) = cursor.fetchall()
    return int(number)


_QUEUE: Final = "engagement_message_queue"
_AUDIT_LOG: Final = "engagement_state_transitions"
_FOREIGN_KEYS: Final = """
    SELECT DISTINCT relname FROM pg_constraint
    JOIN pg_class ON pg_class.oid = conrelid
    JOIN pg_attribute ON attrelid = conrelid AND attnum = ANY (conkey)
    WHERE contype = 'f' AND attname = 'user_id' AND conrelid = ANY (%(tables)s::text[]::regclass[])
    ORDER BY relname
"""
_RUN_NAMES_USER: Final = "position(%(old)s IN errors::text) > 0"
_ENTRY_NAMES_USER: Final = (
    "object_id = %(old)s OR position(%(old)s IN object_repr) > 0 OR position(%(old)s IN change_message) > 0"
)
_ERASE: Final = (
    f"""
    UPDATE engagement_message_queue
    SET user_id = %(new)s::uuid,
        idempotency_key = '{ERASED_KEY}' || id,
        destination_jid = '',
        message_params = '{{}}',
        provider_message_id = NULL,
        error_message = NULL,
        next_attempt_at = NULL,
        status = CASE status WHEN 'pending' THEN 'cancelled' WHEN 'sending' THEN 'unknown' ELSE status END,
        outcome_reason = CASE
            WHEN status = 'pending' THEN '{ERASED}'
            WHEN status = 'sending' THEN '{EXPIRED_CLAIM}'
            WHEN outcome_reason ~ '{CODE}' THEN outcome_reason
        END,
        error_code = CASE WHEN error_code ~ '{CODE}' THEN error_code END
    WHERE user_id = %(old)s::uuid
    """,
    """
    UPDATE engagement_state_transitions
    SET user_id = %(new)s::uuid,
        metadata = CASE jsonb_typeof(metadata) WHEN 'object' THEN metadata - 'text_digest' ELSE '{}' END
    WHERE user_id = %(old)s::uuid
    """,
    f"""
    UPDATE engagement_job_runs SET errors = replace(errors::text, %(old)s, %(new)s)::jsonb
    WHERE {_RUN_NAMES_USER}
    """,
    "DELETE FROM engagement_inbound_messages WHERE user_id = %(old)s::uuid",
)
_ERASE_ADMIN_LOG: Final = f"""
    UPDATE django_admin_log
    SET object_id = replace(object_id, %(old)s, %(new)s),
        object_repr = replace(object_repr, %(old)s, %(new)s),
        change_message = replace(change_message, %(old)s, %(new)s)
    WHERE {_ENTRY_NAMES_USER}
"""
