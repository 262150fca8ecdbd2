"""Loading an activity log: which rows come to be, and which stay as they are."""

from __future__ import annotations

import threading
import tracemalloc
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

import pytest
from django.db import IntegrityError, connection, transaction

from engagement.models import (
    EngagementMessage,
    EngagementStateTransition,
    UserEngagementState,
    UserProfile,
)
from engagement.replay.activity_log import MalformedActivityLog
from engagement.replay.loading import LoadedActivityLog, load_activity_log, user_id_of
from engagement.states import State
from tests.database import (
    another_connection,
    execute,
    rows_read,
    seem_empty,
    truncate_users,
    wait_for_somebody_at_a_row,
)
from tests.factories import make_users
from tests.integration.activity_log.logs import HEADER, MICROSECOND, NOON, SAMPLE, event, state_of
from tests.running import run_job

if TYPE_CHECKING:
    from pathlib import Path

    from pytest_django.fixtures import Settings

    from tests.integration.activity_log.logs import WriteLog

AFTER_THE_SAMPLE: Final = datetime(1998, 7, 1, 6, tzinfo=UTC)
CLOCK: Final = datetime(2026, 3, 2, 6, tzinfo=UTC)
"""When the tests load a log."""
STATEMENTS: Final = 9 + 2
"""In a savepoint: set limits; create, count, insert from and drop two tables; analyze ours."""


def all_rows() -> tuple[list[object], list[object]]:
    profiles, states = UserProfile.objects.order_by("pk"), UserEngagementState.objects.order_by("pk")
    return list(profiles.values_list()), list(states.values_list())


@pytest.mark.django_db
def test_run_after_a_load_reads_few_rows_whatever_the_statistics_said(settings: Settings) -> None:
    settings.ENGAGEMENT_BATCH_SIZE = 50
    truncate_users()
    make_users(2_500)
    seem_empty("user_profiles", "user_engagement_states")
    load_activity_log(path=SAMPLE, as_of=AFTER_THE_SAMPLE, now=CLOCK)
    before = rows_read()
    moved = run_job(now=AFTER_THE_SAMPLE).succeeded
    assert moved > 2_000
    assert rows_read() - before < moved * 20


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
        ahead_of_clock=0,
        ignored_columns=(),
    )
    assert UserEngagementState.objects.filter(state=State.ACTIVE).count() == 2_357
    in_the_order_of_users = UserEngagementState.objects.order_by("user_id").values_list("pk", flat=True)
    assert [pk.version for pk in in_the_order_of_users] == [7] * 2_357
    assert list(in_the_order_of_users) == sorted(in_the_order_of_users)
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
def test_user_gets_an_active_state_and_a_profile(write_log: WriteLog) -> None:
    path = write_log(event("ana", NOON, "en,99900000001@s.whatsapp.net,true"))

    load_activity_log(path=path, as_of=NOON, now=CLOCK)

    state = state_of("ana")
    assert (state.state, state.last_activity_at) == (State.ACTIVE, NOON)
    assert (state.goodbye_sent_at, state.goodbye_expires_at, state.remind_at) == (None, None, None)
    assert (state.created_at, state.updated_at) == (state.user.created_at, state.user.updated_at)
    assert (state.created_at, state.updated_at) == (CLOCK, CLOCK)
    assert state.user.whatsapp_jid == "99900000001@s.whatsapp.net"
    assert (state.user.locale, state.user.reengagement_opt_out) == ("en", True)


def test_user_id_never_changes() -> None:
    assert str(user_id_of("cdnow-00004")) == "d533cacb-a870-565a-9329-db44975d0626"


@pytest.mark.django_db
def test_user_without_an_address_is_unreachable(write_log: WriteLog) -> None:
    load_activity_log(path=write_log(event("ana")), as_of=NOON, now=CLOCK)

    assert state_of("ana").user.whatsapp_jid is None


@pytest.mark.django_db
def test_last_activity_is_the_latest_event_whatever_the_order(write_log: WriteLog) -> None:
    path = write_log(event("ana", NOON + MICROSECOND, "en,,"), event("ana", NOON, "pt-BR,,"))

    load_activity_log(path=path, as_of=NOON + MICROSECOND, now=CLOCK)

    assert state_of("ana").last_activity_at == NOON + MICROSECOND
    assert state_of("ana").user.locale == "en"


@pytest.mark.django_db
def test_later_line_wins_a_tie(write_log: WriteLog) -> None:
    path = write_log(event("ana", NOON, "en,,"), event("ana", NOON, "es,,"))

    load_activity_log(path=path, as_of=NOON, now=CLOCK)

    assert state_of("ana").user.locale == "es"


@pytest.mark.django_db
def test_what_happened_after_as_of_does_not_count(write_log: WriteLog) -> None:
    path = write_log(
        event("ana", NOON, "en,,"),
        event("ana", NOON + MICROSECOND, "es,,true"),
        event("ben", NOON + MICROSECOND),
        event("cid", NOON + MICROSECOND),
    )

    loaded = load_activity_log(path=path, as_of=NOON, now=CLOCK)

    assert (loaded.events, loaded.users, loaded.states_created, loaded.not_here_yet) == (4, 3, 1, 2)
    assert state_of("ana").last_activity_at == NOON
    assert (state_of("ana").user.locale, state_of("ana").user.reengagement_opt_out) == ("en", False)
    assert not UserProfile.objects.filter(user_id=user_id_of("ben")).exists()


@pytest.mark.django_db
def test_second_load_changes_nothing(write_log: WriteLog) -> None:
    path = write_log(event("ana"), event("ben"))
    load_activity_log(path=path, as_of=NOON, now=CLOCK)
    before = all_rows()

    loaded = load_activity_log(path=path, as_of=NOON, now=CLOCK)

    assert (loaded.profiles_created, loaded.states_created, loaded.already_known) == (0, 0, 2)
    assert all_rows() == before


@pytest.mark.django_db
def test_known_user_is_left_alone_even_when_dormant(write_log: WriteLog) -> None:
    load_activity_log(path=write_log(event("ana", NOON, "en,,")), as_of=NOON, now=CLOCK)
    UserEngagementState.objects.update(state=State.DORMANT)
    before = all_rows()

    path = write_log(event("ana", NOON + MICROSECOND, "es,99900000001@s.whatsapp.net,true"))
    loaded = load_activity_log(path=path, as_of=NOON + MICROSECOND, now=CLOCK)

    assert (loaded.states_created, loaded.already_known) == (0, 1)
    assert all_rows() == before


@pytest.mark.django_db
def test_profile_without_a_state_row_gets_one_and_stays_as_it_is(write_log: WriteLog) -> None:
    UserProfile.objects.create(user_id=user_id_of("ana"), locale="en", whatsapp_jid="1@s.whatsapp.net")

    loaded = load_activity_log(
        path=write_log(event("ana", NOON, "es,,true"), event("ben")), as_of=NOON, now=CLOCK
    )

    assert (loaded.profiles_created, loaded.states_created, loaded.already_known) == (1, 2, 0)
    profile = state_of("ana").user
    assert (profile.locale, profile.whatsapp_jid) == ("en", "1@s.whatsapp.net")
    assert not profile.reengagement_opt_out


@pytest.mark.django_db
def test_loading_moves_nobody_and_queues_nothing(write_log: WriteLog) -> None:
    load_activity_log(path=write_log(event("ana")), as_of=NOON, now=CLOCK)

    assert not EngagementStateTransition.objects.exists()
    assert not EngagementMessage.objects.exists()


@pytest.mark.django_db
def test_nothing_is_loaded_when_the_last_line_is_malformed(write_log: WriteLog) -> None:
    path = write_log(event("ana"), event("ben"), "cid,yesterday,,,")

    with pytest.raises(MalformedActivityLog, match="line 4"):
        load_activity_log(path=path, as_of=NOON, now=CLOCK)

    assert not UserProfile.objects.exists()


@pytest.mark.django_db
def test_whole_file_is_read_before_the_database_is_asked(
    write_log: WriteLog, django_assert_num_queries: Any
) -> None:
    with django_assert_num_queries(0), pytest.raises(MalformedActivityLog):
        load_activity_log(path=write_log(event("ana"), event("")), as_of=NOON, now=CLOCK)


@pytest.mark.django_db
def test_nothing_is_loaded_when_the_states_are_refused(write_log: WriteLog) -> None:
    execute(
        f"ALTER TABLE user_engagement_states ADD CONSTRAINT refused CHECK (user_id <> '{user_id_of('ben')}')"
    )

    with pytest.raises(IntegrityError, match="refused"):
        load_activity_log(path=write_log(event("ana"), event("ben")), as_of=NOON, now=CLOCK)

    assert not UserProfile.objects.exists()


@pytest.mark.django_db
@pytest.mark.parametrize("users", [1, 7])
def test_number_of_statements_does_not_depend_on_the_users(
    write_log: WriteLog, django_assert_num_queries: Any, users: int
) -> None:
    path = write_log(*(event(f"user-{number}") for number in range(users)))

    with django_assert_num_queries(STATEMENTS):
        loaded = load_activity_log(path=path, as_of=NOON, now=CLOCK)

    assert loaded.states_created == loaded.profiles_created == users
    assert UserEngagementState.objects.count() == UserProfile.objects.count() == users


@pytest.mark.django_db
@pytest.mark.parametrize(
    "locale", ["\\N", "\\.", 'a "quoted" one', "a\tb", "two\nlines", "NULL", "x\\y", "ä,b"]
)
def test_values_arrive_as_they_are_written(write_log: WriteLog, locale: str) -> None:
    quoted = locale.replace('"', '""')
    load_activity_log(path=write_log(event("ana", NOON, f'"{quoted}",,')), as_of=NOON, now=CLOCK)
    assert state_of("ana").user.locale == locale


@pytest.mark.django_db(transaction=True)
def test_memory_does_not_grow_with_the_users(tmp_path: Path) -> None:
    peaks = []
    for users in (1_000, 50_000):
        path = tmp_path / f"{users}.csv"
        rows = (event(f"{users}-{number}") for number in range(users))
        path.write_text("\n".join([HEADER, *rows]))
        tracemalloc.start()
        load_activity_log(path=path, as_of=NOON, now=CLOCK)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < peaks[0] + 2_000_000, "a user takes more than 40 bytes"


@pytest.mark.django_db(transaction=True)
def test_users_whom_another_loader_adds_meanwhile_are_not_counted(write_log: WriteLog) -> None:
    """Ours has to wait for the other one, which has added ben and not yet committed."""
    path = write_log(event("ana"), event("ben", NOON, "en,,"))
    results: list[LoadedActivityLog] = []

    def load_ours() -> None:
        try:
            results.append(load_activity_log(path=path, as_of=NOON, now=CLOCK))
        finally:
            connection.close()

    ours = threading.Thread(target=load_ours)
    with another_connection() as other, transaction.atomic():
        UserProfile.objects.create(user_id=user_id_of("ben"), locale="es")
        UserEngagementState.objects.create(user_id=user_id_of("ben"), state=State.DORMANT)
        ours.start()
        wait_for_somebody_at_a_row(other)
    ours.join()

    assert (results[0].profiles_created, results[0].states_created, results[0].already_known) == (1, 1, 1)
    assert (state_of("ben").state, state_of("ben").user.locale) == (State.DORMANT, "es")
    assert state_of("ana").state == State.ACTIVE


@pytest.mark.django_db
@pytest.mark.parametrize("order", [1, -1], ids=["in order", "in reverse"])
def test_empty_cell_of_a_later_row_takes_back_nothing(write_log: WriteLog, order: int) -> None:
    rows = [
        event("ana", NOON, "en,99900000001@s.whatsapp.net,true"),
        event("ana", NOON + MICROSECOND, ",,"),
        event("ben", NOON, "en,99900000002@s.whatsapp.net,true"),
        event("ben", NOON + MICROSECOND, ",,false"),
    ]
    load_activity_log(path=write_log(*rows[::order]), as_of=NOON + MICROSECOND, now=CLOCK)
    ana, ben = state_of("ana"), state_of("ben")
    assert ana.last_activity_at == NOON + MICROSECOND
    assert (ana.user.locale, ana.user.whatsapp_jid) == ("en", "99900000001@s.whatsapp.net")
    assert (ana.user.reengagement_opt_out, ben.user.reengagement_opt_out) == (True, False)


@pytest.mark.django_db
@pytest.mark.parametrize("blank", ["\u200b", "\u00a0", "\u200e\u2060", "\ufeff"])
def test_address_without_a_visible_character_is_none(write_log: WriteLog, blank: str) -> None:
    load_activity_log(path=write_log(event("ana", NOON, f"en,{blank},")), as_of=NOON, now=CLOCK)
    assert state_of("ana").user.whatsapp_jid is None


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("ahead", "last_activity_at", "counted"),
    [
        (timedelta(0), CLOCK, 0),
        (timedelta(minutes=2), CLOCK, 1),
        (timedelta(minutes=5), CLOCK, 1),
        (timedelta(minutes=5, microseconds=1), CLOCK - timedelta(days=20), 0),
    ],
)
def test_event_slightly_ahead_of_the_clock_counts_as_now(
    write_log: WriteLog, ahead: timedelta, last_activity_at: datetime, counted: int
) -> None:
    path = write_log(event("ana", CLOCK - timedelta(days=20)), event("ana", CLOCK + ahead))
    loaded = load_activity_log(path=path, as_of=None, now=CLOCK)
    assert loaded.ahead_of_clock == counted
    assert state_of("ana").last_activity_at == last_activity_at
