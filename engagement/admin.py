"""What support people see: everything to look up, nothing to break by hand."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.contrib import admin
from django.utils import timezone

from engagement.models import (
    EngagementJobRun,
    EngagementMessage,
    EngagementStateTransition,
    UserEngagementState,
    UserProfile,
)
from engagement.run_selectors import outcome_of

if TYPE_CHECKING:
    from django.db.models import Model
    from django.http import HttpRequest

    ModelAdmin = admin.ModelAdmin[Model]
else:
    ModelAdmin = admin.ModelAdmin


class ReadOnlyAdmin(ModelAdmin):
    """To look at. States, messages and the audit log are written by the services alone."""

    list_per_page = 50
    # A search need not count the whole table beside its own results.
    show_full_result_count = False

    def has_add_permission(self, request: HttpRequest) -> bool:  # noqa: ARG002  Django's interface
        return False

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:  # noqa: ARG002
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:  # noqa: ARG002
        return False


@admin.register(UserProfile)
class UserProfileAdmin(ReadOnlyAdmin):
    """Who the users are, and whether they can be reached."""

    list_display = ("user_id", "preferred_destination", "locale", "reengagement_opt_out", "created_at")
    list_filter = ("reengagement_opt_out", "preferred_destination", "locale")
    search_fields = ("user_id__exact", "whatsapp_jid__exact")
    search_help_text = "The whole user id or the whole JID"
    ordering = ("user_id",)


@admin.register(UserEngagementState)
class UserEngagementStateAdmin(ReadOnlyAdmin):
    """Where users stand."""

    list_display = ("user_id", "state", "last_activity_at", "goodbye_expires_at", "remind_at", "updated_at")
    list_filter = ("state",)
    search_fields = ("user__user_id__exact", "user__whatsapp_jid__exact")
    search_help_text = "The whole user id or the whole JID"
    ordering = ("-id",)


@admin.register(EngagementStateTransition)
class EngagementStateTransitionAdmin(ReadOnlyAdmin):
    """How users got where they are: why did this user get this message?"""

    list_display = ("created_at", "user_id", "from_state", "trigger", "to_state")
    list_filter = ("trigger", "to_state")
    search_fields = ("user__user_id__exact", "user__whatsapp_jid__exact")
    search_help_text = "The whole user id or the whole JID"
    ordering = ("-id",)


@admin.register(EngagementMessage)
class EngagementMessageAdmin(ReadOnlyAdmin):
    """What users were, or will be, sent."""

    list_display = ("scheduled_for", "user_id", "message_type", "status", "sent_at", "retry_count")
    list_filter = ("status", "message_type")
    search_fields = ("user__user_id__exact", "user__whatsapp_jid__exact", "idempotency_key__exact")
    search_help_text = "The whole user id, JID or idempotency key"
    ordering = ("-id",)


@admin.register(EngagementJobRun)
class EngagementJobRunAdmin(ReadOnlyAdmin):
    """What each run of the daily job did."""

    list_display = (
        "started_at",
        "outcome",
        "succeeded",
        "failed",
        "skipped",
        "finished_at",
        "host",
        "job_id",
    )
    list_filter = ("status",)
    search_fields = ("job_id__exact",)
    search_help_text = "The whole job id"
    ordering = ("-started_at", "-job_id")

    @admin.display(ordering="status")
    def outcome(self, run: EngagementJobRun) -> str:
        """The status, or `vanished`."""
        return outcome_of(run, now=timezone.now())
