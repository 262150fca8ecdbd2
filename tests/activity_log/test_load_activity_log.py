"""Loading an activity log: which rows come to be, which stay as they are, and what the command says."""

from __future__ import annotations

import os
import threading
from datetime import UTC, datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any, Final
from unittest.mock import patch

import pytest
from django.core.management import call_command
from django.db import connection, transaction
from freezegun import freeze_time

from engagement.models import (
    EngagementMessage,
    EngagementStateTransition,
    UserEngagementState,
    UserProfile,
)
from engagement.services import activity_log
from engagement.services.activity_log import LoadedActivityLog, load_activity_log, user_id_of
from engagement.services.activity_log_file import MalformedActivityLog
from engagement.states import State
from tests.database import execute
from tests.running import PROJECT, Outcome, run_command, run_process

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

SAMPLE: Final = PROJECT / "data" / "cdnow_activity.csv.gz"
AFTER_THE_SAMPLE: Final = datetime(1998, 7, 1, 6, tzinfo=UTC)

HEADER: Final = "user,occurred_at,locale,whatsapp_jid,reengagement_opt_out"
NOON: Final = datetime(1997, 1, 1, 12, tzinfo=UTC)
MICROSECOND: Final = timedelta(microseconds=1)
CLOCK: Final = datetime(2026, 3, 2, 6, tzinfo=UTC)
"""When the tests load a log."""

SERVICE: Final = "engagement.management.commands.load_activity_log.load_activity_log"
NOBODY_LISTENS: Final = "postgresql://somebody:secret-of-mine@127.0.0.1:1/nothing"


@pytest.fixture
def log_file(tmp_path: Path) -> Callable[..., Path]:
    """Write a log of these rows."""

    def write(*rows: str, header: str = HEADER) -> Path:
        path = tmp_path / "data.csv"
        path.write_text("\n".join((header, *rows)), encoding="utf-8")
        return path

    return write


def event(user: str, occurred_at: datetime = NOON, attributes: str = ",,") -> str:
    return f"{user},{occurred_at.isoformat()},{attributes}"


def state_of(user: str) -> UserEngagementState:
    return UserEngagementState.objects.select_related("user").get(user_id=user_id_of(user))


def all_rows() -> tuple[list[object], list[object]]:
    profiles, states = UserProfile.objects.order_by("pk"), UserEngagementState.objects.order_by("pk")
    return list(profiles.values_list()), list(states.values_list())


def load(*arguments: str | Path) -> Outcome:
    return run_command("load_activity_log", *map(str, arguments))


def load_in_a_process(*arguments: str | Path, **environment: str) -> Outcome:
    return run_process("load_activity_log", *map(str, arguments), **environment)


# The service


@pytest.mark.django_db
def test_sample_gives_its_users() -> None:
    loaded = load_activity_log(path=SAMPLE, as_of=AFTER_THE_SAMPLE, now=CLOCK)

    assert loaded == LoadedActivityLog(
        events=6_696,
        users=2_357,
        profiles_created=2_357,
        states_created=2_357,
        already_known=0,
        not_here_yet=0,
        ignored_columns=(),
    )
    assert UserEngagementState.objects.filter(state=State.ACTIVE).count() == 2_357
    assert UserProfile.objects.filter(reengagement_opt_out=True).count() == 98
    assert UserProfile.objects.filter(whatsapp_jid=None).count() == 20
    assert UserProfile.objects.filter(locale="en").count() == 461
    silent = UserEngagementState.objects.filter(
        last_activity_at__lt=AFTER_THE_SAMPLE - timedelta(days=14),
        user__reengagement_opt_out=False,
        user__whatsapp_jid__isnull=False,
    )
    assert silent.count() == 2_185


@pytest.mark.django_db
def test_user_gets_an_active_state_and_a_profile(log_file: Callable[..., Path]) -> None:
    path = log_file(event("ana", NOON, "en,99900000001@s.whatsapp.net,true"))

    load_activity_log(path=path, as_of=NOON, now=CLOCK)

    state = state_of("ana")
    assert (state.state, state.last_activity_at) == (State.ACTIVE, NOON)
    assert (state.goodbye_sent_at, state.goodbye_expires_at, state.remind_at) == (None, None, None)
    assert state.user.whatsapp_jid == "99900000001@s.whatsapp.net"
    assert (state.user.locale, state.user.reengagement_opt_out) == ("en", True)


def test_user_id_never_changes() -> None:
    assert str(user_id_of("cdnow-00004")) == "d533cacb-a870-565a-9329-db44975d0626"


@pytest.mark.django_db
def test_user_without_an_address_is_unreachable(log_file: Callable[..., Path]) -> None:
    load_activity_log(path=log_file(event("ana")), as_of=NOON, now=CLOCK)

    assert state_of("ana").user.whatsapp_jid is None


@pytest.mark.django_db
def test_last_activity_is_the_latest_event_whatever_the_order(log_file: Callable[..., Path]) -> None:
    path = log_file(event("ana", NOON + MICROSECOND, "en,,"), event("ana", NOON, "pt-BR,,"))

    load_activity_log(path=path, as_of=NOON + MICROSECOND, now=CLOCK)

    assert state_of("ana").last_activity_at == NOON + MICROSECOND
    assert state_of("ana").user.locale == "en"


@pytest.mark.django_db
def test_later_line_wins_a_tie(log_file: Callable[..., Path]) -> None:
    path = log_file(event("ana", NOON, "en,,"), event("ana", NOON, "es,,"))

    load_activity_log(path=path, as_of=NOON, now=CLOCK)

    assert state_of("ana").user.locale == "es"


@pytest.mark.django_db
def test_what_happened_after_as_of_does_not_count(log_file: Callable[..., Path]) -> None:
    path = log_file(
        event("ana", NOON, "en,,"),
        event("ana", NOON + MICROSECOND, "es,,true"),
        event("ben", NOON + MICROSECOND),
    )

    loaded = load_activity_log(path=path, as_of=NOON, now=CLOCK)

    assert (loaded.events, loaded.users, loaded.states_created, loaded.not_here_yet) == (3, 2, 1, 1)
    assert state_of("ana").last_activity_at == NOON
    assert (state_of("ana").user.locale, state_of("ana").user.reengagement_opt_out) == ("en", False)
    assert not UserProfile.objects.filter(user_id=user_id_of("ben")).exists()


@pytest.mark.django_db
def test_second_load_changes_nothing(log_file: Callable[..., Path], django_assert_num_queries: Any) -> None:
    path = log_file(event("ana"), event("ben"))
    load_activity_log(path=path, as_of=NOON, now=CLOCK)
    before = all_rows()

    with django_assert_num_queries(1 + 2):  # it looks, and does not write
        loaded = load_activity_log(path=path, as_of=NOON, now=CLOCK)

    assert (loaded.profiles_created, loaded.states_created, loaded.already_known) == (0, 0, 2)
    assert all_rows() == before


@pytest.mark.django_db
def test_known_user_is_left_alone_even_when_dormant(log_file: Callable[..., Path]) -> None:
    load_activity_log(path=log_file(event("ana", NOON, "en,,")), as_of=NOON, now=CLOCK)
    UserEngagementState.objects.update(state=State.DORMANT)
    before = all_rows()

    path = log_file(event("ana", NOON + MICROSECOND, "es,99900000001@s.whatsapp.net,true"))
    loaded = load_activity_log(path=path, as_of=NOON + MICROSECOND, now=CLOCK)

    assert (loaded.states_created, loaded.already_known) == (0, 1)
    assert all_rows() == before


@pytest.mark.django_db
def test_profile_without_a_state_row_gets_one_and_stays_as_it_is(log_file: Callable[..., Path]) -> None:
    UserProfile.objects.create(user_id=user_id_of("ana"), locale="en", whatsapp_jid="1@s.whatsapp.net")

    loaded = load_activity_log(
        path=log_file(event("ana", NOON, "es,,true"), event("ben")), as_of=NOON, now=CLOCK
    )

    assert (loaded.profiles_created, loaded.states_created, loaded.already_known) == (1, 2, 0)
    profile = state_of("ana").user
    assert (profile.locale, profile.whatsapp_jid) == ("en", "1@s.whatsapp.net")
    assert not profile.reengagement_opt_out


@pytest.mark.django_db
def test_loading_moves_nobody_and_queues_nothing(log_file: Callable[..., Path]) -> None:
    load_activity_log(path=log_file(event("ana")), as_of=NOON, now=CLOCK)

    assert not EngagementStateTransition.objects.exists()
    assert not EngagementMessage.objects.exists()


@pytest.mark.django_db
def test_nothing_is_loaded_when_the_last_line_is_malformed(log_file: Callable[..., Path]) -> None:
    path = log_file(event("ana"), event("ben"), "cid,yesterday,,,")

    with pytest.raises(MalformedActivityLog, match="line 4"):
        load_activity_log(path=path, as_of=NOON, now=CLOCK)

    assert not UserProfile.objects.exists()


@pytest.mark.django_db
def test_whole_file_is_read_before_the_database_is_asked(
    log_file: Callable[..., Path], django_assert_num_queries: Any
) -> None:
    with django_assert_num_queries(0), pytest.raises(MalformedActivityLog):
        load_activity_log(path=log_file(event("ana"), event("")), as_of=NOON, now=CLOCK)


@pytest.mark.django_db(transaction=True)
def test_nothing_is_loaded_when_a_later_chunk_fails(log_file: Callable[..., Path]) -> None:
    add, calls = activity_log._add, []

    def fail_the_second_time(people: Any, *, now: datetime) -> tuple[int, int]:
        calls.append(people)
        if len(calls) == 2:
            raise ZeroDivisionError
        return add(people, now=now)

    with (
        patch.object(activity_log, "CHUNK_SIZE", 1),
        patch.object(activity_log, "_add", fail_the_second_time),
        pytest.raises(ZeroDivisionError),
    ):
        load_activity_log(path=log_file(event("ana"), event("ben")), as_of=NOON, now=CLOCK)

    assert not UserProfile.objects.exists()


@pytest.mark.django_db
@pytest.mark.parametrize(("users", "chunks"), [(1, 1), (3, 1), (4, 2), (7, 3)])
def test_statements_depend_on_chunks_not_on_users(
    log_file: Callable[..., Path], django_assert_num_queries: Any, users: int, chunks: int
) -> None:
    path = log_file(*(event(f"user-{number}") for number in range(users)))

    with patch.object(activity_log, "CHUNK_SIZE", 3), django_assert_num_queries(5 * chunks + 2):
        loaded = load_activity_log(path=path, as_of=NOON, now=CLOCK)  # and a savepoint around them

    assert loaded.states_created == UserEngagementState.objects.count() == users


@pytest.mark.django_db(transaction=True)
def test_users_whom_another_loader_adds_meanwhile_are_not_counted(log_file: Callable[..., Path]) -> None:
    """Ours has to wait for the other one, which has added ben and not yet committed."""
    path = log_file(event("ana"), event("ben", NOON, "en,,"))
    results: list[LoadedActivityLog] = []

    def load_ours() -> None:
        try:
            results.append(load_activity_log(path=path, as_of=NOON, now=CLOCK))
        finally:
            connection.close()

    ours = threading.Thread(target=load_ours)
    with transaction.atomic():
        UserProfile.objects.create(user_id=user_id_of("ben"), locale="es")
        UserEngagementState.objects.create(user_id=user_id_of("ben"), state=State.DORMANT)
        ours.start()
        wait_until_somebody_waits_for_a_lock()
    ours.join()

    assert (results[0].profiles_created, results[0].states_created, results[0].already_known) == (1, 1, 1)
    assert (state_of("ben").state, state_of("ben").user.locale) == (State.DORMANT, "es")
    assert state_of("ana").state == State.ACTIVE


def wait_until_somebody_waits_for_a_lock() -> None:
    with connection.cursor() as cursor:
        for _ in range(2_000):
            # pg_sleep gives the other one time; pg_locks, unlike pg_stat_activity, is read anew each time.
            cursor.execute("SELECT pg_sleep(0.005), count(*) FROM pg_locks WHERE NOT granted")
            if cursor.fetchone()[1]:
                return
    pytest.fail("Nobody waited.")


# The command


@pytest.mark.django_db
def test_command_tells_what_it_added() -> None:
    assert load(SAMPLE, "--as-of", "1998-07-01T06:00:00Z") == Outcome(
        out=f"{SAMPLE}: 6,696 events of 2,357 users, as of 1998-07-01 06:00 UTC.\n"
        "2,357 users added, 0 already there (left as they were), 0 not here yet.\n",
        err="",
        code=0,
    )


@pytest.mark.django_db
def test_command_says_when_nothing_changed(log_file: Callable[..., Path]) -> None:
    path = log_file(event("ana"), event("ben", NOON + timedelta(days=1)))
    arguments = (path, "--as-of", "1997-01-01T09:00:00-03:00")

    load(*arguments)

    assert load(*arguments).out == (
        f"{path}: 2 events of 2 users, as of 1997-01-01 12:00 UTC.\n"
        "Nothing changed: nobody added, 1 already there (left as they were), 1 not here yet.\n"
    )


@pytest.mark.django_db
def test_command_tells_of_profiles_that_were_there_and_of_ignored_columns(
    log_file: Callable[..., Path],
) -> None:
    UserProfile.objects.create(user_id=user_id_of("ana"))
    path = log_file(f"ana,{NOON.isoformat()},hello,x", header="user,occurred_at,text,note")

    assert load(path, "--as-of", NOON.isoformat()).out == (
        f"{path}: 1 event of 1 user, as of 1997-01-01 12:00 UTC.\n"
        "1 user added, 0 already there (left as they were), 0 not here yet.\n"
        "1 of those added had a profile already; it was left as it was.\n"
        "Columns that were not read: 'text', 'note'.\n"
    )


@pytest.mark.django_db
def test_json_is_one_object(log_file: Callable[..., Path]) -> None:
    path = log_file(f"ana,{NOON.isoformat()},hello", header="user,occurred_at,text")

    assert load(path, "--json", "--as-of", "1997-01-01T12:00:00Z").json == {
        "file": str(path),
        "as_of": "1997-01-01T12:00:00+00:00",
        "events": 1,
        "users": 1,
        "profiles_created": 1,
        "states_created": 1,
        "already_known": 0,
        "not_here_yet": 0,
        "ignored_columns": ["text"],
    }


@pytest.mark.django_db
def test_as_of_is_now_unless_told(log_file: Callable[..., Path]) -> None:
    path = log_file(event("ana", NOON), event("ana", NOON + MICROSECOND))

    with freeze_time(NOON):
        load(path)

    assert state_of("ana").last_activity_at == NOON


@pytest.mark.django_db
def test_as_of_given_by_a_program_is_told_in_utc_too(
    log_file: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    brasilia = timezone(timedelta(hours=-3))

    call_command("load_activity_log", log_file(event("ana")), as_of=NOON.astimezone(brasilia))

    assert "as of 1997-01-01 12:00 UTC" in capsys.readouterr().out


@pytest.mark.django_db
def test_malformed_file_is_one_sentence_and_exit_code_1(log_file: Callable[..., Path]) -> None:
    path = log_file(event("ana"), event(""))

    assert load(path) == Outcome(out="", err=f"{path}, line 3: user must not be empty.", code=1)
    assert not UserProfile.objects.exists()


@pytest.mark.parametrize(
    "as_of", ["1998-07-01T06:00:00", "1998-07-01", "yesterday", "", "0001-01-01T00:00:00+05:00"]
)
def test_as_of_that_names_no_instant_is_refused_with_exit_code_2(as_of: str) -> None:
    refused = load(SAMPLE, f"--as-of={as_of}")

    assert refused.code == 2
    assert refused.err.startswith("Error: argument --as-of: must ")
    assert refused.err.endswith(f", not {as_of!r}. Try --help.")


# What goes wrong in the database


@pytest.mark.django_db
def test_missing_tables_are_told_in_one_sentence() -> None:
    execute("SET LOCAL search_path TO nowhere")

    refused = load(SAMPLE)

    assert refused.code == 1
    assert refused.err == (
        "The database lacks a table or a column of the app"
        ' (relation "user_engagement_states" does not exist); run manage.py migrate.'
    )


@pytest.mark.django_db
def test_missing_columns_are_told_in_one_sentence() -> None:
    execute("ALTER TABLE user_profiles DROP COLUMN locale")

    refused = load(SAMPLE)

    assert refused.code == 1
    assert refused.err.endswith("does not exist); run manage.py migrate.")


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("forbid", "reason"),
    [
        (
            "CREATE ROLE stranger; SET LOCAL ROLE stranger",
            "permission denied for table user_engagement_states",
        ),
        ("SET TRANSACTION READ ONLY", "cannot execute INSERT in a read-only transaction"),
    ],
    ids=["no right", "read only"],
)
def test_forbidden_writes_are_told_in_one_sentence(forbid: str, reason: str) -> None:
    execute(forbid)

    refused = load(SAMPLE)

    assert refused.code == 1
    assert refused.err == (
        f"The database does not allow this ({reason}); use a user and a server that may write."
    )


@pytest.mark.django_db
def test_only_the_first_line_of_the_servers_message_is_repeated() -> None:
    def fail(**_arguments: object) -> None:
        execute("DO $$ BEGIN RAISE 'out of memory' USING ERRCODE = '53200', DETAIL = '99900000001'; END $$")

    with patch(SERVICE, fail):
        assert load(SAMPLE).err == "Database trouble: out of memory."


@pytest.mark.django_db
def test_error_that_nobody_foresaw_shows_no_row() -> None:
    execute("ALTER TABLE user_profiles ADD CONSTRAINT nobody CHECK (locale = '')")
    outcome = load(SAMPLE)
    assert outcome.code == 1
    assert outcome.err == (
        'The database refused this: new row for relation "user_profiles" violates check constraint "nobody".'
    )


# The process


@pytest.mark.django_db(transaction=True)
def test_process_loads_and_ends_with_0(log_file: Callable[..., Path]) -> None:
    done = load_in_a_process(log_file(event("ana")), "--as-of", "1997-01-01T12:00:00Z")

    assert (done.err, done.code) == ("", 0)
    assert done.out.endswith("\n1 user added, 0 already there (left as they were), 0 not here yet.\n")
    assert state_of("ana").last_activity_at == NOON


def test_process_refuses_a_malformed_file_with_1(log_file: Callable[..., Path]) -> None:
    path = log_file(event(""))

    assert load_in_a_process(path, DATABASE_URL=NOBODY_LISTENS) == Outcome(
        out="", err=f"CommandError: {path}, line 2: user must not be empty.\n", code=1
    )


def test_process_refuses_wrong_arguments_with_2() -> None:
    refused = load_in_a_process(SAMPLE, "--as-of", "1998-07-01", DATABASE_URL=NOBODY_LISTENS)

    assert (refused.out, refused.code) == ("", 2)
    assert refused.err == (
        "manage.py load_activity_log: error: argument --as-of: must be an ISO 8601 time with an offset,"
        " such as 1997-01-01T12:00:00Z, not '1998-07-01'. Try --help.\n"
    )


def test_process_without_a_database_ends_with_1_and_keeps_the_password() -> None:
    failed = load_in_a_process(SAMPLE, DATABASE_URL=NOBODY_LISTENS)

    assert (failed.out, failed.code) == ("", 1)
    assert failed.err.startswith("CommandError: Database trouble: connection failed: ")
    assert failed.err.count("\n") == 1
    assert "secret-of-mine" not in failed.err


@pytest.mark.django_db(transaction=True)
def test_process_prints_a_file_name_that_is_not_utf_8(log_file: Callable[..., Path]) -> None:
    path = log_file(event("ana"))
    odd = os.fsdecode(os.fsencode(path.parent) + b"/jo\xe3o.csv")
    path.rename(odd)

    done = load_in_a_process(odd, "--as-of", "1997-01-01T12:00:00Z")

    assert (done.err, done.code) == ("", 0)
    assert "/jo\\udce3o.csv: 1 event of 1 user" in done.out
