"""What must hold over the whole database after any run, whatever happened to it.

Written without the app: plain rows, plain Python, the rules of the design once more. Sharing the
app's own queries would share their mistakes.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from tests.acceptance.due import DAY, Expected, due_users, expected_move
from tests.acceptance.results import wrong_in_counts, wrong_in_failures, wrong_in_skipped
from tests.acceptance.rows import Message

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping
    from uuid import UUID

    from tests.acceptance.rows import Move, Snapshot, UserState

GOODBYE_WAIT: Final = timedelta(hours=48)
NOBODY: Final[frozenset[UUID]] = frozenset()
COMPLAINTS_SHOWN: Final = 20


@dataclass(frozen=True, slots=True)
class Run:
    """One run: its `now`, and what it printed with --json; None if it did not live to print anything."""

    now: datetime
    result: Mapping[str, Any] | None


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
    """Everything that is wrong with what `runs` made of `before`; empty if all is well.

    The runs' `now`s must lie within the 48 hours in which nobody can fall due a second time.
    `finished`: whoever was due must have been moved, not merely may have been.
    `poisoned`: users whom the database refused to move: they alone may, and must, have failed.
    `written_by_others`: users whose rows another program wrote meanwhile; they need not have been
    moved, and their rows are held to what must be true of any row.
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
    moves: defaultdict[UUID, list[Move]] = field(init=False, default_factory=lambda: defaultdict(list))

    def __post_init__(self) -> None:
        nows = [run.now for run in self.runs]
        assert max(nows) - min(nows) <= GOODBYE_WAIT, "these runs may move somebody twice"
        self.due.update(due_users(self.before, now=max(nows)))
        for move_id, move in self.after.moves.items():
            if move_id not in self.before.moves:
                self.moves[move.user_id].append(move)

    def complaints(self) -> Iterator[str]:
        yield from self._about_what_was_there()
        yield from self._about_profiles()
        yield from self._about_moves()
        yield from self._about_states()
        yield from self._about_messages()
        yield from self._about_counts()

    def _about_what_was_there(self) -> Iterator[str]:
        """The audit log and the queue are appended to, and users neither come nor go."""
        for name, old, new in (
            ("audit row", self.before.moves, self.after.moves),
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

    def _about_moves(self) -> Iterator[str]:
        for user_id, moves in self.moves.items():
            if len(moves) > 1:
                yield f"{user_id} was moved {len(moves)} times"
            if user_id not in self.due:
                yield f"{user_id} was not due and was moved"
            if user_id in self.poisoned:
                yield f"{user_id} cannot be moved and has an audit row"
            for move in moves:
                yield from self._about_move(move)
        if self.finished:
            for user_id in self.due.keys() - self.moves.keys() - self.poisoned - self.written_by_others:
                yield f"{user_id} was due ({self.due[user_id].trigger}) and has no audit row"

    def _about_move(self, move: Move) -> Iterator[str]:
        user = self.before.states.get(move.user_id)
        profile = self.before.profiles.get(move.user_id)
        if user is None or profile is None:
            yield f"audit row {move.id} is about nobody"
            return
        if (move.from_state, move.trigger, move.to_state) != expected_move(
            user, profile, now=move.created_at
        ):
            yield f"{move.user_id} made the wrong move: {move}"
        if move.created_at not in {run.now for run in self.runs}:
            yield f"{move.user_id} was moved at {move.created_at}, which is no run's now"
        if move.metadata.get("trigger_source") != "scheduler":
            yield f"audit row of {move.user_id} does not name the scheduler"
        if move.metadata.get("days_inactive") != max((move.created_at - user.last_activity_at) // DAY, 0):
            yield f"audit row of {move.user_id} has the wrong days of silence: {move.metadata}"
        if move.metadata.get("former_timestamps", {}) != _timestamps(user):
            yield f"audit row of {move.user_id} does not hold the former timestamps: {move.metadata}"

    def _about_states(self) -> Iterator[str]:
        for user_id, user in self.after.states.items():
            moves = self.moves.get(user_id, [])
            if user_id in self.written_by_others:
                yield from self._about_state_written_by_others(user, moves)
                continue
            former = self.before.states.get(user_id)
            if moves and former:
                if user != _row_after(former, moves[-1]):
                    yield f"{user_id} was moved by {moves[-1].trigger} and the row does not show it: {user}"
            elif user != former:
                yield f"{user_id} has no audit row and was touched: {former} became {user}"

    def _about_state_written_by_others(self, user: UserState, moves: list[Move]) -> Iterator[str]:
        former = self.before.states.get(user.user_id)
        if user.state != "goodbye_sent" or (former and former.state == "goodbye_sent"):
            return
        if not moves or moves[-1].to_state != "goodbye_sent":
            yield f"{user.user_id} is in goodbye_sent and no audit row says so"
        elif user.last_activity_at >= moves[-1].created_at - 14 * DAY:
            yield f"{user.user_id} was told goodbye and was active at {user.last_activity_at}"

    def _about_messages(self) -> Iterator[str]:
        taken = {message.idempotency_key for message in self.before.messages.values()}
        expected = Counter(
            (move.user_id, move.created_at)
            for moves in self.moves.values()
            for move in moves
            if move.to_state == "goodbye_sent" and _key(move.user_id, move.created_at) not in taken
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
            message_key="engagement.goodbye.self_select",
            message_params={},
            destination=profile.preferred_destination,
            destination_jid=profile.whatsapp_jid or "nowhere",
            scheduled_for=message.created_at,
            sent_at=None,
            status="pending",
            retry_count=0,
            error_message=None,
            idempotency_key=_key(message.user_id, message.created_at),
            created_at=message.created_at,
        )
        if message != right:
            yield f"this message is not the goodbye it should be: {message}"

    def _about_counts(self) -> Iterator[str]:
        moved = Counter(
            (move.metadata.get("job_id"), move.trigger) for moves in self.moves.values() for move in moves
        )
        results = [run.result for run in self.runs if run.result is not None]
        for result in results:
            yield from wrong_in_counts(result, moved)
            yield from wrong_in_failures(result, blamable=self.poisoned & self.due.keys())
            if not self.written_by_others:  # the number has no one truth while others write
                yield from wrong_in_skipped(result, self.before)
        strangers = {job_id for job_id, _ in moved} - {result["job_id"] for result in results}
        silent = len(self.runs) - len(results)
        if len(strangers) > silent:
            yield f"audit rows name runs that nobody started: {strangers}"


def _row_after(former: UserState, move: Move) -> UserState:
    sends_goodbye = move.to_state == "goodbye_sent"
    return former._replace(
        state=move.to_state,
        goodbye_sent_at=move.created_at if sends_goodbye else None,
        goodbye_expires_at=move.created_at + GOODBYE_WAIT if sends_goodbye else None,
        remind_at=None,
        updated_at=move.created_at,
    )


def _key(user_id: UUID, at: datetime) -> str:
    return f"{user_id}:goodbye_sent:{at.astimezone(UTC).date().isoformat()}"


def _timestamps(user: UserState) -> dict[str, str]:
    columns = ("goodbye_sent_at", "goodbye_expires_at", "remind_at")
    return {name: value.isoformat() for name in columns if (value := getattr(user, name))}
