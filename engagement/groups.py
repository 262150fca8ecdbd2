"""Two groups of the admin: who may look, and who may also act."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from django.apps import apps as all_apps
from django.contrib.auth.management import create_permissions

if TYPE_CHECKING:
    from django.apps import AppConfig
    from django.apps.registry import Apps

VIEWERS: Final = "Engagement viewers"
SUPPORT: Final = "Engagement support"

ACTIONS: Final = ("bring_back", "cancel_message", "retry_message", "change_opt_out")
"""What support may do, by the codename of its permission."""
VIEW_CONTACT: Final = "view_contact"


def make_groups(*, app_config: AppConfig, using: str, apps: Apps = all_apps, **options: object) -> None:  # noqa: ARG001  of the signal
    """Make the groups that do not exist, with their permissions; called after every `migrate`.

    A group that exists is left as it is: who takes a permission from it must not get it back with the
    next update.
    """
    try:
        group_model = apps.get_model("auth", "Group")
        permission_model = apps.get_model("auth", "Permission")
    except LookupError:
        # The app alone was migrated, into a database without Django's own tables.
        return
    # Django makes them at the same moment, but perhaps after us; what is there is left as it is.
    create_permissions(app_config, apps=apps, using=using, verbosity=0)
    ours = permission_model.objects.using(using).filter(content_type__app_label=app_config.label)
    looking = ours.filter(codename__startswith="view_").exclude(codename=VIEW_CONTACT)
    for name, permissions in (
        (VIEWERS, looking),
        (SUPPORT, looking | ours.filter(codename__in=(*ACTIONS, VIEW_CONTACT))),
    ):
        group, is_new = group_model.objects.using(using).get_or_create(name=name)
        if is_new:
            group.permissions.set(permissions)
