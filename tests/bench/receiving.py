"""How long `receive_message` takes: one caller, sixteen at once, and sixteen beside a run."""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from contextlib import contextmanager
from datetime import datetime, timedelta
from multiprocessing import get_context
from typing import TYPE_CHECKING, Final
from uuid import UUID

from django.db import connection, transaction
from django.utils import timezone
from uuid_utils.compat import uuid7

from engagement.services.inbound_messages import receive_message
from tests.bench import tables
from tests.bench.measuring import PRODUCTION, of_process
from tests.running import PROJECT, database_url

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

CALLERS: Final = 16
CALLS: Final = 800
"""By all callers together."""

_LEAST: Final = (
    "SELECT state, last_activity_at FROM user_engagement_states WHERE user_id = %(user)s FOR NO KEY UPDATE",
    """UPDATE user_engagement_states SET state = 'active', last_activity_at = %(now)s, updated_at = %(now)s,
        goodbye_sent_at = NULL, goodbye_expires_at = NULL WHERE user_id = %(user)s""",
    """INSERT INTO engagement_state_transitions
        (id, user_id, from_state, to_state, trigger, metadata, created_at)
        VALUES (%(id)s, %(user)s, 'goodbye_sent', 'active', 'user_message', '{"days": 20}', %(now)s)""",
    """UPDATE engagement_message_queue SET status = 'cancelled'
        WHERE user_id = %(user)s AND message_type = 'goodbye' AND status = 'pending'""",
    """INSERT INTO engagement_inbound_messages (digest, user_id, received_at, reply_params, created_at)
        VALUES (%(digest)s, %(user)s, %(now)s, '{}', %(now)s)""",
)


def lines(size: int) -> Iterator[str]:
    """Users who wait for an answer write `oi`: they are moved, and their goodbyes are cancelled."""
    users = max(size, 10 * CALLS)
    tables.fill(users=users, due=users)
    _empty_inbound()
    an_hour_ago = timezone.now() - timedelta(hours=1)
    of_process(
        "manage.py", "run_engagement_daily", "--now", an_hour_ago.isoformat(), "--limit", str(4 * CALLS)
    )
    waiting = _waiting_users()
    parts = [waiting[number::4] for number in range(4)]
    alone, least = _alternately(_receive, _least, zip(parts[0], parts[1], strict=True))
    together = _together(parts[2])
    with _a_run():
        beside = _together(parts[3])
    ratio = statistics.median(alone) / statistics.median(least)
    yield f"receive_message, one caller: {_percentiles(alone)}"
    yield f"÷ the same rows by {len(_LEAST)} statements ({_percentiles(least)}) = {ratio:.2f}"
    yield f"receive_message, {CALLERS} callers at once: {_percentiles(together)}"
    yield f"receive_message, {CALLERS} callers beside a run: {_percentiles(beside)}"


def _empty_inbound() -> None:
    with connection.cursor() as cursor:
        cursor.execute("TRUNCATE engagement_inbound_messages")


def _waiting_users() -> list[str]:
    with connection.cursor() as cursor:
        cursor.execute("SELECT user_id::text FROM user_engagement_states WHERE state = 'goodbye_sent'")
        return [row[0] for row in cursor.fetchall()]


def _alternately(
    first: Callable[[str], None], second: Callable[[str], None], pairs: Iterator[tuple[str, str]]
) -> tuple[list[float], list[float]]:
    times = [(_seconds(first, one), _seconds(second, other)) for one, other in pairs]
    return [one for one, _ in times], [other for _, other in times]


def _seconds(call: Callable[[str], None], user: str) -> float:
    started = time.perf_counter()
    call(user)
    return time.perf_counter() - started


def _together(users: Sequence[str]) -> list[float]:
    """One process for each caller, because an assistant's servers are processes."""
    connection.close()
    with get_context("fork").Pool(CALLERS) as callers:
        shares = [users[number::CALLERS] for number in range(CALLERS)]
        return [seconds for share in callers.map(_caller, shares, chunksize=1) for seconds in share]


def _caller(users: Sequence[str]) -> list[float]:
    connection.ensure_connection()
    return [_seconds(_receive, user) for user in users]


def _receive(user: str) -> None:
    now = timezone.now()
    result = receive_message(
        user_id=UUID(user), text="oi", received_at=now, now=now, message_id=f"wamid.{user}"
    )
    assert result.transition
    assert result.cancelled == 1


def _least(user: str) -> None:
    values: dict[str, UUID | str | datetime] = {
        "user": UUID(user),
        "digest": f"digest of {user}",
        "now": timezone.now(),
        "id": uuid7(),
    }
    with transaction.atomic(), connection.cursor() as cursor:
        for statement in _LEAST:
            cursor.execute(statement, values)


@contextmanager
def _a_run() -> Iterator[None]:
    run = subprocess.Popen(
        [sys.executable, "manage.py", "run_engagement_daily", "--no-progress"],
        cwd=PROJECT,
        env={**PRODUCTION, "DATABASE_URL": database_url(), "PATH": "/usr/bin:/bin"},
        stdout=subprocess.DEVNULL,
    )
    while not _is_moving():
        time.sleep(0.02)
    yield
    run.wait()


def _is_moving() -> bool:
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM engagement_state_transitions WHERE trigger = 'inactivity_14d'")
        return int(cursor.fetchone()[0]) > 4 * CALLS


def _percentiles(seconds: Sequence[float]) -> str:
    in_order = sorted(seconds)
    p50, p99 = (in_order[int(len(in_order) * share)] * 1000 for share in (0.5, 0.99))
    return f"p50 {p50:.1f} ms, p99 {p99:.1f} ms"
