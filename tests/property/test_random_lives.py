"""Users live at random, and the app and a model of the design have to agree on every step.

`HYPOTHESIS_PROFILE=thorough` plays many more and longer lives.
"""

from __future__ import annotations

import os
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
from tests.property.hearing import Delivery, Heard, hear, wish
from tests.property.rows import AuditRow, QueueRow, StateRow, comparable
from tests.property.strategies import DAY, Moment, few, jids, leads, moments, newcomers, texts
from tests.reference import model
from tests.running import run_job

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime, timedelta

    from engagement.services.job.result import RunResult
    from engagement.states import Check
    from tests.property.people import Newcomer

MAX_USERS: Final = 6
NOBODY: Final = UUID(int=0)
TRIGGERS: Final = [trigger.value for trigger in Trigger]

# New lives in every run, also in CI, where Hypothesis would play the same ones again and again.
settings.register_profile(
    "lives",
    max_examples=80,
    stateful_step_count=30,
    derandomize=False,
    print_blob=True,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
settings.register_profile(
    "thorough", settings.get_profile("lives"), max_examples=1000, stateful_step_count=60
)


class Lives(RuleBasedStateMachine):
    """The app on a real database, beside the model."""

    users = Bundle("users")

    def __init__(self) -> None:
        super().__init__()
        self.world = model.World()
        self.now = NOW
        self.delivered: list[Delivery] = []
        # Not a block: the job's own transactions have to be the outermost.
        self.beginning = transaction.savepoint()

    def teardown(self) -> None:
        transaction.set_rollback(False)
        transaction.savepoint_rollback(self.beginning)

    # People.

    @initialize(target=users, first=st.lists(newcomers, min_size=4, max_size=MAX_USERS))
    def some_are_here(self, first: list[Newcomer]) -> Any:
        return multiple(*map(self._add, first))

    @precondition(lambda self: len(self.world.users) < MAX_USERS)
    @rule(target=users, newcomer=newcomers)
    def somebody_comes(self, newcomer: Newcomer) -> Any:
        return self._add(newcomer)

    @rule(user_id=users, opted_out=st.booleans(), jid=jids)
    def changes_the_profile(self, user_id: UUID, jid: str | None, *, opted_out: bool) -> None:
        UserProfile.objects.filter(pk=user_id).update(reengagement_opt_out=opted_out, whatsapp_jid=jid)
        self.world.users[user_id].opted_out = opted_out
        self.world.users[user_id].jid = jid

    # What happens to people: after a while, or around the instant at which something about them changes.

    @rule(user_id=st.one_of(users, users, st.just(NOBODY)), text=texts, when=moments, lead=leads)
    def writes(self, user_id: UUID, text: str, when: Moment, lead: timedelta) -> None:
        self._writes(Delivery(user_id, text, self._at(when, user_id) + lead))

    @rule(user_id=users, wait=st.sampled_from([2 * DAY, 3 * DAY, 3 * DAY - TICK, 3 * DAY + TICK]))
    def says_all_good_and_returns(self, user_id: UUID, wait: timedelta) -> None:
        self._writes(Delivery(user_id, "3", self.now))
        self.now += wait
        self._writes(Delivery(user_id, "oi", self.now))

    @precondition(lambda self: self.delivered)
    @rule(back=st.integers(1, 8), text=st.one_of(st.none(), texts))
    def is_delivered_again(self, back: int, text: str | None) -> None:
        """Or is it another message of the same instant?"""
        earlier = self.delivered[-min(back, len(self.delivered))]
        self._writes(earlier._replace(text=earlier.text if text is None else text))

    @rule(user_id=users, opted_out=st.booleans())
    def opts_by_service(self, user_id: UUID, *, opted_out: bool) -> None:
        change = (opt_out if opted_out else opt_in)(user_id=user_id, now=self.now)
        self.world.users[user_id].opt_out_changed_at = None
        assert (opted_out, change.cancelled) == wish(
            self.world, user_id, opted_out=opted_out, said_at=self.now
        )

    @rule(user_id=st.one_of(users, st.just(NOBODY)), trigger=st.sampled_from(TRIGGERS), when=moments)
    def is_moved_by_hand(self, user_id: UUID, trigger: str, when: Moment) -> None:
        self._happens(user_id, trigger, when)

    @rule(user_id=users)
    def another_program_sets_active(self, user_id: UUID) -> None:
        """And leaves the timestamps of the former state behind."""
        UserEngagementState.objects.filter(user_id=user_id).update(state="active")
        if user_status := self.world.users[user_id].user_status:
            user_status.state = "active"

    # The job, and what becomes of its messages.

    @rule(user_id=users, when=moments)
    def the_job_runs(self, user_id: UUID, when: Moment) -> None:
        self._run_job(at=self._at(when, user_id))

    @rule(
        wait=st.sampled_from([0 * TICK, 2 * DAY + TICK, 15 * DAY]),
        limit=st.integers(1, 4),
        batch_size=st.integers(1, 2),
    )
    def the_job_runs_in_small_batches(self, wait: timedelta, limit: int, batch_size: int) -> None:
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
    def the_job_runs_with_options(self, user_id: UUID, when: Moment, **options: Any) -> None:
        self._run_job(at=self._at(when, user_id), **options)

    @precondition(lambda self: any(message.status == "pending" for message in self.world.messages()))
    @rule()
    def messages_are_sent(self) -> None:
        EngagementMessage.objects.update(status="sent")
        self.world.messages_are_sent()

    # What has to hold after every step.

    @invariant()
    def states_are_as_in_the_model(self) -> None:
        rows = UserEngagementState.objects.values_list(*StateRow._fields)
        assert sorted(StateRow(*row) for row in rows) == self.world.standings()

    @invariant()
    def audit_log_is_as_in_the_model(self) -> None:
        in_order = EngagementStateTransition.objects.order_by("user_id", "id")
        rows = in_order.values_list(*AuditRow._fields)
        assert [comparable(AuditRow(*row)) for row in rows] == self.world.moves()

    @invariant()
    def queue_is_as_in_the_model(self) -> None:
        rows = EngagementMessage.objects.values_list(*QueueRow._fields)
        assert sorted(QueueRow(*row) for row in rows) == self.world.messages()

    def _add(self, newcomer: Newcomer) -> UUID:
        # Not in the order of coming: who comes first must not matter.
        user_id = UUID(int=7 * (len(self.world.users) + 1) % 11)
        self.world.add(user_id, newcomer, at=self.now)
        profile = UserProfile.objects.create(
            user_id=user_id,
            whatsapp_jid=newcomer.jid,
            preferred_destination=newcomer.destination,
            reengagement_opt_out=newcomer.opted_out,
        )
        for row in self.world.standings():
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
        assert _report(result) == _expected_report(expected, dry_run=dry_run)

    def _happens(self, user_id: UUID, trigger: str, when: Moment) -> None:
        at = self._at(when, user_id)
        expected = self.world.happens(user_id, trigger, at=at)
        assert _verdict(user_id, Trigger(trigger), at=at) == expected

    def _writes(self, message: Delivery) -> None:
        self.delivered.append(message)
        heard = hear(self.world, message.user_id, message.text, received_at=message.received_at, now=self.now)
        assert _heard(message, now=self.now) == heard

    def _at(self, when: Moment, user_id: UUID) -> datetime:
        """The moment, which becomes the present unless it has passed: what happened may be told late."""
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


def _heard(message: Delivery, *, now: datetime) -> Heard | None:
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


def _report(result: RunResult) -> dict[str, Any]:
    report = result.as_json()
    return {name: report[name] for name in report if name not in {"job_id", "now", "duration_ms"}}


def _expected_report(tallies: dict[str, model.Tally], *, dry_run: bool) -> dict[str, Any]:
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


@pytest.mark.timeout(3600)  # Making a failure short may take minutes.
@pytest.mark.django_db
def test_every_life_goes_as_the_design_says() -> None:
    profile = settings.get_profile(os.environ.get("HYPOTHESIS_PROFILE", "lives"))
    run_state_machine_as_test(Lives, settings=profile)
