"""What all processes that send by one backend share."""

from __future__ import annotations

from django.contrib.postgres.functions import RandomUUID
from django.db import models
from django.db.models.functions import Now
from django.utils.translation import gettext_lazy as _
from uuid_utils.compat import uuid7

from engagement.models.choices import times_in_range


class SendingChannel(models.Model):
    """The pause and the next slot of a backend, or of one template of it.

    `scope` is empty for the whole backend; else it names a template: `{message key}/{language}`.
    """

    id = models.UUIDField(_("ID"), primary_key=True, default=uuid7, db_default=RandomUUID(), editable=False)
    backend = models.TextField(_("backend"))
    scope = models.TextField(_("scope"), default="", db_default="", blank=True)
    paused_until = models.DateTimeField(_("paused until"), null=True, blank=True)
    pause_reason = models.TextField(_("pause reason"), null=True, blank=True)
    next_slot_at = models.DateTimeField(
        _("next slot at"), null=True, blank=True, help_text=_("Before this time no further message is sent.")
    )
    slowed_until = models.DateTimeField(
        _("slowed until"), null=True, blank=True, help_text=_("How long a refusal has asked to wait.")
    )
    resumed_at = models.DateTimeField(
        _("resumed at"),
        null=True,
        blank=True,
        help_text=_("When a person last ended its pauses. Failures from before do not pause it again."),
    )
    updated_at = models.DateTimeField(_("updated at"), db_default=Now())

    class Meta:
        db_table = "engagement_sending_channels"
        verbose_name = _("sending channel")
        verbose_name_plural = _("sending channels")
        default_permissions = ("view",)
        permissions = (("resume_sending", "Can end pauses of sending"),)
        constraints = (
            models.UniqueConstraint(fields=("backend", "scope"), name="channel_backend_scope_unique"),
            *times_in_range(
                "channel", "paused_until", "next_slot_at", "slowed_until", "resumed_at", "updated_at"
            ),
        )

    def __str__(self) -> str:
        return f"{self.backend} {self.scope}".rstrip()
