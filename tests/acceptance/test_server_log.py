"""The log of the PostgreSQL server holds failed statements, but not the users' addresses."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import pytest
from django.db import connection

from config.database import PRIVATE_POSTGRESQL
from tests.acceptance.runs import run_to_the_end
from tests.database import execute
from tests.factories import make_user

NUMBERS: Final = ("5521912340001", "5521912340002", "5521912340003")
"""In no other test: parallel tests write to the same log."""

REFUSE_MESSAGES: Final = """
    CREATE FUNCTION at_move() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN RAISE EXCEPTION 'no message to % today', NEW.user_id; END
    $$;
    CREATE TRIGGER at_move BEFORE INSERT ON engagement_message_queue
    FOR EACH ROW EXECUTE FUNCTION at_move()
"""


@pytest.fixture
def log_file() -> Path:
    if connection.settings_dict["ENGINE"] != PRIVATE_POSTGRESQL:
        pytest.skip("only the log of the private server can be read")
    with connection.cursor() as cursor:
        cursor.execute("SHOW data_directory")
        return Path(cursor.fetchone()[0]).with_name("log")


def test_failed_batch_leaves_no_address_in_the_log_of_the_server(committed: None, log_file: Path) -> None:
    users = [make_user("silent", user__whatsapp_jid=f"{number}@s.whatsapp.net") for number in NUMBERS]
    execute(REFUSE_MESSAGES)
    length = log_file.stat().st_size
    outcome = run_to_the_end()
    assert (outcome.code, outcome.json["failed"]) == (3, len(NUMBERS))
    logged = log_file.read_bytes()[length:].decode(errors="replace")
    # The whole batch, then each of its users.
    for user in users:
        assert f"no message to {user.user_id} today" in logged
    assert 'STATEMENT:  INSERT INTO "engagement_message_queue"' in logged
    assert not [line for line in logged.splitlines() if any(number in line for number in NUMBERS)]
