"""Users write in and opt out while the job runs, through another program that knows nothing of Django."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Final, Self

import pytest

from tests.acceptance.invariants import assert_invariants
from tests.acceptance.rows import take_snapshot
from tests.acceptance.runs import end_of, finish, run_of, start_run, value
from tests.acceptance.seeding import seed
from tests.database import another_connection
from tests.factories import NOW

if TYPE_CHECKING:
    from collections.abc import Iterator
    from random import Random
    from uuid import UUID

    import psycopg

    from tests.acceptance.conftest import Size

AT_ONCE: Final = 5
"""Users of one of the other program's transactions."""

# Where the job is at work now, and where it will be in a moment.
NEXT_IN_LINE: Final = """
    SELECT user_id FROM user_engagement_states JOIN user_profiles USING (user_id)
    WHERE state = 'active' AND last_activity_at < %s::timestamptz - interval '14 days'
        AND NOT reengagement_opt_out AND whatsapp_jid <> ''
    ORDER BY last_activity_at, user_id LIMIT %s
"""

WRITE_IN: Final = """
    UPDATE user_engagement_states SET state = 'active', last_activity_at = %s, updated_at = now(),
        goodbye_sent_at = NULL, goodbye_expires_at = NULL, remind_at = NULL
    WHERE user_id = %s
"""
OPT_OUT: Final = "UPDATE user_profiles SET reengagement_opt_out = true, updated_at = now() WHERE user_id = %s"

# In the opt-out's transaction, behind its UPDATE: from here on the profile is locked, so a goodbye is
# either committed and visible now, or must never come.
REMEMBER_GOODBYE: Final = """
    INSERT INTO opt_outs SELECT %s, EXISTS (
        SELECT FROM engagement_state_transitions WHERE user_id = %s AND to_state = 'goodbye_sent'
    )
"""
GOODBYES_AFTER_OPT_OUT: Final = """
    SELECT count(*) FROM opt_outs JOIN engagement_state_transitions USING (user_id)
    WHERE to_state = 'goodbye_sent' AND NOT had_goodbye
"""
GOODBYES_IN_SPITE_OF_ACTIVITY: Final = """
    SELECT count(*) FROM user_engagement_states
    WHERE state = 'goodbye_sent' AND last_activity_at >= %s::timestamptz - interval '14 days'
        AND goodbye_sent_at = %s
"""


class Meanwhile:
    """The other program: writes for one user after the other, until told to stop."""

    def __init__(self, chance: Random, size: Size) -> None:
        self.written: set[UUID] = set()
        self.opted_out: set[UUID] = set()
        self._chance = chance
        self._size = size
        self._enough = threading.Event()
        self._thread = threading.Thread(target=self._work)
        self._errors: list[Exception] = []

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_exception: object) -> None:
        self._enough.set()
        self._thread.join()
        assert not self._errors, self._errors

    def _work(self) -> None:
        try:
            with another_connection(autocommit=False) as connection:
                while not self._enough.is_set():
                    for user_id in self._choose(connection):
                        self._chance.choice((self._write_in, self._opt_out))(connection, user_id)
                        connection.commit()
        except Exception as error:  # noqa: BLE001  told to the test's own thread
            self._errors.append(error)

    def _choose(self, connection: psycopg.Connection) -> list[UUID]:
        rows = connection.execute(NEXT_IN_LINE, [NOW, 3 * self._size.batch]).fetchall()
        connection.commit()
        return self._chance.sample([user_id for (user_id,) in rows], min(AT_ONCE, len(rows)))

    def _write_in(self, connection: psycopg.Connection, user_id: UUID) -> None:
        connection.execute(WRITE_IN, [NOW, user_id])
        self.written.add(user_id)

    def _opt_out(self, connection: psycopg.Connection, user_id: UUID) -> None:
        connection.execute(OPT_OUT, [user_id])
        connection.execute(REMEMBER_GOODBYE, [user_id, user_id])
        self.opted_out.add(user_id)


@pytest.fixture
def opt_outs(onlooker: psycopg.Connection) -> Iterator[None]:
    onlooker.execute("CREATE TABLE opt_outs (user_id uuid, had_goodbye boolean)")
    yield
    onlooker.execute("DROP TABLE opt_outs")


@pytest.mark.usefixtures("opt_outs")
@pytest.mark.parametrize("workers", [1, 3])
def test_who_writes_in_or_opts_out_during_the_run_is_told_no_goodbye_after_that(
    onlooker: psycopg.Connection, size: Size, chance: Random, workers: int
) -> None:
    seed(onlooker, due=size.due)
    before = take_snapshot(onlooker)
    with Meanwhile(chance, size) as others:
        # Large batches: the longer from the claim to the commit, the more can come between.
        process = start_run("--batch-size", str(10 * size.batch), "--workers", str(workers))
        outcome = end_of(process)
    rest = finish()
    assert (outcome.code, rest.code) == (0, 0)
    assert value(onlooker, GOODBYES_IN_SPITE_OF_ACTIVITY, NOW, NOW) == 0
    assert value(onlooker, GOODBYES_AFTER_OPT_OUT) == 0
    assert others.written
    assert others.opted_out
    assert_invariants(
        before,
        take_snapshot(onlooker),
        [run_of(outcome), run_of(rest)],
        written_by_others=others.written | others.opted_out,
    )
