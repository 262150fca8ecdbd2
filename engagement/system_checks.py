"""The system check of the app's settings."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.core.checks import CheckMessage, Error, register
from django.core.exceptions import ImproperlyConfigured

from engagement.conf import MESSAGE_BACKEND, engagement_settings, raw_setting, refuse_misspelt_names
from engagement.message_backends.base import configured_backend
from engagement.services.delivery.settings import delivery_settings

if TYPE_CHECKING:
    from collections.abc import Sequence

    from django.apps import AppConfig


@register()
def check_engagement_settings(
    app_configs: Sequence[AppConfig] | None,  # noqa: ARG001  Django's interface
    **kwargs: object,  # noqa: ARG001
) -> list[CheckMessage]:
    """Report the first setting that is invalid or misspelt."""
    try:
        refuse_misspelt_names()
        engagement_settings()
        delivery_settings()
        if raw_setting(MESSAGE_BACKEND):
            configured_backend()
    except ImproperlyConfigured as error:
        return [Error(str(error), id="engagement.E001")]
    return []
