"""What the scenarios share: their size, their chance, and a connection that looks on."""

from __future__ import annotations

from random import Random, SystemRandom
from typing import TYPE_CHECKING, Final, NamedTuple

import pytest

from tests.acceptance.runs import kill_what_is_left
from tests.database import another_connection

if TYPE_CHECKING:
    from collections.abc import Iterator

    import psycopg


class Size(NamedTuple):
    """How long a scenario goes on. Batches stay small, so that a run has many moments to be hit at."""

    due: int
    batch: int
    kills: int
    """Also how often its connection is ended."""


SIZES: Final = {
    "quick": Size(due=600, batch=10, kills=2),
    "middle": Size(due=8_000, batch=20, kills=10),
    "full": Size(due=24_000, batch=50, kills=20),
}


@pytest.fixture(scope="session")
def size(request: pytest.FixtureRequest) -> Size:
    return SIZES[request.config.getoption("--faults")]


@pytest.fixture
def chance() -> Random:
    """A new one for every test; its seed stands in the output of a test that fails."""
    seed = SystemRandom().randrange(2**32)
    print(f"The chance of this test: Random({seed})")  # noqa: T201  pytest shows it where it is needed
    return Random(seed)  # noqa: S311  it chooses moments, not secrets


@pytest.fixture
def onlooker(committed: None) -> Iterator[psycopg.Connection]:
    """A connection beside those of the runs, in autocommit."""
    with another_connection() as connection:
        yield connection


@pytest.fixture
def other(committed: None) -> Iterator[psycopg.Connection]:
    """Another program's connection, whose transactions get in the way."""
    with another_connection(autocommit=False) as connection:
        yield connection
        connection.rollback()


@pytest.fixture(autouse=True)
def _no_run_left() -> Iterator[None]:
    yield
    kill_what_is_left()
