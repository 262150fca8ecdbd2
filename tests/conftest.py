"""Options and fixtures of all tests."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

import hypothesis
import pytest
from django.db import connection
from django.test import TransactionTestCase, override_settings
from django.utils import timezone, translation

# Before a test changes settings or stops the clock: the import adds settings of django-axes, and makes the
# schemas of the API, for which pydantic needs the real `datetime`.
from config import urls  # noqa: F401
from tests.database import delete_committed_rows, execute, heal

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytest_django.plugin import DjangoDbBlocker

EXAMPLES: Final = {"quick": 20, "middle": 100, "full": 100}
"""How many examples of Hypothesis a test has, unless it says otherwise."""


def pytest_xdist_auto_num_workers() -> int:
    """One process more than there are processors: many tests wait for a lock or for another process."""
    return (os.cpu_count() or 1) + 1


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--faults",
        choices=("quick", "middle", "full"),
        default="quick",
        help="how many users, faults and examples the tests have: quick for every day, middle for CI",
    )
    parser.addoption(
        "--screenshots",
        action="store_true",
        help="make the pictures of docs/screenshots again, from the sample data; needs Chromium",
    )


def pytest_configure(config: pytest.Config) -> None:
    # Before the tests are imported, whose own settings begin with these.
    size = config.getoption("--faults")
    hypothesis.settings.register_profile(size, hypothesis.settings.default, max_examples=EXAMPLES[size])
    hypothesis.settings.load_profile(size)


@pytest.fixture(scope="session")
def django_db_setup(django_db_setup: None, django_db_blocker: DjangoDbBlocker) -> Iterator[None]:
    """Make commits and the tests' clean-up cheap, and end all sessions before the database is dropped.

    Django truncates every table after a test that commits and creates all permissions again, which takes
    longer than most tests. A process that a test has killed may still have a session.
    """
    with django_db_blocker.unblock():
        # No test crashes this server, so no commit has to wait for the disk.
        execute(f"ALTER DATABASE {connection.settings_dict['NAME']} SET synchronous_commit = off")
        # Statistics that are gathered between a rollback and the next vacuum say that a large table is empty.
        # PostgreSQL then joins tables by reading all rows for each row: six seconds become minutes.
        for table in connection.introspection.table_names():
            execute(f'ALTER TABLE "{table}" SET (autovacuum_analyze_threshold = 2147483647)')
        connection.close()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(TransactionTestCase, "_fixture_teardown", lambda _test: delete_committed_rows())
        yield
    with django_db_blocker.unblock():
        execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )


@pytest.fixture(scope="session", autouse=True)
def quick_passwords() -> Iterator[None]:
    """A password that takes a quarter of a second to check proves nothing more."""
    with override_settings(PASSWORD_HASHERS=["django.contrib.auth.hashers.MD5PasswordHasher"]):
        yield


@pytest.fixture(autouse=True)
def default_language_and_time_zone() -> Iterator[None]:
    """A page leaves the language and the time zone of its account to what its thread does next."""
    yield
    translation.deactivate()
    timezone.deactivate()


@pytest.fixture
def committed(transactional_db: None) -> Iterator[None]:
    """For tests whose rows other connections must see; removes what `tests.database` adds to the tables."""
    yield
    heal()
