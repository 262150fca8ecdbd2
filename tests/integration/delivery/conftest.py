"""Messages may be sent at any hour, unless a test says otherwise."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pytest_django.fixtures import Settings


@pytest.fixture(autouse=True)
def any_hour(settings: Settings) -> None:
    settings.ENGAGEMENT_SEND_HOURS = ""
