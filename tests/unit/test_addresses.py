"""Numbers as programs write them and as people say them."""

from __future__ import annotations

import pytest

from engagement.addresses import canonical, endings, is_group, number_of, spellings


@pytest.mark.parametrize(
    ("address", "number"),
    [
        ("5511987654321@s.whatsapp.net", "5511987654321"),
        ("5511987654321:12@s.whatsapp.net", "5511987654321"),
        ("+55 11 98765-4321", "5511987654321"),
        ("5511987654321@c.us", "5511987654321"),
        (" 4915112345678 ", "4915112345678"),
        ("123456789012345@lid", None),
        ("120363025246125486@g.us", None),
        ("1234", None),
        ("1" * 16, None),
        ("", None),
        ("٥٥١١٩٨٧٦٥", None),
    ],
)
def test_the_number_of_an_address(address: str, number: str | None) -> None:
    assert number_of(address) == number


@pytest.mark.parametrize(
    ("number", "expected"),
    [
        ("5511987654321", ["5511987654321", "551187654321"]),
        ("551187654321", ["551187654321", "5511987654321"]),
        ("5511887654321", ["5511887654321"]),
        ("4915112345678", ["4915112345678"]),
        ("551133334444", ["551133334444"]),
        ("552158765432", ["552158765432"]),
        ("551161234567", ["551161234567", "5511961234567"]),
        ("5511933334444", ["5511933334444"]),
        ("5511912345678", ["5511912345678"]),
        ("55", ["55"]),
    ],
)
def test_the_spellings_of_a_number(number: str, expected: list[str]) -> None:
    assert spellings(number) == expected


def test_all_spellings_have_one_canonical_form() -> None:
    forms = ("5511987654321@s.whatsapp.net", "551187654321", "+55 (11) 98765-4321", "5511987654321:3@c.us")
    assert {canonical(form) for form in forms} == {"5511987654321"}
    assert canonical(" Ana@Example.org ") == "ana@example.org"


def test_a_landline_is_nobodys_mobile_number() -> None:
    assert canonical("551133334444@s.whatsapp.net") != canonical("5511933334444@s.whatsapp.net")


def test_a_group_is_known_by_its_server() -> None:
    assert is_group(" 120363025246125486@G.us")
    assert not any(map(is_group, ("5511987654321@s.whatsapp.net", "123456789012345@lid", "g.us", "")))


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ("042", []),
        ("0042", ["0042"]),
        ("99990042", ["99990042", "999990042"]),
        ("999990042", ["999990042", "99990042"]),
        ("1199990042", ["1199990042", "11999990042"]),
        ("11999990042", ["11999990042", "1199990042"]),
        ("5511999990042", ["5511999990042"]),
        ("899990042", ["899990042"]),
        ("33334444", ["33334444"]),
        ("1133334444", ["1133334444"]),
    ],
)
def test_how_numbers_may_end(said: str, expected: list[str]) -> None:
    assert endings(said) == expected
