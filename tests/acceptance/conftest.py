"""Fixtures of the scenarios: their size, random numbers, and connections beside the runs."""

from __future__ import annotations

from random import Random, SystemRandom
from typing import TYPE_CHECKING, Final, NamedTuple

import pytest

from engagement.sandbox.server import WhatsAppSandbox
from tests.acceptance.own_server import OwnServer
from tests.acceptance.runs import kill_what_is_left
from tests.database import another_connection

if TYPE_CHECKING:
    from collections.abc import Iterator

    import psycopg


class Size(NamedTuple):
    """The size of a scenario. Small batches give a run many moments at which it can be hit."""

    due: int
    batch: int
    kills: int
    """Also the number of times its connection is ended."""
    goodbyes: int
    """In the scenarios of delivery."""


SIZES: Final = {
    "quick": Size(due=600, batch=10, kills=2, goodbyes=75),
    "middle": Size(due=8_000, batch=20, kills=10, goodbyes=150),
    "full": Size(due=24_000, batch=50, kills=20, goodbyes=1_000),
}


@pytest.fixture(scope="session")
def size(request: pytest.FixtureRequest) -> Size:
    return SIZES[request.config.getoption("--faults")]


@pytest.fixture
def chance() -> Random:
    """Random numbers for one test; the output of a failed test shows the seed."""
    seed = SystemRandom().randrange(2**32)
    print(f"This test used Random({seed}).")  # noqa: T201  pytest shows it when the test fails
    return Random(seed)  # noqa: S311  no secrets


@pytest.fixture
def onlooker(committed: None) -> Iterator[psycopg.Connection]:
    """A connection beside those of the runs, in autocommit."""
    with another_connection() as connection:
        yield connection


@pytest.fixture
def other(committed: None) -> Iterator[psycopg.Connection]:
    """The connection of another program, whose transactions hold locks."""
    with another_connection(autocommit=False) as connection:
        yield connection
        connection.rollback()


@pytest.fixture(scope="session")
def own_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OwnServer]:
    server = OwnServer.started(tmp_path_factory.mktemp("server"))
    yield server
    server.remove()


@pytest.fixture
def server(own_server: OwnServer, db: None) -> OwnServer:
    """A running server with empty tables, which a test may crash."""
    own_server.start()
    own_server.empty()
    return own_server


@pytest.fixture
def sandbox(committed: None) -> Iterator[WhatsAppSandbox]:
    """A stand-in for WhatsApp that counts what it receives."""
    with WhatsAppSandbox().running() as running:
        yield running


@pytest.fixture(autouse=True)
def _no_process_left() -> Iterator[None]:
    yield
    kill_what_is_left()
