"""Random lives of users: the app and an independent model of the design agree on every step."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

import pytest
from django.db import transaction
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    initialize,
    invariant,
    multiple,
    precondition,
    rule,
    run_state_machine_as_test,
)

from engagement.models import EngagementMessage, EngagementStateTransition, UserEngagementState, UserProfile
from engagement.services.inbound_messages import receive_message
from engagement.services.preferences import opt_in, opt_out
from engagement.services.state_machine import EngagementStateNotFound, transition_state
from engagement.states import CHECKS, InvalidTransition, Trigger
from tests.factories import NOW, TICK
from tests.property.strategies import Moment, few, jids, leads, moments, newcomers, texts
from tests.reference.model import World
from tests.reference.rows import AuditRow, Heard, Inbound, QueueRow, StateRow
from tests.reference.rules import DAY
from tests.running import run_job

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import timedelta

    from engagement.services.job.result import RunResult
    from engagement.states import Check
    from tests.reference.rows import Newcomer, Tally

MAX_USERS: Final = 6
NOBODY: Final = UUID(int=0)
TRIGGERS: Final = [trigger.value for trigger in Trigger]

# New lives in every run, also in CI, where Hypothesis would repeat the same ones.
LIVES: Final = settings(
    stateful_step_count=30,
    derandomize=False,
    print_blob=True,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
NUMBER_OF_LIVES: Final = {"quick": 20, "middle": 80, "full": 1000}
PARTS: Final = 4
"""Several tests, for the processes that share the work."""


class Lives(RuleBasedStateMachine):
    """The app on a real database, beside the model."""

    users = Bundle("users")

    def __init__(self) -> None:
        super().__init__()
        self.world = World()
        self.now = NOW
        self.delivered: list[Inbound] = []
        # Not a block: the transactions of a run must be the outermost.
        self.beginning = transaction.savepoint()

    def teardown(self) -> None:
        transaction.set_rollback(False)
        transaction.savepoint_rollback(self.beginning)

    # Users.

    @initialize(target=users, first=st.lists(newcomers, min_size=4, max_size=MAX_USERS))
    def first_users(self, first: list[Newcomer]) -> Any:
        return multiple(*map(self._add, first))

    @precondition(lambda self: len(self.world.users) < MAX_USERS)
    @rule(target=users, newcomer=newcomers)
    def another_user_comes(self, newcomer: Newcomer) -> Any:
        return self._add(newcomer)

    @rule(user_id=users, opted_out=st.booleans(), jid=jids)
    def profile_changes(self, user_id: UUID, jid: str | None, *, opted_out: bool) -> None:
        UserProfile.objects.filter(pk=user_id).update(reengagement_opt_out=opted_out, whatsapp_jid=jid)
        self.world.users[user_id].opted_out = opted_out
        self.world.users[user_id].jid = jid

    # Events: after a while, or around the instant at which something about the user changes.

    @rule(user_id=st.one_of(users, users, st.just(NOBODY)), text=texts, when=moments, lead=leads)
    def user_writes(self, user_id: UUID, text: str, when: Moment, lead: timedelta) -> None:
        self._writes(Inbound(user_id, text, self._at(when, user_id) + lead))

    @rule(user_id=users, wait=st.sampled_from([2 * DAY, 3 * DAY, 3 * DAY - TICK, 3 * DAY + TICK]))
    def user_says_all_good_and_returns(self, user_id: UUID, wait: timedelta) -> None:
        self._writes(Inbound(user_id, "3", self.now))
        self.now += wait
        self._writes(Inbound(user_id, "oi", self.now))

    @precondition(lambda self: self.delivered)
    @rule(back=st.integers(1, 8), text=st.one_of(st.none(), texts))
    def message_is_delivered_again(self, back: int, text: str | None) -> None:
        """The same message, or another one of the same instant."""
        earlier = self.delivered[-min(back, len(self.delivered))]
        self._writes(earlier._replace(text=earlier.text if text is None else text))

    @rule(user_id=users, opted_out=st.booleans())
    def service_opts_out_or_in(self, user_id: UUID, *, opted_out: bool) -> None:
        change = (opt_out if opted_out else opt_in)(user_id=user_id, now=self.now)
        self.world.users[user_id].opt_out_changed_at = None
        self.world.users[user_id].updated_at = self.now
        expected = self.world.wish(user_id, opted_out=opted_out, said_at=self.now, now=self.now)
        assert (opted_out, change.cancelled) == expected

    @rule(user_id=st.one_of(users, st.just(NOBODY)), trigger=st.sampled_from(TRIGGERS), when=moments)
    def caller_gives_a_trigger(self, user_id: UUID, trigger: str, when: Moment) -> None:
        self._happens(user_id, trigger, when)

    @rule(user_id=users)
    def another_program_sets_active(self, user_id: UUID) -> None:
        """It leaves the timestamps of the former state behind."""
        UserEngagementState.objects.filter(user_id=user_id).update(state="active")
        if status := self.world.users[user_id].status:
            status.state = "active"

    # Runs, and the program that sends their messages.

    @rule(user_id=users, when=moments)
    def the_job_runs(self, user_id: UUID, when: Moment) -> None:
        self._run_job(at=self._at(when, user_id))

    @rule(
        wait=st.sampled_from([0 * TICK, 2 * DAY + TICK, 15 * DAY]),
        limit=st.integers(1, 4),
        batch_size=st.integers(1, 2),
    )
    def run_in_small_batches(self, wait: timedelta, limit: int, batch_size: int) -> None:
        self.now += wait
        self._run_job(at=self.now, limit=limit, batch_size=batch_size)

    @rule(
        user_id=users,
        when=moments,
        checks=st.one_of(st.just(CHECKS), st.lists(st.sampled_from(CHECKS), min_size=1, unique=True)),
        limit=few,
        batch_size=few,
        dry_run=st.booleans(),
    )
    def run_with_options(self, user_id: UUID, when: Moment, **options: Any) -> None:
        self._run_job(at=self._at(when, user_id), **options)

    @precondition(lambda self: any(message.status == "pending" for message in self.world.messages()))
    @rule()
    def messages_are_sent(self) -> None:
        EngagementMessage.objects.update(status="sent")
        self.world.send_messages()

    # After every step.

    @invariant()
    def states_are_as_in_the_model(self) -> None:
        rows = UserEngagementState.objects.values_list(*StateRow._fields)
        assert sorted(StateRow(*row) for row in rows) == self.world.states()

    @invariant()
    def audit_log_is_as_in_the_model(self) -> None:
        in_order = EngagementStateTransition.objects.order_by("user_id", "id")
        rows = in_order.values_list(*AuditRow._fields)
        assert [_comparable(AuditRow(*row)) for row in rows] == self.world.transitions()

    @invariant()
    def queue_is_as_in_the_model(self) -> None:
        rows = EngagementMessage.objects.values_list(*QueueRow._fields)
        assert sorted(QueueRow(*row) for row in rows) == self.world.messages()

    def _add(self, newcomer: Newcomer) -> UUID:
        # Ids in another order than that of creation.
        user_id = UUID(int=7 * (len(self.world.users) + 1) % 11)
        self.world.add(user_id, newcomer, at=self.now)
        profile = UserProfile.objects.create(
            user_id=user_id,
            whatsapp_jid=newcomer.jid,
            preferred_destination=newcomer.destination,
            reengagement_opt_out=newcomer.opted_out,
            updated_at=self.now,
        )
        for row in self.world.states():
            if row.user_id == user_id:
                UserEngagementState.objects.create(user=profile, **row._asdict())
        return user_id

    def _run_job(
        self,
        *,
        at: datetime,
        checks: Sequence[Check] = CHECKS,
        limit: int | None = None,
        batch_size: int | None = None,
        dry_run: bool = False,
    ) -> None:
        result = run_job(now=at, checks=checks, limit=limit, batch_size=batch_size, dry_run=dry_run)
        names = [check.name for check in checks]
        expected = self.world.run(at=at, checks=names, limit=limit, dry_run=dry_run, job_id=result.job_id)
        still_due = self.world.still_due(at=at, checks=names) - (result.processed if dry_run else 0)
        assert _report(result) == {**_expected_report(expected, dry_run=dry_run), "still_due": still_due}

    def _happens(self, user_id: UUID, trigger: str, when: Moment) -> None:
        at = self._at(when, user_id)
        expected = self.world.happens(user_id, trigger, at=at)
        assert _verdict(user_id, Trigger(trigger), at=at) == expected

    def _writes(self, message: Inbound) -> None:
        self.delivered.append(message)
        assert _heard(message, now=self.now) == self.world.hear(message, now=self.now)

    def _at(self, when: Moment, user_id: UUID) -> datetime:
        """The moment, which becomes the present unless it is past: events may arrive late."""
        threshold = self.world.threshold_of(user_id) if when.at_threshold else None
        at = (threshold or self.now) + when.period
        self.now = max(self.now, at)
        return at.astimezone(when.zone)


def _verdict(user_id: UUID, trigger: Trigger, *, at: datetime) -> str:
    try:
        transition = transition_state(user_id=user_id, trigger=trigger, now=at)
    except InvalidTransition as error:
        return f"{error.trigger} refused from {error.state}"
    except EngagementStateNotFound:
        return "unknown"
    return "moved" if transition else "noted"


def _heard(message: Inbound, *, now: datetime) -> Heard | None:
    try:
        result = receive_message(**message._asdict(), now=now)
    except EngagementStateNotFound:
        return None
    return Heard(
        result.novelty,
        result.transition and result.transition.trigger,
        None if result.preference is None else result.preference == "opted_out",
        result.reply_key,
        result.cancelled,
    )


def _comparable(row: AuditRow) -> AuditRow:
    """The row with datetimes for texts, and without what the app alone knows: the digest and its own ids."""
    own = {"text_digest", "goodbye_message_id", "cancelled_message_id"}
    metadata = {name: value for name, value in row.metadata.items() if name not in own}
    if former := metadata.get("former_timestamps"):
        metadata["former_timestamps"] = {name: datetime.fromisoformat(at) for name, at in former.items()}
    if received_at := metadata.get("received_at"):
        metadata["received_at"] = datetime.fromisoformat(received_at)
    return row._replace(metadata=metadata)


def _report(result: RunResult) -> dict[str, Any]:
    report = result.as_json()
    return {name: report[name] for name in report if name not in {"job_id", "now", "duration_ms"}}


def _expected_report(tallies: dict[str, Tally], *, dry_run: bool) -> dict[str, Any]:
    succeeded = sum(tally.succeeded for tally in tallies.values())
    opted_out = sum(tally.opted_out for tally in tallies.values())
    no_destination = sum(tally.no_destination for tally in tallies.values())
    return {
        "status": "succeeded",
        "dry_run": dry_run,
        "processed": succeeded,
        "succeeded": succeeded,
        "failed": 0,
        "skipped": opted_out + no_destination,
        "skipped_by_reason": {"opted_out": opted_out, "no_destination": no_destination},
        "checks": {
            check: {
                "processed": tally.succeeded,
                "succeeded": tally.succeeded,
                "failed": 0,
                "skipped": tally.opted_out + tally.no_destination,
            }
            for check, tally in tallies.items()
        },
        "errors": [],
    }


@pytest.mark.timeout(3600)  # Hypothesis may take minutes to shorten a failure.
@pytest.mark.django_db
@pytest.mark.parametrize("part", range(PARTS))
def test_app_and_model_agree_on_every_life(request: pytest.FixtureRequest, part: int) -> None:
    lives = NUMBER_OF_LIVES[request.config.getoption("--faults")]
    run_state_machine_as_test(Lives, settings=settings(LIVES, max_examples=lives // PARTS))
