"""Deleting history that is older than it has to be, in batches. docs/privacy.md says what is kept."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import structlog
from django.db import connection

from engagement.conf import engagement_settings
from engagement.privacy import CODE
from engagement.services.inbound_messages import KEPT
from engagement.services.resilience.retries import RetryPolicy
from engagement.services.resilience.stop import StopRequest
from engagement.services.resilience.transactions import in_transaction
from engagement.states import require_aware

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime
    from uuid import UUID

SHORTEST: Final = timedelta(days=90)
"""Nothing younger is purged: undo, the wait for an answer and the dashboard read it."""
BATCH_SIZE: Final = 5_000

log = structlog.get_logger("engagement")


@dataclass(frozen=True, slots=True)
class _Table:
    """A table, and which of its rows may go."""

    name: str
    condition: str
    key: str = "id"
    emptied: str = ""
    """What is set in the rows instead of deleting them."""

    @property
    def title(self) -> str:
        return f"{self.name}_emptied" if self.emptied else self.name


_ENDED: Final = """(status IN ('sent', 'failed', 'cancelled')
            AND greatest(created_at, scheduled_for, claimed_at, sent_at) < %(before)s)"""
TABLES: Final = (
    # The latest transition of each user stays: since when they are in their state.
    _Table(
        name="engagement_state_transitions",
        condition="""created_at < %(before)s AND EXISTS (
            SELECT FROM engagement_state_transitions AS newer
            WHERE newer.user_id = purged.user_id AND newer.created_at > purged.created_at
        )""",
    ),
    # What waits or is in doubt stays, and the goodbye of an open wait. A goodbye's key holds its date and a
    # reply's the id of a message, so that they cannot come again.
    _Table(
        name="engagement_message_queue",
        condition=f"""message_type IN ('goodbye', 'reply') AND {_ENDED} AND NOT EXISTS (
            SELECT FROM user_engagement_states AS state
            WHERE state.user_id = purged.user_id AND state.state = 'goodbye_sent'
        )""",
    ),
    # Other programs choose the keys of the others: they stay, without what they said and to whom.
    # A reason that is no code may hold that.
    _Table(
        name="engagement_message_queue",
        condition=f"""message_type NOT IN ('goodbye', 'reply') AND {_ENDED}
            AND (destination_jid <> '' OR message_params <> '{{}}' OR provider_message_id IS NOT NULL
                OR error_message IS NOT NULL OR outcome_reason !~ '{CODE}' OR error_code !~ '{CODE}')""",
        emptied=f"""destination_jid = '', message_params = '{{}}', provider_message_id = NULL,
            error_message = NULL,
            outcome_reason = CASE WHEN outcome_reason ~ '{CODE}' THEN outcome_reason END,
            error_code = CASE WHEN error_code ~ '{CODE}' THEN error_code END""",
    ),
    _Table(
        name="engagement_job_runs",
        key="job_id",
        condition="started_at < %(before)s AND status <> 'running'",
    ),
    _Table(name="engagement_inbound_messages", condition="created_at < %(inbound_before)s"),
)


@dataclass(slots=True)
class Purged:
    """What was deleted, or would be: rows by table."""

    rows: dict[str, int] = field(default_factory=dict)
    is_complete: bool = True
    """False if a stop was asked for."""


def purge_history(
    *,
    before: datetime,
    now: datetime,
    dry_run: bool = False,
    batch_size: int = BATCH_SIZE,
    stop: StopRequest | None = None,
) -> Purged:
    """Delete history from before then, and the ids of messages that no repeat can have any more.

    Users, their states and the suppression list stay. Deleted messages are goodbyes and replies; others
    keep their idempotency key, and lose what they said and to whom.
    Transaction: one for each batch, which must be the outermost; each table is walked once, in the order of
    its ids. Repeatable, also after a stop.
    Raises ValueError if `before` is less than 90 days ago, or naive.
    """
    require_aware(before)
    require_aware(now)
    if now - before < SHORTEST:
        raise ValueError(f"history of the last {SHORTEST.days} days cannot be purged")
    stop = stop or StopRequest()
    settings = engagement_settings()
    retries = RetryPolicy.of(settings, stop=stop)
    values = {"before": before, "inbound_before": now - KEPT}
    purged = Purged()
    for table in TABLES:
        purged.rows[table.title] = 0
        after: UUID | None = None
        while not stop.is_set():
            page = values | {"after": after, "size": batch_size}
            purge = partial(_purge_page, table, page, dry_run=dry_run)
            rows, after = retries.retry(partial(in_transaction, purge, lock_timeout=settings.lock_timeout))
            purged.rows[table.title] += rows
            if after is None:
                break
        else:
            purged.is_complete = False
    if not dry_run:
        log.info("engagement_history_purged", before=before.isoformat(), **purged.rows)
    return purged


def _purge_page(table: _Table, page: Mapping[str, Any], *, dry_run: bool) -> tuple[int, UUID | None]:
    """Walk the next ids of a table, and delete those of them that may go.

    Returns how many rows went, and the last id that was walked; None at the end of the table.
    """
    walked = f"""
        SELECT {table.key} AS id FROM {table.name}
        WHERE %(after)s::uuid IS NULL OR {table.key} > %(after)s::uuid
        ORDER BY {table.key} LIMIT %(size)s
    """
    chosen = f"""
        SELECT {table.key} AS id FROM {table.name} AS purged
        WHERE {table.key} IN (SELECT id FROM walked) AND {table.condition}
        ORDER BY {table.key}
    """
    action = "SELECT id FROM chosen"
    if not dry_run:
        chosen += " FOR UPDATE SKIP LOCKED"
        verb = f"UPDATE {table.name} SET {table.emptied}" if table.emptied else f"DELETE FROM {table.name}"
        action = f"{verb} WHERE {table.key} IN (SELECT id FROM chosen) RETURNING {table.key}"
    with connection.cursor() as cursor:
        cursor.execute(
            f"WITH walked AS MATERIALIZED ({walked}), chosen AS MATERIALIZED ({chosen}),"
            f" gone AS ({action})"
            " SELECT (SELECT count(*) FROM gone), (SELECT max(id::text) FROM walked),"
            " (SELECT count(*) FROM walked)",
            page,
        )
        ((rows, last, number),) = cursor.fetchall()
    return rows, last if number == page["size"] else None
