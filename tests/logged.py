"""What a test has logged."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pytest


def logged_events(caplog: pytest.LogCaptureFixture, *, name: str = "") -> list[dict[str, Any]]:
    """The structured events; with `name`, those alone."""
    events = [record.msg for record in caplog.records if isinstance(record.msg, dict)]
    return [event for event in events if not name or event["event"] == name]
