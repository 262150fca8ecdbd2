"""Several who move the same user at the same time: who waits for whom, and what they find then."""

from __future__ import annotations

from datetime import timedelta
from threading import Barrier, Thread
from typing import TYPE_CHECKING

import pytest
from django.db import connection, connections, transaction

from engagement.models import EngagementStateTransition, UserEngagementState
from engagement.services.state_machine import EngagementStateNotFound, transition_state
from engagement.states import Trigger
from tests.database import another_connection, execute, wait_for_somebody_at_a_row
from tests.factories import NOW, UserProfileFactory, make_user
from tests.integration.services.users import count_audit_rows, move, stored
from tests.times import DAY
from tests.waiting import DEADLINE_SECONDS

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime
    from uuid import UUID

    import psycopg

pytestmark = pytest.mark.django_db(transaction=True)

LATER = NOW + timedelta(seconds=7)


class Mover(Thread):
    """Moves one user on a connection of its own."""

    def __init__(
        self, user_id: UUID, trigger: Trigger, *, now: datetime = NOW, start_line: Barrier | None = None
    ) -> None:
        super().__init__()
        self.user_id, self.trigger, self.now = user_id, trigger, now
        self.start_line = start_line or Barrier(1)
        self.error: Exception | None = None

    def run(self) -> None:
        try:
            connection.ensure_connection()
            self.start_line.wait(DEADLINE_SECONDS)
            transition_state(user_id=self.user_id, trigger=self.trigger, now=self.now)
        except Exception as error:  # noqa: BLE001  the test looks at it
            self.error = error
        finally:
            connections.close_all()


@pytest.fixture
def other() -> Iterator[psycopg.Connection]:
    with another_connection() as connected:
        yield connected


def test_who_waits_for_the_lock_sees_the_moved_state(other: psycopg.Connection) -> None:
    user = make_user("goodbye_sent")
    with transaction.atomic():
        move(user, "goodbye_response_2")
        timeout = Mover(user.user_id, Trigger.GOODBYE_TIMEOUT)
        timeout.start()
        wait_for_somebody_at_a_row(other)
    timeout.join()
    assert (
        str(timeout.error)
        == f"User {user.user_id} is remind_later: there is no transition for goodbye_timeout."
    )
    assert (stored(user)["state"], count_audit_rows()) == ("remind_later", 1)


def test_message_that_waited_brings_the_user_back(other: psycopg.Connection) -> None:
    user = make_user("silent")
    with transaction.atomic():
        move(user, "inactivity_14d")
        message = Mover(user.user_id, Trigger.USER_MESSAGE, now=LATER)
        message.start()
        wait_for_somebody_at_a_row(other)
    message.join()
    assert message.error is None
    assert (stored(user)["state"], stored(user)["last_activity_at"]) == ("active", LATER)
    assert [row.to_state for row in EngagementStateTransition.objects.order_by("created_at")] == [
        "goodbye_sent",
        "active",
    ]


def test_state_that_another_program_creates_meanwhile_is_used(other: psycopg.Connection) -> None:
    profile = UserProfileFactory.create()
    with transaction.atomic():
        execute(
            "INSERT INTO user_engagement_states (user_id, state, last_activity_at)"
            " VALUES (%s, 'dormant', %s)",
            profile.user_id,
            NOW - DAY,
        )
        message = Mover(profile.user_id, Trigger.USER_MESSAGE)
        message.start()
        wait_for_somebody_at_a_row(other)
    message.join()
    assert message.error is None
    (created,) = UserEngagementState.objects.all()
    assert (created.state, created.last_activity_at, count_audit_rows()) == ("active", NOW, 1)


def test_user_who_is_erased_during_their_first_message_is_not_found(other: psycopg.Connection) -> None:
    profile = UserProfileFactory.create()
    with transaction.atomic():
        execute("DELETE FROM user_profiles")
        message = Mover(profile.user_id, Trigger.USER_MESSAGE)
        message.start()
        wait_for_somebody_at_a_row(other)
    message.join()
    assert isinstance(message.error, EngagementStateNotFound)


def test_nobody_waits_for_a_program_that_only_refers_to_the_state() -> None:
    user = make_user("dormant")
    with another_connection(autocommit=False) as referring, transaction.atomic():
        referring.execute("SELECT FROM user_engagement_states FOR KEY SHARE")
        execute("SET LOCAL lock_timeout = '1s'")
        move(user, "user_message")
        referring.rollback()
    assert stored(user)["state"] == "active"


def test_first_messages_at_once_create_one_state() -> None:
    profile = UserProfileFactory.create()
    line = Barrier(3)
    movers = [
        Mover(profile.user_id, Trigger.USER_MESSAGE, now=now, start_line=line) for now in (NOW, LATER, NOW)
    ]
    for mover in movers:
        mover.start()
    for mover in movers:
        mover.join()
    assert [mover.error for mover in movers] == [None] * 3
    assert UserEngagementState.objects.get().last_activity_at == LATER
