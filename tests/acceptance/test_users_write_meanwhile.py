"""Another program, without Django, records messages and opt-outs during a run."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Final, Self

import pytest

from tests.acceptance.invariants import assert_invariants
from tests.acceptance.rows import take_snapshot
from tests.acceptance.runs import end_of, finish, run_of, start_run, value
from tests.acceptance.seeding import seeded
from tests.database import another_connection
from tests.factories import NOW

if TYPE_CHECKING:
    from collections.abc import Iterator
    from random import Random
    from uuid import UUID

    import psycopg

    from tests.acceptance.conftest import Size

AT_ONCE: Final = 5
"""The number of users that the other program chooses at once."""

# The users that the run moves now or next.
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

# In the transaction of the opt-out, after its UPDATE: the profile is locked, so a goodbye is either committed
# and visible now, or must never be queued.
REMEMBER_GOODBYE: Final = """
    INSERT INTO opt_outs SELECT %s, EXISTS (
        SELECT FROM engagement_state_transitions WHERE user_id = %s AND to_state = 'goodbye_sent'
    )
"""
GOODBYES_AFTER_OPT_OUT: Final = """
    SELECT count(*) FROM opt_outs JOIN engagement_state_transitions USING (user_id)
    WHERE to_state = 'goodbye_sent' AND NOT had_goodbye
"""
GOODBYES_DESPITE_ACTIVITY: Final = """
    SELECT count(*) FROM user_engagement_states
    WHERE state = 'goodbye_sent' AND last_activity_at >= %s::timestamptz - interval '14 days'
        AND goodbye_sent_at = %s
"""


class Meanwhile:
    """The other program: writes for one user after the other until the block ends."""

    def __init__(self, chance: Random, size: Size) -> None:
        self.written: set[UUID] = set()
        self.opted_out: set[UUID] = set()
        self._chance = chance
        self._size = size
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._work)
        self._errors: list[Exception] = []

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_exception: object) -> None:
        self._stopped.set()
        self._thread.join()
        assert not self._errors, self._errors

    def _work(self) -> None:
        try:
            with another_connection(autocommit=False) as connection:
                while not self._stopped.is_set():
                    for user_id in self._choose(connection):
                        self._chance.choice((self._write_in, self._opt_out))(connection, user_id)
                        connection.commit()
        except Exception as error:  # noqa: BLE001  the test's thread reports it
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
def test_user_who_writes_or_opts_out_during_the_run_gets_no_goodbye_afterwards(
    onlooker: psycopg.Connection, size: Size, chance: Random, workers: int
) -> None:
    before = seeded(onlooker, due=size.due)
    with Meanwhile(chance, size) as others:
        # Large batches leave more time between the claim and the commit.
        process = start_run("--batch-size", str(10 * size.batch), "--workers", str(workers))
        outcome = end_of(process)
    rest = finish()
    assert (outcome.code, rest.code) == (0, 0)
    assert value(onlooker, GOODBYES_DESPITE_ACTIVITY, NOW, NOW) == 0
    assert value(onlooker, GOODBYES_AFTER_OPT_OUT) == 0
    assert others.written
    assert others.opted_out
    assert_invariants(
        before,
        take_snapshot(onlooker),
        [run_of(outcome), run_of(rest)],
        written_by_others=others.written | others.opted_out,
    )
