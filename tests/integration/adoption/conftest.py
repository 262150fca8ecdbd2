"""Databases with the tables of another program: before and after adoption."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

import pytest

from tests.integration.adoption import foreign_database
from tests.integration.adoption.adoption_check import GIVEN
from tests.integration.adoption.foreign_database import (
    ASSISTANT,
    FOREIGN_TABLES,
    JOB,
    OPERATOR,
    OWNER,
    SENDER,
    ForeignDatabase,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    import psycopg
    from pytest_django.plugin import DjangoDbBlocker

NAME: Final = f"test_foreign_{os.getpid()}"
FOUND: Final = f"{NAME}_as_found"
ADOPTED: Final = f"{NAME}_adopted"


@pytest.fixture(scope="package")
def owner(django_db_setup: None, django_db_blocker: DjangoDbBlocker) -> Iterator[None]:
    """Create the role that owns the tables, and let commands connect, for the tests of this package."""
    foreign_database.drop(NAME, FOUND, ADOPTED)
    foreign_database.drop_roles([OWNER, JOB, ASSISTANT, SENDER, OPERATOR])
    foreign_database.create_owner()
    with django_db_blocker.unblock():
        yield
    foreign_database.drop(NAME, FOUND, ADOPTED)
    foreign_database.drop_roles([OWNER, JOB, ASSISTANT, SENDER, OPERATOR])


@pytest.fixture(scope="package")
def foreign_template(owner: None) -> ForeignDatabase:
    """The tables before adoption. Tests copy them or do not change them."""
    database = foreign_database.create(FOUND)
    database.execute(FOREIGN_TABLES.read_text())
    return database


@pytest.fixture
def foreign(foreign_template: ForeignDatabase) -> Iterator[ForeignDatabase]:
    """The tables before adoption."""
    yield foreign_database.create(NAME, like=foreign_template.name)
    foreign_database.drop(NAME)


@pytest.fixture
def tables(foreign_template: ForeignDatabase) -> Iterator[psycopg.Connection]:
    """A connection as the tables' owner, in a transaction that is rolled back. Every table has one row."""
    with foreign_template.connect(OWNER) as owner:
        owner.autocommit = False
        owner.execute(GIVEN.encode())
        yield owner
        owner.rollback()


@pytest.fixture(scope="package")
def adopted_template(foreign_template: ForeignDatabase) -> ForeignDatabase:
    """The tables after adoption by the guide. Tests copy them."""
    database = foreign_database.create(ADOPTED, like=foreign_template.name)
    outcome = database.manage("migrate", "--fake-initial", "--verbosity", "0")
    assert outcome.code == 0, outcome.err
    for script in ("job_role.sql", "assistant_role.sql", "sender_role.sql", "operator_role.sql"):
        database.run_script(script)
    foreign_database.let_in(JOB, ASSISTANT, SENDER, OPERATOR)
    return database


@pytest.fixture
def unguarded(adopted_template: ForeignDatabase) -> Iterator[ForeignDatabase]:
    """The tables after adoption, without policies."""
    yield foreign_database.create(NAME, like=adopted_template.name)
    foreign_database.drop(NAME)


@pytest.fixture
def adopted(unguarded: ForeignDatabase) -> ForeignDatabase:
    """The tables after adoption, with roles and policies."""
    unguarded.run_script("row_level_security.sql")
    return unguarded
