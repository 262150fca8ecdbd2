"""Accounts that look at the admin."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from django.contrib.auth.models import Group, Permission, User
from django.test import Client
from freezegun import freeze_time

from engagement.groups import SUPPORT, VIEWERS
from tests.factories import NOW

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


def logged_in(name: str) -> tuple[User, Client]:
    """A new staff account and its browser."""
    account, client = User.objects.create_user(name, is_staff=True), Client()
    client.force_login(account)
    return account, client


@pytest.fixture
def account_with(db: None) -> Callable[..., Client]:
    """A client of a staff account with these permissions, and in a group if one is given."""

    def log_in(*codenames: str, group: str = "") -> Client:
        account = User.objects.create_user(group or f"has {' '.join(codenames)}", is_staff=True)
        account.user_permissions.set(Permission.objects.filter(codename__in=codenames))
        account.groups.set(Group.objects.filter(name=group))
        client = Client()
        client.force_login(account)
        return client

    return log_in


@pytest.fixture
def viewer(account_with: Callable[..., Client]) -> Client:
    """Sees everything but addresses, and may not act."""
    return account_with(group=VIEWERS)


@pytest.fixture
def support(account_with: Callable[..., Client]) -> Client:
    """Sees everything, and may perform all support actions."""
    return account_with(group=SUPPORT)


@pytest.fixture
def frozen() -> Iterator[None]:
    """The clock stands still at NOW."""
    with freeze_time(NOW):
        yield
