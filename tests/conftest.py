"""What several tests share."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.database import heal

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def committed(transactional_db: None) -> Iterator[None]:
    """Tests that need rows other connections can see; what they do to the tables is taken back."""
    yield
    heal()
