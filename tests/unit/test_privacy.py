"""What is taken out of a text before anybody reads it, and what must stay for the text to be of use."""

from __future__ import annotations

from time import perf_counter
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engagement.privacy import mask, redact

ADDRESSES: Final = (
    "5511999990042@s.whatsapp.net",
    "120363025246125486@g.us",
    "120363025246125486-1234567890@g.us",
    "123456789012345@lid",
    "ana@example.com",
    "ana.silva+whatsapp@mail.big-example.com.br",
    "ana@localhost",
    "550e8400-e29b-41d4-a716-446655440000@example.com",
)

NUMBERS: Final = (
    "5511999990042",
    "+5511999990042",
    "+55 11 99999-0042",
    "+55 (11) 99999-0042",
    "(11) 99999-0042",
    "(011) 4002-8922",
    "11 9 9999-0042",
    "11 99999 0042",
    "99999-0042",
    "99999 - 0042",
    "+55.11.99999.0042",
    "0055 11 99999-0042",
    "+1 (555) 010-0042",
    "+33 1 23 45 67 89",
    "5511\u200b99999\u200b0042",
    "55\t11\t99999\t0042",
    "5511\u00ad99999\u00ad0042",
    "5511\u206099999\u20600042",
    "+55 11 99999\u200b\u200c\u200d\ufeff-\u2069\u20660042",
    "5\ufe0f5\ufe0f1\ufe0f1\ufe0f9\ufe0f9\ufe0f9\ufe0f9\ufe0f9\ufe0f0\ufe0f0\ufe0f4\ufe0f2",
    "5511\x0099999\x010042",
    "+55\N{NO-BREAK SPACE}11\N{NO-BREAK SPACE}99999\N{NON-BREAKING HYPHEN}0042",
)

KEPT: Final = (
    "0197f3a0-1234-7000-8000-000000000001",
    "12345678-1234-1234-1234-123456789012",
    "0197f3a0-1234-7000-8000-000000000001:goodbye_sent:2026-03-02",
    "2026-03-02",
    "2026-03-02T06:00Z",
    "2026-03-02T06:00:00.123456Z",
    "2026-03-02T06:00:00.123456+00:00",
    "2026-03-02T23:30:00-03:00",
    "2026-03-02 06:00:00.123456+00",
    "14 days, 3:00:00.123456",
    "1000 users in 12.345678 s",
    "1234567",
    "[1, 2, 3, 4, 5, 6, 7, 8, 9]",
    "deadlock detected (SQLSTATE 40P01)",
    "violates check constraint (SQLSTATE 23514)",
    'connection to server at "192.168.100.200", port 5432 failed',
    'File "engagement/privacy.py", line 42, in redact',
)

SETTINGS: Final = (
    "{}",
    "'{}'",
    '"{}"',
    "({})",
    "<{}>",
    "key={}",
    "key: {}",
    '{{"key": "{}", "next": 14}}',
    "VALUES ('{}', 14)",
    "Key (jid)=({}) already exists.",
    "at 2026-03-02T06:00:00+00:00 {} wrote",
    "{} 2026-03-02T06:00:00+00:00",
    "0197f3a0-1234-7000-8000-000000000001 {}",
    "above\n{}\nbelow 2",
)
"""Where an address or a number may stand in a text."""

texts: Final = st.text(alphabet="0159 +-.()@:'\"[]T\nazé")


@pytest.mark.parametrize("address", ADDRESSES)
def test_address_is_redacted_anywhere_in_a_text(address: str) -> None:
    for setting in SETTINGS:
        assert redact(setting.format(address)) == setting.format("[address]")


@pytest.mark.parametrize("number", NUMBERS)
def test_phone_number_is_redacted_anywhere_in_a_text(number: str) -> None:
    for setting in SETTINGS:
        assert redact(setting.format(number)) == setting.format("[number]")


@pytest.mark.parametrize("text", KEPT)
def test_text_without_personal_data_is_kept(text: str) -> None:
    assert redact(text) == text


def test_every_address_and_number_of_a_text_is_redacted() -> None:
    text = f"{NUMBERS[0]}, {ADDRESSES[0]} and {ADDRESSES[4]}"
    assert redact(text) == "[number], [address] and [address]"


@pytest.mark.parametrize(
    ("text", "redacted"),
    [
        ("2026-03-02 11:99999999", "2026-03-02 11:[number]"),
        ("2026-03-0299999", "[number]"),
        ("192.168.100.20099", "[number]"),
        ("12345678-1234-1234-1234-1234567890123", "[number]"),
    ],
)
def test_number_that_begins_like_a_timestamp_is_redacted(text: str, redacted: str) -> None:
    assert redact(text) == redacted


def test_numbers_on_two_lines_are_not_one_phone_number() -> None:
    assert redact("1234\n5678\n9012") == "1234\n5678\n9012"


def test_password_in_a_url_is_redacted() -> None:
    assert "secret" not in redact("postgresql://engagement:secret@db.example.com:5432/engagement")


def test_token_of_the_api_is_redacted() -> None:
    header = "Basic eng_DtgyAxJwcXFvJ3P-Zg3mTq1kVnMOLuR3hT5rMWq6aGk"
    assert redact(f"Unexpected auth - '{header}'") == "Unexpected auth - 'Basic [token]'"
    assert redact("eng_pt and engagement_message_queue") == "eng_pt and engagement_message_queue"


@given(texts | st.text())
def test_redacting_is_idempotent(text: str) -> None:
    once = redact(text)
    assert redact(once) == once


@given(before=st.text(), number=st.from_regex(r"[0-9]{8,15}", fullmatch=True), after=st.text())
def test_phone_number_never_survives(before: str, number: str, after: str) -> None:
    assert number not in redact(f"{before} {number} {after}")


@given(before=st.text(), user=st.from_regex(r"[0-9]{1,18}", fullmatch=True), after=st.text())
def test_jid_never_survives(before: str, user: str, after: str) -> None:
    assert f"{user}@" not in redact(f"{before} {user}@s.whatsapp.net {after}")


@pytest.mark.parametrize(
    "piece", ["a", "1", "1 ", "(", "+", "1.1.", "2026-03-02 ", "12:00:00", "\u200b", "1\u200b"]
)
def test_redacting_takes_linear_time(piece: str) -> None:
    started = perf_counter()
    redact(piece * 100_000)
    assert perf_counter() - started < 5


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("5511999990042@s.whatsapp.net", "5511•••••0042"),
        ("120363041234567890@g.us", "1203•••••7890"),
        ("5511999990042", "5511•••••0042"),
        ("5511999990042:12@s.whatsapp.net", "5511•••••0042"),
        ("551199990042@s.whatsapp.net", "55•••••42"),
        ("12025551234@s.whatsapp.net", "12•••••34"),
        ("123456789@s.whatsapp.net", "12•••••89"),
        ("12345678@s.whatsapp.net", "•••••"),
        ("@s.whatsapp.net", "•••••"),
        ("", ""),
    ],
)
def test_mask_shows_only_the_ends_of_an_address(address: str, shown: str) -> None:
    assert mask(address) == shown


@pytest.mark.parametrize(
    "query",
    [
        "?q=%2B55+11+98765+4321",
        "?q=%2B55%20%2811%29%2098765-4321",
        "?q=+55+(11)+98765%2D4321&p=1",
        "?q=55.11.98765.4321",
        "?q=%2b55%2011%C2%A098765%2e4321",
        "?q=55%0911%E2%80%8B98765%E2%80%914321",
        "?q=5511987654321%40s.whatsapp.net",
    ],
)
def test_number_in_a_query_string_is_redacted(query: str) -> None:
    request = f"<WSGIRequest: GET '/admin/engagement/userprofile/{query}'>"
    assert "4321" not in redact(request)
    assert "/admin/engagement/userprofile/?q=" in redact(request)
