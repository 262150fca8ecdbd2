"""Where the time of a batch goes: for each statement the client's share and the server's, and the rest."""

from __future__ import annotations

import time
from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from django.db import connection
from django.test.utils import override_settings
from uuid_utils.compat import uuid7

from engagement.services.job.daily_job import RunRequest, run_daily_job
from tests.bench import tables

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

MICROSECONDS: Final = 1_000_000

_STEPS: Final = {
    "SELECT\n        set_config": "set the transaction's limits",
    "INSERT INTO engagement_state_transitions": "write the audit log",
    'INSERT INTO "engagement_message_queue"': "queue the goodbyes",
    'UPDATE "user_engagement_states"': "write the states",
    "FOR NO KEY UPDATE": "claim, lock and read",
}
"""What a statement is for, by words in it; the first that fits."""

OTHER_STATEMENTS: Final = "count who is skipped, and the other checks"
NO_STATEMENT: Final = "between statements: rules, rows, commit"


@dataclass(slots=True)
class Share:
    """Seconds of one step."""

    client: float = 0.0
    """Of this process's processor: adapting values, sending, reading."""
    server: float = 0.0
    """In which this process waited."""


@dataclass(slots=True)
class Stopwatch:
    """An execute_wrapper of Django that adds up what each kind of statement takes."""

    shares: dict[str, Share] = field(default_factory=lambda: defaultdict(Share))

    def __call__(self, execute: Callable[..., Any], sql: str, *rest: Any) -> Any:
        share = self.shares[_step(sql)]
        wall, processor = time.perf_counter(), time.process_time()
        try:
            return execute(sql, *rest)
        finally:
            client = time.process_time() - processor
            share.client += client
            share.server += time.perf_counter() - wall - client


def profile(size: int) -> Mapping[str, Share]:
    """Run the job once over `size` due users, in this process; the shares of its steps, per user."""
    tables.fill(users=size, due=size)
    stopwatch = Stopwatch()
    wall, processor = time.perf_counter(), time.process_time()
    # With DEBUG on, Django would keep the text of every statement.
    with override_settings(DEBUG=False), connection.execute_wrapper(stopwatch):
        run_daily_job(request=RunRequest(job_id=uuid7(), now=tables.NOW, workers=1))
    client = time.process_time() - processor
    server = time.perf_counter() - wall - client
    shares = dict(stopwatch.shares)
    shares[NO_STATEMENT] = Share(
        client - sum(share.client for share in shares.values()),
        server - sum(share.server for share in shares.values()),
    )
    return {step: Share(share.client / size, share.server / size) for step, share in shares.items()}


def _step(sql: str) -> str:
    return next((step for words, step in _STEPS.items() if words in sql), OTHER_STATEMENTS)
