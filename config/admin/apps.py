"""App configurations for third-party apps, so that commands that show no pages do not load their code."""

from __future__ import annotations

from django.apps import AppConfig
from django.contrib.admin.apps import SimpleAdminConfig


class StaffConfig(AppConfig):
    """The preferences of staff accounts."""

    name = "config.admin"
    label = "staff"
    default_auto_field = "django.db.models.BigAutoField"


class AdminConfig(SimpleAdminConfig):
    """The admin with the project's site. `config.urls` discovers its pages."""

    default_site = "config.admin.site.Site"


class ThemeConfig(AppConfig):
    """The theme's templates and static files. Its own configuration creates the site immediately."""

    name = "unfold"


class LoginThrottlingConfig(AppConfig):
    """The tables of django-axes. `config.urls` enables the throttling."""

    name = "axes"
    default_auto_field = "django.db.models.AutoField"
