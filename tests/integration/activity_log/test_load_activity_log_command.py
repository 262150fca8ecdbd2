"""What the command says of loading an activity log, and how it ends."""

from __future__ import annotations

import os
from datetime import timedelta, timezone
from typing import TYPE_CHECKING, Final
from unittest.mock import patch

import pytest
from django.core.management import call_command
from freezegun import freeze_time

from engagement.models import UserProfile
from engagement.replay.loading import user_id_of
from tests.database import execute
from tests.integration.activity_log.logs import MICROSECOND, NOON, SAMPLE, event, state_of
from tests.running import Outcome, run_command, run_process

if TYPE_CHECKING:
    from pathlib import Path

    from tests.integration.activity_log.logs import WriteLog

SERVICE: Final = "engagement.management.commands.load_activity_log.load_activity_log"


def load(*arguments: str | Path) -> Outcome:
    return run_command("load_activity_log", *map(str, arguments))


@pytest.mark.django_db
def test_command_tells_what_it_added() -> None:
    assert load(SAMPLE, "--as-of", "1998-07-01T06:00:00Z") == Outcome(
        out=f"{SAMPLE}: 6,696 events of 2,357 users, as of 1998-07-01 06:00 UTC.\n"
        "2,357 users added, 0 already known (unchanged), 0 not here yet.\n",
        err="",
        code=0,
    )


@pytest.mark.django_db
def test_command_says_when_nothing_changed(write_log: WriteLog) -> None:
    path = write_log(event("ana"), event("ben", NOON + timedelta(days=1)))
    arguments = (path, "--as-of", "1997-01-01T09:00:00-03:00")

    load(*arguments)

    assert load(*arguments).out == (
        f"{path}: 2 events of 2 users, as of 1997-01-01 12:00 UTC.\n"
        "No users added, 1 already known (unchanged), 1 not here yet.\n"
    )


@pytest.mark.django_db
def test_command_tells_of_profiles_that_were_there_and_of_ignored_columns(
    write_log: WriteLog,
) -> None:
    UserProfile.objects.create(user_id=user_id_of("ana"))
    path = write_log(f"ana,{NOON.isoformat()},hello,x", header="user,occurred_at,text,note")

    assert load(path, "--as-of", NOON.isoformat()).out == (
        f"{path}: 1 event of 1 user, as of 1997-01-01 12:00 UTC.\n"
        "1 user added, 0 already known (unchanged), 0 not here yet.\n"
        "1 of those added had a profile already; it is unchanged.\n"
        "Columns that were not read: 'text', 'note'.\n"
    )


@pytest.mark.django_db
def test_json_is_one_object(write_log: WriteLog) -> None:
    path = write_log(f"ana,{NOON.isoformat()},hello", header="user,occurred_at,text")

    assert load(path, "--json", "--as-of", "1997-01-01T12:00:00Z").json == {
        "file": str(path),
        "as_of": "1997-01-01T12:00:00+00:00",
        "events": 1,
        "users": 1,
        "profiles_created": 1,
        "states_created": 1,
        "already_known": 0,
        "not_here_yet": 0,
        "ahead_of_clock": 0,
        "ignored_columns": ["text"],
    }


@pytest.mark.django_db
def test_as_of_is_now_unless_told(write_log: WriteLog) -> None:
    path = write_log(event("ana", NOON), event("ana", NOON + MICROSECOND))

    with freeze_time(NOON):
        load(path)

    assert state_of("ana").last_activity_at == NOON


@pytest.mark.django_db
def test_as_of_given_by_a_program_is_told_in_utc_too(
    write_log: WriteLog, capsys: pytest.CaptureFixture[str]
) -> None:
    brasilia = timezone(timedelta(hours=-3))

    call_command("load_activity_log", write_log(event("ana")), as_of=NOON.astimezone(brasilia))

    assert "as of 1997-01-01 12:00 UTC" in capsys.readouterr().out


@pytest.mark.django_db
def test_malformed_file_is_one_sentence_and_exit_code_1(write_log: WriteLog) -> None:
    path = write_log(event("ana"), event(""))

    assert load(path) == Outcome(out="", err=f"{path}, line 3: user must not be empty.", code=1)
    assert not UserProfile.objects.exists()


@pytest.mark.parametrize(
    "as_of", ["1998-07-01T06:00:00", "1998-07-01", "yesterday", "", "1998-07-01T06:00:00+5"]
)
def test_as_of_that_names_no_instant_is_refused_with_exit_code_2(as_of: str) -> None:
    refused = load(SAMPLE, f"--as-of={as_of}")

    assert refused.code == 2
    assert refused.err.startswith("Error: argument --as-of: must ")
    assert refused.err.endswith(f", not {as_of!r}. Try --help.")


@pytest.mark.django_db
def test_full_disk_is_one_sentence_and_exit_code_1(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", "/nowhere")
    refused = load(SAMPLE)
    assert (refused.err, refused.code) == (
        "The temporary file for the log cannot be written (No such file or directory).",
        1,
    )


# What goes wrong in the database


CHECK_USER: Final = "Check DATABASE_URL and the privileges of its user, and run `manage.py migrate`."


@pytest.mark.django_db
def test_missing_tables_are_told_in_one_sentence() -> None:
    execute("SET LOCAL search_path TO nowhere")

    refused = load(SAMPLE)

    assert refused.code == 1
    assert refused.err == (
        'The database cannot be used like this: relation "user_profiles" does not exist (SQLSTATE 42P01).'
        f" {CHECK_USER}"
    )


@pytest.mark.django_db
def test_missing_columns_are_told_in_one_sentence() -> None:
    execute("ALTER TABLE user_profiles DROP COLUMN locale")

    refused = load(SAMPLE)

    assert refused.code == 1
    assert refused.err.endswith(f"does not exist (SQLSTATE 42703). {CHECK_USER}")


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("forbid", "sentence"),
    [
        (
            "CREATE ROLE stranger; SET LOCAL ROLE stranger",
            (
                "The database cannot be used like this: permission denied for table user_profiles (SQLSTATE"
                f" 42501). {CHECK_USER}"
            ),
        ),
        (
            "SET TRANSACTION READ ONLY",
            (
                "The database server is read-only: cannot execute CREATE TABLE in a read-only transaction"
                " (SQLSTATE 25006). It may be a standby: let DATABASE_URL name a server that accepts writes."
            ),
        ),
    ],
    ids=["no right", "read only"],
)
def test_forbidden_writes_are_told_in_one_sentence(forbid: str, sentence: str) -> None:
    execute(forbid)

    refused = load(SAMPLE)

    assert refused.code == 1
    assert refused.err == sentence


@pytest.mark.django_db
def test_only_the_first_line_of_the_servers_message_is_repeated() -> None:
    def fail(**_arguments: object) -> None:
        execute("DO $$ BEGIN RAISE 'out of memory' USING ERRCODE = '53200', DETAIL = '99900000001'; END $$")

    with patch(SERVICE, fail):
        assert load(SAMPLE).err == "The database is not available: out of memory (SQLSTATE 53200)."


@pytest.mark.django_db
def test_error_that_nobody_foresaw_shows_no_row() -> None:
    execute("ALTER TABLE user_profiles ADD CONSTRAINT nobody CHECK (locale = '')")
    outcome = load(SAMPLE)
    assert outcome.code == 1
    assert outcome.err == (
        'The database refused this: new row for relation "user_profiles" violates check constraint "nobody"'
        " (SQLSTATE 23514)."
    )


@pytest.mark.django_db(transaction=True)
def test_process_prints_a_file_name_that_is_not_utf_8(write_log: WriteLog) -> None:
    path = write_log(event("ana"))
    odd = os.fsdecode(os.fsencode(path.parent) + b"/jo\xe3o.csv")
    path.rename(odd)

    done = run_process("load_activity_log", odd, "--as-of", "1997-01-01T12:00:00Z")

    assert (done.err, done.code) == ("", 0)
    assert "/jo\\udce3o.csv: 1 event of 1 user" in done.out
    assert state_of("ana").last_activity_at == NOON
