"""Probes: `/healthz` of the process, `/readyz` of the database and its migrations."""

from __future__ import annotations

from datetime import timedelta
from time import monotonic
from typing import TYPE_CHECKING

import pytest
from django.db import OperationalError, connection
from django.db.migrations.recorder import MigrationRecorder

from engagement.services.resilience import deadline
from tests.database import another_connection, execute

if TYPE_CHECKING:
    from django.test import Client
    from pytest_django import DjangoAssertNumQueries
    from pytest_django.fixtures import Settings


def test_a_process_that_answers_is_alive_without_a_database(client: Client) -> None:
    answer = client.get("/healthz")
    assert (answer.status_code, answer.json()) == (200, {"status": "ok"})


@pytest.mark.django_db
def test_ready_with_a_migrated_database(
    client: Client, django_assert_max_num_queries: DjangoAssertNumQueries
) -> None:
    with django_assert_max_num_queries(2):
        answer = client.get("/readyz")
    assert (answer.status_code, answer.json()) == (200, {"status": "ok"})


@pytest.mark.django_db
def test_not_ready_while_a_migration_is_missing(client: Client) -> None:
    latest = MigrationRecorder.Migration.objects.filter(app="engagement").order_by("-name").first()
    assert latest
    latest.delete()
    answer = client.get("/readyz")
    assert answer.status_code == 503
    assert answer.json() == {
        "status": "not ready",
        "reason": "Migrations are missing: run manage.py migrate.",
    }


@pytest.mark.django_db
def test_not_ready_without_the_database(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    def away(_connection: object) -> None:
        raise OperationalError("connection to secret-host failed")

    monkeypatch.setattr("engagement.api.middleware.MigrationExecutor", away)
    answer = client.get("/readyz")
    assert (answer.status_code, answer.json()["reason"]) == (503, "The database is not available.")


@pytest.mark.django_db
def test_a_missing_table_is_no_outage(client: Client) -> None:
    execute("ALTER TABLE django_migrations RENAME COLUMN app TO former_app")
    answer = client.get("/readyz")
    assert answer.status_code == 503
    assert answer.json()["reason"] == (
        "The database user lacks a privilege, or a table is missing: see the log."
    )


@pytest.mark.usefixtures("committed")
def test_a_probe_does_not_wait_as_long_as_a_statement_may(
    client: Client, monkeypatch: pytest.MonkeyPatch, settings: Settings
) -> None:
    monkeypatch.setattr(deadline, "MARGIN", timedelta(seconds=0.5))
    settings.ENGAGEMENT_STATEMENT_TIMEOUT_SECONDS = 20
    with another_connection(autocommit=False) as other:
        other.execute("LOCK TABLE django_migrations IN ACCESS EXCLUSIVE MODE")
        began = monotonic()
        answer = client.get("/readyz")
        assert monotonic() - began < 15
        other.rollback()
    # The test's client keeps a connection that is lost.
    connection.close()
    assert (answer.status_code, answer.json()["reason"]) == (503, "The database is not available.")


def test_a_wrong_setting_is_no_reason_to_restart_the_process(client: Client, settings: Settings) -> None:
    settings.ENGAGEMENT_STATEMENT_TIMEOUT_SECONDS = "soon"
    assert client.get("/healthz").status_code == 200


@pytest.mark.parametrize("path", ["/healthz"])
def test_probes_need_neither_tls_nor_a_known_host(client: Client, settings: Settings, path: str) -> None:
    settings.SECURE_SSL_REDIRECT = True
    settings.ALLOWED_HOSTS = ["engagement.example.org"]
    assert client.get(path, headers={"host": "10.2.3.4:8000"}).status_code == 200
