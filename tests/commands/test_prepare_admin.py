"""Somebody who may log in, and something to look at; never a password that is known."""

from __future__ import annotations

from io import StringIO
from typing import TYPE_CHECKING

import pytest
from django.contrib.auth.models import User
from django.test import Client

from engagement.models import UserProfile
from tests.factories import make_user
from tests.running import run_command

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.django_db

GOOD = "right horse battery"


@pytest.fixture(autouse=True)
def named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DJANGO_SUPERUSER_USERNAME", "ada")
    monkeypatch.setenv("DJANGO_SUPERUSER_PASSWORD", GOOD)


@pytest.fixture
def log_file(tmp_path: Path) -> Path:
    path = tmp_path / "log.csv"
    path.write_text("user,occurred_at\na,2026-01-01T00:00:00Z\nb,2026-01-02T00:00:00Z\n")
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
    assert "no administrator's" in outcome.err


def test_sample_is_loaded_into_an_empty_database_alone(log_file: Path) -> None:
    run_command("prepare_admin", "--sample", str(log_file), "--as-of", "2026-02-01T00:00:00Z")
    assert UserProfile.objects.count() == 2
    UserProfile.objects.all().delete()
    make_user()
    run_command("prepare_admin", "--sample", str(log_file))
    assert UserProfile.objects.count() == 1
