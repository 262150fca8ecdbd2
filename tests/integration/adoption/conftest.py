"""Databases whose tables another project made, before and after the adoption."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

import pytest

from tests.integration.adoption import foreign_database
from tests.integration.adoption.foreign_database import ASSISTANT, FOREIGN_TABLES, JOB, OWNER, ForeignDatabase

if TYPE_CHECKING:
    from collections.abc import Iterator

NAME: Final = f"test_foreign_{os.getpid()}"
FOUND: Final = f"{NAME}_as_found"
ADOPTED: Final = f"{NAME}_adopted"


@pytest.fixture(scope="package")
def owner(django_db_setup: None) -> Iterator[None]:
    """The role that owns the tables, for the tests of this folder."""
    foreign_database.drop(NAME, FOUND, ADOPTED)
    foreign_database.drop_roles([OWNER, JOB, ASSISTANT])
    foreign_database.create_owner()
    yield
    foreign_database.drop(NAME, FOUND, ADOPTED)
    foreign_database.drop_roles([OWNER, JOB, ASSISTANT])


@pytest.fixture(scope="package")
def foreign_template(owner: None) -> ForeignDatabase:
    """The template with the tables as found."""
    database = foreign_database.create(FOUND)
    database.execute(FOREIGN_TABLES.read_text())
    return database


@pytest.fixture
def foreign(foreign_template: ForeignDatabase) -> Iterator[ForeignDatabase]:
    """The tables as found."""
    yield foreign_database.create(NAME, like=foreign_template.name)
    foreign_database.drop(NAME)


@pytest.fixture(scope="package")
def adopted_template(foreign_template: ForeignDatabase) -> ForeignDatabase:
    """The template with the tables adopted as the guide says."""
    database = foreign_database.create(ADOPTED, like=foreign_template.name)
    outcome = database.manage("migrate", "--fake-initial", "--verbosity", "0")
    assert outcome.code == 0, outcome.err
    for script in ("job_role.sql", "assistant_role.sql"):
        database.run_script(script)
    foreign_database.let_in(JOB, ASSISTANT)
    return database


@pytest.fixture
def unguarded(adopted_template: ForeignDatabase) -> Iterator[ForeignDatabase]:
    """Adopted, without the policies."""
    yield foreign_database.create(NAME, like=adopted_template.name)
    foreign_database.drop(NAME)


@pytest.fixture
def adopted(unguarded: ForeignDatabase) -> ForeignDatabase:
    """Adopted, with roles and policies."""
    unguarded.run_script("row_level_security.sql")
    return unguarded
