"""The HTTP API: what each request does, who may make it, and the one form of every error."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest
from django.db import OperationalError
from django.test import Client
from django.utils import timezone

from engagement.api import views
from engagement.api.bodies import parsed
from engagement.message_catalogue import render
from engagement.models import ApiScope, ApiToken, EngagementMessage, InboundMessage, SendingChannel
from engagement.selectors.deliveries import database_now
from engagement.services.api_tokens import revoke_token
from engagement.services.delivery import leases
from engagement.services.delivery.claim import claim_message
from tests.database import all_rows, in_thread
from tests.factories import make_user
from tests.integration.api.clients import ApiClient
from tests.integration.delivery.sending import goodbye_of, told_user
from tests.integration.services.users import state_of
from tests.times import HOUR, SECOND

if TYPE_CHECKING:
    from collections.abc import Callable
    from uuid import UUID

    from pytest_django.fixtures import Settings

pytestmark = pytest.mark.django_db

NOBODY = "00000000-0000-7000-8000-000000000000"


def inbound(**fields: Any) -> dict[str, Any]:
    return {"text": "1", "message_id": "wamid.A", **fields}


# Messages.


def test_a_message_is_answered_with_the_text_and_a_repeat_with_the_same() -> None:
    user, client = make_user("goodbye_sent"), ApiClient()
    status, first = client.post("inbound-messages", inbound(user_id=str(user.user_id), text="2"))
    assert (status, state_of(user)) == (200, "remind_later")
    assert first == {
        "user_id": str(user.user_id),
        "repeat": False,
        "novelty": "new",
        "transition": {
            "from_state": "goodbye_sent",
            "to_state": "remind_later",
            "trigger": "goodbye_response_2",
        },
        "preference": None,
        "reply": {
            "key": "engagement.reply.see_you_in_two_weeks",
            "params": {"days": 14},
            "language": "pt-br",
            "text": render(key="engagement.reply.see_you_in_two_weeks", locale="pt-BR", params={"days": 14}),
        },
        "cancelled": 0,
    }
    before = all_rows()
    status, again = client.post("inbound-messages", inbound(user_id=str(user.user_id), text="2"))
    assert (status, again) == (200, {**first, "repeat": True, "novelty": "repeat"})
    assert all_rows() == before
    assert not EngagementMessage.objects.exists()


def test_the_author_may_be_named_by_their_number() -> None:
    user = make_user("dormant", user__whatsapp_jid="5511987654321@s.whatsapp.net")
    status, answer = ApiClient().post("inbound-messages", inbound(number="+551187654321", text="oi"))
    assert (status, answer["user_id"], state_of(user)) == (200, str(user.user_id), "active")


def test_a_message_without_an_id_has_a_time() -> None:
    user, client = make_user("goodbye_sent"), ApiClient()
    body = {"user_id": str(user.user_id), "text": "1", "received_at": timezone.now().isoformat()}
    assert [client.post("inbound-messages", body)[1]["novelty"] for _ in range(2)] == ["new", "repeat"]
    assert not InboundMessage.objects.exists()


def test_a_button_of_another_message_is_an_ordinary_message() -> None:
    user, client = make_user("goodbye_sent"), ApiClient()
    EngagementMessage.objects.create(
        user_id=user.user_id,
        message_type="welcome",
        message_key="x",
        destination="individual",
        destination_jid="x",
        idempotency_key="x",
        provider_message_id="wamid.welcome",
    )
    client.post("inbound-messages", inbound(user_id=str(user.user_id), button_of="wamid.welcome"))
    assert state_of(user) == "active"


def test_half_an_emoji_is_no_reason_to_lose_a_message() -> None:
    user, client = make_user(), ApiClient()
    body = inbound(user_id=str(user.user_id), text="stop \ud83d", message_id="wamid.\ud83d")
    status, answer = client.post("inbound-messages", body)
    assert (status, answer["preference"]) == (200, "opted_out")
    assert client.post("inbound-messages", body)[1]["repeat"]


@pytest.mark.parametrize("text", ["\ud83d\ude00", '\\ud83d "', "\ufffd \x7f é", "\\\\\ud83d\ude00"])
def test_a_text_that_is_whole_stays_as_it_is(text: str) -> None:
    for ascii_only in (True, False):
        written = json.dumps({text: [text]}, ensure_ascii=ascii_only).encode("utf-8", "surrogatepass")
        whole = text.encode("utf-16", "surrogatepass").decode("utf-16")
        assert parsed(written) == {whole: [whole]}


@pytest.mark.parametrize("author", [{"user_id": str(uuid4())}, {"number": "4900000000"}])
def test_an_unknown_author_gets_404(author: dict[str, str]) -> None:
    status, answer = ApiClient().post("inbound-messages", inbound(**author))
    assert (status, answer["error"]["code"]) == (404, "unknown_user")


# Leases.


def lease(client: ApiClient, request_id: str | None = None, **fields: Any) -> dict[str, Any]:
    status, answer = client.post("leases", {"request_id": request_id or str(uuid4()), **fields})
    assert status == 200
    found: dict[str, Any] = answer
    return found


@pytest.fixture(autouse=True)
def any_hour(settings: Settings) -> None:
    settings.ENGAGEMENT_SEND_HOURS = ""
    settings.ENGAGEMENT_SEND_RATE_PER_SECOND = "0"


def test_a_lease_is_a_claim_with_the_rendered_text() -> None:
    user, client = told_user(), ApiClient("assistant-eu")
    (leased,) = lease(client)["leases"]
    message = goodbye_of(user)
    assert (message.status, message.backend) == ("sending", "api:assistant-eu")
    assert message.claimed_at
    assert message.claim_expires_at == message.claimed_at + timedelta(seconds=120)
    assert (leased["message_id"], leased["attempt_id"]) == (str(message.id), str(message.attempt_id))
    assert leased["text"].startswith("Oi! Faz um tempo")
    assert (leased["to"], leased["type"], leased["repeat"]) == (user.user.whatsapp_jid, "goodbye", False)
    assert leased["callback_data"] == f"{message.id}:{message.attempt_id}"
    user.refresh_from_db()
    assert user.goodbye_expires_at == message.claimed_at + timedelta(hours=48)
    assert lease(client)["leases"] == []


def test_the_same_request_gets_what_is_still_leased_and_nothing_else() -> None:
    first, second, client, request_id = told_user(), told_user(), ApiClient(), str(uuid4())
    leased = lease(client, request_id)["leases"]
    assert len(leased) == 2
    told_user()
    again = lease(client, request_id)["leases"]
    assert [each["attempt_id"] for each in again] == [each["attempt_id"] for each in leased]
    assert all(each["repeat"] for each in again)
    report(client, leased[0], outcome="accepted", provider_message_id="wamid.A")
    EngagementMessage.objects.filter(pk=leased[1]["message_id"]).update(claim_expires_at=database_now())
    assert lease(client, request_id)["leases"] == []
    assert sorted(goodbye_of(user).status for user in (first, second)) == ["sent", "unknown"]


@pytest.mark.usefixtures("committed")
def test_a_request_that_is_repeated_before_its_end_gets_no_more_than_its_limit() -> None:
    for _ in range(6):
        told_user()
    client, request_id = ApiClient(), str(uuid4())
    answers: list[Any] = []
    threads = [
        in_thread(lambda: answers.append(lease(client, request_id, limit=2)["leases"])) for _ in range(4)
    ]
    for thread in threads:
        thread.join()
    assert len(answers) == 4
    assert EngagementMessage.objects.filter(status="sending").count() == 2
    assert max(map(len, answers)) == 2


def test_a_claim_beyond_the_limit_of_a_request_is_not_made(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if the request had been repeated between the question what it has and its claims."""
    for _ in range(3):
        told_user()
    client, request_id = ApiClient(), str(uuid4())
    assert len(lease(client, request_id, limit=2)["leases"]) == 2
    monkeypatch.setattr(leases, "_is_known", lambda *_: False)
    assert len(lease(client, request_id, limit=2)["leases"]) == 2
    assert EngagementMessage.objects.filter(status="sending").count() == 2


def test_a_slot_of_a_request_that_claims_nothing_is_given_back(settings: Settings) -> None:
    settings.ENGAGEMENT_SEND_RATE_PER_SECOND = "0.02"
    told_user()
    told_user()
    client = ApiClient()
    assert len(lease(client)["leases"]) == 1
    channel = SendingChannel.objects.get()
    channel.next_slot_at = database_now() + 5 * SECOND
    channel.save()
    begins_at = channel.next_slot_at
    EngagementMessage.objects.filter(status="pending").update(message_params=[])
    assert lease(client)["leases"] == []
    channel.refresh_from_db()
    assert channel.next_slot_at == begins_at


def test_another_client_with_the_same_request_id_gets_its_own() -> None:
    told_user()
    told_user()
    request_id = str(uuid4())
    one = lease(ApiClient("one"), request_id, limit=1)["leases"]
    two = lease(ApiClient("two"), request_id, limit=1)["leases"]
    assert one[0]["message_id"] != two[0]["message_id"]


def test_a_lease_keeps_the_pace(settings: Settings) -> None:
    settings.ENGAGEMENT_SEND_RATE_PER_SECOND = "0.2"
    for _ in range(5):
        told_user()
    times = [each["send_at"] for each in lease(ApiClient())["leases"]]
    # The fourth slot begins more than ten seconds ahead.
    assert len(times) == 3
    assert times == sorted(set(times))


def test_a_slot_that_another_request_took_is_not_waited_for(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.ENGAGEMENT_SEND_RATE_PER_SECOND = "0.02"
    told_user()
    told_user()
    assert len(lease(ApiClient())["leases"]) == 1
    monkeypatch.setattr("engagement.services.delivery.leases.next_slot", lambda _channels, now: now)
    assert lease(ApiClient())["leases"] == []
    assert sorted(EngagementMessage.objects.values_list("status", flat=True)) == ["pending", "sending"]


def test_a_bad_row_holds_nobody_up() -> None:
    bad, good = told_user(), told_user()
    EngagementMessage.objects.filter(user_id=bad.user_id).update(message_params=[])
    (leased,) = lease(ApiClient())["leases"]
    assert leased["user_id"] == str(good.user_id)
    assert goodbye_of(bad).status == "failed"


def test_an_error_in_the_middle_gives_what_was_claimed(monkeypatch: pytest.MonkeyPatch) -> None:
    told_user()
    told_user()
    calls = iter([None, OperationalError("gone")])

    def fail_later(*values: Any, **options: Any) -> Any:
        if error := next(calls):
            raise error
        return claim_message(*values, **options)

    monkeypatch.setattr(leases, "claim_message", fail_later)
    assert len(lease(ApiClient())["leases"]) == 1


def test_an_attempt_of_the_client_s_own_making_is_no_clock() -> None:
    user, client = told_user(), ApiClient()
    (leased,) = lease(client)["leases"]
    before = all_rows()
    of_2090 = "03700000-0000-7000-8000-000000000000"
    for attempt in ("ffffffff-ffff-7fff-bfff-ffffffffffff", str(uuid4()), of_2090):
        assert report(client, {**leased, "attempt_id": attempt}, outcome="accepted")[0] == 409
    assert all_rows() == before
    body = {
        "kind": "sent",
        "occurred_at": timezone.now().isoformat(),
        "callback_data": f"{leased['message_id']}:ffffffff-ffff-7fff-bfff-ffffffffffff",
    }
    assert client.post("receipts", body)[0] == 200
    assert goodbye_of(user).status == "sent"


def test_nothing_is_leased_outside_the_hours_or_during_a_pause(settings: Settings) -> None:
    client = ApiClient()
    told_user()
    EngagementMessage.objects.update(next_attempt_at=None)
    now = database_now()
    settings.ENGAGEMENT_SEND_TIME_ZONE = "UTC"
    settings.ENGAGEMENT_SEND_HOURS = f"{now + 2 * HOUR:%H:%M}-{now + 3 * HOUR:%H:%M}"
    assert lease(client)["leases"] == []
    assert EngagementMessage.objects.get().outcome_reason == "waiting_hours"
    settings.ENGAGEMENT_SEND_HOURS = ""
    EngagementMessage.objects.update(next_attempt_at=None)
    (leased,) = lease(client)["leases"]
    report(client, leased, outcome="refused", scope="account", code="banned")
    told_user()
    answer = lease(client)
    assert (answer["leases"], answer["pause_reason"]) == ([], "account error banned")
    assert answer["paused_until"]


def report(client: ApiClient, leased: dict[str, Any], **fields: Any) -> tuple[int, Any]:
    return client.post(
        f"leases/{leased['message_id']}/outcome", {"attempt_id": leased["attempt_id"], **fields}
    )


@pytest.mark.parametrize(
    ("fields", "ending", "status"),
    [
        ({"outcome": "accepted", "provider_message_id": "wamid.A"}, "sent", "sent"),
        ({"outcome": "accepted"}, "sent", "sent"),
        ({"outcome": "unknown", "code": "timeout"}, "unknown", "unknown"),
        ({"outcome": "refused", "scope": "recipient", "code": "no_whatsapp"}, "failed", "failed"),
        ({"outcome": "refused", "scope": "platform", "retry_after": 90}, "waiting", "pending"),
        ({"outcome": "refused", "scope": "opted_out"}, "failed", "failed"),
    ],
)
def test_an_outcome_is_recorded_and_may_be_repeated(fields: dict[str, Any], ending: str, status: str) -> None:
    user, client = told_user(), ApiClient()
    (leased,) = lease(client)["leases"]
    assert report(client, leased, **fields) == (
        200,
        {"message_id": leased["message_id"], "ending": ending},
    )
    assert goodbye_of(user).status == status
    code, again = report(client, leased, **fields)
    assert (code, again["ending"]) == (200, ending if ending == "sent" else "stale")
    assert goodbye_of(user).status == status


def test_a_number_is_no_error_code_of_a_receipt() -> None:
    body = {"kind": "failed", "occurred_at": timezone.now().isoformat(), "callback_data": "x"}
    status, answer = ApiClient().post("receipts", {**body, "code": 5511980000045})
    assert (status, "body.code: " in answer["error"]["message"]) == (422, True)
    assert ApiClient().post("receipts", {**body, "code": 131026})[0] == 200


def test_after_a_lease_has_expired_only_an_outcome_is_accepted() -> None:
    user, client = told_user(), ApiClient()
    (leased,) = lease(client)["leases"]
    EngagementMessage.objects.update(claim_expires_at=database_now())
    assert extend(client, leased)[0] == 409
    assert goodbye_of(user).status == "unknown"
    assert report(client, leased, outcome="accepted")[1]["ending"] == "sent"


def test_the_lease_of_another_client_is_none() -> None:
    told_user()
    (leased,) = lease(ApiClient("one"))["leases"]
    other = ApiClient("two")
    before = all_rows()
    assert report(other, leased, outcome="accepted")[0] == 409
    assert extend(other, leased)[0] == 409
    unknown = {"message_id": str(uuid4()), "attempt_id": str(uuid4())}
    assert report(other, unknown, outcome="unknown")[1]["error"]["code"] == "no_lease"
    assert all_rows() == before


def extend(client: ApiClient, leased: dict[str, Any], seconds: int = 600) -> tuple[int, Any]:
    body = {"attempt_id": leased["attempt_id"], "seconds": seconds}
    return client.post(f"leases/{leased['message_id']}/extension", body)


def test_a_lease_lasts_a_quarter_of_an_hour_at_most_and_is_never_shortened() -> None:
    user, client = told_user(), ApiClient()
    (leased,) = lease(client)["leases"]
    assert extend(client, leased)[0] == 200
    message = goodbye_of(user)
    assert message.claimed_at
    assert message.claim_expires_at
    assert abs(message.claim_expires_at - message.claimed_at - timedelta(minutes=10)) < timedelta(seconds=10)
    extend(client, leased, 30)
    assert goodbye_of(user).claim_expires_at == message.claim_expires_at
    extend(client, leased, 900)
    EngagementMessage.objects.update(claimed_at=message.claimed_at - timedelta(minutes=10))
    extend(client, leased, 900)
    kept = goodbye_of(user).claim_expires_at
    assert kept
    assert kept <= message.claimed_at + timedelta(minutes=15, seconds=5)


def test_a_lease_ends_with_the_users_hours(settings: Settings) -> None:
    user, client = told_user(), ApiClient()
    (leased,) = lease(client, seconds=30)["leases"]
    closes_at = (database_now() + timedelta(minutes=5)).replace(second=0, microsecond=0)
    settings.ENGAGEMENT_SEND_TIME_ZONE = "UTC"
    settings.ENGAGEMENT_SEND_HOURS = f"{closes_at - 3 * HOUR:%H:%M}-{closes_at:%H:%M}"
    extend(client, leased, 900)
    assert goodbye_of(user).claim_expires_at == closes_at


def test_a_receipt_is_recorded() -> None:
    user, client = told_user(), ApiClient()
    (leased,) = lease(client)["leases"]
    body = {
        "kind": "delivered",
        "occurred_at": timezone.now().isoformat(),
        "callback_data": leased["callback_data"],
        "provider_message_id": "wamid.A",
    }
    assert [client.post("receipts", body)[1]["effect"] for _ in range(2)] == ["recorded", "repeated"]
    message = goodbye_of(user)
    assert (message.status, message.provider_message_id) == ("sent", "wamid.A")
    body = {"kind": "sent", "occurred_at": timezone.now().isoformat(), "provider_message_id": "wamid.other"}
    assert client.post("receipts", body) == (200, {"effect": "unknown_message"})


# Explanation and preferences.


def test_an_explanation_is_that_of_the_command() -> None:
    user = told_user()
    status, answer = ApiClient().get(f"users/{user.user_id}/explanation")
    assert (status, answer["user_id"], answer["state"]) == (200, str(user.user_id), "goodbye_sent")
    assert str(user.user.whatsapp_jid) not in str(answer)
    assert ApiClient().get(f"users/{uuid4()}/explanation")[0] == 404


@pytest.mark.parametrize("write", [str, lambda user_id: str(user_id).upper(), lambda user_id: user_id.hex])
def test_an_id_in_a_path_may_be_written_as_in_a_body(write: Callable[[UUID], str]) -> None:
    user, client = told_user(), ApiClient()
    written = write(user.user_id)
    assert client.post(f"users/{written}/opt-out")[0] == 200
    assert client.get(f"users/{written}/explanation")[0] == 200
    assert client.post("inbound-messages", inbound(user_id=written))[0] == 200


def test_a_user_is_opted_out_and_in() -> None:
    user, client = told_user(), ApiClient()
    expected = {"user_id": str(user.user_id), "opted_out": True, "cancelled": 1}
    assert client.post(f"users/{user.user_id}/opt-out") == (200, expected)
    assert client.post(f"users/{user.user_id}/opt-out") == (200, {**expected, "cancelled": 0})
    user.user.refresh_from_db()
    assert user.user.reengagement_opt_out
    assert client.post(f"users/{user.user_id}/opt-in")[1]["opted_out"] is False
    user.user.refresh_from_db()
    assert not user.user.reengagement_opt_out
    assert client.post(f"users/{uuid4()}/opt-out")[0] == 404


# Who may ask.

REQUESTS = [
    ("post", "inbound-messages", ApiScope.MESSAGES),
    ("post", "leases", ApiScope.SEND),
    ("post", f"leases/{NOBODY}/outcome", ApiScope.SEND),
    ("post", f"leases/{NOBODY}/extension", ApiScope.SEND),
    ("post", "receipts", ApiScope.RECEIPTS),
    ("get", f"users/{NOBODY}/explanation", ApiScope.EXPLAIN),
    ("post", f"users/{NOBODY}/opt-out", ApiScope.PREFERENCES),
    ("post", f"users/{NOBODY}/opt-in", ApiScope.PREFERENCES),
]


@pytest.mark.parametrize(("method", "path", "scope"), REQUESTS)
def test_each_request_needs_a_valid_token_with_its_scope(method: str, path: str, scope: ApiScope) -> None:
    client = ApiClient(scopes=set(ApiScope.values) - {scope.value})
    status, answer = client.ask(method, path, {} if method == "post" else None)
    assert (status, answer["error"]) == (
        403,
        {"code": "forbidden", "message": f"The token lacks the scope {scope.value}."},
    )
    for header in ("", "Bearer", "Bearer eng_wrong", "Basic YTpi", "Bearer é", f"Bearer {client.token.id}"):
        status, answer = client.ask(method, path, {} if method == "post" else None, Authorization=header)
        assert (status, answer["error"]["code"]) == (401, "unauthorized")
    revoke_token(token_id=client.token.pk, now=timezone.now())
    assert client.ask(method, path, {} if method == "post" else None)[0] == 401


def test_a_token_is_kept_as_a_digest_and_its_use_is_noted_once_an_hour() -> None:
    user, client = make_user(), ApiClient()
    assert client.secret not in str(list(ApiToken.objects.values()))
    path = f"users/{user.user_id}/explanation"
    client.get(path)
    first = ApiToken.objects.get().last_used_at
    client.get(path)
    assert ApiToken.objects.get().last_used_at == first
    ApiToken.objects.update(last_used_at=timezone.now() - 2 * HOUR)
    client.get(path)
    assert ApiToken.objects.get().last_used_at != first


def test_too_many_requests_get_429(monkeypatch: pytest.MonkeyPatch) -> None:
    user, client = make_user(), ApiClient()
    (throttle,) = views.api.throttle  # type: ignore[misc]
    monkeypatch.setattr(throttle, "num_requests", 2)
    path = f"users/{user.user_id}/explanation"
    answers = [client.get(path) for _ in range(3)]
    assert [status for status, _ in answers] == [200, 200, 429]
    assert answers[2][1]["error"] == {
        "code": "throttled",
        "message": "Too many requests with this token; wait 1 s.",
    }
    assert ApiClient("another").get(path)[0] == 200


# Errors.


@pytest.mark.parametrize(
    ("body", "status", "sentence"),
    [
        (b"", 422, "body: Field required."),
        (b"{", 400, "The body must be a JSON object."),
        (b"\xff", 400, "The body must be a JSON object."),
        ([], 422, "body"),
        ({}, 422, "name the author by user_id or by number"),
        ({"user_id": "x", "message_id": "A"}, 422, "body.user_id"),
        ({"user_id": str(uuid4()), "number": "4915112345", "message_id": "A"}, 422, "by number"),
        ({"user_id": str(uuid4())}, 422, "send message_id or received_at"),
        (inbound(user_id=str(uuid4()), txt="1"), 422, "body.txt"),
        (inbound(user_id=str(uuid4()), text="x" * 65_537), 422, "body.text"),
        (inbound(user_id=str(uuid4()), message_id="a\0"), 422, "body.message_id"),
        (inbound(user_id=str(uuid4()), received_at="2026-11-25T10:00:00"), 422, "body.received_at"),
        (inbound(user_id=str(uuid4()), received_at="1969-12-31T23:59:59Z"), 422, "from 1970 to 2999"),
        (inbound(number="abc"), 422, "body.number"),
        (
            inbound(number="5511987654321@s.whatsapp.net"),
            422,
            "body.number: send digits with the country code, such as 5511987654321, without @s.whatsapp.net.",
        ),
    ],
)
def test_a_wrong_body_gets_one_sentence_and_changes_nothing(body: Any, status: int, sentence: str) -> None:
    told_user()
    client = ApiClient()
    before = all_rows()
    got, answer = client.post("inbound-messages", body)
    assert (got, set(answer), set(answer["error"])) == (status, {"error"}, {"code", "message"})
    assert sentence in answer["error"]["message"]
    assert all_rows() == before


def test_a_body_that_is_too_large_gets_413(settings: Settings) -> None:
    settings.DATA_UPLOAD_MAX_MEMORY_SIZE = 1_000
    status, answer = ApiClient().post("inbound-messages", inbound(text="x" * 1_000))
    assert (status, answer["error"]["code"]) == (413, "too_large")


def test_chunks_behind_a_server_that_does_not_mark_their_end_get_411() -> None:
    status, answer = ApiClient().post("inbound-messages", inbound(), **{"Transfer-Encoding": "chunked"})
    sentence = "Send the body with its Content-Length, not in chunks."
    assert (status, answer["error"]) == (411, {"code": "length_required", "message": sentence})


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("get", "nothing", 404, "not_found"),
        ("get", "leases", 405, "method_not_allowed"),
        ("post", "users/42/opt-out", 422, "invalid"),
        ("get", "users/42/explanation", 422, "invalid"),
        ("post", "leases/42/outcome", 422, "invalid"),
    ],
)
def test_a_wrong_path_or_method_gets_json_too(method: str, path: str, status: int, code: str) -> None:
    got, answer = ApiClient().ask(method, path, {} if method == "post" else None)
    assert (got, answer["error"]["code"]) == (status, code)


def test_when_the_database_is_away_the_client_may_repeat(monkeypatch: pytest.MonkeyPatch) -> None:
    def away(**_values: object) -> None:
        raise OperationalError("no route to secret-host")

    monkeypatch.setattr(views, "receive_message", away)
    status, answer = ApiClient().post("inbound-messages", inbound(user_id=str(uuid4())))
    assert (status, answer["error"]["code"]) == (503, "database_away")


def test_a_wrong_setting_is_said_in_json(settings: Settings, caplog: pytest.LogCaptureFixture) -> None:
    user = told_user()
    client = ApiClient()
    settings.ENGAGEMENT_STATEMENT_TIMEOUT_SECONDS = "soon"
    status, answer = client.post("inbound-messages", inbound(user_id=str(user.user_id)))
    assert (status, answer["error"]["code"]) == (500, "misconfigured")
    assert "engagement_api_misconfigured" in caplog.text


def test_an_unexpected_error_tells_nothing(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def crash(**_values: object) -> None:
        raise RuntimeError("5511987654321 minha senha")

    monkeypatch.setattr(views, "receive_message", crash)
    status, answer = ApiClient().post("inbound-messages", inbound(user_id=str(uuid4())))
    assert (status, answer["error"]["message"]) == (500, "An unexpected error: see the log.")
    assert "engagement_api_crashed" in caplog.text
    assert "5511987654321" not in caplog.text


def test_the_document_and_its_page_need_no_token() -> None:
    client = Client()
    assert client.get("/api/v1/openapi.json").json()["info"]["title"] == "Engagement"
    page = client.get("/api/v1/docs")
    assert page.status_code == 200
    assert b"https://" not in page.content
