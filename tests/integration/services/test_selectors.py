"""The questions to the tables that other tests ask only in passing."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING
from uuid import uuid4

import pytest
from uuid_utils.compat import uuid7

from engagement.selectors import audit_log
from tests.factories import NOW, make_user
from tests.integration.services.users import move
from tests.times import DAY

if TYPE_CHECKING:
    from collections.abc import Callable
    from uuid import UUID

pytestmark = pytest.mark.django_db


def test_dormancy_lasts_since_the_last_move_there_of_those_asked_for() -> None:
    user, stranger = make_user("goodbye_sent"), make_user("goodbye_sent")
    for somebody in (user, stranger):
        move(somebody, "goodbye_response_3", now=NOW - 9 * DAY)
        move(somebody, "user_message", now=NOW - DAY)
    assert audit_log.dormant_since([user.user_id]) == {user.user_id: NOW - 9 * DAY}


def test_user_came_to_a_state_with_their_own_last_move_there() -> None:
    user, stranger = make_user("goodbye_sent"), make_user("goodbye_sent")
    move(user, "goodbye_response_1", now=NOW - 9 * DAY)
    move(user, "user_message", now=NOW - 8 * DAY)
    move(user, "inactivity_14d", now=NOW - 3 * DAY)
    move(user, "user_message", now=NOW - 2 * DAY)
    move(stranger, "goodbye_response_1", now=NOW)
    assert audit_log.entered_at(user.user_id, "active") == NOW - 2 * DAY
    assert audit_log.entered_at(user.user_id, "help_flow") == NOW - 9 * DAY
    assert audit_log.entered_at(user.user_id, "dormant") is None


@pytest.mark.parametrize("new_id", [uuid4, uuid7])
def test_moves_of_a_run_are_those_with_its_id(new_id: Callable[[], UUID]) -> None:
    job_id = new_id()
    silent, expired, manual, of_another_run = (make_user(trait) for trait in ("silent", "goodbye_sent") * 2)
    move(silent, "inactivity_14d", job_id=job_id)
    move(expired, "goodbye_timeout", job_id=job_id)
    move(manual, "inactivity_14d")
    move(of_another_run, "goodbye_timeout", job_id=new_id())
    everybody = {silent.user_id, expired.user_id, manual.user_id, of_another_run.user_id}
    assert Counter(audit_log.transitions_of_run(job_id).values_list("trigger", flat=True)) == {
        "inactivity_14d": 1,
        "goodbye_timeout": 1,
    }
    assert audit_log.moved_by_run(job_id, user_ids=everybody) == {silent.user_id, expired.user_id}
    assert audit_log.moved_by_run(job_id, user_ids=everybody - {silent.user_id}) == {expired.user_id}


def test_move_is_in_the_audit_log_or_it_is_not() -> None:
    audit_row = move(make_user("silent"), "inactivity_14d")
    assert audit_row
    assert audit_log.transition_with_id(audit_row.id) == audit_row
    assert audit_log.transition_with_id(uuid7()) is None
