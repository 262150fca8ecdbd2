"""The invariants notice each kind of damage."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

import pytest

from tests.acceptance.invariants import Run, broken_invariants
from tests.acceptance.rows import COLUMNS, Message, Profile, Snapshot, Transition, UserState
from tests.factories import NOW
from tests.reference.rules import DAY
from tests.times import HOUR

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    import psycopg

JOB: Final = "00000000-0000-7000-8000-000000000000"
SILENT, EXPIRED, OPTED_OUT, ACTIVE = USERS = [UUID(int=number) for number in range(1, 5)]
SENT, TIMED_OUT, GOODBYE, NEW, OLD = (UUID(int=number) for number in (10, 11, 12, 13, 90))
"""The two transitions of the run and its message, a row that a test adds, and the rows of earlier."""
FORMER: Final = {"goodbye_sent_at": NOW - 49 * HOUR, "goodbye_expires_at": NOW - HOUR}


def profile(user_id: UUID, *, opted_out: bool = False) -> Profile:
    created_at = NOW - 40 * DAY
    return Profile(user_id, f"{user_id}@test", "individual", "pt-BR", opted_out, None, created_at, created_at)


def user_state(user_id: UUID, *, days: int, state: str = "active", **timestamps: datetime) -> UserState:
    columns = {"goodbye_sent_at": None, "goodbye_expires_at": None, "remind_at": None, **timestamps}
    at = NOW - days * DAY
    return UserState(user_id, user_id, state, at, **columns, created_at=NOW - 40 * DAY, updated_at=at)


def transition(row_id: UUID, user_id: UUID, *path: str, days: int, **metadata: object) -> Transition:
    from_state, trigger, to_state = path
    facts = {"trigger_source": "scheduler", "days_inactive": days, "job_id": JOB, **metadata}
    return Transition(row_id, user_id, from_state, to_state, trigger, facts, NOW)


def goodbye(message_id: UUID, user_id: UUID, key: str | None = None) -> Message:
    return Message(
        id=message_id,
        user_id=user_id,
        message_type="goodbye",
        message_key="engagement.goodbye.self_select",
        message_params={},
        destination="individual",
        destination_jid=f"{user_id}@test",
        scheduled_for=NOW,
        sent_at=None,
        status="pending",
        retry_count=0,
        error_message=None,
        idempotency_key=key or f"{SILENT}:goodbye_sent:2026-03-02",
        created_at=NOW,
    )


class World:
    """Four users, one run that moved the two that were due, and the damage that a test adds."""

    def __init__(self) -> None:
        states = {
            SILENT: user_state(SILENT, days=20),
            EXPIRED: user_state(EXPIRED, days=30, state="goodbye_sent", **FORMER),
            OPTED_OUT: user_state(OPTED_OUT, days=20),
            ACTIVE: user_state(ACTIVE, days=1),
        }
        self.before = Snapshot(
            {user_id: profile(user_id, opted_out=user_id == OPTED_OUT) for user_id in USERS},
            states,
            {OLD: transition(OLD, ACTIVE, "dormant", "user_message", "active", days=9)},
            {OLD: goodbye(OLD, ACTIVE, "an old one")},
        )
        self.profiles = dict(self.before.profiles)
        self.states = dict(states)
        sent = {"goodbye_sent_at": NOW, "goodbye_expires_at": NOW + 48 * HOUR}
        self.change(self.states, SILENT, state="goodbye_sent", updated_at=NOW, **sent)
        self.change(self.states, EXPIRED, state="dormant", updated_at=NOW, **dict.fromkeys(FORMER))
        former = {name: at.isoformat() for name, at in FORMER.items()}
        timeout = ("goodbye_sent", "goodbye_timeout", "dormant")
        self.transitions = {
            **self.before.transitions,
            SENT: transition(SENT, SILENT, "active", "inactivity_14d", "goodbye_sent", days=20),
            TIMED_OUT: transition(TIMED_OUT, EXPIRED, *timeout, days=30, former_timestamps=former),
        }
        self.messages = {**self.before.messages, GOODBYE: goodbye(GOODBYE, SILENT)}
        one = {"processed": 1, "succeeded": 1, "failed": 0, "skipped": 0}
        self.checks = {"inactivity_14d": {**one, "skipped": 1}, "goodbye_timeout": dict(one)}
        self.result: dict[str, Any] = {
            "job_id": JOB,
            "status": "succeeded",
            "now": NOW.isoformat(),
            "processed": 2,
            "succeeded": 2,
            "failed": 0,
            "skipped": 1,
            "skipped_by_reason": {"opted_out": 1, "no_destination": 0},
            "checks": self.checks,
            "errors": [],
        }

    def complaints(self, *, in_doubt: int = 0, **options: Any) -> list[str]:
        after = Snapshot(self.profiles, self.states, self.transitions, self.messages)
        run = Run(NOW, self.result, in_doubt=in_doubt)
        return broken_invariants(self.before, after, [run], **options)

    def change(self, rows: dict[UUID, Any], key: UUID, **columns: Any) -> None:
        rows[key] = rows[key]._replace(**columns)

    def change_state(self, user_id: UUID, **columns: Any) -> None:
        self.change(self.states, user_id, **columns)

    def change_transition(self, row_id: UUID, **columns: Any) -> None:
        self.change(self.transitions, row_id, **columns)

    def change_message(self, message_id: UUID, **columns: Any) -> None:
        self.change(self.messages, message_id, **columns)

    def undo(self, user_id: UUID) -> None:
        self.states[user_id] = self.before.states[user_id]

    def blame(self, user_id: UUID) -> None:
        self.result["errors"].append({"user_id": str(user_id), "check_type": "inactivity_14d", "error": "?"})

    def add_transition(self, user_id: UUID) -> None:
        self.transitions[NEW] = self.transitions[SENT]._replace(id=NEW, user_id=user_id)

    def add_message(self, user_id: UUID) -> None:
        self.messages[NEW] = goodbye(NEW, user_id)

    def count(self, **reasons: int) -> None:
        self.result.update(skipped_by_reason={"opted_out": 1, "no_destination": 0, **reasons})


def pass_over(world: World) -> None:
    """The run did not move the user that was due for a goodbye."""
    world.undo(SILENT)
    del world.transitions[SENT], world.messages[GOODBYE]
    world.checks["inactivity_14d"].update(processed=0, succeeded=0)
    world.result.update(processed=1, succeeded=1)


def name_another_run(world: World) -> None:
    world.change_transition(SENT, metadata={**world.transitions[SENT].metadata, "job_id": "?"})


DAMAGE: Final[dict[str, tuple[Callable[[World], object], str]]] = {
    "a due user was passed over": (pass_over, "was due"),
    "a state changed back": (lambda world: world.undo(SILENT), "the row does not show it"),
    "a state without an audit row": (lambda world: world.transitions.pop(TIMED_OUT), "has no audit row"),
    "two audit rows": (lambda world: world.add_transition(SILENT), "was moved 2 times"),
    "a goodbye to an active user": (lambda world: world.add_transition(ACTIVE), "was not due"),
    "a goodbye after an opt-out": (lambda world: world.add_transition(OPTED_OUT), "was not due"),
    "a goodbye to no user": (lambda world: world.add_transition(UUID(int=77)), "names no user"),
    "no message": (lambda world: world.messages.pop(GOODBYE), "without a message"),
    "two messages": (lambda world: world.add_message(SILENT), "without a transition"),
    "a message to another user": (lambda world: world.add_message(ACTIVE), "without a transition"),
    "a wrong key": (lambda world: world.change_message(GOODBYE, idempotency_key="k"), "is not the goodbye"),
    "a wrong address": (
        lambda world: world.change_message(GOODBYE, destination_jid="j"),
        "is not the goodbye",
    ),
    "a message sent": (lambda world: world.change_message(GOODBYE, status="sent"), "is not the goodbye"),
    "an old message changed": (lambda world: world.change_message(OLD, status="sent"), "was there before"),
    "an old message deleted": (lambda world: world.messages.pop(OLD), "was there before"),
    "an old audit row changed": (lambda world: world.change_transition(OLD, trigger="?"), "was there before"),
    "an old audit row deleted": (lambda world: world.transitions.pop(OLD), "was there before"),
    "a wrong trigger": (
        lambda world: world.change_transition(TIMED_OUT, trigger="reminder_due"),
        "wrong transition",
    ),
    "a wrong time": (lambda world: world.change_transition(SENT, created_at=NOW - HOUR), "no run's now"),
    "no source": (lambda world: world.change_transition(SENT, metadata={"job_id": JOB}), "the scheduler"),
    "no former timestamps": (
        lambda world: world.change_transition(TIMED_OUT, metadata=world.transitions[SENT].metadata),
        "the former timestamps",
    ),
    "a profile touched": (
        lambda world: world.change(world.profiles, ACTIVE, reengagement_opt_out=True),
        "profile of",
    ),
    "a profile deleted": (lambda world: world.profiles.pop(ACTIVE), "profiles were added or deleted"),
    "a state row deleted": (lambda world: world.states.pop(ACTIVE), "rows were added or deleted"),
    "a row touched and not moved": (lambda world: world.change_state(ACTIVE, updated_at=NOW), "was touched"),
    "an opted-out row touched": (lambda world: world.change_state(OPTED_OUT, remind_at=NOW), "was touched"),
    "an activity forgotten": (lambda world: world.change_state(SILENT, last_activity_at=NOW), "show it"),
    "a timestamp left behind": (lambda world: world.change_state(EXPIRED, goodbye_sent_at=NOW), "show it"),
    "a goodbye that ends too late": (
        lambda world: world.change_state(SILENT, goodbye_expires_at=NOW + 49 * HOUR),
        "show it",
    ),
    "too many counted": (lambda world: world.checks["goodbye_timeout"].update(succeeded=2), "tables say 1"),
    "a wrong sum": (lambda world: world.checks["goodbye_timeout"].update(processed=2), "processed"),
    "a wrong total": (lambda world: world.result.update(succeeded=3), "not the sum of the checks"),
    "a wrong reason": (lambda world: world.count(opted_out=0, no_destination=1), "skipped, not 1 and 0"),
    "one reason too many": (lambda world: world.count(no_destination=1), "not the sum of its reasons"),
    "a user blamed": (lambda world: world.blame(ACTIVE), "without a fault"),
    "a failure without a name": (lambda world: world.checks["goodbye_timeout"].update(failed=1), "names 0"),
    "a status too good": (lambda world: world.result.update(failed=1), "with 1 failed"),
    "an unknown run": (name_another_run, "unknown runs"),
}


def test_sound_run_has_no_complaints() -> None:
    assert World().complaints() == []


@pytest.mark.parametrize(("damage", "complaint"), DAMAGE.values(), ids=DAMAGE.keys())
def test_damage_is_noticed(damage: Callable[[World], object], complaint: str) -> None:
    world = World()
    damage(world)
    assert any(complaint in text for text in world.complaints()), world.complaints()


def test_unfinished_run_may_have_passed_users_over() -> None:
    world = World()
    pass_over(world)
    assert world.complaints(finished=False) == []


@pytest.mark.parametrize(("counted", "in_doubt", "complaints"), [(0, 1, 0), (0, 0, 1), (2, 1, 1)])
def test_commits_in_doubt_may_be_more_than_was_counted_and_never_less(
    counted: int, in_doubt: int, complaints: int
) -> None:
    world = World()
    world.checks["inactivity_14d"].update(processed=counted, succeeded=counted)
    world.result.update(processed=1 + counted, succeeded=1 + counted, status="failed")
    assert len(world.complaints(in_doubt=in_doubt)) == complaints


def test_run_that_succeeded_leaves_no_commit_in_doubt() -> None:
    (complaint,) = World().complaints(in_doubt=1)
    assert complaint == "the run succeeded, and left 1 users in doubt"


def test_user_whose_key_was_taken_before_gets_no_message() -> None:
    world = World()
    world.before = world.before._replace(messages={NEW: goodbye(NEW, SILENT)})
    world.messages = {NEW: goodbye(NEW, SILENT), GOODBYE: world.messages[GOODBYE]}
    assert any("without a transition" in text for text in world.complaints())
    del world.messages[GOODBYE]
    assert world.complaints() == []


def test_poisoned_user_must_have_failed_and_stayed() -> None:
    world = World()
    assert any("cannot be moved" in text for text in world.complaints(poisoned={SILENT}))
    pass_over(world)
    assert any("0 failed, but 1" in text for text in world.complaints(poisoned={SILENT}))


def test_goodbye_in_spite_of_activity_is_noticed_when_others_wrote() -> None:
    world = World()
    world.change_state(SILENT, last_activity_at=NOW - DAY)
    complaints = world.complaints(written_by_others={SILENT})
    assert any("and was active at" in text for text in complaints), complaints


def test_goodbye_state_without_audit_row_is_noticed_when_others_wrote() -> None:
    world = World()
    world.transitions.pop(SENT)
    complaints = world.complaints(written_by_others={SILENT})
    assert any("no audit row says so" in text for text in complaints), complaints


def test_user_brought_back_by_another_program_is_not_damage() -> None:
    world = World()
    world.change_state(SILENT, state="active", last_activity_at=NOW, **dict.fromkeys(FORMER))
    assert world.complaints(written_by_others={SILENT}) == []


@pytest.mark.django_db
def test_snapshot_has_every_column(onlooker: psycopg.Connection) -> None:
    sql = "SELECT column_name FROM information_schema.columns WHERE table_name = %s"
    for table, columns in COLUMNS.items():
        assert {name for (name,) in onlooker.execute(sql, [table])} == set(columns)
