"""The invariants are worth nothing if they hold of anything: each kind of damage must be noticed."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any
from uuid import UUID

import pytest

from tests.acceptance.due import DAY
from tests.acceptance.invariants import Run, broken_invariants
from tests.acceptance.rows import COLUMNS, Message, Move, Profile, Snapshot, UserState
from tests.factories import NOW

if TYPE_CHECKING:
    from collections.abc import Callable

    import psycopg

JOB = "00000000-0000-7000-8000-000000000000"
SILENT, EXPIRED, OPTED_OUT, ACTIVE = (UUID(int=number) for number in range(1, 5))
EVERYBODY = (SILENT, EXPIRED, OPTED_OUT, ACTIVE)
KEY = f"{SILENT}:goodbye_sent:2026-03-02"
HOUR = timedelta(hours=1)


def profile(user_id: UUID, *, opted_out: bool = False) -> Profile:
    created_at = NOW - 40 * DAY
    return Profile(user_id, f"{user_id}@test", "individual", "pt-BR", opted_out, None, created_at, created_at)


def user_state(user_id: UUID, *, days: int, state: str = "active", sent: bool = False) -> UserState:
    sent_at = NOW - 49 * HOUR if sent else None
    expires_at = NOW - HOUR if sent else None
    last_activity_at = NOW - days * DAY
    return UserState(
        user_id, user_id, state, last_activity_at, sent_at, expires_at, None, NOW - 40 * DAY, last_activity_at
    )


def move(number: int, user_id: UUID, *path: str, days: int, **metadata: object) -> Move:
    from_state, trigger, to_state = path
    facts = {"trigger_source": "scheduler", "days_inactive": days, "job_id": JOB, **metadata}
    return Move(UUID(int=number), user_id, from_state, to_state, trigger, facts, NOW)


def goodbye(number: int, user_id: UUID, key: str = KEY) -> Message:
    return Message(
        id=UUID(int=number),
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
        idempotency_key=key,
        created_at=NOW,
    )


class World:
    """Four users, one run that moved the two who were due; and what each test breaks of it."""

    def __init__(self) -> None:
        self.before = Snapshot(
            {
                user_id: profile(user_id, opted_out=user_id == OPTED_OUT)
                for user_id in (SILENT, EXPIRED, OPTED_OUT, ACTIVE)
            },
            {
                SILENT: user_state(SILENT, days=20),
                EXPIRED: user_state(EXPIRED, days=30, state="goodbye_sent", sent=True),
                OPTED_OUT: user_state(OPTED_OUT, days=20),
                ACTIVE: user_state(ACTIVE, days=1),
            },
            {UUID(int=90): move(90, ACTIVE, "dormant", "user_message", "active", days=9)},
            {UUID(int=91): goodbye(91, ACTIVE, "an old one")},
        )
        former = {
            "goodbye_sent_at": (NOW - 49 * HOUR).isoformat(),
            "goodbye_expires_at": (NOW - HOUR).isoformat(),
        }
        self.profiles = dict(self.before.profiles)
        self.states = {
            **self.before.states,
            SILENT: self.before.states[SILENT]._replace(
                state="goodbye_sent", goodbye_sent_at=NOW, goodbye_expires_at=NOW + 48 * HOUR, updated_at=NOW
            ),
            EXPIRED: self.before.states[EXPIRED]._replace(
                state="dormant", goodbye_sent_at=None, goodbye_expires_at=None, updated_at=NOW
            ),
        }
        self.moves = {
            **self.before.moves,
            UUID(int=10): move(10, SILENT, "active", "inactivity_14d", "goodbye_sent", days=20),
            UUID(int=11): move(
                11, EXPIRED, "goodbye_sent", "goodbye_timeout", "dormant", days=30, former_timestamps=former
            ),
        }
        self.messages = {**self.before.messages, UUID(int=12): goodbye(12, SILENT)}
        one = {"processed": 1, "succeeded": 1, "failed": 0, "skipped": 0}
        self.result: dict[str, Any] = {
            "job_id": JOB,
            "status": "succeeded",
            "now": NOW.isoformat(),
            "processed": 2,
            "succeeded": 2,
            "failed": 0,
            "skipped": 1,
            "skipped_by_reason": {"opted_out": 1, "no_destination": 0},
            "checks": {"inactivity_14d": {**one, "skipped": 1}, "goodbye_timeout": dict(one)},
            "errors": [],
        }

    def complaints(self, **options: Any) -> list[str]:
        after = Snapshot(self.profiles, self.states, self.moves, self.messages)
        return broken_invariants(self.before, after, [Run(NOW, self.result)], **options)

    def change_state(self, user_id: UUID, **columns: Any) -> None:
        self.states[user_id] = self.states[user_id]._replace(**columns)

    def change_move(self, number: int, **columns: Any) -> None:
        self.moves[UUID(int=number)] = self.moves[UUID(int=number)]._replace(**columns)

    def change_message(self, number: int, **columns: Any) -> None:
        self.messages[UUID(int=number)] = self.messages[UUID(int=number)]._replace(**columns)

    def change_counts(self, check: str, **counts: int) -> None:
        self.result["checks"][check].update(counts)

    def undo(self, user_id: UUID) -> None:
        self.states[user_id] = self.before.states[user_id]

    def blame(self, user_id: UUID) -> None:
        self.result["errors"].append({"user_id": str(user_id), "check_type": "inactivity_14d", "error": "?"})


def move_nobody(world: World) -> None:
    world.undo(SILENT)
    del world.moves[UUID(int=10)], world.messages[UUID(int=12)]
    world.change_counts("inactivity_14d", processed=0, succeeded=0)
    world.result.update(processed=1, succeeded=1)


def move_again(world: World) -> None:
    world.moves[UUID(int=13)] = world.moves[UUID(int=10)]._replace(id=UUID(int=13))


def move_who_is_not_due(world: World, user_id: UUID) -> None:
    world.moves[UUID(int=13)] = world.moves[UUID(int=10)]._replace(id=UUID(int=13), user_id=user_id)


DAMAGE: dict[str, tuple[Callable[[World], object], str]] = {
    "a due user was passed over": (move_nobody, "was due"),
    "a state changed back": (lambda world: world.undo(SILENT), "the row does not show it"),
    "a state without an audit row": (lambda world: world.moves.pop(UUID(int=11)), "has no audit row"),
    "two audit rows": (move_again, "was moved 2 times"),
    "a goodbye to an active user": (lambda world: move_who_is_not_due(world, ACTIVE), "was not due"),
    "a goodbye after an opt-out": (lambda world: move_who_is_not_due(world, OPTED_OUT), "was not due"),
    "a goodbye to nobody": (lambda world: move_who_is_not_due(world, UUID(int=77)), "is about nobody"),
    "no message": (lambda world: world.messages.pop(UUID(int=12)), "without a message"),
    "two messages": (
        lambda world: world.messages.update({UUID(int=13): goodbye(13, SILENT)}),
        "without a transition",
    ),
    "a message to somebody else": (
        lambda world: world.messages.update({UUID(int=13): goodbye(13, ACTIVE)}),
        "without a transition",
    ),
    "a wrong key": (lambda world: world.change_message(12, idempotency_key="k"), "is not the goodbye"),
    "a wrong address": (lambda world: world.change_message(12, destination_jid="j"), "is not the goodbye"),
    "a message sent": (lambda world: world.change_message(12, status="sent"), "is not the goodbye"),
    "an old message changed": (lambda world: world.change_message(91, status="sent"), "was there before"),
    "an old message deleted": (lambda world: world.messages.pop(UUID(int=91)), "was there before"),
    "an old audit row changed": (lambda world: world.change_move(90, trigger="?"), "was there before"),
    "an old audit row deleted": (lambda world: world.moves.pop(UUID(int=90)), "was there before"),
    "a wrong trigger": (lambda world: world.change_move(11, trigger="reminder_due"), "wrong move"),
    "a wrong time": (lambda world: world.change_move(10, created_at=NOW - HOUR), "no run's now"),
    "no source": (lambda world: world.change_move(10, metadata={"job_id": JOB}), "name the scheduler"),
    "no former timestamps": (
        lambda world: world.change_move(11, metadata=world.moves[UUID(int=10)].metadata),
        "the former timestamps",
    ),
    "a profile touched": (
        lambda world: world.profiles.update({ACTIVE: profile(ACTIVE, opted_out=True)}),
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
    "too many counted": (lambda world: world.change_counts("goodbye_timeout", succeeded=2), "tables say 1"),
    "a sum that is none": (lambda world: world.change_counts("goodbye_timeout", processed=2), "processed"),
    "a total that is none": (lambda world: world.result.update(succeeded=3), "not the sum of the checks"),
    "a wrong reason": (
        lambda world: world.result.update(skipped_by_reason={"opted_out": 0, "no_destination": 1}),
        "skipped, not 1 and 0",
    ),
    "a reason too many": (
        lambda world: world.result.update(skipped_by_reason={"opted_out": 1, "no_destination": 1}),
        "not the sum of its reasons",
    ),
    "somebody blamed": (lambda world: world.blame(ACTIVE), "not their fault"),
    "a failure nobody names": (lambda world: world.change_counts("goodbye_timeout", failed=1), "names 0"),
    "a status too good": (lambda world: world.result.update(failed=1), "with 1 failed"),
    "an unknown run": (
        lambda world: world.change_move(10, metadata={**world.moves[UUID(int=10)].metadata, "job_id": "?"}),
        "runs that nobody started",
    ),
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
    move_nobody(world)
    assert world.complaints(finished=False) == []


def test_key_that_was_taken_before_leaves_no_room_for_a_message() -> None:
    world = World()
    earlier = goodbye(92, SILENT)
    world.before = world.before._replace(messages={**world.before.messages, earlier.id: earlier})
    world.messages[earlier.id] = earlier
    assert any("without a transition" in text for text in world.complaints())
    del world.messages[UUID(int=12)]
    assert world.complaints() == []


def test_poisoned_user_must_have_failed_and_stayed() -> None:
    world = World()
    assert any("cannot be moved" in text for text in world.complaints(poisoned={SILENT}))
    move_nobody(world)
    assert any("0 failed, but 1" in text for text in world.complaints(poisoned={SILENT}))


def test_goodbye_in_spite_of_activity_is_noticed_when_others_wrote() -> None:
    world = World()
    world.change_state(SILENT, last_activity_at=NOW - DAY)
    complaints = world.complaints(written_by_others={SILENT})
    assert any("and was active at" in text for text in complaints), complaints


def test_goodbye_state_without_audit_row_is_noticed_when_others_wrote() -> None:
    world = World()
    world.moves.pop(UUID(int=10))
    complaints = world.complaints(written_by_others={SILENT})
    assert any("no audit row says so" in text for text in complaints), complaints


def test_user_brought_back_by_others_is_no_complaint() -> None:
    world = World()
    world.change_state(
        SILENT, state="active", last_activity_at=NOW, goodbye_sent_at=None, goodbye_expires_at=None
    )
    assert world.complaints(written_by_others={SILENT}) == []


@pytest.mark.django_db
def test_snapshot_has_every_column(onlooker: psycopg.Connection) -> None:
    sql = "SELECT column_name FROM information_schema.columns WHERE table_name = %s"
    for table, columns in COLUMNS.items():
        assert {name for (name,) in onlooker.execute(sql, [table])} == set(columns)
