"""The message queue against PostgreSQL: what is new, what is not, and what a goodbye says."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

import pytest
from django.db import IntegrityError, connection, transaction
from django.test.utils import CaptureQueriesContext

from engagement import message_catalogue as messages
from engagement.models import Destination, EngagementMessage, MessageStatus, MessageType
from engagement.selectors.due_users import DueUser
from engagement.services import message_queue
from engagement.services.job.goodbye import goodbye_for
from engagement.services.message_queue import NewMessage, queue_message, queue_messages
from engagement.states import UserState
from tests.factories import NOW

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pytest_django.fixtures import Settings

pytestmark = pytest.mark.django_db

ANA: Final = UUID("12345678-1234-4234-8234-123456789012")
TOMORROW: Final = NOW + timedelta(days=1)
HALF_AN_EMOJI: Final = "\ud83d"


@pytest.fixture(autouse=True)
def messages_of_the_assistant(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(messages, "_texts", dict(messages._texts))
    messages.register_message(key="assistant.reminder", text="%(name)s, %(days)s")
    for key in ("assistant.welcome", "first", "second", "other"):
        messages.register_message(key=key, text="Hello")


def a_message(**fields: Any) -> NewMessage:
    wanted = {
        "user_id": ANA,
        "message_type": MessageType.REMINDER,
        "message_key": "assistant.reminder",
        "destination": Destination.GROUP,
        "destination_jid": "999000000000000001@g.us",
        "scheduled_for": TOMORROW,
        "idempotency_key": "key",
        "message_params": {"name": "Ana", "days": [1, 2]},
    }
    return NewMessage(**{**wanted, **fields})


def with_keys(keys: Iterable[object], **fields: Any) -> list[NewMessage]:
    return [a_message(idempotency_key=str(key), **fields) for key in keys]


def queued() -> list[dict[str, Any]]:
    return [{**row} for row in EngagementMessage.objects.order_by("id").values()]


def count_statements(messages: list[NewMessage]) -> int:
    with CaptureQueriesContext(connection) as queries:
        queue_messages(messages=messages, now=NOW)
    return len(queries)


def a_due_user(**fields: str) -> DueUser:
    user_state = UserState(ANA, "active", NOW - timedelta(days=15), None, None, None)
    return DueUser(
        user_state, **{"destination": "individual", "destination_jid": "999@s.whatsapp.net", **fields}
    )


DELIVERY: Final = (
    *("attempt_id", "claimed_at", "claim_expires_at", "next_attempt_at", "backend", "provider_message_id"),
    *("delivered_at", "read_at", "failed_at", "error_code", "outcome_reason", "lease_request_id"),
)
"""Columns that only the sender writes."""


def test_new_message_is_stored_whole() -> None:
    message = queue_message(message=a_message(), now=NOW)
    assert message is not None
    assert queued() == [
        {
            "id": message.id,
            "user_id": ANA,
            "message_type": "reminder",
            "message_key": "assistant.reminder",
            "message_params": {"name": "Ana", "days": [1, 2]},
            "destination": "group",
            "destination_jid": "999000000000000001@g.us",
            "scheduled_for": TOMORROW,
            "sent_at": None,
            "status": "pending",
            "retry_count": 0,
            "error_message": None,
            "idempotency_key": "key",
            "created_at": NOW,
            **dict.fromkeys(DELIVERY),
        }
    ]


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"idempotency_key": ""}, "idempotency_key is empty"),
        ({"message_params": {"name": "Ana", "days": float("nan")}}, "not JSON compliant"),
        ({"message_params": {"name": "Ana", "days": [HALF_AN_EMOJI]}}, "message_params must have no NUL"),
        ({"message_params": {"name": "Ana", "days": {"\0": 1}}}, "message_params must have no NUL"),
        ({"message_params": {"name": r"\\" + "\0", "days": 1}}, "message_params must have no NUL"),
        ({"destination_jid": HALF_AN_EMOJI}, "destination_jid must be a string without NUL"),
        ({"destination_jid": "5511\0"}, "destination_jid must be a string without NUL"),
        ({"destination_jid": None}, "destination_jid must be a string without NUL"),
        ({"idempotency_key": HALF_AN_EMOJI}, "idempotency_key must be a string without NUL"),
        ({"destination": "5511999990042"}, "destination must be one of individual, group"),
        ({"message_type": None}, "message_type must be one of welcome, "),
        ({"scheduled_for": "2026-03-02"}, "A time must be a datetime, not a str"),
        ({"scheduled_for": datetime(3000, 1, 1, tzinfo=UTC)}, "pass a time from 1970 to 2999"),
    ],
)
def test_what_cannot_be_queued_is_refused(fields: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence) as refusal, transaction.atomic():
        queue_message(message=a_message(**fields), now=NOW)
    assert "5511" not in str(refusal.value)
    assert queued() == []


@pytest.mark.parametrize("name", ["😀", r"\u0000", r"\\u0000", "\n"])
def test_parameters_may_have_emoji_and_escapes(name: str) -> None:
    message = queue_message(message=a_message(message_params={"name": name, "days": 1}), now=NOW)
    assert message is not None
    assert message.message_params["name"] == name


def test_message_needs_no_parameters() -> None:
    without = NewMessage(
        ANA,
        MessageType.WELCOME,
        "assistant.welcome",
        Destination.INDIVIDUAL,
        "999@s.whatsapp.net",
        NOW,
        "key",
    )
    message = queue_message(message=without, now=NOW)
    assert message is not None
    message.refresh_from_db()
    assert message.message_params == {}


@pytest.mark.parametrize("status", MessageStatus.values)
def test_key_is_taken_for_ever_whatever_became_of_its_message(status: str) -> None:
    queue_message(message=a_message(), now=NOW)
    EngagementMessage.objects.update(status=status)
    before = queued()
    again = a_message(user_id=UUID(int=7), message_key="other", message_params={}, destination_jid="other")
    assert queue_message(message=again, now=TOMORROW) is None
    assert queued() == before


def test_those_whose_keys_are_taken_stay_out() -> None:
    queue_messages(messages=with_keys("bd", message_key="first", message_params={}), now=NOW)
    queue_messages(messages=with_keys("edcba", message_key="second", message_params={}), now=TOMORROW)
    assert dict(EngagementMessage.objects.values_list("idempotency_key", "message_key")) == {
        "a": "second",
        "b": "first",
        "c": "second",
        "d": "first",
        "e": "second",
    }


def test_of_two_messages_with_one_key_the_first_is_queued() -> None:
    first, second = (
        a_message(message_key=message_key, message_params={}) for message_key in ("first", "second")
    )
    queue_messages(messages=[first, second], now=NOW)
    assert EngagementMessage.objects.get().message_key == "first"


def test_nothing_to_queue_is_no_mistake() -> None:
    queue_messages(messages=[], now=NOW)
    assert queued() == []


def test_messages_may_come_from_a_generator() -> None:
    queue_messages(messages=(message for message in with_keys("ab")), now=NOW)
    assert EngagementMessage.objects.count() == 2


def test_message_that_nobody_could_write_queues_nothing() -> None:
    for bad in (a_message(message_key="engagement.goodby"), a_message(message_params={"name": "Ana"})):
        with pytest.raises((messages.UnknownMessageKey, messages.WrongMessageParameters)):
            queue_messages(messages=[*with_keys("ab"), bad], now=NOW)
    assert queued() == []


def test_messages_of_one_kind_are_checked_once(monkeypatch: pytest.MonkeyPatch) -> None:
    checked: list[object] = []
    monkeypatch.setattr(message_queue, "check_message", lambda **message: checked.append(message))
    queue_messages(messages=with_keys(range(1000)), now=NOW)
    assert checked == [{"key": "assistant.reminder", "params": {"name", "days"}}]


def test_10_and_1000_messages_take_as_many_statements() -> None:
    few = count_statements(with_keys(range(10)))
    many = count_statements(with_keys(range(5, 1000)))
    assert few == many == 1
    assert EngagementMessage.objects.count() == 1000


def test_message_in_the_callers_transaction_is_two_statements() -> None:
    with CaptureQueriesContext(connection) as queries:
        queue_message(message=a_message(), now=NOW)
    assert len(queries) == 2


@pytest.mark.django_db(transaction=True)
def test_messages_are_committed_without_a_transaction_of_the_caller() -> None:
    queue_message(message=a_message(), now=NOW)
    assert not connection.in_atomic_block
    assert EngagementMessage.objects.count() == 1


def test_messages_go_with_the_callers_transaction() -> None:
    with transaction.atomic():
        queue_message(message=a_message(), now=NOW)
        transaction.set_rollback(True)
    assert queued() == []
    assert queue_message(message=a_message(), now=NOW) is not None


@pytest.mark.parametrize(
    ("field", "constraint"),
    [
        ("message_type", "message_type_known"),
        ("destination", "message_destination_known"),
        ("idempotency_key", "null value"),
        ("destination_jid", "null value"),
    ],
)
def test_value_that_the_table_refuses_queues_nothing(field: str, constraint: str) -> None:
    bad = a_message(**{field: None if constraint == "null value" else "unheard of"})
    with pytest.raises(IntegrityError, match=constraint), transaction.atomic():
        queue_messages(messages=[*with_keys("ab"), bad], now=NOW)
    assert queued() == []


def test_time_without_an_offset_queues_nothing() -> None:
    with pytest.raises(ValueError, match="no offset"), transaction.atomic():
        queue_message(message=a_message(scheduled_for=TOMORROW.replace(tzinfo=None)), now=NOW)

    assert queued() == []


@pytest.mark.parametrize("hours", [-11, 0, 5.75])
def test_message_is_scheduled_for_its_instant_in_whatever_time_zone(hours: float) -> None:
    there = TOMORROW.astimezone(timezone(timedelta(hours=hours)))

    queue_message(message=a_message(scheduled_for=there), now=there)

    (row,) = queued()
    assert (row["scheduled_for"], row["created_at"]) == (TOMORROW, TOMORROW)


def test_goodbye_says_what_the_design_wants() -> None:
    assert goodbye_for(a_due_user(), now=NOW) == NewMessage(
        user_id=str(ANA),
        message_type=MessageType.GOODBYE,
        message_key="engagement.goodbye.self_select",
        message_params={},
        destination=Destination.INDIVIDUAL,
        destination_jid="999@s.whatsapp.net",
        scheduled_for=NOW,
        idempotency_key="12345678-1234-4234-8234-123456789012:goodbye_sent:2026-03-02",
    )


def test_goodbye_goes_to_the_group_where_the_user_prefers_it() -> None:
    goodbye = goodbye_for(a_due_user(destination="group", destination_jid="9@g.us"), now=NOW)
    assert (goodbye.destination, goodbye.destination_jid) == (Destination.GROUP, "9@g.us")


@pytest.mark.parametrize(
    ("now", "date"),
    [
        ("2026-03-02T23:30:00-03:00", "2026-03-03"),
        ("2026-03-02T00:30:00+02:00", "2026-03-01"),
        ("2026-03-02T23:59:59.999999+00:00", "2026-03-02"),
        ("2026-03-03T00:00:00+00:00", "2026-03-03"),
    ],
)
def test_key_of_a_goodbye_has_the_date_in_utc(now: str, date: str) -> None:
    goodbye = goodbye_for(a_due_user(), now=datetime.fromisoformat(now))
    assert goodbye.idempotency_key == f"{ANA}:goodbye_sent:{date}"


def test_key_of_a_goodbye_does_not_depend_on_the_time_zone_of_the_program(settings: Settings) -> None:
    settings.TIME_ZONE = "America/Sao_Paulo"
    goodbye = goodbye_for(a_due_user(), now=datetime.fromisoformat("2026-03-02T02:00:00+00:00"))
    assert goodbye.idempotency_key.endswith(":2026-03-02")


def test_second_goodbye_of_a_utc_day_is_not_queued() -> None:
    in_sao_paulo = NOW.astimezone(timezone(timedelta(hours=-3)))
    queue_message(message=goodbye_for(a_due_user(), now=in_sao_paulo), now=NOW)
    assert queue_message(message=goodbye_for(a_due_user(), now=NOW + timedelta(hours=17)), now=NOW) is None
    assert queue_message(message=goodbye_for(a_due_user(), now=TOMORROW), now=TOMORROW) is not None
