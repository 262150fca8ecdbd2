"""What the tests of databases for one replay share."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from uuid_utils.compat import uuid7

from engagement.replay import scratch_database
from tests.database import another_connection
from tests.integration.replay.scratch import databases, drop

if TYPE_CHECKING:
    from collections.abc import Iterator

    import psycopg


@pytest.fixture
def onlooker(transactional_db: None) -> Iterator[psycopg.Connection]:
    with another_connection() as other:
        yield other


@pytest.fixture
def prefix(monkeypatch: pytest.MonkeyPatch, onlooker: psycopg.Connection) -> Iterator[str]:
    """Names that no other replay on this server makes at the same time, and none finds afterwards."""
    own = f"{scratch_database.PREFIX}{uuid7().hex[-8:]}_"
    monkeypatch.setattr(scratch_database, "PREFIX", own)
    yield own
    drop(onlooker, databases(onlooker, own))
