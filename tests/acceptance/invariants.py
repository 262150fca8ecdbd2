"""What must be true of the whole database after any run, whether it succeeded, was stopped or was killed.

The checks use plain rows and the reference rules. The app's own queries would repeat its mistakes.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from tests.acceptance.due import Expected, due_users, expected_transition
from tests.acceptance.rows import Message
from tests.reference.rules import (
    GOODBYE_TEXT,
    GOODBYE_WAIT,
    SILENCE,
    days_inactive,
    due_check,
    former_timestamps,
    goodbye_key,
    timestamps_of,
)

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping
    from uuid import UUID

    from tests.acceptance.rows import Snapshot, Transition, UserState

NOBODY: Final[frozenset[UUID]] = frozenset()
COMPLAINTS_SHOWN: Final = 20
ERRORS_IN_RESULT: Final = 100
ENDED: Final = {"succeeded", "partial"}
"""The statuses of a run that was not cut short."""


@dataclass(frozen=True, slots=True)
class Run:
    """One run: its `now`, and the result that it printed with --json; None if it was killed before.

    `in_doubt`: so many users may have been moved without being counted, since the run lost the database
    while it committed them, and said so.
    """

    now: datetime
    result: Mapping[str, Any] | None
    in_doubt: int = 0


def assert_invariants(before: Snapshot, after: Snapshot, runs: Collection[Run], **options: Any) -> None:
    """Fail with the first complaints of `broken_invariants`, which has the options."""
    complaints = broken_invariants(before, after, runs, **options)
    assert not complaints, "\n".join([f"{len(complaints)} complaints", *complaints[:COMPLAINTS_SHOWN]])


def broken_invariants(
    before: Snapshot,
    after: Snapshot,
    runs: Collection[Run],
    *,
    finished: bool = True,
    poisoned: Collection[UUID] = NOBODY,
    written_by_others: Collection[UUID] = NOBODY,
) -> list[str]:
    """Compare the tables before and after `runs`; returns one sentence for each violation.

    The runs' `now`s must lie within 48 hours: no user falls due twice in that time.
    `finished`: every due user must have been moved. Otherwise some may still be due.
    `poisoned`: users that the database refused to transition. They must have failed, and no others.
    `written_by_others`: users whose rows another program wrote during the runs. They need not have been
    moved, and only what must be true of any row is checked for them.
    """
    judge = _Judge(before, after, runs, finished, frozenset(poisoned), frozenset(written_by_others))
    return list(judge.complaints())


@dataclass(frozen=True, slots=True)
class _Judge:
    before: Snapshot
    after: Snapshot
    runs: Collection[Run]
    finished: bool
    poisoned: frozenset[UUID]
    written_by_others: frozenset[UUID]
    due: dict[UUID, Expected] = field(init=False, default_factory=dict)
    transitions: dict[UUID, list[Transition]] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        nows = [run.now for run in self.runs]
        assert max(nows) - min(nows) <= GOODBYE_WAIT, "these runs may transition a user twice"
        self.due.update(due_users(self.before, now=max(nows)))
        for row in self.after.transitions.values():
            if row.id not in self.before.transitions:
                self.transitions.setdefault(row.user_id, []).append(row)

    def complaints(self) -> Iterator[str]:
        yield from self._about_what_was_there()
        yield from self._about_profiles()
        yield from self._about_transitions()
        yield from self._about_states()
        yield from self._about_messages()
        yield from self._about_counts()

    def _about_what_was_there(self) -> Iterator[str]:
        """Runs append to the audit log and the queue, and add or delete no user."""
        for name, old, new in (
            ("audit row", self.before.transitions, self.after.transitions),
            ("message", self.before.messages, self.after.messages),
        ):
            for key, row in old.items():
                if new.get(key) != row:
                    yield f"{name} {key} was there before and was changed or deleted"
        if self.before.states.keys() != self.after.states.keys():
            yield "state rows were added or deleted"

    def _about_profiles(self) -> Iterator[str]:
        if self.before.profiles.keys() != self.after.profiles.keys():
            yield "profiles were added or deleted"
        for user_id, profile in self.after.profiles.items():
            untouched = profile == self.before.profiles.get(user_id)
            if not untouched and user_id not in self.written_by_others:
                yield f"profile of {user_id} was touched"

    def _about_transitions(self) -> Iterator[str]:
        for user_id, rows in self.transitions.items():
            if len(rows) > 1:
                yield f"{user_id} was moved {len(rows)} times"
            if user_id not in self.due:
                yield f"{user_id} was not due and was moved"
            if user_id in self.poisoned:
                yield f"{user_id} cannot be moved and has an audit row"
            for row in rows:
                yield from self._about_transition(row)
        if self.finished:
            for user_id in self.due.keys() - self.transitions.keys() - self.poisoned - self.written_by_others:
                yield f"{user_id} was due ({self.due[user_id].trigger}) and has no audit row"

    def _about_transition(self, row: Transition) -> Iterator[str]:
        user = self.before.states.get(row.user_id)
        profile = self.before.profiles.get(row.user_id)
        if user is None or profile is None:
            yield f"audit row {row.id} names no user"
            return
        expected = expected_transition(user, profile, now=row.created_at)
        if (row.from_state, row.trigger, row.to_state) != expected:
            yield f"{row.user_id} made the wrong transition: {row}"
        if row.created_at not in {run.now for run in self.runs}:
            yield f"{row.user_id} was moved at {row.created_at}, which is no run's now"
        if row.metadata.get("trigger_source") != "scheduler":
            yield f"audit row of {row.user_id} does not name the scheduler"
        if row.metadata.get("days_inactive") != days_inactive(user, at=row.created_at):
            yield f"audit row of {row.user_id} has the wrong days of silence: {row.metadata}"
        former = {name: value.isoformat() for name, value in former_timestamps(user).items()}
        if row.metadata.get("former_timestamps", {}) != former:
            yield f"audit row of {row.user_id} does not hold the former timestamps: {row.metadata}"

    def _about_states(self) -> Iterator[str]:
        for user_id, user in self.after.states.items():
            rows = self.transitions.get(user_id, [])
            if user_id in self.written_by_others:
                yield from self._about_state_written_by_others(user, rows)
                continue
            former = self.before.states.get(user_id)
            if rows and former:
                if user != _row_after(former, rows[-1]):
                    yield f"{user_id} was moved by {rows[-1].trigger} and the row does not show it: {user}"
            elif user != former:
                yield f"{user_id} has no audit row and was touched: {former} became {user}"

    def _about_state_written_by_others(self, user: UserState, rows: list[Transition]) -> Iterator[str]:
        former = self.before.states.get(user.user_id)
        if user.state != "goodbye_sent" or (former and former.state == "goodbye_sent"):
            return
        if not rows or rows[-1].to_state != "goodbye_sent":
            yield f"{user.user_id} is in goodbye_sent and no audit row says so"
        elif user.last_activity_at >= rows[-1].created_at - SILENCE:
            yield f"{user.user_id} was sent a goodbye and was active at {user.last_activity_at}"

    def _about_messages(self) -> Iterator[str]:
        taken = {message.idempotency_key for message in self.before.messages.values()}
        expected = Counter(
            (row.user_id, row.created_at)
            for rows in self.transitions.values()
            for row in rows
            if row.to_state == "goodbye_sent" and goodbye_key(row.user_id, at=row.created_at) not in taken
        )
        found: Counter[tuple[UUID, datetime]] = Counter()
        for message_id, message in self.after.messages.items():
            if message_id not in self.before.messages:
                found[message.user_id, message.created_at] += 1
                yield from self._about_message(message)
        for (user_id, at), count in (expected - found).items():
            yield f"{user_id} has {count} goodbye transitions at {at} without a message"
        for (user_id, at), count in (found - expected).items():
            yield f"{user_id} has {count} messages at {at} without a transition"

    def _about_message(self, message: Message) -> Iterator[str]:
        profile = self.before.profiles.get(message.user_id)
        right = profile and Message(
            id=message.id,
            user_id=message.user_id,
            message_type="goodbye",
            message_key=GOODBYE_TEXT,
            message_params={},
            destination=profile.preferred_destination,
            destination_jid=profile.whatsapp_jid or "nowhere",
            scheduled_for=message.created_at,
            sent_at=None,
            status="pending",
            retry_count=0,
            error_message=None,
            idempotency_key=goodbye_key(message.user_id, at=message.created_at),
            created_at=message.created_at,
        )
        if message != right:
            yield f"this message is not the goodbye it should be: {message}"

    def _about_counts(self) -> Iterator[str]:
        moved = Counter(
            (row.metadata.get("job_id"), row.trigger) for rows in self.transitions.values() for row in rows
        )
        results = []
        for run in self.runs:
            if (result := run.result) is None:
                continue
            results.append(result)
            yield from _wrong_in_counts(result, moved, in_doubt=run.in_doubt)
            yield from _wrong_in_failures(result, blamable=self.poisoned & self.due.keys())
            if not self.written_by_others:  # the number changes while others write
                yield from _wrong_in_skipped(result, self.before)
        strangers = {job_id for job_id, _ in moved} - {result["job_id"] for result in results}
        silent = len(self.runs) - len(results)
        if len(strangers) > silent:
            yield f"audit rows name unknown runs: {strangers}"


def _row_after(former: UserState, row: Transition) -> UserState:
    timestamps: dict[str, Any] = {**timestamps_of(row.to_state, since=row.created_at)}
    return former._replace(state=row.to_state, updated_at=row.created_at, **timestamps)


def _wrong_in_counts(
    result: Mapping[str, Any], moved: Counter[tuple[str | None, str]], *, in_doubt: int
) -> Iterator[str]:
    """`moved`: how many transitions the audit log has for each run and check."""
    job_id, failures = result["job_id"], Counter(error["check_type"] for error in result["errors"])
    if in_doubt and result["status"] in ENDED:
        yield f"the run {result['status']}, and left {in_doubt} users in doubt"
    for name, counts in result["checks"].items():
        not_counted = moved[job_id, name] - counts["succeeded"]
        if 0 <= not_counted <= in_doubt:
            in_doubt -= not_counted
        else:
            yield f"{name} counts {counts['succeeded']} moved, the tables say {moved[job_id, name]}"
        if counts["processed"] != counts["succeeded"] + counts["failed"]:
            yield f"{name}: processed is not succeeded + failed: {counts}"
        if counts["failed"] != failures[name] and len(result["errors"]) < ERRORS_IN_RESULT:
            yield f"{name} counts {counts['failed']} failed and names {failures[name]}"
    for key in ("processed", "succeeded", "failed", "skipped"):
        if result[key] != sum(counts[key] for counts in result["checks"].values()):
            yield f"{key} is not the sum of the checks: {result}"
    if result["skipped"] != sum(result["skipped_by_reason"].values()):
        yield f"skipped is not the sum of its reasons: {result}"


def _wrong_in_failures(result: Mapping[str, Any], *, blamable: Collection[UUID]) -> Iterator[str]:
    """`blamable`: the due users whom the database refused to move."""
    innocent = {error["user_id"] for error in result["errors"]} - {str(user_id) for user_id in blamable}
    if innocent:
        yield f"{len(innocent)} users failed without a fault of theirs: {result['errors'][:3]}"
    ended = result["status"] in ENDED
    if ended and result["status"] != ("partial" if result["failed"] else "succeeded"):
        yield f"status {result['status']} with {result['failed']} failed"
    if ended and result["failed"] != len(blamable):
        yield f"{result['failed']} failed, but {len(blamable)} could not be moved"


def _wrong_in_skipped(result: Mapping[str, Any], before: Snapshot) -> Iterator[str]:
    """A run that was cut short may not have counted them."""
    if result["status"] not in ENDED:
        return
    now = datetime.fromisoformat(result["now"])
    silent = [
        before.profiles[user.user_id]
        for user in before.states.values()
        if due_check(user, now=now) == "inactivity_14d"
    ]
    opted_out = sum(profile.reengagement_opt_out for profile in silent)
    unreachable = sum(not (profile.reengagement_opt_out or profile.whatsapp_jid) for profile in silent)
    if result["skipped_by_reason"] != {"opted_out": opted_out, "no_destination": unreachable}:
        yield f"{result['skipped_by_reason']} skipped, not {opted_out} and {unreachable}"
