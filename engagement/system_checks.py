"""The system checks of the app: of its settings, and of the key that the database needs."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from django.core.checks import CheckMessage, Error, Tags, register
from django.core.checks import Warning as CheckWarning
from django.core.exceptions import ImproperlyConfigured
from django.db import DEFAULT_DB_ALIAS, DatabaseError, transaction

from engagement.conf import (
    MESSAGE_BACKEND,
    METRICS_FILE,
    engagement_settings,
    raw_setting,
    refuse_misspelt_names,
    refuse_short_suppression_key,
    staff_time_zone,
    text_setting,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from django.apps import AppConfig


_NO_FOLDER: Final = f"{METRICS_FILE} must name a file in a folder that exists; there is none on this machine."
_RELATIVE: Final = f"{METRICS_FILE} must be an absolute path, such as /var/lib/engagement/engagement.prom."
_UNVERIFIED: Final = (
    "WHATSAPP_VERIFY_TOKEN must be set beside WHATSAPP_APP_SECRET; Meta sends it to verify the webhook."
)


@register()
def check_engagement_settings(
    app_configs: Sequence[AppConfig] | None,  # noqa: ARG001  Django's interface
    **kwargs: object,  # noqa: ARG001
) -> list[CheckMessage]:
    """Report the first setting that is invalid or misspelt."""
    # Here, because the job does not check the system.
    from engagement.message_backends.base import configured_backend
    from engagement.services.delivery.settings import delivery_settings

    try:
        refuse_misspelt_names()
        engagement_settings()
        refuse_short_suppression_key()
        delivery_settings()
        staff_time_zone()
        if raw_setting(MESSAGE_BACKEND):
            configured_backend()
        if raw_setting("WHATSAPP_APP_SECRET") and not raw_setting("WHATSAPP_VERIFY_TOKEN"):
            return [Error(_UNVERIFIED, id="engagement.E001")]
    except ImproperlyConfigured as error:
        return [Error(str(error), id="engagement.E001")]
    return []


@register()
def check_metrics_file(
    app_configs: Sequence[AppConfig] | None,  # noqa: ARG001  Django's interface
    **kwargs: object,  # noqa: ARG001
) -> list[CheckMessage]:
    """Report a metrics file whose place depends on where a command is called, and warn of a missing folder.

    That is no error: systemd makes the folder when a unit first starts, which may be after `migrate`.
    """
    path = text_setting(METRICS_FILE)
    if path and not os.path.isabs(path):  # noqa: PTH117
        return [Error(_RELATIVE, id="engagement.E001")]
    # `os.path` takes a folder that may not be searched, and a name that is too long, for missing.
    if path and (os.path.isdir(path) or not os.path.isdir(os.path.dirname(path))):  # noqa: PTH112, PTH120
        return [CheckWarning(_NO_FOLDER, id="engagement.W002")]
    return []


@register(Tags.database)
def check_suppression_key(
    app_configs: Sequence[AppConfig] | None,  # noqa: ARG001  Django's interface
    databases: Sequence[str] | None = None,
    **kwargs: object,  # noqa: ARG001
) -> list[CheckMessage]:
    """Warn of a suppression list into which nobody can look, with `check --database default` and `migrate`.

    Not an error, because `migrate` needs no key. Without a database or the table there is nothing to say.
    """
    from engagement.services.suppression import KEY_MISSING, is_key_missing

    if DEFAULT_DB_ALIAS not in (databases or ()):
        return []
    with suppress(DatabaseError, ImproperlyConfigured), transaction.atomic():
        if is_key_missing():
            return [CheckWarning(KEY_MISSING, id="engagement.W001")]
    return []
