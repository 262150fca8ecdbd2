"""Staff accounts and their browsers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from django.contrib.auth.models import Group, Permission, User
from django.test import Client

from engagement.groups import SUPPORT, VIEWERS

if TYPE_CHECKING:
    from collections.abc import Callable


def logged_in(name: str) -> tuple[User, Client]:
    """A new staff account and its browser."""
    account, client = User.objects.create_user(name, is_staff=True), Client()
    client.force_login(account)
    return account, client


@pytest.fixture
def member_of(db: None) -> Callable[[str], Client]:
    """The browser of a staff account in a group."""

    def log_in(group_name: str) -> Client:
        account, client = logged_in(f"somebody of {group_name}")
        account.groups.add(Group.objects.get(name=group_name))
        return client

    return log_in


@pytest.fixture
def viewer(member_of: Callable[[str], Client]) -> Client:
    """May view, but sees no address and may not act."""
    return member_of(VIEWERS)


@pytest.fixture
def support(member_of: Callable[[str], Client]) -> Client:
    """May view everything and take manual actions."""
    return member_of(SUPPORT)


@pytest.fixture
def account_that_may(db: None) -> Callable[..., Client]:
    """The browser of a staff account with these permissions and no group."""

    def log_in(*codenames: str) -> Client:
        account, client = logged_in(f"may {' '.join(codenames)}")
        account.user_permissions.set(Permission.objects.filter(codename__in=codenames))
        return client

    return log_in
