"""The same job with django-fsm-2: its field, its transition, its guard against concurrent changes."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

from django.db import models, transaction
from django_fsm import ConcurrentTransitionMixin, FSMField, transition
from uuid_utils.compat import uuid7

from engagement import message_catalogue as messages
from engagement.models import EngagementMessage, EngagementStateTransition, UserProfile
from engagement.selectors.goodbyes import goodbye_key
from tests.bench.tables import NOW

if TYPE_CHECKING:
    from datetime import datetime


class FsmState(ConcurrentTransitionMixin, models.Model):
    """The state table, as that library would have it."""

    id = models.UUIDField(primary_key=True)
    user = models.OneToOneField(UserProfile, on_delete=models.CASCADE, related_name="+")
    state = FSMField(default="active", protected=True)
    last_activity_at = models.DateTimeField()
    goodbye_sent_at = models.DateTimeField(null=True)
    goodbye_expires_at = models.DateTimeField(null=True)
    remind_at = models.DateTimeField(null=True)
    updated_at = models.DateTimeField()

    class Meta:
        app_label = "bench"
        managed = False
        db_table = "user_engagement_states"

    def __str__(self) -> str:
        return f"{self.pk}: {self.state}"

    @transition(field=state, source="active", target="goodbye_sent")
    def say_goodbye(self, now: datetime) -> None:
        self.goodbye_sent_at = now
        self.goodbye_expires_at = now + timedelta(hours=48)
        self.remind_at = None
        self.updated_at = now


def run() -> None:
    """Move every due user with the library's transition, and log and queue as the job does."""
    job_id = uuid7()
    due: Any = FsmState._default_manager.filter(
        state="active",
        last_activity_at__lt=NOW - timedelta(days=14),
        user__reengagement_opt_out=False,
        user__whatsapp_jid__gt="",
    ).select_related("user")
    for row in due.iterator():
        with transaction.atomic():
            row.say_goodbye(NOW)
            row.save()
            goodbye, _ = EngagementMessage.objects.get_or_create(
                idempotency_key=goodbye_key(row.user_id, now=NOW),
                defaults={
                    "user_id": row.user_id,
                    "message_type": "goodbye",
                    "message_key": messages.GOODBYE,
                    "destination": row.user.preferred_destination,
                    "destination_jid": row.user.whatsapp_jid,
                    "scheduled_for": NOW,
                    "created_at": NOW,
                },
            )
            EngagementStateTransition.objects.create(
                user_id=row.user_id,
                from_state="active",
                to_state="goodbye_sent",
                trigger="inactivity_14d",
                metadata={
                    "days_inactive": (NOW - row.last_activity_at).days,
                    "trigger_source": "scheduler",
                    "job_id": str(job_id),
                    "goodbye_message_id": str(goodbye.pk),
                },
                created_at=NOW,
            )
