"""The people who look at the admin."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from django.contrib.auth.models import Group, Permission, User
from django.test import Client

from engagement.groups import SUPPORT, VIEWERS

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.fixture
def member_of(db: None) -> Callable[[str], Client]:
    """The browser of somebody who belongs to a group."""

    def log_in(group_name: str) -> Client:
        person = User.objects.create_user(f"somebody of {group_name}", is_staff=True)
        person.groups.add(Group.objects.get(name=group_name))
        client = Client()
        client.force_login(person)
        return client

    return log_in


@pytest.fixture
def viewer(member_of: Callable[[str], Client]) -> Client:
    """Sees and cannot act, and sees no address."""
    return member_of(VIEWERS)


@pytest.fixture
def support(member_of: Callable[[str], Client]) -> Client:
    """Sees everything and may do what can be done by hand."""
    return member_of(SUPPORT)


@pytest.fixture
def account_that_may(db: None) -> Callable[..., Client]:
    """The browser of somebody who has the permissions with these codenames, and no group."""

    def log_in(*codenames: str) -> Client:
        person = User.objects.create_user(f"may {' '.join(codenames)}", is_staff=True)
        person.user_permissions.set(Permission.objects.filter(codename__in=codenames))
        client = Client()
        client.force_login(person)
        return client

    return log_in
