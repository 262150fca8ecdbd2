"""Lists on their way to PostgreSQL and back: what our dumper writes in one go is what psycopg would write."""

from __future__ import annotations

from typing import Any, Final
from uuid import UUID

import pytest
from django.db import DataError, connection
from hypothesis import example, given
from hypothesis import strategies as st
from psycopg.types.array import ListDumper

from engagement.arrays import TextArrayDumper
from engagement.models import MessageType

pytestmark = pytest.mark.django_db

NASTY: Final = st.sampled_from(
    ("", "NULL", "null", '"', "\\", "{", "}", ",", '","', "a b", "\u3000", "ação", "🙂")
)
TEXTS: Final = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")) | NASTY


def sent(elements: list[Any], kind: str = "text") -> Any:
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT %s::{kind}[]", [elements])
        return cursor.fetchone()[0]


@given(st.lists(TEXTS | st.none()))
@example(["a", "b\\c"])
@example(["a", 'b"c'])
@example(["a", 'b","c'])
def test_texts_arrive_as_they_were_sent(texts: list[str | None]) -> None:
    assert sent(texts) == texts


def test_a_thousand_plain_texts_are_looked_at_together(monkeypatch: pytest.MonkeyPatch) -> None:
    def one_by_one(*_: object) -> None:
        raise AssertionError("psycopg was asked to look at each of them")

    monkeypatch.setattr(ListDumper, "dump", one_by_one)
    texts = [f"{number}, a b {{}}" for number in range(1000)]

    assert sent(texts) == texts


@pytest.mark.parametrize("refused", ["\0", "a\0b"])
def test_zero_byte_is_refused_as_by_psycopg(refused: str) -> None:
    with pytest.raises(DataError, match="NUL"):
        sent(["a", refused])


@pytest.mark.parametrize(
    ("elements", "kind"),
    [
        ([1, 2, None], "integer"),
        ([[1, 2], [3, 4]], "integer"),
        ([["a", "b"], ["c", '"']], "text"),
        ([UUID(int=1), UUID(int=2)], "uuid"),
        ([True, False], "boolean"),
    ],
)
def test_other_lists_are_left_to_psycopg(elements: list[Any], kind: str) -> None:
    assert sent(elements, kind) == elements


def test_members_of_a_text_enumeration_arrive_as_their_values() -> None:
    assert sent([MessageType.GOODBYE, MessageType.REMINDER]) == ["goodbye", "reminder"]


def test_every_connection_has_the_dumper() -> None:
    connection.ensure_connection()

    assert connection.connection.adapters.get_dumper(list, "s") is TextArrayDumper
