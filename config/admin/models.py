"""What staff accounts prefer."""

from __future__ import annotations

from django.conf import settings
from django.db import models


class StaffPreferences(models.Model):
    """The language and the time zone of one staff account. Empty means the default."""

    account = models.OneToOneField(
        settings.AUTH_USER_MODEL, on_delete=models.CASCADE, primary_key=True, related_name="+"
    )
    language = models.TextField(blank=True, default="")
    time_zone = models.TextField(blank=True, default="")

    class Meta:
        db_table = "staff_preferences"
        default_permissions = ()

    def __str__(self) -> str:
        return str(self.account_id)
