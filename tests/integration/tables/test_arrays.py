"""Arrays of text on their way to PostgreSQL, and times on their way back: the same as without our tools."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Final

import pytest
from django.db import DataError, connection
from hypothesis import example, given
from hypothesis import strategies as st
from psycopg.types.array import ListDumper

from engagement.models import MessageType
from engagement.postgres import TextArray, TextArrays, native_times

pytestmark = pytest.mark.django_db

NASTY: Final = st.sampled_from(
    ("", "NULL", "null", '"', "\\", "{", "}", ",", '","', "a b", "\u3000", "ação", "🙂")
)
TEXTS: Final = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")) | NASTY


@pytest.fixture
def psycopg_refuses(monkeypatch: pytest.MonkeyPatch) -> None:
    def one_by_one(*_: object) -> None:
        raise AssertionError("psycopg wrote the list")

    monkeypatch.setattr(ListDumper, "dump", one_by_one)


def sent(elements: list[Any]) -> Any:
    with connection.cursor() as cursor:
        cursor.execute("SELECT %s::text[]", [elements])
        return cursor.fetchone()[0]


@given(st.lists(TEXTS | st.none()))
@example(["a", "b\\c"])
@example(["a", 'b"c'])
@example(["a", 'b","c'])
def test_texts_arrive_as_they_were_sent(texts: list[str | None]) -> None:
    assert sent(TextArray(texts)) == texts


def test_members_of_a_text_enumeration_arrive_as_their_values() -> None:
    assert sent(TextArray([MessageType.GOODBYE, MessageType.REMINDER])) == ["goodbye", "reminder"]


@pytest.mark.parametrize("refused", ["\0", "a\0b"])
def test_zero_byte_is_refused_as_by_psycopg(refused: str) -> None:
    with pytest.raises(DataError, match="NUL"):
        sent(TextArray(["a", refused]))


@pytest.mark.usefixtures("psycopg_refuses")
def test_plain_texts_are_written_together() -> None:
    texts = [f"{number}, a b {{}}" for number in range(1000)]

    assert sent(TextArray(texts)) == texts


@pytest.mark.usefixtures("psycopg_refuses")
def test_lists_of_other_statements_stay_with_psycopg() -> None:
    with connection.execute_wrapper(TextArrays()):
        assert sent(["a", "b"]) == ["a", "b"]
    with pytest.raises(AssertionError, match="psycopg wrote the list"):
        sent(["a", "b"])


def test_written_rows_are_counted() -> None:
    written = TextArrays()
    with connection.execute_wrapper(written), connection.cursor() as cursor:
        cursor.execute("CREATE TEMPORARY TABLE numbers (number integer PRIMARY KEY) ON COMMIT DROP", [])
        written.rows = 0
        cursor.execute("INSERT INTO numbers VALUES (1), (2)", [])
        cursor.execute("INSERT INTO numbers VALUES (2), (3) ON CONFLICT DO NOTHING", [])
    assert written.rows == 3


@given(st.datetimes(timezones=st.just(UTC)) | st.none())
def test_times_are_read_as_django_reads_them(moment: datetime | None) -> None:
    def read() -> Any:
        with connection.cursor() as cursor:
            cursor.execute("SELECT %s::timestamptz", [moment])
            return cursor.fetchone()[0]

    with native_times():
        read_natively = read()
    assert (read_natively, read_natively and read_natively.tzinfo) == (read(), moment and UTC)
