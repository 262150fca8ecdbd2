"""The ledger of the daily job: one row for each run."""

from __future__ import annotations

from datetime import UTC

from django.contrib.postgres.functions import RandomUUID
from django.db import models
from django.db.models.functions import Least, Now
from django.utils.translation import gettext_lazy as _
from uuid_utils.compat import uuid7

from engagement.models.choices import GOOD, RunStatus, one_of, times_in_range


class EngagementJobRun(models.Model):
    """One run of the daily job: its options and its result. `engagement.services.job.ledger` writes it.

    `now` is the time that the run compares with. All other times come from the database's clock.
    """

    job_id = models.UUIDField(
        _("run ID"), primary_key=True, default=uuid7, db_default=RandomUUID(), editable=False
    )
    status = models.TextField(
        _("status"), choices=RunStatus.choices, default=RunStatus.RUNNING, db_default=RunStatus.RUNNING
    )
    now = models.DateTimeField(_("as of"), db_default=Now())
    started_at = models.DateTimeField(_("started at"), db_default=Now())
    last_seen_at = models.DateTimeField(_("last seen at"), db_default=Now())
    finished_at = models.DateTimeField(_("finished at"), null=True, blank=True)
    processed = models.GeneratedField(
        verbose_name=_("processed"),
        expression=models.F("succeeded") + models.F("failed"),
        output_field=models.IntegerField(),
        db_persist=True,
    )
    succeeded = models.IntegerField(_("succeeded"), default=0, db_default=0)
    failed = models.IntegerField(_("failed"), default=0, db_default=0)
    skipped = models.IntegerField(_("skipped"), default=0, db_default=0)
    skipped_by_reason = models.JSONField(
        _("skipped by reason"), default=dict, db_default=models.Value({}, models.JSONField())
    )
    checks = models.JSONField(
        _("checks"),
        default=dict,
        db_default=models.Value({}, models.JSONField()),
        help_text=_("Counts per check."),
    )
    errors = models.JSONField(
        _("errors"),
        default=list,
        db_default=models.Value([], models.JSONField()),
        help_text=_("The first users who failed. The log lists all of them."),
    )
    still_due = models.IntegerField(
        _("still due"), null=True, blank=True, help_text=_("Due users that the run left; empty if unknown.")
    )
    failure = models.TextField(
        _("failure"), null=True, blank=True, help_text=_("The error that stopped the run.")
    )
    options = models.JSONField(_("options"), default=dict, db_default=models.Value({}, models.JSONField()))
    host = models.TextField(_("host"), default="", db_default="")
    pid = models.IntegerField(_("process ID"), null=True, blank=True)
    version = models.TextField(_("version"), default="", db_default="")

    class Meta:
        db_table = "engagement_job_runs"
        verbose_name = _("run")
        verbose_name_plural = _("runs")
        permissions = (("undo_run", "Can undo runs"),)
        constraints = (
            one_of("status", RunStatus, name="job_run_status_known"),
            *times_in_range("job_run", "now", "started_at", "last_seen_at", "finished_at"),
            models.CheckConstraint(
                condition=models.Q(status=RunStatus.RUNNING, finished_at__isnull=True)
                | ~models.Q(status=RunStatus.RUNNING) & models.Q(finished_at__isnull=False),
                name="job_run_finished_unless_running",
            ),
        )
        indexes = (
            # Read by the admin's list, by check_engagement_runs (runs since the last good one) and by the
            # safety limit (the usual number of goodbyes).
            models.Index(fields=("-started_at",), name="job_run_started_idx"),
            # Read by check_engagement_runs: the latest good run.
            models.Index(
                Least("now", "finished_at").desc(),
                condition=models.Q(status__in=GOOD),
                name="job_run_good_idx",
            ),
        )

    def __str__(self) -> str:
        # No status here: after a killed process it would be wrong.
        now = self.now.astimezone(UTC)
        return f"{now.day} {now:%B} {now.year}, {now:%H:%M} UTC"
