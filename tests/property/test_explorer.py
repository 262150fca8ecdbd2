"""A random explorer: late senders, retries, undo, late and repeated messages, clocks that jump.

Its actions are drawn with weights, and without Hypothesis, which would repeat the simplest ones and leave
others out. Unlike the lives beside the model, it predicts nothing. It keeps its own account of what was
really sent and said, and after each step it checks what must never happen.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from random import Random, SystemRandom
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

import pytest
from django.db import transaction

from engagement.models import EngagementMessage, EngagementStateTransition, UserEngagementState, UserProfile
from engagement.services.inbound_messages import receive_message
from engagement.services.message_queue import cancel_messages
from engagement.services.support import bring_back, retry_message
from engagement.services.undo.undo_result import NotUndoneReason
from tests.factories import NOW, make_user
from tests.integration.operation.undoing import undo
from tests.running import run_job
from tests.times import DAY, HOUR, SECOND

if TYPE_CHECKING:
    from collections.abc import Sequence

    from engagement.services.inbound_messages import InboundResult

STEPS: Final = 30
LIVES: Final = {"quick": 16, "middle": 80, "full": 1000}
"""Of STEPS steps each: the full size takes 30,000."""
PARTS: Final = 4
"""Several tests, for the processes that share the work."""

USERS: Final = 2
HOW: Final = [
    "sent",
    "sent without time",
    "failed",
    "failed",
    "sending",
    "unknown",
    "tried",
    "tried",
    "deleted",
]
"""What another program's sender may do with a pending message."""
WAS_TRIED: Final = [reason for reason in NotUndoneReason if reason.startswith("goodbye_")]

NUMBERS: Final = range(USERS)
ACTIONS: Final[dict[str, tuple[int, dict[str, Sequence[Any]]]]] = {
    "job_runs": (
        4,
        {
            "wait": [0 * DAY, HOUR, DAY, 2 * DAY + SECOND, 15 * DAY],
            "skew": [0 * DAY, 0 * DAY, 0 * DAY, 0 * DAY, -3 * DAY, 30 * DAY],
            "is_undone": [False, False, False, True],
        },
    ),
    "earlier_run_is_undone": (2, {"back": range(3)}),
    "sender_takes_the_goodbye": (3, {"number": NUMBERS, "wait": [0 * DAY, HOUR, 2 * DAY], "how": HOW}),
    "unknown_outcome_is_resolved": (1, {"number": NUMBERS, "arrived": [False, True]}),
    "support_retries_every_failed_message": (2, {"number": NUMBERS}),
    "support_cancels_the_goodbye": (1, {"number": NUMBERS}),
    "support_marks_the_user_active": (1, {"number": NUMBERS}),
    "user_writes": (
        5,
        {
            "number": NUMBERS,
            "text": ["1", "2", "3", "1", "2", "oi", "oi", "sair", "voltar"],
            "wait": [0 * DAY, HOUR, 3 * DAY],
            "delay": [0 * DAY, 0 * DAY, 0 * DAY, -SECOND, HOUR, -HOUR, -15 * DAY, -90 * DAY],
        },
    ),
    "message_is_delivered_again": (1, {"number": NUMBERS, "back": range(1, 5)}),
    "another_program_sets_the_state": (1, {"number": NUMBERS, "state": ["dormant", "help_flow"]}),
    "another_program_opts_the_user_out": (1, {"number": NUMBERS}),
    "another_program_opts_the_user_in": (2, {"number": NUMBERS}),
}
"""What may happen: how often, and the arguments from which one is drawn."""


@dataclass
class Truth:
    """What really happened to one user, whatever the tables say."""

    told_at: dict[date, datetime] = field(default_factory=dict)
    """By day on which a wait began: from when on the user may have seen its goodbye.

    Waits that begin on the same day share one goodbye, as they share its key.
    """
    sent: dict[date, list[UUID]] = field(default_factory=dict)
    """By day on which a wait began: the goodbyes that were surely sent."""
    last_goodbye_at: datetime | None = None
    """From when on the user may have seen the last goodbye that was sent."""
    opted_out_at: datetime | None = None
    heard: list[tuple[str, datetime]] = field(default_factory=list)


class Explorer:
    """Two users, the services, and a sender of another program."""

    def __init__(self, chance: Random) -> None:
        self._chance = chance
        self.now = NOW
        self.tried: set[UUID] = set()
        self.steps: list[str] = []
        self.truths = [Truth() for _ in NUMBERS]
        silent = {"last_activity_at": NOW - 15 * DAY, "user__updated_at": NOW - 30 * DAY}
        self.ids = [make_user(**silent).user_id for _ in NUMBERS]

    def step(self) -> None:
        """One action, and what must hold after it."""
        weights = [weight for weight, _ in ACTIONS.values()]
        (name,) = self._chance.choices(list(ACTIONS), weights)
        arguments = {key: self._chance.choice(values) for key, values in ACTIONS[name][1].items()}
        self.steps.append(f"{name}({', '.join(f'{key}={value}' for key, value in arguments.items())})")
        getattr(self, name)(**arguments)
        self.pending_goodbye_is_that_of_an_open_wait()
        self.one_goodbye_per_wait()
        self.key_of_a_tried_goodbye_is_never_freed()
        self.nobody_was_active_in_the_future()
        self.timeout_says_whether_the_goodbye_was_sent()

    # The job.

    def job_runs(self, wait: timedelta, skew: timedelta, *, is_undone: bool) -> None:
        self.now += wait
        result = run_job(now=self.now + skew)
        for move in EngagementStateTransition.objects.filter(metadata__job_id=str(result.job_id)):
            if move.to_state == "goodbye_sent":
                queued = EngagementMessage.objects.get(pk=move.metadata["goodbye_message_id"])
                assert queued.status not in {"failed", "cancelled"}, "moved without a goodbye"
                last = self.truths[self.ids.index(move.user_id)].last_goodbye_at
                assert last is None or move.created_at - last > 14 * DAY - SECOND, "a goodbye too soon"
        if is_undone and result.succeeded:
            # Nothing has happened to its users, whatever its clock said; but a goodbye may have been sent.
            counts = undo(result.job_id, now=self.now).counts
            sent = sum(counts.not_undone[reason] for reason in WAS_TRIED)
            assert counts.undone + sent == result.succeeded, "not undone, though nothing has happened"

    def earlier_run_is_undone(self, back: int) -> None:
        moves = EngagementStateTransition.objects.filter(metadata__has_key="job_id").order_by("-id")
        jobs = list(dict.fromkeys(move.metadata["job_id"] for move in moves))
        if jobs:
            undo(UUID(jobs[min(back, len(jobs) - 1)]), now=self.now)

    # A sender of another program: it does what it likes with pending messages.

    def sender_takes_the_goodbye(self, number: int, wait: timedelta, how: str) -> None:
        self.now += wait
        message = EngagementMessage.objects.filter(user_id=self.ids[number], status="pending").first()
        if message is None:
            return
        wait_began_at = self._state(number).goodbye_sent_at
        assert wait_began_at, "a goodbye that no wait needs was pending"
        self.tried.add(message.id)
        if how not in {"failed", "tried"}:
            told_at = wait_began_at if how in {"sent without time", "deleted"} else self.now
            self.truths[number].told_at.setdefault(wait_began_at.date(), told_at)
            self.truths[number].last_goodbye_at = min(told_at, self.now)
        if how in {"sent", "sent without time", "deleted"}:
            self.truths[number].sent.setdefault(wait_began_at.date(), []).append(message.id)
        if how == "deleted":
            EngagementMessage.objects.filter(pk=message.pk).delete()
            return
        message.status = {"sent without time": "sent", "tried": "pending"}.get(how, how)
        message.sent_at = self.now if how == "sent" else None
        message.claimed_at = self.now if how in {"sending", "unknown"} else None
        message.retry_count += how in {"failed", "tried"}
        message.save()

    def unknown_outcome_is_resolved(self, number: int, *, arrived: bool) -> None:
        for message in EngagementMessage.objects.filter(
            user_id=self.ids[number], status__in=["sending", "unknown"]
        ):
            message.status = "sent" if arrived else "failed"
            message.retry_count += not arrived
            message.save()

    # Support.

    def support_retries_every_failed_message(self, number: int) -> None:
        for message in EngagementMessage.objects.filter(user_id=self.ids[number], status="failed"):
            retry_message(message_id=message.id, now=self.now)

    def support_cancels_the_goodbye(self, number: int) -> None:
        pending = EngagementMessage.objects.filter(user_id=self.ids[number], status="pending")
        cancel_messages(message_ids=[message.id for message in pending])

    def support_marks_the_user_active(self, number: int) -> None:
        bring_back(user_id=self.ids[number], performed_by="grace", now=self.now)

    # Users.

    def user_writes(self, number: int, text: str, wait: timedelta, delay: timedelta) -> None:
        self.now += wait
        self._hear(number, text, self.now + delay)

    def message_is_delivered_again(self, number: int, back: int) -> None:
        heard = self.truths[number].heard
        if heard:
            self._hear(number, *heard[-min(back, len(heard))])

    # Other programs.

    def another_program_sets_the_state(self, number: int, state: str) -> None:
        """Without an audit row, and only if no goodbye is under way."""
        if not EngagementMessage.objects.filter(user_id=self.ids[number], status="pending").exists():
            UserEngagementState.objects.filter(user_id=self.ids[number]).update(
                state=state, goodbye_sent_at=None, goodbye_expires_at=None, remind_at=None
            )

    def another_program_opts_the_user_in(self, number: int) -> None:
        UserProfile.objects.filter(pk=self.ids[number]).update(
            reengagement_opt_out=False, opt_out_changed_at=self.now, updated_at=self.now
        )
        self.truths[number].opted_out_at = None

    def another_program_opts_the_user_out(self, number: int) -> None:
        """Without its date."""
        UserProfile.objects.filter(pk=self.ids[number]).update(
            reengagement_opt_out=True, opt_out_changed_at=None, updated_at=self.now
        )
        self.truths[number].opted_out_at = self.now

    # What must never happen.

    def pending_goodbye_is_that_of_an_open_wait(self) -> None:
        for number, user_id in enumerate(self.ids):
            pending = list(EngagementMessage.objects.filter(user_id=user_id, status="pending"))
            assert len(pending) <= 1, "two goodbyes pending"
            if pending:
                state = self._state(number)
                assert state.state == "goodbye_sent", "pending for a user who does not wait"
                date = state.goodbye_sent_at.date().isoformat()
                assert pending[0].idempotency_key == f"{user_id}:goodbye_sent:{date}", "of another wait"

    def one_goodbye_per_wait(self) -> None:
        for truth in self.truths:
            assert all(len(sent) == 1 for sent in truth.sent.values()), "two goodbyes for one day"

    def key_of_a_tried_goodbye_is_never_freed(self) -> None:
        freed = EngagementMessage.objects.filter(idempotency_key__contains=":undone:")
        assert not {message.id for message in freed} & self.tried

    def nobody_was_active_in_the_future(self) -> None:
        assert not UserEngagementState.objects.filter(last_activity_at__gt=self.now).exists()

    def timeout_says_whether_the_goodbye_was_sent(self) -> None:
        for number, user_id in enumerate(self.ids):
            moves = EngagementStateTransition.objects.filter(user_id=user_id, trigger="goodbye_timeout")
            for move in moves:
                began_at = datetime.fromisoformat(move.metadata["former_timestamps"]["goodbye_sent_at"])
                if began_at.date() not in self.truths[number].told_at:
                    assert move.metadata["goodbye"] != "sent", "said to be sent, but never was"

    def _state(self, number: int) -> Any:
        return UserEngagementState.objects.get(user_id=self.ids[number])

    def _hear(self, number: int, text: str, at: datetime) -> None:
        truth, before = self.truths[number], self._state(number)
        was_opted_out = UserProfile.objects.get(pk=before.user_id).reengagement_opt_out
        result = receive_message(user_id=before.user_id, text=text, received_at=at, now=self.now)
        truth.heard.append((text, at))
        heard_at = min(at, self.now)
        if result.novelty == "new" and result.transition:
            self._check_transition(truth, before, result, heard_at=heard_at)
        is_opted_out = UserProfile.objects.get(pk=before.user_id).reengagement_opt_out
        if was_opted_out and not is_opted_out:
            assert truth.opted_out_at is not None
            assert heard_at >= truth.opted_out_at, "an older message has undone an opt-out"
        if result.preference == "opted_out":
            truth.opted_out_at = heard_at

    def _check_transition(
        self, truth: Truth, before: Any, result: InboundResult, *, heard_at: datetime
    ) -> None:
        assert result.transition
        if result.transition.trigger.startswith("goodbye_response"):
            told_at = truth.told_at.get(before.goodbye_sent_at.date())
            assert told_at is not None, "answered a goodbye that was never sent"
            assert heard_at >= told_at.replace(microsecond=0), "answered before it was sent"
        elif heard_at < before.last_activity_at:
            began = EngagementStateTransition.objects.filter(
                user_id=before.user_id, to_state=before.state, created_at__lte=heard_at
            )
            is_later = before.goodbye_sent_at and before.goodbye_sent_at <= heard_at
            assert is_later or began.exists(), "an old message has woken the user"


@pytest.mark.timeout(3600)
@pytest.mark.django_db
@pytest.mark.parametrize("part", range(PARTS))
def test_explorer_finds_nothing_that_must_never_happen(request: pytest.FixtureRequest, part: int) -> None:
    for _ in range(LIVES[request.config.getoption("--faults")] // PARTS):
        live(seed=SystemRandom().randrange(2**32))


def live(*, seed: int) -> None:
    """One life of STEPS steps, which leaves no rows. A failure names the seed and the steps."""
    # Not a block: the transactions of a run must be the outermost.
    beginning = transaction.savepoint()
    explorer = Explorer(Random(seed))  # noqa: S311  no secrets
    try:
        for _ in range(STEPS):
            explorer.step()
    except Exception as error:
        error.add_note("\n".join([f"live(seed={seed}):", *explorer.steps]))
        raise
    finally:
        transaction.set_rollback(False)
        transaction.savepoint_rollback(beginning)
