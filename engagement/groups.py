"""Two groups for the admin: viewers, and support people who may also act."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from django.apps import apps as all_apps
from django.contrib.auth import get_permission_codename
from django.contrib.auth.management import create_permissions

if TYPE_CHECKING:
    from django.apps import AppConfig
    from django.apps.registry import Apps
    from django.contrib.auth.models import Permission
    from django.db.models import QuerySet

VIEWERS: Final = "Engagement viewers"
SUPPORT: Final = "Engagement support"
GROUPS: Final = (VIEWERS, SUPPORT)
"""The groups that `migrate` creates."""

ACTIONS: Final = (
    "bring_back",
    "cancel_message",
    "retry_message",
    "resolve_message",
    "resume_sending",
    "change_opt_out",
    "undo_run",
)
"""The codenames of the permissions for support actions."""
VIEW_CONTACT: Final = "view_contact"
VIEW_TOKENS: Final = "view_apitoken"
"""Tokens are a matter of administrators."""


def assignable_permissions() -> QuerySet[Permission]:
    """The permissions of the app that something asks for, by name.

    Django also makes permissions to add, change and delete rows, which the admin never allows.
    """
    app = all_apps.get_app_config("engagement")
    unused = [
        get_permission_codename(action, model._meta)  # noqa: SLF001  documented by Django
        for model in app.get_models()
        for action in ("add", "change", "delete")
    ]
    permissions = all_apps.get_model("auth", "Permission").objects
    return permissions.filter(content_type__app_label=app.label).exclude(codename__in=unused).order_by("name")


def make_groups(*, app_config: AppConfig, using: str, apps: Apps = all_apps, **options: object) -> None:  # noqa: ARG001  of the signal
    """Create the missing groups with their permissions. Called after every `migrate`.

    An existing group keeps its permissions, so that a permission that an administrator removed stays
    removed.
    """
    try:
        group_model = apps.get_model("auth", "Group")
        permission_model = apps.get_model("auth", "Permission")
    except LookupError:
        # The app was migrated before Django's own apps.
        return
    # Django creates them in the same signal, possibly later. Existing permissions are kept.
    create_permissions(app_config, apps=apps, using=using, verbosity=0)
    ours = permission_model.objects.using(using).filter(content_type__app_label=app_config.label)
    viewing = ours.filter(codename__startswith="view_").exclude(codename__in=(VIEW_CONTACT, VIEW_TOKENS))
    for name, permissions in (
        (VIEWERS, viewing),
        (SUPPORT, viewing | ours.filter(codename__in=(*ACTIONS, VIEW_CONTACT))),
    ):
        group, is_new = group_model.objects.using(using).get_or_create(name=name)
        if is_new:
            group.permissions.set(permissions)
