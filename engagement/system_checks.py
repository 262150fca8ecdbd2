"""The system check of the app's settings."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.core.checks import CheckMessage, Error, register
from django.core.exceptions import ImproperlyConfigured

from engagement.conf import engagement_settings, refuse_misspelt_names

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
    except ImproperlyConfigured as error:
        return [Error(str(error), id="engagement.E001")]
    return []
