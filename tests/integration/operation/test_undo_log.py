"""A run is taken back: what the log says of it."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from engagement.models import EngagementStateTransition
from engagement.services.undo import undo_batch
from tests.database import fail_moves_of
from tests.factories import make_user
from tests.integration.operation.undoing import undo
from tests.logged import logged_events
from tests.running import run_job

if TYPE_CHECKING:
    from uuid import UUID

pytestmark = pytest.mark.django_db


def logged_by_undo(job_id: UUID, caplog: pytest.LogCaptureFixture) -> list[dict[str, Any]]:
    caplog.clear()
    undo(job_id)
    return logged_events(caplog)


def test_every_line_carries_the_id_of_the_run_that_is_undone(caplog: pytest.LogCaptureFixture) -> None:
    user = make_user("silent")
    job_id = run_job().job_id
    fail_moves_of(user)
    logged = logged_by_undo(job_id, caplog)
    assert [message["event"] for message in logged] == [
        "engagement_undo_started",
        "engagement_user_failed",
        "engagement_undo_completed",
    ]
    assert {message["undone_job_id"] for message in logged} == {str(job_id)}


def test_what_the_database_said_has_no_traceback_and_a_mistake_has(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    user = make_user("remind_later")
    job_id = run_job().job_id
    fail_moves_of(user)
    assert logged_by_undo(job_id, caplog)[1]["exc_info"] is None
    monkeypatch.setattr(undo_batch, "undo_transitions", {}.__getitem__)
    assert isinstance(logged_by_undo(job_id, caplog)[1]["exc_info"], TypeError)


def test_time_in_the_audit_log_that_is_none_fails_its_user(caplog: pytest.LogCaptureFixture) -> None:
    make_user("remind_later")
    job_id = run_job().job_id
    former = {"job_id": str(job_id), "former_timestamps": {"remind_at": "soon"}}
    EngagementStateTransition.objects.update(metadata=former)
    failed = logged_by_undo(job_id, caplog)[1]
    assert "invalid input syntax for type timestamp with time zone" in failed["error"]
    assert "soon" not in failed["error"]


def test_duration_of_an_undo_is_in_milliseconds(monkeypatch: pytest.MonkeyPatch) -> None:
    make_user("silent")
    job_id = run_job().job_id
    seconds = iter([100.0, 103.2504])
    monkeypatch.setattr("engagement.services.undo.undo_run.time", SimpleNamespace(monotonic=seconds.__next__))
    assert undo(job_id).duration_ms == 3250
