"""Somebody who may log in, and something to look at; never a password that is known."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from io import StringIO
from typing import TYPE_CHECKING

import pytest
from django.contrib.auth.models import User
from django.core.exceptions import ImproperlyConfigured
from django.test import Client
from freezegun import freeze_time

from engagement.models import (
    EngagementJobRun,
    EngagementMessage,
    EngagementStateTransition,
    UserEngagementState,
    UserProfile,
)
from engagement.states import DAY
from tests.factories import make_user
from tests.heartbeat_server import healthy_service
from tests.running import run_command

if TYPE_CHECKING:
    from pathlib import Path

    from pytest_django.fixtures import Settings

pytestmark = pytest.mark.django_db

GOOD = "right horse battery"


@pytest.fixture(autouse=True)
def named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DJANGO_SUPERUSER_USERNAME", "ada")
    monkeypatch.setenv("DJANGO_SUPERUSER_PASSWORD", GOOD)


@pytest.fixture
def log_file(tmp_path: Path) -> Path:
    path = tmp_path / "log.csv"
    path.write_text(
        "user,occurred_at,whatsapp_jid\n"
        "a,2026-01-01T00:00:00Z,99900000001@s.whatsapp.net\n"
        "b,2026-01-02T00:00:00Z,99900000002@s.whatsapp.net\n"
    )
    return path


def test_first_administrator_comes_from_the_environment() -> None:
    assert run_command("prepare_admin") == ("ada is the first administrator.\n", "", 0)
    client = Client()
    client.post("/admin/login/", {"username": "ada", "password": GOOD})
    assert client.get("/admin/auth/user/").status_code == 200


def test_second_time_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    run_command("prepare_admin")
    monkeypatch.setenv("DJANGO_SUPERUSER_USERNAME", "eve")
    assert run_command("prepare_admin") == ("", "", 0)
    assert User.objects.get().username == "ada"


@pytest.mark.parametrize("missing", ["DJANGO_SUPERUSER_USERNAME", "DJANGO_SUPERUSER_PASSWORD"])
def test_without_a_terminal_nobody_is_asked(monkeypatch: pytest.MonkeyPatch, missing: str) -> None:
    monkeypatch.delenv(missing)
    monkeypatch.setattr("sys.stdin", StringIO())
    outcome = run_command("prepare_admin")
    assert outcome.code == 1
    assert "set DJANGO_SUPERUSER_USERNAME and DJANGO_SUPERUSER_PASSWORD" in outcome.err
    assert not User.objects.exists()


def test_password_that_everybody_guesses_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DJANGO_SUPERUSER_PASSWORD", "password")
    outcome = run_command("prepare_admin")
    assert outcome.code == 1
    assert "too common" in outcome.err
    assert not User.objects.exists()


def test_account_of_somebody_else_is_not_taken() -> None:
    User.objects.create_user("ada")
    outcome = run_command("prepare_admin")
    assert (outcome.code, User.objects.get().is_superuser) == (1, False)
    assert "is not an administrator" in outcome.err


@freeze_time("2026-11-23 05:59:59+00:00")
def test_sample_is_played_as_if_it_ended_with_the_latest_run(log_file: Path) -> None:
    outcome = run_command("prepare_admin", "--sample", str(log_file), "--as-of", "2026-01-20T07:00:00Z")
    assert outcome.out.endswith(
        "2 events of 2 users played, with a run on each of 42 days, the last that of 2026-11-22 06:00 UTC.\n"
    )
    last_run_at = datetime(2026, 11, 22, 6, tzinfo=UTC)
    runs = EngagementJobRun.objects.order_by("now")
    assert [run.now for run in runs] == [last_run_at - number * DAY for number in reversed(range(42))]
    for run in runs:
        assert run.started_at == run.now
        assert run.finished_at is not None
        assert run.now <= run.last_seen_at == run.finished_at < run.now + timedelta(hours=1)
    told = EngagementStateTransition.objects.filter(to_state="goodbye_sent").order_by("created_at")
    # Silent since midnight, 20 and 19 days before: a goodbye on the first morning after the fourteenth day.
    assert [move.created_at for move in told] == [last_run_at - 5 * DAY, last_run_at - 4 * DAY]
    assert {*EngagementMessage.objects.values_list("status", flat=True)} == {"sent"}
    users = UserEngagementState.objects.order_by("created_at")
    assert {user.state for user in users} == {"dormant"}
    assert [(user.created_at, user.last_activity_at) for user in users] == [
        (last_run_at - days * DAY - timedelta(hours=6),) * 2 for days in (19, 18)
    ]


def test_sample_without_an_end_ends_with_its_last_event(log_file: Path) -> None:
    run_command("prepare_admin", "--sample", str(log_file))
    latest = UserEngagementState.objects.latest("last_activity_at").last_activity_at
    assert timedelta(0) <= datetime.now(UTC) - latest < 2 * DAY


def test_sample_is_held_by_no_safety_limit_and_pings_no_monitor(log_file: Path, settings: Settings) -> None:
    settings.ENGAGEMENT_MAX_GOODBYE_SHARE = "0.01"
    with healthy_service() as service:
        settings.ENGAGEMENT_HEARTBEAT_URL = service.url
        outcome = run_command("prepare_admin", "--sample", str(log_file), "--as-of", "2026-01-20T07:00:00Z")
    assert (outcome.code, outcome.err) == (0, "")
    assert service.pings == []


def test_wrong_setting_of_the_sender_is_found_before_anything_is_played(
    log_file: Path, settings: Settings
) -> None:
    settings.ENGAGEMENT_SEND_HOURS = "always"
    with pytest.raises(ImproperlyConfigured, match="ENGAGEMENT_SEND_HOURS"):
        run_command("prepare_admin", "--sample", str(log_file))
    assert not UserProfile.objects.exists()


def test_nothing_is_played_where_there_are_users(log_file: Path) -> None:
    make_user()
    assert run_command("prepare_admin", "--sample", str(log_file)).code == 0
    assert UserProfile.objects.count() == 1


def test_file_that_is_no_log_is_refused_in_a_sentence(tmp_path: Path) -> None:
    path = tmp_path / "log.csv"
    path.write_text("name\nada\n")
    outcome = run_command("prepare_admin", "--sample", str(path))
    assert (outcome.code, UserProfile.objects.count()) == (1, 0)
    assert str(path) in outcome.err
    assert "Traceback" not in outcome.err
