"""Addresses, numbers and texts of users stay out of logs and results, whatever error their rows cause."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

import pytest

from tests.acceptance.runs import run_to_the_end
from tests.database import execute, heal, on_every_move
from tests.factories import NOW, make_user, make_users
from tests.running import run_process

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.running import Outcome

JID: Final = "5511987654321@s.whatsapp.net"
GROUP_JID: Final = "120363041234567890@g.us"
NUMBER: Final = "+55 (11) 98765-4321"
WORDS: Final = "my father died yesterday"

CONSTRAINTS: Final = """
    ALTER TABLE user_profiles ADD CONSTRAINT unique_jid UNIQUE (whatsapp_jid);
    ALTER TABLE engagement_message_queue ADD CONSTRAINT no_groups CHECK (destination_jid !~ '@g.us');
"""

# One fault for each user: messages of triggers, and messages of PostgreSQL that quote rows.
FAULTS: Final = {
    "an address and a number in the message": f"RAISE EXCEPTION 'not for {JID} ({NUMBER})'",
    "a number in a message of our own class": f"RAISE EXCEPTION 'no: {NUMBER}' USING ERRCODE = '23514'",
    "words in the lines behind the first": f"""
        RAISE EXCEPTION E'no\\n{WORDS}' USING DETAIL = '{WORDS} {JID}', HINT = '{WORDS}'
    """,
    "words as a number": f"PERFORM '{WORDS}'::integer",
    "words as a date": f"PERFORM '{WORDS}'::timestamptz",
    "words as JSON": f"PERFORM '{{\"said\": {WORDS}}}'::jsonb",
    "a key that exists": f"""
        UPDATE user_profiles SET whatsapp_jid = '{JID}' WHERE user_id = NEW.user_id;
        INSERT INTO user_profiles (whatsapp_jid) VALUES ('{JID}')
    """,
    "words in the context": f"EXECUTE 'SELECT 1/0 AS \"{WORDS}\"'",
}
SECRETS: Final = (JID, GROUP_JID, NUMBER, WORDS, *WORDS.split()[1:], "98765-4321", "@s.whatsapp.net", "@g.us")
DIGITS_OF_SECRETS: Final = ("5511987654321", "120363041234567890", "99900000000")


@pytest.fixture
def failing(committed: None) -> Iterator[int]:
    """Users that fail, each for another reason, and some that do not; yields the number that fail."""
    make_users(4, "silent")
    make_users(2, "goodbye_sent")
    make_user("silent", user__whatsapp_jid=GROUP_JID, user__preferred_destination="group")
    make_user(last_activity_at=NOW, user__locale=WORDS)
    users = {make_user("silent").user_id: fault for fault in FAULTS.values()}
    cases = [f"IF NEW.user_id = '{user_id}' THEN {fault}; END IF;" for user_id, fault in users.items()]
    execute(CONSTRAINTS)
    on_every_move(" ".join(cases))
    yield len(FAULTS) + 1
    heal()
    execute("ALTER TABLE user_profiles DROP CONSTRAINT unique_jid")
    execute("ALTER TABLE engagement_message_queue DROP CONSTRAINT no_groups")


def assert_discreet(outcome: Outcome) -> None:
    said = outcome.out + outcome.err
    digits = re.sub(r"\D", "", re.sub(r"[0-9a-f]{8}-[0-9a-f-]{27}", "", said))
    found = [secret for secret in SECRETS if secret in said]
    found += [number for number in DIGITS_OF_SECRETS if number in digits]
    lines = [line for line in said.splitlines() if any(secret in line for secret in found)]
    assert not found, "\n".join([f"told: {found}", *lines])


def test_logs_and_results_have_no_personal_data(failing: int) -> None:
    # The lowest level: higher ones only leave lines out.
    outcome = run_to_the_end(LOG_LEVEL="debug")
    assert (outcome.code, outcome.json["failed"]) == (3, failing)
    assert_discreet(outcome)


def test_text_format_has_no_personal_data(failing: int) -> None:
    outcome = run_process(
        "run_engagement_daily", "--now", NOW.isoformat(), LOG_LEVEL="debug", LOG_FORMAT="text"
    )
    assert outcome.code == 3
    assert_discreet(outcome)
