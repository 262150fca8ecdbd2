"""The bearer tokens of the HTTP API."""

from __future__ import annotations

from django.contrib.postgres.fields import ArrayField
from django.contrib.postgres.functions import RandomUUID
from django.db import models
from django.db.models.functions import Now
from django.utils.translation import gettext_lazy as _
from uuid_utils.compat import uuid7

from engagement.models.choices import times_in_range


class ApiScope(models.TextChoices):
    """What a token allows."""

    MESSAGES = "messages", _("report messages of users")
    SEND = "send", _("lease messages and report outcomes")
    RECEIPTS = "receipts", _("report receipts of all messages")
    EXPLAIN = "explain", _("read the explanation of a user")
    PREFERENCES = "preferences", _("opt users out and in")


class ApiToken(models.Model):
    """A token of one client. Only its digest is kept; the token is shown once, when it is made."""

    id = models.UUIDField(_("ID"), primary_key=True, default=uuid7, db_default=RandomUUID(), editable=False)
    client = models.TextField(
        _("client"),
        help_text=_("Lower-case letters, digits and hyphens; names the client in logs and lists."),
    )
    token_digest = models.TextField(_("token digest"), editable=False)
    scopes = ArrayField(models.TextField(choices=ApiScope.choices), verbose_name=_("scopes"))
    created_at = models.DateTimeField(_("created at"), db_default=Now(), editable=False)
    created_by = models.TextField(_("created by"), null=True, blank=True, editable=False)
    last_used_at = models.DateTimeField(
        _("last used at"), null=True, blank=True, editable=False, help_text=_("To the hour.")
    )
    revoked_at = models.DateTimeField(_("revoked at"), null=True, blank=True, editable=False)

    class Meta:
        db_table = "engagement_api_tokens"
        verbose_name = _("API token")
        verbose_name_plural = _("API tokens")
        default_permissions = ("view",)
        permissions = (("manage_api_tokens", "Can make and revoke API tokens"),)
        constraints = (
            models.UniqueConstraint(fields=("token_digest",), name="api_token_digest_unique"),
            models.CheckConstraint(
                condition=models.Q(client__regex=r"^[a-z0-9][a-z0-9-]{0,39}$"), name="api_token_client_plain"
            ),
            models.CheckConstraint(
                condition=models.Q(scopes__contained_by=ApiScope.values), name="api_token_scopes_known"
            ),
            *times_in_range("api_token", "created_at", "last_used_at", "revoked_at"),
        )

    def __str__(self) -> str:
        return f"{self.client} ({', '.join(self.scopes)})"
