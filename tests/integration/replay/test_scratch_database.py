"""A replay works in a database of its own, made for it and dropped after it."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import psycopg
import pytest
from django.db import connection, connections, transaction
from psycopg import sql
from uuid_utils.compat import uuid7

from engagement.models import UserProfile
from engagement.replay import scratch_database as module
from engagement.replay.scratch_database import NoScratchDatabase, drop_left_overs, scratch_database
from tests.factories import make_user
from tests.integration.replay.scratch import databases, drop, rows
from tests.running import database_url

if TYPE_CHECKING:
    from collections.abc import Iterator


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
    reason = rf"DATABASE_URL does not lead to it \(it leads to {connection.settings_dict['NAME']}\)"
    with pytest.raises(NoScratchDatabase, match=reason), scratch_database():
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


def test_left_over_that_cannot_be_dropped_keeps_no_other(onlooker: psycopg.Connection, prefix: str) -> None:
    kept, left = f"{prefix}a_template", f"{prefix}left"
    template = sql.SQL("ALTER DATABASE {} IS_TEMPLATE {}")
    with made(onlooker, dict.fromkeys((kept, left), module.MARK)):
        onlooker.execute(template.format(sql.Identifier(kept), sql.SQL("true")))
        try:
            drop_left_overs()
            assert databases(onlooker, prefix) == {kept}
        finally:
            onlooker.execute(template.format(sql.Identifier(kept), sql.SQL("false")))


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


def url_of(database: str) -> str:
    return database_url().replace(f"/{connection.settings_dict['NAME']}?", f"/{database}?")
