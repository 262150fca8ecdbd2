"""Thin configurations of other people's apps: a command that shows no pages loads none of their code."""

from __future__ import annotations

from django.apps import AppConfig
from django.contrib.admin.apps import SimpleAdminConfig


class AdminConfig(SimpleAdminConfig):
    """The admin with the site of the theme. Its pages are found when `config.urls` is loaded."""

    default_site = "config.admin.site.Site"


class ThemeConfig(AppConfig):
    """The theme's templates and static files. Its own configuration would build the site at once."""

    name = "unfold"


class LoginThrottlingConfig(AppConfig):
    """The tables of django-axes. `config.urls` switches it on, where logins come in."""

    name = "axes"
    default_auto_field = "django.db.models.AutoField"
