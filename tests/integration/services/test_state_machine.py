"""One user moved, against PostgreSQL: what is stored, and what is refused."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID, uuid4

import pytest
from django.db import DatabaseError, transaction
from django.forms import model_to_dict

from engagement.models import EngagementStateTransition, UserEngagementState
from engagement.services.state_machine import EngagementStateNotFound, extend_wait, transition_state
from engagement.states import InvalidTransition, Policy, Trigger
from tests.database import execute
from tests.factories import NOW, TICK, UserProfileFactory, make_user
from tests.integration.services.users import count_audit_rows, move, stored
from tests.times import DAY

if TYPE_CHECKING:
    from datetime import datetime

pytestmark = pytest.mark.django_db

JOB: Final = UUID("0197f3a0-0000-7000-8000-00000000000b")

GOODBYE: Final = {"goodbye_sent_at": NOW, "goodbye_expires_at": NOW + timedelta(hours=48)}
NO_DATES: Final = dict.fromkeys(("goodbye_sent_at", "goodbye_expires_at", "remind_at"))

ANSWERED: Final = {
    "days_inactive": 17,
    "hours_waited": 48,
    "days_since_goodbye": 2,
    "former_timestamps": {
        "goodbye_sent_at": "2026-02-28T05:59:59.999999+00:00",
        "goodbye_expires_at": "2026-03-02T05:59:59.999999+00:00",
    },
}
BY_USER: Final = {"trigger_source": "user_message"}
BY_SCHEDULER: Final = {"trigger_source": "scheduler"}
REMINDED: Final = {
    "days_inactive": 31,
    "former_timestamps": {"remind_at": "2026-03-02T05:59:59.999999+00:00"},
}

TEN: Final[list[tuple[str, str, str, dict[str, Any], dict[str, Any]]]] = [
    ("silent", "inactivity_14d", "goodbye_sent", GOODBYE, {"days_inactive": 14, **BY_SCHEDULER}),
    (
        "goodbye_sent",
        "user_message",
        "active",
        {},
        {"days_inactive": 17, "former_timestamps": ANSWERED["former_timestamps"], **BY_USER},
    ),
    ("goodbye_sent", "goodbye_response_1", "help_flow", {}, {"response_type": "confused", **BY_USER}),
    (
        "goodbye_sent",
        "goodbye_response_2",
        "remind_later",
        {"remind_at": NOW + timedelta(days=14)},
        {"response_type": "busy", **BY_USER},
    ),
    ("goodbye_sent", "goodbye_response_3", "dormant", {}, {"response_type": "all_good", **BY_USER}),
    ("goodbye_sent", "goodbye_timeout", "dormant", {}, {"response_type": "timeout", **BY_SCHEDULER}),
    ("help_flow", "user_message", "active", {}, {"days_inactive": 31, **BY_USER}),
    ("remind_later", "user_message", "active", {}, {**REMINDED, **BY_USER}),
    ("remind_later", "reminder_due", "dormant", {}, {**REMINDED, **BY_SCHEDULER}),
    ("dormant", "user_message", "active", {}, {"days_inactive": 31, "unprompted_return": True, **BY_USER}),
]
"""Who (a trait of the factory), what happens, where they are then, their dates, and what the log says."""


@pytest.mark.parametrize(("trait", "trigger", "to_state", "dates", "told"), TEN)
def test_move_is_stored_with_its_audit_row(
    trait: str, trigger: str, to_state: str, dates: dict[str, Any], told: dict[str, Any]
) -> None:
    user = make_user(trait)
    before = stored(user)
    audit_row = move(user, trigger)
    activity = {"last_activity_at": NOW} if trigger == "user_message" else {}
    assert stored(user) == {
        **before,
        **NO_DATES,
        **dates,
        **activity,
        "state": to_state,
        "updated_at": NOW,
    }
    assert audit_row is not None
    assert audit_row._asdict() == {
        "id": audit_row.id,
        "user_id": user.user_id,
        "from_state": user.state,
        "to_state": to_state,
        "trigger": trigger,
        "metadata": {**ANSWERED, **told} if "response_type" in told else told,
        "created_at": NOW,
    }
    assert EngagementStateTransition.objects.values().get() == audit_row._asdict()


@pytest.mark.parametrize(("trait", "trigger"), [("silent", "goodbye_timeout"), ("dormant", "inactivity_14d")])
def test_invalid_transition_changes_nothing(trait: str, trigger: str) -> None:
    user = make_user(trait)
    before = stored(user)
    with pytest.raises(
        InvalidTransition, match=f"{user.user_id} is {user.state}: there is no transition for {trigger}"
    ):
        move(user, trigger)
    assert (stored(user), count_audit_rows()) == (before, 0)


@pytest.mark.parametrize("trigger", sorted(set(Trigger.values) - {"user_message"}))
def test_user_without_a_state_is_not_found(trigger: str) -> None:
    profile = UserProfileFactory.create()
    with pytest.raises(EngagementStateNotFound, match=f"No engagement state for {profile.user_id}") as error:
        transition_state(user_id=profile.user_id, trigger=Trigger(trigger), now=NOW)
    assert error.value.user_ids == {profile.user_id}
    assert (UserEngagementState.objects.count(), count_audit_rows()) == (0, 0)


def test_message_from_somebody_without_a_profile_is_not_found() -> None:
    with pytest.raises(EngagementStateNotFound):
        transition_state(user_id=uuid4(), trigger=Trigger.USER_MESSAGE, now=NOW)
    assert (UserEngagementState.objects.count(), count_audit_rows()) == (0, 0)


def test_first_message_creates_the_state() -> None:
    profile = UserProfileFactory.create()
    assert transition_state(user_id=profile.user_id, trigger=Trigger.USER_MESSAGE, now=NOW) is None
    created = UserEngagementState.objects.get(user=profile)
    assert model_to_dict(created) == {
        "user": profile.user_id,
        "state": "active",
        "last_activity_at": NOW,
        **NO_DATES,
    }
    assert (created.created_at, created.updated_at, count_audit_rows()) == (NOW, NOW, 0)


@pytest.mark.parametrize(
    ("wrote_at", "last_activity_at"),
    [(NOW - TICK, NOW), (NOW, NOW), (NOW + TICK, NOW + TICK)],
    ids=["before", "at", "after"],
)
@pytest.mark.parametrize("trait", ["active", "help_flow", "goodbye_sent", "dormant"])
def test_message_moves_activity_forward_only(
    trait: str, wrote_at: datetime, last_activity_at: datetime
) -> None:
    user = make_user(*{trait} - {"active"}, last_activity_at=NOW)
    move(user, "user_message", now=wrote_at)
    assert stored(user)["last_activity_at"] == last_activity_at
    assert stored(user)["state"] == "active"


def test_message_from_an_active_user_leaves_no_audit_row() -> None:
    user = make_user("silent")
    assert move(user, "user_message") is None
    assert (stored(user)["state"], stored(user)["last_activity_at"]) == ("active", NOW)
    assert count_audit_rows() == 0


def test_message_may_be_repeated() -> None:
    user = make_user("dormant")
    move(user, "user_message")
    assert move(user, "user_message") is None
    assert count_audit_rows() == 1


def test_reply_may_not_be_repeated() -> None:
    user = make_user("goodbye_sent")
    move(user, "goodbye_response_2")
    with pytest.raises(InvalidTransition):
        move(user, "goodbye_response_2")
    assert count_audit_rows() == 1


@pytest.mark.parametrize(
    ("trait", "trigger"),
    [("silent", "inactivity_14d"), ("active", "user_message"), ("help_flow", "user_message")],
)
def test_old_dates_of_another_program_are_cleared(trait: str, trigger: str) -> None:
    user = make_user(*{trait} - {"active"}, remind_at=NOW - DAY)
    move(user, trigger)
    assert stored(user)["remind_at"] is None


def test_cleared_dates_of_another_program_are_kept_in_the_audit_row() -> None:
    audit_row = move(make_user("silent", remind_at=NOW), "inactivity_14d")
    assert audit_row is not None
    assert audit_row.metadata["former_timestamps"] == {"remind_at": "2026-03-02T06:00:00+00:00"}


@pytest.mark.parametrize(("dormant_for", "unprompted"), [(3 * DAY - TICK, False), (3 * DAY, True)])
def test_return_is_unprompted_by_the_audit_log(dormant_for: timedelta, unprompted: bool) -> None:  # noqa: FBT001
    user = make_user("goodbye_sent")
    move(user, "goodbye_response_3", now=NOW - dormant_for)
    audit_row = move(user, "user_message")
    assert audit_row is not None
    assert ("unprompted_return" in audit_row.metadata) is unprompted


@pytest.mark.parametrize(
    ("told_first", "told_then"), [(90 * DAY, DAY), (DAY, 90 * DAY)], ids=["in order", "late"]
)
def test_return_is_measured_from_the_latest_dormancy(told_first: timedelta, told_then: timedelta) -> None:
    user = make_user("goodbye_sent")
    move(user, "goodbye_response_3", now=NOW - told_first)
    move(user, "user_message", now=NOW - told_first)
    move(user, "inactivity_14d", now=NOW - told_then)
    move(user, "goodbye_response_3", now=NOW - told_then)
    audit_row = move(user, "user_message")
    assert audit_row is not None
    assert "unprompted_return" not in audit_row.metadata


@pytest.mark.parametrize(("silent_for", "unprompted"), [(3 * DAY - TICK, False), (3 * DAY, True)])
def test_return_is_unprompted_by_silence_where_the_log_knows_nothing(
    silent_for: timedelta,
    unprompted: bool,  # noqa: FBT001
) -> None:
    audit_row = move(make_user("dormant", last_activity_at=NOW - silent_for), "user_message")
    assert audit_row is not None
    assert ("unprompted_return" in audit_row.metadata) is unprompted


def test_job_id_is_in_the_metadata_when_a_run_did_it() -> None:
    audit_row = move(make_user("silent"), "inactivity_14d", job_id=JOB)
    assert audit_row is not None
    assert audit_row.metadata["job_id"] == str(JOB)


def test_policy_of_the_caller_is_honoured() -> None:
    user = make_user("silent")
    move(user, "inactivity_14d", policy=Policy(goodbye_wait=timedelta(hours=1)))
    assert stored(user)["goodbye_expires_at"] == NOW + timedelta(hours=1)


def test_state_is_rolled_back_when_the_audit_row_is_refused() -> None:
    user = make_user("silent")
    before = stored(user)
    execute(
        """
        CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql
        AS $$ BEGIN RAISE EXCEPTION 'no more rows'; END $$;
        CREATE TRIGGER refuse BEFORE INSERT ON engagement_state_transitions
        FOR EACH ROW EXECUTE FUNCTION refuse();
        """
    )
    with pytest.raises(DatabaseError, match="no more rows"):
        move(user, "inactivity_14d")
    assert (stored(user), count_audit_rows()) == (before, 0)


def test_move_goes_with_the_callers_transaction() -> None:
    user = make_user("silent")
    before = stored(user)
    with transaction.atomic():
        move(user, "inactivity_14d")
        transaction.set_rollback(True)
    assert (stored(user), count_audit_rows()) == (before, 0)


@pytest.mark.django_db
def test_naive_time_is_refused() -> None:
    user = make_user()
    with pytest.raises(ValueError, match="has no offset"):
        transition_state(user_id=user.user_id, trigger=Trigger.USER_MESSAGE, now=NOW.replace(tzinfo=None))


def test_wait_for_an_answer_is_extended_and_never_shortened() -> None:
    user = make_user("goodbye_sent")
    ends_at = user.goodbye_expires_at
    assert ends_at
    later = ends_at + timedelta(hours=1)
    for until in (later, later, ends_at):
        extend_wait(user_id=user.user_id, until=until)
    assert UserEngagementState.objects.get(pk=user.pk).goodbye_expires_at == later
