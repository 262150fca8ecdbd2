"""Rows as the assistant writes them: a valid user unless a test changes a column."""

from __future__ import annotations

from copy import copy
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any, Final

from factory.declarations import LazyAttribute, LazyFunction, Sequence, SubFactory, Trait
from factory.django import DjangoModelFactory
from uuid_utils.compat import uuid7

from engagement import message_catalogue as messages
from engagement.models import (
    EngagementJobRun,
    EngagementMessage,
    MessageType,
    RunStatus,
    UserEngagementState,
    UserProfile,
)
from engagement.states import CHECKS, State

NOW: Final = datetime(2026, 3, 2, 6, 0, tzinfo=UTC)
"""The `now` of runs in tests."""

TICK: Final = timedelta(microseconds=1)
"""The smallest step of PostgreSQL's clock."""


_numbers: Final = count()


def next_jid() -> str:
    return f"9990000{next(_numbers):07d}@s.whatsapp.net"


class UserProfileFactory(DjangoModelFactory[UserProfile]):
    """A user who can be reached and has not opted out."""

    class Meta:
        model = UserProfile

    whatsapp_jid = LazyFunction(next_jid)


class UserEngagementStateFactory(DjangoModelFactory[UserEngagementState]):
    """A user who was active yesterday."""

    class Meta:
        model = UserEngagementState

    user = SubFactory(UserProfileFactory)
    last_activity_at = NOW - timedelta(days=1)

    class Params:
        silent = Trait(last_activity_at=NOW - timedelta(days=14) - TICK)
        goodbye_sent = Trait(
            state=State.GOODBYE_SENT,
            last_activity_at=NOW - timedelta(days=17),
            goodbye_sent_at=NOW - timedelta(hours=48) - TICK,
            goodbye_expires_at=NOW - TICK,
        )
        remind_later = Trait(
            state=State.REMIND_LATER,
            last_activity_at=NOW - timedelta(days=31),
            remind_at=NOW - TICK,
        )
        help_flow = Trait(state=State.HELP_FLOW, last_activity_at=NOW - timedelta(days=31))
        dormant = Trait(state=State.DORMANT, last_activity_at=NOW - timedelta(days=31))


class EngagementJobRunFactory(DjangoModelFactory[EngagementJobRun]):
    """A run that was started at NOW and succeeded a minute later."""

    class Meta:
        model = EngagementJobRun

    status = RunStatus.SUCCEEDED
    now = NOW
    started_at = LazyAttribute(lambda run: run.now)
    last_seen_at = LazyAttribute(lambda run: run.started_at + timedelta(minutes=1))
    finished_at = LazyAttribute(lambda run: None if run.status == RunStatus.RUNNING else run.last_seen_at)
    checks = LazyAttribute(
        lambda run: {
            check.name: {"succeeded": run.succeeded if check.sends_goodbye else 0} for check in CHECKS
        }
    )
    succeeded = 0
    host = "host"


def make_run(**fields: Any) -> EngagementJobRun:
    """Store a run in the ledger."""
    return EngagementJobRunFactory.create(**fields)


def make_user(*traits: str, **fields: Any) -> UserEngagementState:
    """Store a user: traits are `silent`, `goodbye_sent`, `remind_later`, `help_flow`, `dormant`."""
    return UserEngagementStateFactory.create(**dict.fromkeys(traits, True), **fields)


def make_users(number: int, *traits: str, **fields: Any) -> list[UserEngagementState]:
    """Store many users in few statements: copies of one, because the factory takes a millisecond for each."""
    one = UserEngagementStateFactory.build(**dict.fromkeys(traits, True), **fields)
    states = [_another(one, new_address="user__whatsapp_jid" not in fields) for _ in range(number)]
    # A statement has 65,535 parameters at most.
    UserProfile.objects.bulk_create((state.user for state in states), batch_size=2_000)
    return UserEngagementState.objects.bulk_create(states, batch_size=2_000)


def _another(state: UserEngagementState, *, new_address: bool) -> UserEngagementState:
    user, another = copy(state.user), copy(state)
    user.user_id, another.id = uuid7(), uuid7()
    if new_address:
        user.whatsapp_jid = next_jid()
    another.user = user
    return another


class EngagementMessageFactory(DjangoModelFactory[EngagementMessage]):
    """A message that waits to be sent."""

    class Meta:
        model = EngagementMessage

    message_key = messages.GOODBYE
    destination = "individual"
    destination_jid = "9990000@s.whatsapp.net"
    scheduled_for = NOW
    idempotency_key = Sequence(lambda number: f"key {number}")


def queue_for(
    user: UserEngagementState | UserProfile, message_type: MessageType, **fields: Any
) -> EngagementMessage:
    """Queue a message without the services and their rules."""
    return EngagementMessageFactory.create(user_id=user.user_id, message_type=message_type, **fields)
