"""Two groups are there from the first migrate on."""

from __future__ import annotations

import pytest
from django.apps import apps
from django.apps.registry import Apps
from django.contrib.auth.models import Group, Permission

from engagement.groups import SUPPORT, VIEWERS, make_groups

pytestmark = pytest.mark.django_db

ACTIONS = {"bring_back", "cancel_message", "change_opt_out", "retry_message"}


def permissions_of(name: str) -> set[str]:
    return set(Group.objects.get(name=name).permissions.values_list("codename", flat=True))


def migrate_again() -> None:
    make_groups(app_config=apps.get_app_config("engagement"), using="default")


def test_viewers_see_everything_but_addresses_and_cannot_act() -> None:
    assert permissions_of(VIEWERS) == {
        "view_engagementjobrun",
        "view_engagementmessage",
        "view_engagementstatetransition",
        "view_userengagementstate",
        "view_userprofile",
    }


def test_support_sees_addresses_and_acts() -> None:
    assert permissions_of(SUPPORT) == permissions_of(VIEWERS) | ACTIONS | {"view_contact"}


def test_permission_that_was_taken_from_a_group_stays_away() -> None:
    Group.objects.get(name=SUPPORT).permissions.remove(Permission.objects.get(codename="view_contact"))
    migrate_again()
    assert "view_contact" not in permissions_of(SUPPORT)


def test_group_that_was_deleted_is_made_again() -> None:
    before = permissions_of(SUPPORT)
    Group.objects.get(name=SUPPORT).delete()
    migrate_again()
    assert permissions_of(SUPPORT) == before


def test_app_can_be_migrated_before_djangos_own() -> None:
    make_groups(app_config=apps.get_app_config("engagement"), using="default", apps=Apps())
