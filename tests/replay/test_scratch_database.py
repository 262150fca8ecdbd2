"""A replay works in databases of its own: yours are untouched, and nothing is left behind."""

from __future__ import annotations

import os
import signal
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import psycopg
import pytest
from django.db import connection, connections, transaction
from psycopg import sql
from uuid_utils.compat import uuid7

from engagement.models import (
    EngagementMessage,
    EngagementStateTransition,
    UserEngagementState,
    UserProfile,
)
from engagement.services import scratch_database as module
from engagement.services.scratch_database import NoScratchDatabase, drop_left_overs, scratch_database
from tests.acceptance.pooler import PROGRAM, transaction_pooler
from tests.acceptance.runs import wait_until
from tests.database import another_connection
from tests.factories import make_user
from tests.replay.logs import MIDNIGHT, Row, write_log
from tests.running import PROJECT, Outcome, database_url, run_command, run_process, start_process

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Iterable, Iterator

TABLES: Final = (UserProfile, UserEngagementState, EngagementStateTransition, EngagementMessage)
SAMPLE: Final = str(PROJECT / "data" / "cdnow_activity.csv.gz")
NAME: Final = "scratch-test"
"""The name under which the connections of a replay stand in pg_stat_activity."""


@pytest.fixture
def log(tmp_path: Path) -> str:
    return str(write_log(tmp_path, [Row("ana", MIDNIGHT), Row("ben", MIDNIGHT, "parar")]))


@pytest.fixture
def onlooker(transactional_db: None) -> Iterator[psycopg.Connection]:
    with another_connection() as other:
        yield other


@pytest.fixture
def prefix(monkeypatch: pytest.MonkeyPatch, onlooker: psycopg.Connection) -> Iterator[str]:
    """Names that no other replay on this server makes at the same time, and none finds afterwards."""
    own = f"{module.PREFIX}{uuid7().hex[-8:]}_"
    monkeypatch.setattr(module, "PREFIX", own)
    yield own
    drop(onlooker, databases(onlooker, own))


def databases(onlooker: psycopg.Connection, prefix: str) -> set[str]:
    names = onlooker.execute("SELECT datname FROM pg_database WHERE starts_with(datname, %s)", [prefix])
    return {name for (name,) in names}


def rows() -> list[list[Any]]:
    return [list(table.objects.order_by("pk").values_list()) for table in TABLES]


# The database itself


def test_scratch_database_has_the_tables_and_is_dropped(onlooker: psycopg.Connection, prefix: str) -> None:
    outer = connection.settings_dict["NAME"]
    with scratch_database():
        (name,) = databases(onlooker, prefix)
        assert connection.settings_dict["NAME"] == name
        make_user()
        assert UserProfile.objects.count() == 1
    assert connection.settings_dict["NAME"] == outer
    assert not UserProfile.objects.exists()
    assert not databases(onlooker, prefix)


def test_scratch_database_is_dropped_after_an_error(onlooker: psycopg.Connection, prefix: str) -> None:
    outer = connections["default"]
    with pytest.raises(ZeroDivisionError), scratch_database():
        raise ZeroDivisionError
    assert connections["default"] is outer
    assert not databases(onlooker, prefix)


def test_open_transaction_outside_stays_open(onlooker: psycopg.Connection) -> None:
    with transaction.atomic():
        user = make_user()
        with scratch_database():
            assert not UserProfile.objects.exists()
            assert not connection.in_atomic_block
        assert connection.in_atomic_block
        assert UserProfile.objects.get() == user.user


def test_connection_that_is_led_elsewhere_is_refused(
    onlooker: psycopg.Connection, prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a pooler may do, for which every name means one database."""
    wrapper = type(connections["default"])
    parameters = connections["default"].get_connection_params()
    monkeypatch.setattr(wrapper, "get_connection_params", lambda _self: dict(parameters))
    before = rows()
    with pytest.raises(NoScratchDatabase, match="DATABASE_URL does not lead to it"), scratch_database():
        pytest.fail("not refused")
    assert rows() == before
    assert not databases(onlooker, prefix)


def test_pool_of_the_real_database_is_not_used(onlooker: psycopg.Connection) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(connection.settings_dict["OPTIONS"], "pool", {"min_size": 1})
        copy = module._copy(connections["default"])
    assert "pool" not in copy.settings_dict["OPTIONS"]


def test_only_left_overs_are_dropped(onlooker: psycopg.Connection, prefix: str) -> None:
    left, unmarked, used = (f"{prefix}{word}" for word in ("left", "unmarked", "used"))
    with made(onlooker, {left: module.MARK, unmarked: "", used: module.MARK}):
        with psycopg.connect(url_of(used)):
            drop_left_overs()
        assert databases(onlooker, prefix) == {unmarked, used}


def test_what_was_never_entered_is_a_left_over_after_ten_minutes(
    onlooker: psycopg.Connection, prefix: str
) -> None:
    minutes_ago = (11, 9, -60)
    names = [f"{prefix}{made_at_hex(minutes)}{'0' * 20}" for minutes in minutes_ago]
    names.append(f"{prefix}whenever")
    with made(onlooker, dict.fromkeys(names, module.MARK_OF_NEW)):
        drop_left_overs()
        assert databases(onlooker, prefix) == set(names[1:])


def made_at_hex(minutes_ago: int) -> str:
    """How a UUID of version 7 begins."""
    return f"{uuid7().int // 2**80 - minutes_ago * 60_000:012x}"


def test_scratch_database_in_use_is_no_left_over(onlooker: psycopg.Connection, prefix: str) -> None:
    with scratch_database():
        drop_left_overs()
        assert UserProfile.objects.count() == 0
        assert databases(onlooker, prefix) == {connection.settings_dict["NAME"]}


@contextmanager
def made(onlooker: psycopg.Connection, comments: dict[str, str]) -> Iterator[None]:
    try:
        for name, comment in comments.items():
            onlooker.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
            mark = sql.SQL("COMMENT ON DATABASE {} IS {}")
            onlooker.execute(mark.format(sql.Identifier(name), sql.Literal(comment)))
        yield
    finally:
        drop(onlooker, comments)


def drop(onlooker: psycopg.Connection, names: Iterable[str]) -> None:
    for name in names:
        onlooker.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))


def url_of(database: str) -> str:
    return database_url().replace(f"/{connection.settings_dict['NAME']}?", f"/{database}?")


# The command


def test_replay_touches_no_row_of_yours_and_leaves_nothing(
    onlooker: psycopg.Connection, prefix: str, log: str
) -> None:
    make_user("silent")
    before = rows()
    assert run_command("replay_activity_log", log).code == 0
    assert rows() == before
    assert not databases(onlooker, prefix)


def test_replay_that_fails_leaves_nothing(
    onlooker: psycopg.Connection, prefix: str, log: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("engagement.services.replay_player.run_daily_job", lambda **_request: 1 / 0)
    outcome = run_command("replay_activity_log", log)
    assert outcome == Outcome(
        out="",
        err="The replay met an error that nobody foresaw: ZeroDivisionError: division by zero.",
        code=1,
    )
    assert not databases(onlooker, prefix)


def start_replay(*arguments: str, **environment: str) -> subprocess.Popen[str]:
    return start_process("replay_activity_log", SAMPLE, *arguments, PGAPPNAME=NAME, **environment)


def scratch_databases_in_use(onlooker: psycopg.Connection) -> set[str]:
    """Those that have been entered and marked so."""
    found = onlooker.execute(
        "SELECT datname FROM pg_stat_activity WHERE application_name = %s AND starts_with(datname, %s)"
        " AND shobj_description(datid, 'pg_database') = %s",
        [NAME, module.PREFIX, module.MARK],
    )
    return {name for (name,) in found}


def wait_for_scratch_databases(onlooker: psycopg.Connection) -> set[str]:
    wait_until(lambda: scratch_databases_in_use(onlooker), "no replay begins")
    return scratch_databases_in_use(onlooker)


def children_of(process: subprocess.Popen[str]) -> list[int]:
    return [int(pid) for pid in Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()]


def are_gone(onlooker: psycopg.Connection, names: set[str]) -> bool:
    return not names & databases(onlooker, module.PREFIX)


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)], ids=["SIGTERM", "SIGINT"]
)
def test_stopped_replay_leaves_nothing(
    onlooker: psycopg.Connection, number: signal.Signals, code: int
) -> None:
    process = start_replay()
    names = wait_for_scratch_databases(onlooker)
    process.send_signal(number)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (code, "")
    assert err == "CommandError: Interrupted; the scratch database is dropped.\n"
    assert are_gone(onlooker, names)
    assert not scratch_databases_in_use(onlooker)


def test_killed_replay_leaves_nothing(onlooker: psycopg.Connection) -> None:
    process = start_replay()
    names = wait_for_scratch_databases(onlooker)
    process.kill()
    process.communicate(timeout=60)
    wait_until(lambda: are_gone(onlooker, names), "the processes of a killed replay go on")


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="nobody here tells whose child is whose")
def test_what_a_killed_process_leaves_is_dropped_by_the_next_replay(
    onlooker: psycopg.Connection, log: str
) -> None:
    process = start_replay()
    wait_for_scratch_databases(onlooker)
    children = children_of(process)
    # None of them may be killed before its database has the mark of those that can be dropped at once.
    wait_until(lambda: len(scratch_databases_in_use(onlooker)) == len(children), "a share does not begin")
    names = scratch_databases_in_use(onlooker)
    for child in children:
        os.kill(child, signal.SIGKILL)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (1, "")
    assert err.startswith(
        "CommandError: A process of the replay ended with code -9 before its work was done;"
    )
    assert len(err.splitlines()) == 1
    wait_until(lambda: not scratch_databases_in_use(onlooker), "a killed process stays connected")
    assert run_process("replay_activity_log", log).code == 0
    assert are_gone(onlooker, names)


@pytest.fixture
def url_without_createdb(onlooker: psycopg.Connection) -> Iterator[str]:
    role = sql.Identifier(f"replay_test_{os.getpid()}")
    password = "for-this-test"  # noqa: S105
    onlooker.execute(sql.SQL("CREATE ROLE {} LOGIN PASSWORD {}").format(role, sql.Literal(password)))
    _, address = database_url().split("@", maxsplit=1)
    yield f"postgresql://replay_test_{os.getpid()}:{password}@{address}"
    onlooker.execute(sql.SQL("DROP ROLE {}").format(role))


def test_user_who_may_make_no_database_is_told_so(url_without_createdb: str, log: str) -> None:
    outcome = run_process("replay_activity_log", log, DATABASE_URL=url_without_createdb)
    assert outcome == Outcome(
        out="",
        err="CommandError: A replay needs a database of its own, and the user of DATABASE_URL may not make"
        " one (permission denied to create database); let an administrator run ALTER ROLE … CREATEDB, or"
        " name another user or server in DATABASE_URL.\n",
        code=1,
    )


@pytest.mark.skipif(PROGRAM is None, reason="pgbouncer is not installed (on Debian: apt install pgbouncer)")
def test_pooler_that_does_not_know_the_scratch_database_is_told_of(
    onlooker: psycopg.Connection, log: str
) -> None:
    with transaction_pooler() as url:
        outcome = run_process("replay_activity_log", log, DATABASE_URL=url, DATABASE_BEHIND_POOLER="on")
    assert (outcome.code, outcome.out) == (1, "")
    assert "but DATABASE_URL does not lead to it" in outcome.err
    assert "behind a pooler, give this command the address of the server itself" in outcome.err
    assert len(outcome.err.splitlines()) == 1


def test_other_replays_go_on_meanwhile(onlooker: psycopg.Connection, log: str) -> None:
    process = start_replay()
    try:
        names = wait_for_scratch_databases(onlooker)
        assert run_process("replay_activity_log", log).code == 0
        assert names <= scratch_databases_in_use(onlooker)
    finally:
        process.terminate()
        process.communicate(timeout=60)
