"""What somebody who watches a run is told."""

from __future__ import annotations

import pytest
from uuid_utils.compat import uuid7

from engagement.services.daily_job import JobRequest, run_daily_job
from tests.database import fail_moves_of
from tests.factories import NOW, make_users

pytestmark = pytest.mark.django_db


class Watcher:
    """Remembers what it was told."""

    def __init__(self) -> None:
        self.due: list[int] = []
        self.done: list[int] = []

    def started(self, *, due: int) -> None:
        self.due.append(due)

    def users_done(self, count: int) -> None:
        self.done.append(count)


def test_watcher_hears_how_many_are_due_and_of_each_who_is_done_with() -> None:
    users = make_users(5, "silent")
    make_users(2, "goodbye_sent")
    fail_moves_of(users[0])
    watcher = Watcher()
    request = JobRequest(job_id=uuid7(), now=NOW, batch_size=5)
    run_daily_job(request=request, progress=watcher)
    assert (watcher.due, sum(watcher.done)) == ([7], 7)


def test_watcher_of_a_limited_run_waits_for_no_more_than_the_limit() -> None:
    make_users(3, "silent")
    make_users(3, "goodbye_sent")
    watcher = Watcher()
    run_daily_job(request=JobRequest(job_id=uuid7(), now=NOW, limit=4), progress=watcher)
    assert (watcher.due, sum(watcher.done)) == ([4], 4)
