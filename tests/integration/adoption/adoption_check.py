"""docs/sql/adoption_check.sql: its queries and their results."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from tests.integration.adoption.foreign_database import SCRIPTS
from tests.integration.adoption.obstacles import USER

if TYPE_CHECKING:
    import psycopg

AFTERWARDS: Final = "afterwards"
"""Work for after `migrate`: the only findings for the unchanged tables of these tests."""

GIVEN: Final = f"""
    INSERT INTO accounts.users (id) VALUES ('{USER}');
    INSERT INTO user_profiles (user_id) VALUES ('{USER}');
    INSERT INTO user_engagement_states (user_id) VALUES ('{USER}');
    INSERT INTO engagement_state_transitions (user_id, from_state, to_state, trigger)
        VALUES ('{USER}', 'active', 'goodbye_sent', 'inactivity_14d');
    INSERT INTO engagement_message_queue
        (user_id, message_type, message_key, destination, destination_jid, idempotency_key)
        VALUES ('{USER}', 'goodbye', 'engagement.goodbye.self_select', 'individual', '9@g.us', 'key');
"""
"""One row in every table."""

WHOLE_SCRIPT: Final = (SCRIPTS / "adoption_check.sql").read_bytes()
ABOUT_SHAPES: Final = WHOLE_SCRIPT.partition(b";\n\nSELECT")[0]
"""The first of its two queries. The second fails if a table or column is missing."""


class Finding(NamedTuple):
    """One row of the result."""

    concerns: str
    problem: str
    remedy: str


def all_rows(tables: psycopg.Connection, script: bytes = WHOLE_SCRIPT) -> list[Finding]:
    """Return all findings of the script."""
    cursor = tables.execute(script)
    found = [Finding(*row) for row in cursor.fetchall()]
    while cursor.nextset():
        found += [Finding(*row) for row in cursor.fetchall()]
    return found


def findings(tables: psycopg.Connection, script: bytes = WHOLE_SCRIPT) -> list[Finding]:
    """Return the findings of the script, without those for after `migrate`."""
    return [finding for finding in all_rows(tables, script) if finding.concerns != AFTERWARDS]
