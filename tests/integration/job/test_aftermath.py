"""Whom a run leaves where they were."""

from __future__ import annotations

import pytest

from engagement.services.job.aftermath import Aftermath, aftermath_of
from tests.database import fail_moves_of
from tests.factories import make_user, make_users
from tests.running import run_job

pytestmark = pytest.mark.django_db


def test_nobody_is_left_after_a_run_that_could_move_everybody() -> None:
    make_users(3, "silent")
    assert aftermath_of(run_job()) == Aftermath(still_due=0, not_yet_due=0)


def test_failed_users_are_not_counted_again_as_still_due() -> None:
    bad, *_ = make_users(4, "silent")
    make_user()
    fail_moves_of(bad)
    assert aftermath_of(run_job(limit=2)) == Aftermath(still_due=1, not_yet_due=1)


def test_dry_run_leaves_whoever_is_beyond_its_limit() -> None:
    make_users(3, "silent")
    assert aftermath_of(run_job(dry_run=True, limit=2)) == Aftermath(still_due=1, not_yet_due=0)
