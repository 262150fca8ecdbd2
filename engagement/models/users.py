"""Users, their current state and their state transitions."""

from __future__ import annotations

import re
from typing import Final

from django.contrib.postgres.functions import RandomUUID
from django.contrib.postgres.indexes import OpClass
from django.db import models
from django.db.models.fields.json import KT
from django.db.models.functions import Now, Reverse
from django.db.models.lookups import IsNull
from django.utils.translation import gettext_lazy as _
from uuid_utils.compat import uuid7

from engagement.models.choices import Destination, one_of, times_in_range
from engagement.states import State, Trigger

VISIBLE: Final = (
    r"[^\u0001-\u0020\u007F-\u00A0\u00AD\u1680\u2000-\u200F\u2028-\u202F\u205F-\u206F\u3000\uFEFF]"
)
"""A regular expression, for PostgreSQL and Python: a character that is neither blank nor invisible.

An address without one is none.
"""


_BEFORE_AT: Final = models.Func(
    "whatsapp_jid", models.Value("@"), models.Value(1), function="split_part", output_field=models.TextField()
)
_WITHOUT_DEVICE: Final = models.Func(
    _BEFORE_AT, models.Value(":"), models.Value(1), function="split_part", output_field=models.TextField()
)
NUMBER: Final = models.Func(
    _WITHOUT_DEVICE,
    models.Value("[^0-9]"),
    models.Value(""),
    models.Value("g"),
    function="regexp_replace",
    output_field=models.TextField(),
)
"""The digits of an address before the @, without the number of a device: nearly always the phone number."""


def is_address(text: str | None) -> bool:
    """Whether the text counts as an address, as VISIBLE has it for the database."""
    return re.search(VISIBLE, text or "") is not None


class UserProfile(models.Model):
    """A user of the assistant: address, preferences and consent."""

    user_id = models.UUIDField(
        _("user ID"), primary_key=True, default=uuid7, db_default=RandomUUID(), editable=False
    )
    whatsapp_jid = models.TextField(
        _("WhatsApp JID"),
        null=True,
        blank=True,
        help_text=_("The address for this user's messages. A user without one receives none."),
    )
    preferred_destination = models.TextField(
        _("preferred destination"),
        choices=Destination.choices,
        default=Destination.INDIVIDUAL,
        db_default=Destination.INDIVIDUAL,
    )
    locale = models.TextField(_("locale"), default="pt-BR", db_default="pt-BR")
    time_zone = models.TextField(
        _("time zone"),
        null=True,
        blank=True,
        help_text=_("Where it is day or night for this user, such as America/Bahia."),
    )
    reengagement_opt_out = models.BooleanField(
        _("opted out"), default=False, db_default=False, help_text=_("Does not want goodbyes.")
    )
    opt_out_changed_at = models.DateTimeField(
        _("opt out changed at"),
        null=True,
        blank=True,
        editable=False,
        help_text=_("The last time that a service recorded an opt-out or opt-in."),
    )
    opt_out_source = models.TextField(
        _("opt-out source"),
        null=True,
        blank=True,
        editable=False,
        help_text=_(
            "By what the last opt-out or opt-in came: message, support, api, provider or suppression."
        ),
    )
    created_at = models.DateTimeField(_("created at"), db_default=Now(), editable=False)
    updated_at = models.DateTimeField(_("updated at"), db_default=Now(), editable=False)

    class Meta:
        db_table = "user_profiles"
        verbose_name = _("user")
        verbose_name_plural = _("users")
        constraints = (
            one_of("preferred_destination", Destination, name="user_profiles_destination_known"),
            *times_in_range("profile", "opt_out_changed_at", "created_at", "updated_at"),
        )
        indexes = (
            # Read by the admin: search by address or by the start of an address.
            models.Index(fields=("whatsapp_jid",), opclasses=("text_pattern_ops",), name="profile_jid_idx"),
            # Read by the admin: search by the end of a number.
            models.Index(OpClass(Reverse(NUMBER), name="text_pattern_ops"), name="profile_number_end_idx"),
            # Read by the admin: the newest users.
            models.Index(fields=("created_at", "user_id"), name="profile_created_idx"),
            # Read by the dashboard and by the job's skip counts: users who opted out or have no address.
            models.Index(
                fields=("user_id",),
                condition=models.Q(reengagement_opt_out=True)
                | models.Q(whatsapp_jid__isnull=True)
                | ~models.Q(whatsapp_jid__regex=VISIBLE),
                name="profile_skipped_idx",
            ),
            # Read by the admin: the users who opted out this week.
            models.Index(
                fields=("opt_out_changed_at", "user_id"),
                condition=models.Q(reengagement_opt_out=True),
                name="profile_opted_out_idx",
            ),
        )
        permissions = (
            ("view_contact", "Can see users' WhatsApp addresses"),
            ("change_opt_out", "Can opt users out and in"),
        )

    def __str__(self) -> str:
        return str(self.user_id)


class UserEngagementState(models.Model):
    """The current state of one user. Only `engagement.services.state_machine` changes it."""

    id = models.UUIDField(_("ID"), primary_key=True, default=uuid7, db_default=RandomUUID(), editable=False)
    user = models.OneToOneField(
        UserProfile, verbose_name=_("user"), on_delete=models.CASCADE, related_name="engagement_state"
    )
    state = models.TextField(_("state"), choices=State.choices, default=State.ACTIVE, db_default=State.ACTIVE)
    last_activity_at = models.DateTimeField(_("last activity at"), db_default=Now())
    goodbye_sent_at = models.DateTimeField(_("goodbye sent at"), null=True, blank=True)
    goodbye_expires_at = models.DateTimeField(_("goodbye expires at"), null=True, blank=True)
    remind_at = models.DateTimeField(_("remind at"), null=True, blank=True)
    created_at = models.DateTimeField(_("created at"), db_default=Now(), editable=False)
    updated_at = models.DateTimeField(_("updated at"), db_default=Now(), editable=False)

    class Meta:
        db_table = "user_engagement_states"
        verbose_name = _("state")
        verbose_name_plural = _("states")
        constraints = (
            one_of("state", State, name="engagement_state_known"),
            *times_in_range(
                "state", "last_activity_at", "goodbye_sent_at", "goodbye_expires_at", "remind_at"
            ),
            *times_in_range("state", "created_at", "updated_at"),
            # Without these times no check would end the state.
            models.CheckConstraint(
                condition=~models.Q(state=State.GOODBYE_SENT)
                | models.Q(goodbye_sent_at__isnull=False, goodbye_expires_at__isnull=False),
                name="goodbye_sent_has_its_dates",
            ),
            models.CheckConstraint(
                condition=~models.Q(state=State.REMIND_LATER) | models.Q(remind_at__isnull=False),
                name="remind_later_has_its_date",
            ),
        )
        indexes = (
            # Read by the check inactivity_14d, in this order, and by its skip counts.
            models.Index(
                fields=("last_activity_at", "user"),
                condition=models.Q(state=State.ACTIVE),
                name="state_active_idx",
            ),
            # Read by the check goodbye_timeout.
            models.Index(
                fields=("goodbye_expires_at", "user"),
                condition=models.Q(state=State.GOODBYE_SENT),
                name="state_goodbye_sent_idx",
            ),
            # Read by the check reminder_due.
            models.Index(
                fields=("remind_at", "user"),
                condition=models.Q(state=State.REMIND_LATER),
                name="state_remind_later_idx",
            ),
            # Read by the admin: users by their last message.
            # For a list only. With the user as well, PostgreSQL might take it for the claim of a run.
            models.Index(fields=("last_activity_at",), name="state_last_activity_idx"),
            # Read by the admin: users of one state by their last message. Active users have their own index.
            models.Index(
                fields=("state", "last_activity_at", "user"),
                condition=~models.Q(state=State.ACTIVE),
                name="state_others_idx",
            ),
        )
        permissions = (("bring_back", "Can bring users back"),)

    def __str__(self) -> str:
        return f"{self.user_id}: {self.state}"


class EngagementStateTransition(models.Model):
    """One transition of one user. The state machine adds rows and never changes them.

    `user` has no foreign-key constraint. The log outlives the user, and the state machine has locked the
    user's state row, so the user exists when the row is written.
    """

    id = models.UUIDField(_("ID"), primary_key=True, default=uuid7, db_default=RandomUUID(), editable=False)
    user = models.ForeignKey(
        UserProfile,
        verbose_name=_("user"),
        on_delete=models.DO_NOTHING,
        db_constraint=False,
        db_index=False,
        related_name="engagement_transitions",
    )
    from_state = models.TextField(_("from state"), choices=State.choices)
    to_state = models.TextField(_("to state"), choices=State.choices)
    trigger = models.TextField(_("trigger"), choices=Trigger.choices)
    metadata = models.JSONField(_("metadata"), default=dict, db_default=models.Value({}, models.JSONField()))
    created_at = models.DateTimeField(_("created at"), db_default=Now())

    class Meta:
        db_table = "engagement_state_transitions"
        verbose_name = _("transition")
        verbose_name_plural = _("transitions")
        constraints = (
            one_of("from_state", State, name="transition_from_state_known"),
            one_of("to_state", State, name="transition_to_state_known"),
            one_of("trigger", Trigger, name="transition_trigger_known"),
            *times_in_range("transition", "created_at"),
        )
        indexes = (
            # Read by the admin, explain_engagement and undo_engagement_run (the history of one user) and
            # by the state machine (the time since which a user has been dormant).
            models.Index(fields=("user", "created_at"), name="transition_user_idx"),
            # Read by undo_engagement_run, by a run with workers and by the admin (the users of a run). With a
            # million rows: 1 to 28 ms instead of 40 to 310, for runs of 6,000 and 100,000 users; 4.6 MB, and
            # 9% more of the server's time for an INSERT. With the id as a second column, pages of a large run
            # take 1 ms instead of 28, but the index has 47 MB and costs 23%.
            models.Index(
                KT("metadata__job_id"),
                condition=models.Q(IsNull(KT("metadata__job_id"), rhs=False)),
                name="transition_run_idx",
            ),
            # Read by the admin: how many transitions of a run were undone, and by whom. 5 ms instead of 130
            # for the runs of one page; other inserts pay 1%.
            models.Index(
                KT("metadata__undone_job_id"),
                condition=models.Q(trigger=Trigger.RUN_UNDONE),
                name="transition_undone_run_idx",
            ),
        )

    def __str__(self) -> str:
        return f"{self.user_id}: {self.from_state} -> {self.to_state}"
