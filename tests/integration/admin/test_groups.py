"""`migrate` creates two groups with their permissions."""

from __future__ import annotations

import pytest
from django.apps import apps
from django.apps.registry import Apps
from django.contrib.auth.models import Group, Permission

from engagement.groups import SUPPORT, VIEWERS, make_groups

pytestmark = pytest.mark.django_db

ACTIONS = {
    "bring_back",
    "cancel_message",
    "change_opt_out",
    "resolve_message",
    "resume_sending",
    "retry_message",
    "undo_run",
}


def permissions_of(name: str) -> set[str]:
    return set(Group.objects.get(name=name).permissions.values_list("codename", flat=True))


def migrate_again() -> None:
    make_groups(app_config=apps.get_app_config("engagement"), using="default")


def test_viewers_see_everything_but_addresses_and_may_not_act() -> None:
    assert permissions_of(VIEWERS) == {
        "view_engagementjobrun",
        "view_engagementmessage",
        "view_engagementstatetransition",
        "view_sendingchannel",
        "view_userengagementstate",
        "view_userprofile",
    }


def test_support_sees_addresses_and_may_act() -> None:
    assert permissions_of(SUPPORT) == permissions_of(VIEWERS) | ACTIONS | {"view_contact"}


def test_removed_permission_stays_removed() -> None:
    Group.objects.get(name=SUPPORT).permissions.remove(Permission.objects.get(codename="view_contact"))
    migrate_again()
    assert "view_contact" not in permissions_of(SUPPORT)


def test_deleted_group_is_created_again() -> None:
    before = permissions_of(SUPPORT)
    Group.objects.get(name=SUPPORT).delete()
    migrate_again()
    assert permissions_of(SUPPORT) == before


def test_app_can_be_migrated_before_the_apps_of_django() -> None:
    make_groups(app_config=apps.get_app_config("engagement"), using="default", apps=Apps())
