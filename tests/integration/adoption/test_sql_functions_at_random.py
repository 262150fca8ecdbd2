"""docs/sql/functions.sql, the services and the HTTP API, compared on users of every kind."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

import pytest
from django.utils import timezone
from hypothesis import given
from hypothesis import strategies as st

from engagement.models import (
    EngagementMessage,
    EngagementStateTransition,
    MessageStatus,
    MessageType,
    UserEngagementState,
    UserProfile,
)
from engagement.selectors.deliveries import database_now
from engagement.selectors.goodbyes import goodbye_key, goodbyes_of_waits
from engagement.services.inbound_messages import receive_message
from engagement.states import State, UserState
from tests.factories import UserProfileFactory, queue_for
from tests.integration.adoption.sql_functions import (
    TEXTS,
    call,
    claim,
    comparable,
    create_functions,
    report,
    rough,
)
from tests.integration.api.clients import ApiClient
from tests.integration.delivery.sending import ScriptedBackend, send
from tests.integration.operation.random_users import compared_with_the_job, taken_back
from tests.times import DAY, HOUR, MINUTE, SECOND

if TYPE_CHECKING:
    from datetime import datetime
    from uuid import UUID

    from pytest_django.fixtures import Settings

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def functions(settings: Settings) -> None:
    settings.ENGAGEMENT_SEND_HOURS = ""
    create_functions()


# Users, by the time since which they are in their state.

offsets = st.sampled_from([0 * SECOND, 0 * SECOND, SECOND, 10 * MINUTE, -HOUR, -3 * DAY])
receipts: Final[list[dict[str, timedelta]]] = [
    {},
    {},
    {"failed_at": HOUR},
    {"failed_at": HOUR, "delivered_at": HOUR},
    {"failed_at": HOUR, "read_at": HOUR},
]
goodbyes = st.fixed_dictionaries(
    {
        "status": st.sampled_from(MessageStatus),
        "created_at": offsets,
        "claimed_at": st.sampled_from([None, 0 * SECOND, 30 * MINUTE]),
        "receipts": st.sampled_from(receipts),
    }
)
# Of programs that are not Django, too.
no_times: Final[list[Any]] = [None, 1764000000, "garbage", "2026-02-30T25:00:00+00:00", "2026-11-30", [], {}]
people = st.fixed_dictionaries(
    {
        "state": st.sampled_from([State.GOODBYE_SENT] * 5 + [*State, None]),
        "ago": st.sampled_from([HOUR, 5 * HOUR, 3 * DAY, 5 * DAY, 20 * DAY]),
        "last_activity": st.sampled_from([-20 * DAY, -14 * DAY, -HOUR, 0 * SECOND, HOUR]),
        "has_old_times": st.booleans(),
        "goodbyes": st.lists(goodbyes, max_size=3),
        "has_key": st.booleans(),
        "audit": st.none() | st.fixed_dictionaries({"received_at": st.sampled_from(no_times)}) | st.just({}),
    }
)


def make(person: dict[str, Any], since: datetime) -> UserProfile:
    profile = UserProfileFactory.create()
    state = person["state"]
    if state is None:
        return profile
    times = {}
    if state == State.GOODBYE_SENT or person["has_old_times"]:
        times = {"goodbye_sent_at": since, "goodbye_expires_at": since + 2 * DAY}
    if state == State.REMIND_LATER:
        times["remind_at"] = since + 14 * DAY
    UserEngagementState.objects.create(
        user=profile, state=state, last_activity_at=since + person["last_activity"], **times
    )
    for number, goodbye in enumerate(person["goodbyes"]):
        make_goodbye(profile, goodbye, since, has_key=person["has_key"] and number == 0)
    if person["audit"] is not None:
        EngagementStateTransition.objects.create(
            user_id=profile.user_id,
            from_state="active",
            to_state=state,
            trigger="inactivity_14d",
            metadata=person["audit"],
            created_at=since,
        )
    return profile


def make_goodbye(profile: UserProfile, goodbye: dict[str, Any], since: datetime, *, has_key: bool) -> None:
    fields: dict[str, Any] = {"idempotency_key": goodbye_key(profile.user_id, now=since)} if has_key else {}
    claimed_after = goodbye["claimed_at"]
    queue_for(
        profile,
        MessageType.GOODBYE,
        status=goodbye["status"],
        created_at=since + goodbye["created_at"],
        scheduled_for=since,
        claimed_at=None if claimed_after is None else since + claimed_after,
        **{name: since + after for name, after in goodbye["receipts"].items()},
        **fields,
    )


# Messages from users.

written = st.one_of(
    st.tuples(st.just("now"), st.sampled_from([0 * SECOND, -5 * MINUTE, DAY])),
    st.tuples(
        st.just("since"),
        st.sampled_from([0 * SECOND, -SECOND / 1000, 30 * MINUTE, 2 * HOUR, -HOUR, -DAY, -30 * DAY]),
    ),
)


@compared_with_the_job
@given(
    person=people,
    messages=st.lists(st.tuples(st.sampled_from([*TEXTS]), written), min_size=1, max_size=3),
)
def test_messages_do_what_they_do_through_the_service_and_the_api(
    person: dict[str, Any], messages: list[tuple[str, tuple[str, timedelta]]]
) -> None:
    now = database_now()
    since = now - person["ago"] - timedelta(microseconds=123_456)
    by_service, by_api, by_sql = (make(person, since).user_id for _ in range(3))
    client = ApiClient()
    for number, (trigger, (origin, after)) in enumerate(messages):
        at = {"now": now, "since": since}[origin] + after
        write(by_service, TEXTS[trigger], at, message_id=str(number))
        post(client, by_api, TEXTS[trigger], at, message_id=str(number))
        call("engagement_user_wrote", by_sql, trigger, at)
    assert comparable(by_service) == comparable(by_sql)
    assert comparable(by_service) == comparable(by_api)


def write(user_id: UUID, text: str, at: datetime, *, message_id: str) -> None:
    receive_message(user_id=user_id, text=text, received_at=at, now=timezone.now(), message_id=message_id)


def post(client: ApiClient, user_id: UUID, text: str, at: datetime, *, message_id: str) -> None:
    body = {"user_id": str(user_id), "text": text, "received_at": at.isoformat(), "message_id": message_id}
    assert client.post("inbound-messages", body)[0] == 200


@compared_with_the_job
@given(person=people)
def test_the_goodbye_of_a_wait_is_that_of_the_services(person: dict[str, Any]) -> None:
    since = database_now() - person["ago"]
    user_id = make(person, since).user_id
    columns = UserEngagementState.objects.filter(user_id=user_id).values_list(*UserState._fields)
    waits = [UserState(*row) for row in columns]
    expected = [goodbye.id for goodbye in goodbyes_of_waits(waits).values()]
    began_at = waits[0].goodbye_sent_at if waits else None
    found = EngagementMessage.objects.raw(
        "SELECT * FROM engagement_goodbye_of_wait(%s, %s)", [user_id, began_at]
    )
    assert [message.id for message in found] == expected


# Claims.

addresses = st.sampled_from(["551@s.whatsapp.net"] * 4 + [" 551@s.whatsapp.net\u00a0\n", None]) | st.text(
    "5 \t\n\x0b\x1c\x1f\x85\u00a0\u00ad\u1680\u2003\u200b\u2028\u202f\u205f\u2060\u3000\ufeff", max_size=5
)
queued = st.fixed_dictionaries(
    {
        "message_type": st.sampled_from([MessageType.GOODBYE] * 4 + [*MessageType]),
        "created_at": offsets,
        "scheduled": st.sampled_from([MINUTE, 22 * HOUR, 24 * HOUR, 47 * HOUR, 49 * HOUR]),
        "next_attempt": st.sampled_from([None, None, -MINUTE, HOUR]),
        "message_params": st.sampled_from([{}, {}, {}, []]),
        "status": st.sampled_from([MessageStatus.PENDING] * 4 + [*MessageStatus]),
    }
)


@compared_with_the_job
@given(
    person=people,
    address=addresses,
    opted_out=st.booleans(),
    has_profile=st.sampled_from([True] * 5 + [False]),
    messages=st.lists(queued, min_size=1, max_size=4),
)
def test_claims_send_and_cancel_what_the_sender_does(
    person: dict[str, Any],
    address: str | None,
    *,
    opted_out: bool,
    has_profile: bool,
    messages: list[dict[str, Any]],
) -> None:
    with taken_back():
        now = database_now()
        profile = make({**person, "goodbyes": []}, now - person["ago"])
        UserProfile.objects.filter(pk=profile.pk).update(whatsapp_jid=address, reengagement_opt_out=opted_out)
        for number, message in enumerate(messages):
            queue(
                profile, message, now=now, since=now - person["ago"], has_key=person["has_key"] and not number
            )
        if not has_profile:
            profile.delete()
        with taken_back():
            by_sender = sent_by_the_sender(), outcomes()
        assert (sent_by_claims(), outcomes()) == by_sender


def queue(
    profile: UserProfile, message: dict[str, Any], *, now: datetime, since: datetime, has_key: bool
) -> None:
    fields: dict[str, Any] = {"idempotency_key": goodbye_key(profile.user_id, now=since)} if has_key else {}
    next_attempt = message["next_attempt"]
    queue_for(
        profile,
        message["message_type"],
        status=message["status"],
        created_at=since + message["created_at"],
        scheduled_for=now - message["scheduled"],
        next_attempt_at=None if next_attempt is None else now + next_attempt,
        message_params=message["message_params"],
        error_code="131000",
        **fields,
    )


def sent_by_the_sender() -> list[UUID]:
    backend = ScriptedBackend()
    send(backend)
    return [message.message_id for message in backend.received]


def sent_by_claims() -> list[UUID]:
    ids = []
    while message := claim("scripted"):
        ids.append(message.id)
        report(message, "sent", f"wamid.{len(ids)}")
    return ids


def outcomes() -> list[tuple[Any, ...]]:
    columns = ("status", "outcome_reason", "destination_jid", "backend", "error_code", "provider_message_id")
    times = ("claimed_at", "claim_expires_at", "next_attempt_at", "sent_at")
    rows = EngagementMessage.objects.order_by("id").values_list(*columns, *times)
    ends = UserEngagementState.objects.values_list("goodbye_expires_at")
    return [tuple(map(rough, row)) for row in (*rows, *ends)]
