"""A run over users of a scratch database: nobody shall hear of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from engagement.models import EngagementJobRun
from engagement.services.job.heartbeat import Heartbeat
from tests.factories import make_users
from tests.running import run_job

if TYPE_CHECKING:
    from pytest_django.fixtures import Settings


@pytest.mark.django_db
def test_rehearsal_moves_users_and_keeps_no_ledger_pings_nobody_and_asks_no_brake(
    monkeypatch: pytest.MonkeyPatch, settings: Settings
) -> None:
    settings.ENGAGEMENT_MAX_GOODBYES_PER_RUN = 1
    settings.ENGAGEMENT_HEARTBEAT_URL = "https://hc.example.org/ping/secret"
    pings: list[str] = []
    monkeypatch.setattr(Heartbeat, "_ping", lambda _heartbeat, kind, **_: pings.append(kind))
    make_users(2, "silent")
    result = run_job(is_rehearsal=True)
    assert (result.status, result.succeeded) == ("succeeded", 2)
    assert (EngagementJobRun.objects.count(), pings) == (0, [])


@pytest.mark.django_db
def test_run_that_is_none_does_all_three(monkeypatch: pytest.MonkeyPatch, settings: Settings) -> None:
    settings.ENGAGEMENT_MAX_GOODBYES_PER_RUN = 1
    settings.ENGAGEMENT_HEARTBEAT_URL = "https://hc.example.org/ping/secret"
    pings: list[str] = []
    monkeypatch.setattr(Heartbeat, "_ping", lambda _heartbeat, kind, **_: pings.append(kind))
    make_users(2, "silent")
    result = run_job()
    assert (result.status, result.succeeded) == ("failed", 0)
    assert (EngagementJobRun.objects.count(), pings) == (1, ["/start", "/fail"])
