"""Metrics for Prometheus, as a text file for node_exporter's textfile collector.

Each program writes the whole file, from the database: what one of them has seen, all of them know.
"""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING

import structlog
from django.core.exceptions import ImproperlyConfigured
from django.db import Error as DatabaseError
from prometheus_client import CollectorRegistry, Gauge, write_to_textfile

from engagement.conf import METRICS_FILE, engagement_settings, text_setting
from engagement.message_backends.base import named_backend
from engagement.models import MessageStatus
from engagement.selectors import dashboard, deliveries, job_runs
from engagement.services.resilience.errors import first_line
from engagement.services.resilience.transactions import in_transaction
from engagement.states import CHECKS

if TYPE_CHECKING:
    from collections.abc import Collection
    from datetime import datetime

    from engagement.models import EngagementJobRun, SendingChannel
    from engagement.states import Check

log = structlog.get_logger("engagement")


def write_metrics() -> None:
    """Write the file that ENGAGEMENT_METRICS_FILE names, by atomic rename; without the setting, nothing.

    Transaction: opens one, which must be the outermost, and reads alone. Repeatable.
    Raises nothing: a failure is logged, and the former file stays.
    """
    path = text_setting(METRICS_FILE)
    if not path:
        return
    if os.path.exists(path) and not os.path.isfile(path):  # noqa: PTH110, PTH113
        # A rename would replace a device such as /dev/null.
        log.warning("engagement_metrics_not_written", error="not a file")
        return
    try:
        write_to_textfile(path, _registry())
        # prometheus_client makes the file for its owner alone.
        os.chmod(path, 0o644)  # noqa: PTH101
    except DatabaseError as error:
        log.warning("engagement_metrics_not_written", error=first_line(error))
    except OSError as error:
        log.warning("engagement_metrics_not_written", error=error.strerror or type(error).__name__)


def _registry() -> CollectorRegistry:
    registry = CollectorRegistry()
    lock_timeout = engagement_settings().lock_timeout
    in_transaction(lambda: _fill(_Metrics(registry)), lock_timeout=lock_timeout, whole_tables=True)
    return registry


class _Metrics:
    """Gauges of one registry."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._registry = registry
        self._gauges: dict[str, Gauge] = {}

    def set(self, name: str, help_text: str, value: float | datetime | None, **labels: str) -> None:
        """Set `engagement_{name}`; a missing value is left out."""
        if value is None:
            return
        if name not in self._gauges:
            self._gauges[name] = Gauge(f"engagement_{name}", help_text, list(labels), registry=self._registry)
        gauge = self._gauges[name].labels(**labels) if labels else self._gauges[name]
        gauge.set(value if isinstance(value, int | float) else value.timestamp())


def _fill(metrics: _Metrics) -> None:
    now = deliveries.database_now()
    metrics.set("metrics_timestamp_seconds", "When this file was made.", now)
    _fill_runs(metrics, now=now)
    for state, number in dashboard.users_by_state().items():
        metrics.set("users", "Users by state.", number, state=state.value)
    pauses = deliveries.pauses(now=now)
    _fill_messages(metrics, pauses, now=now)
    for channel in pauses:
        metrics.set(
            "sending_paused",
            "1 while a backend is paused, or one of its templates (scope).",
            1,
            backend=channel.backend,
            scope=channel.scope,
        )


def _fill_runs(metrics: _Metrics, *, now: datetime) -> None:
    for check in CHECKS:
        good = job_runs.good_runs(check, now=now).first()
        metrics.set(
            "run_last_success_timestamp_seconds",
            "As of when this check was last made well; 0 if it never was.",
            job_runs.answered_for(good) if good else 0,
            check=check.name,
        )
        if run := job_runs.latest_run_with(check, now=now):
            _fill_run_of(check, run, metrics)
    if last := job_runs.latest_ended(now=now).first():
        ended_at = last.finished_at or last.last_seen_at
        metrics.set("run_last_end_timestamp_seconds", "When the last run ended, good or not.", ended_at)
        length = (ended_at - last.started_at).total_seconds()
        metrics.set("run_duration_seconds", "Of the last run.", length)


def _fill_run_of(check: Check, run: EngagementJobRun, metrics: _Metrics) -> None:
    counts = run.checks[check.name]
    for outcome in ("succeeded", "failed"):
        labels = {"check": check.name, "outcome": outcome}
        metrics.set("run_users", "Of the last run that made this check.", counts.get(outcome, 0), **labels)
    if check.sends_goodbye:
        metrics.set("run_still_due_users", "Left by the last run that sends goodbyes.", run.still_due)
        for reason, number in run.skipped_by_reason.items():
            help_text = "Skipped by the last run that sends goodbyes."
            metrics.set("run_skipped_users", help_text, number, reason=reason)


def _fill_messages(metrics: _Metrics, pauses: Collection[SendingChannel], *, now: datetime) -> None:
    backlog = dashboard.message_backlog(now=now)
    numbers = {
        MessageStatus.PENDING: backlog.pending,
        MessageStatus.SENDING: backlog.sending,
        MessageStatus.UNKNOWN: backlog.unknown,
        MessageStatus.FAILED: backlog.failed,
    }
    for status, number in numbers.items():
        metrics.set("messages", "Messages that have not ended well.", number, status=status.value)
    metrics.set("messages_sent_last_day", "Messages sent in the last 24 hours.", backlog.sent_of_late)
    oldest = None if _is_paused(pauses) else backlog.oldest_due_at
    waited = (now - oldest).total_seconds() if oldest else 0.0
    help_text = "How late the oldest due message is; 0 without one, and while this sender is paused."
    metrics.set("oldest_waiting_seconds", help_text, waited)
    metrics.set("last_sent_timestamp_seconds", "When a message was last sent.", deliveries.last_send_at())


def _is_paused(pauses: Collection[SendingChannel]) -> bool:
    """Whether the backend of this project is paused: then no message is late."""
    with suppress(ImproperlyConfigured):
        return deliveries.is_whole_paused(named_backend().name, pauses)
    return False
