"""The metrics file: what a Prometheus parser reads from it, and that nothing breaks without it."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest
import yaml
from django.db import OperationalError
from prometheus_client.parser import text_string_to_metric_families

from engagement.models import MessageStatus, MessageType
from engagement.selectors import dashboard
from engagement.selectors.deliveries import database_now
from engagement.services.delivery.channels import pause_sending
from engagement.services.metrics import write_metrics
from tests.database import fail_moves_of
from tests.factories import make_user, make_users, queue_for
from tests.running import run_command
from tests.times import HOUR

if TYPE_CHECKING:
    from pytest_django.fixtures import Settings

pytestmark = pytest.mark.django_db

ALERTS: Final = Path(__file__).parents[3] / "docs" / "deploy" / "alerts.yaml"


@pytest.fixture
def path(settings: Settings, tmp_path: Path) -> Path:
    path = tmp_path / "engagement.prom"
    settings.ENGAGEMENT_METRICS_FILE = str(path)
    settings.ENGAGEMENT_MESSAGE_BACKEND = "engagement.message_backends.console.ConsoleBackend"
    return path


def samples(path: Path) -> dict[tuple[str, ...], float]:
    """By name and labels, in the order of their names: the value."""
    return {
        (sample.name, *(sample.labels[name] for name in sorted(sample.labels))): sample.value
        for family in text_string_to_metric_families(path.read_text())
        for sample in family.samples
    }


def test_a_run_a_queue_and_a_pause_are_in_the_file(path: Path) -> None:
    now = database_now()
    make_users(3, "silent", last_activity_at=now - timedelta(days=20))
    make_user("dormant")
    assert run_command("run_engagement_daily").code == 0
    queue_for(make_user(), MessageType.WELCOME, status=MessageStatus.UNKNOWN)
    queue_for(make_user(), MessageType.WELCOME, scheduled_for=now - HOUR)
    pause_sending(backend="console", until=now + HOUR, reason="secret reason", now=now)
    write_metrics()
    found = samples(path)
    assert (
        abs(found["engagement_run_last_success_timestamp_seconds", "inactivity_14d"] - now.timestamp()) < 60
    )
    assert found["engagement_run_users", "inactivity_14d", "succeeded"] == 3
    assert found["engagement_run_users", "inactivity_14d", "failed"] == 0
    assert found["engagement_run_duration_seconds",] >= 0
    assert found["engagement_run_skipped_users", "opted_out"] == 0
    assert found["engagement_users", "goodbye_sent"] == 3
    assert found["engagement_users", "dormant"] == 1
    assert found["engagement_messages", "pending"] == 4
    assert found["engagement_messages", "unknown"] == 1
    assert found["engagement_sending_paused", "console", ""] == 1
    assert "secret reason" not in path.read_text()


def test_a_check_that_no_good_run_has_made_was_never_made(path: Path) -> None:
    """A rule that looks for a missing series does not see one of several."""
    run_command("run_engagement_daily", "--check", "inactivity_14d")
    write_metrics()
    found = samples(path)
    assert found["engagement_run_last_success_timestamp_seconds", "goodbye_timeout"] == 0
    assert found["engagement_run_last_success_timestamp_seconds", "inactivity_14d"] > 0


def test_a_run_as_of_last_week_says_nothing_about_today(path: Path) -> None:
    as_of = database_now() - timedelta(days=7)
    run_command("run_engagement_daily", "--now", as_of.isoformat())
    write_metrics()
    found = samples(path)["engagement_run_last_success_timestamp_seconds", "reminder_due"]
    assert abs(found - as_of.timestamp()) < 1


def test_failures_of_a_check_are_there_until_a_run_makes_it_again(path: Path) -> None:
    now = database_now()
    poisoned, *_ = make_users(4, "silent", last_activity_at=now - timedelta(days=20))
    fail_moves_of(poisoned)
    run_command("run_engagement_daily", "--check", "inactivity_14d", "--limit", "2")
    run_command("run_engagement_daily", "--check", "goodbye_timeout", "reminder_due")
    write_metrics()
    found = samples(path)
    assert found["engagement_run_users", "inactivity_14d", "failed"] == 1
    assert found["engagement_run_users", "goodbye_timeout", "failed"] == 0
    assert found["engagement_run_still_due_users",] == 1


def test_users_are_counted_once_whichever_checks_the_last_runs_made(path: Path) -> None:
    long_ago = database_now() - timedelta(days=20)
    make_users(3, "silent", last_activity_at=long_ago, user__reengagement_opt_out=True)
    make_users(2, "silent", last_activity_at=long_ago)
    run_command("run_engagement_daily", "--limit", "1")
    run_command("run_engagement_daily", "--check", "inactivity_14d")
    write_metrics()
    found = samples(path)
    assert found["engagement_run_skipped_users", "opted_out"] == 3
    assert found["engagement_run_still_due_users",] == 0


def test_no_message_is_late_while_the_backend_is_paused(path: Path) -> None:
    now = database_now()
    queue_for(make_user(), MessageType.WELCOME, scheduled_for=now - HOUR)
    pause_sending(backend="other", until=now + HOUR, reason="x", now=now)
    write_metrics()
    assert samples(path)["engagement_oldest_waiting_seconds",] >= 3_600
    pause_sending(backend="console", until=now + HOUR, reason="x", now=now)
    write_metrics()
    assert samples(path)["engagement_oldest_waiting_seconds",] == 0


def test_a_device_is_not_replaced(
    settings: Settings, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    device = tmp_path / "pipe"
    os.mkfifo(device)
    settings.ENGAGEMENT_METRICS_FILE = str(device)
    write_metrics()
    assert device.is_fifo()
    assert "engagement_metrics_not_written" in caplog.text


@pytest.mark.parametrize(
    "command", ["run_engagement_daily", "send_messages", "check_engagement_runs", "check_sending"]
)
def test_each_program_writes_the_file(path: Path, command: str) -> None:
    run_command(command)
    assert path.stat().st_mode & 0o777 == 0o644
    assert [each.name for each in path.parent.iterdir()] == [path.name]


def test_a_file_that_cannot_be_written_changes_nothing_else(
    settings: Settings, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    settings.ENGAGEMENT_METRICS_FILE = str(tmp_path / "missing" / "engagement.prom")
    outcome = run_command("run_engagement_daily", "--json")
    assert (outcome.code, outcome.json["status"]) == (0, "succeeded")
    assert "engagement_metrics_not_written" in caplog.text


def test_a_database_that_is_away_leaves_the_former_file(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_metrics()
    before = path.read_text()

    def away() -> None:
        raise OperationalError("gone")

    monkeypatch.setattr(dashboard, "users_by_state", away)
    write_metrics()
    assert path.read_text() == before


def test_the_alert_rules_ask_for_metrics_that_exist(path: Path) -> None:
    now = database_now()
    run_command("run_engagement_daily")
    queue_for(make_user(), MessageType.WELCOME, status=MessageStatus.SENT, claimed_at=now, sent_at=now)
    pause_sending(backend="console", until=now + HOUR, reason="x", now=now)
    write_metrics()
    names = {name for name, *_ in samples(path)}
    rules = [rule for group in yaml.safe_load(ALERTS.read_text())["groups"] for rule in group["rules"]]
    for rule in rules:
        asked = set(re.findall(r"engagement_\w+", rule["expr"]))
        assert asked
        assert asked <= names
        assert rule["annotations"]["action"]
    if shutil.which("promtool"):
        subprocess.run(["promtool", "check", "rules", str(ALERTS)], check=True)
