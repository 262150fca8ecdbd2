"""Arrays of text on their way to PostgreSQL, which TextArrayDumper writes as psycopg does."""

from __future__ import annotations

from typing import Any, Final

import pytest
from django.db import DataError, connection
from hypothesis import example, given
from hypothesis import strategies as st
from psycopg.types.array import ListDumper

from engagement.models import MessageType
from engagement.postgres import TextArray, text_arrays

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
    with text_arrays():
        assert sent(["a", "b"]) == ["a", "b"]
    with pytest.raises(AssertionError, match="psycopg wrote the list"):
        sent(["a", "b"])
