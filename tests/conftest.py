"""What several tests share."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.database import execute, heal

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytest_django.plugin import DjangoDbBlocker


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--faults",
        choices=("quick", "middle", "full"),
        default="quick",
        help="how many users and faults the acceptance tests have: quick for every day, middle for CI",
    )
    parser.addoption(
        "--screenshots",
        action="store_true",
        help="make the pictures of docs/screenshots anew, of the sample data; needs Chromium",
    )


@pytest.fixture(scope="session")
def django_db_setup(django_db_setup: None, django_db_blocker: DjangoDbBlocker) -> Iterator[None]:
    """Let no session of a process that a test has killed keep the test database from being dropped."""
    yield
    with django_db_blocker.unblock():
        execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )


@pytest.fixture
def committed(transactional_db: None) -> Iterator[None]:
    """Tests that need rows other connections can see; what they do to the tables is taken back."""
    yield
    heal()
