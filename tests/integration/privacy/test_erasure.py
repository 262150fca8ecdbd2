"""A person who is erased is in no table any more, and is not written to again."""

from __future__ import annotations

import json
import re
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import User
from django.contrib.contenttypes.models import ContentType
from django.core.checks import Tags, run_checks
from django.core.exceptions import ImproperlyConfigured
from django.db import connection
from django.utils import timezone

from engagement.message_backends.base import Accepted, Refused, Scope, Unknown
from engagement.models import (
    Destination,
    EngagementJobRun,
    EngagementMessage,
    EngagementStateTransition,
    MessageStatus,
    MessageType,
    RunStatus,
    SuppressedAddress,
    UserEngagementState,
    UserProfile,
)
from engagement.selectors.deliveries import database_now
from engagement.services.delivery.attempts import Attempt
from engagement.services.delivery.outcomes import AttemptOutcome, Ending, accept, record_outcome
from engagement.services.delivery.receipts import Receipt, ReceiptKind, take_receipt
from engagement.services.inbound_messages import InboundResult, receive_and_reply
from engagement.services.message_queue import NewMessage, queue_message
from engagement.services.preferences import opt_in
from engagement.services.suppression import is_suppressed, may_be_lifted, suppress
from tests.factories import NOW, make_run, make_user, queue_for
from tests.integration.delivery.sending import ScriptedBackend, goodbye_of, send, told_user
from tests.logged import logged_events
from tests.project.docs.markdown import DOCS, code_blocks, section
from tests.running import run_command, run_job
from tests.times import DAY, HOUR, MINUTE

if TYPE_CHECKING:
    from datetime import datetime

    from pytest_django.fixtures import Settings

pytestmark = pytest.mark.django_db

NUMBER: Final = "5511987654321"
ADDRESS: Final = f"{NUMBER}@s.whatsapp.net"


@pytest.fixture(autouse=True)
def _settings(settings: Settings) -> None:
    settings.ENGAGEMENT_SUPPRESSION_KEY = "a long key of the tests"
    settings.ENGAGEMENT_SEND_HOURS = ""


def ana() -> UserEngagementState:
    """Ana, with a whole history: a goodbye that was sent, an answer, a failed run, an entry of the admin."""
    user = told_user(whatsapp_jid=ADDRESS)
    send(ScriptedBackend(Accepted(f"wamid.{NUMBER}")))
    now = timezone.now()
    receive_and_reply(user_id=user.user_id, text="2", received_at=now, now=now, message_id="wamid.in")
    queue_for(user.user, MessageType.WELCOME, message_params={"name": "Ana"}, destination_jid=ADDRESS)
    make_run(errors=[{"user_id": str(user.user_id), "check_type": "x", "error": "y"}])
    LogEntry.objects.create(
        user=User.objects.create_user("support"),
        content_type=ContentType.objects.get_for_model(UserProfile),
        object_id=str(user.user_id),
        object_repr=str(user.user_id),
        action_flag=2,
        change_message=f"Opted out {user.user_id}.",
    )
    return user


def everything() -> str:
    """All rows of all tables, as text."""
    with connection.cursor() as cursor:
        texts = []
        for table in connection.introspection.table_names(cursor):
            cursor.execute(f'SELECT to_jsonb(t)::text FROM "{table}" AS t')
            texts += [row[0] for row in cursor.fetchall()]
    return "\n".join(texts)


def erase(user: UserEngagementState, *options: str) -> Any:
    return run_command("erase_engagement_user", str(user.user_id), "--json", *options)


def test_nothing_names_the_user_or_their_number_any_more() -> None:
    user, other = ana(), told_user()
    before = everything()
    for secret in (str(user.user_id), NUMBER, "Ana", "wamid.5511"):
        assert secret in before
    outcome = erase(user, "--yes")
    assert (outcome.code, outcome.json["profile"], outcome.json["state"]) == (0, 1, 1)
    after = everything()
    for secret in (str(user.user_id), NUMBER, NUMBER[:4] + NUMBER[5:], '"Ana"', "wamid"):
        assert secret not in after
    assert UserProfile.objects.get().user_id == other.user_id


def test_the_statement_of_the_guide_finds_all_that_is_stored_of_a_person() -> None:
    user, other = ana(), told_user()
    (statement,) = code_blocks(section(DOCS / "privacy.md", "Requests of a person"))
    (example,) = re.findall(r"[0-9a-f-]{36}", statement)
    with connection.cursor() as cursor:
        cursor.execute(statement.replace(example, str(user.user_id)))
        ((text,),) = cursor.fetchall()
    stored = json.loads(text)
    assert {table: len(rows) for table, rows in stored.items()} == {
        "user_profiles": 1,
        "user_engagement_states": 1,
        "engagement_state_transitions": 2,
        "engagement_message_queue": 3,
        "engagement_inbound_messages": 1,
    }
    for known in (ADDRESS, f"wamid.{NUMBER}", '"name": "Ana"', "engagement.goodbye.self_select"):
        assert known in text
    assert str(other.user_id) not in text


def test_counts_and_history_stay_under_one_random_id() -> None:
    user = ana()
    moves, messages = EngagementStateTransition.objects.count(), EngagementMessage.objects.count()
    erase(user, "--yes")
    tables = (EngagementStateTransition, EngagementMessage)
    rows = [row.user_id for table in tables for row in table._default_manager.all()]
    assert len(rows) == moves + messages
    (new_id,) = set(rows)
    assert new_id != user.user_id
    for message in EngagementMessage.objects.all():
        assert message.idempotency_key == f"erased:{message.id}"
        assert (message.destination_jid, message.message_params) == ("", {})
    statuses = dict(EngagementMessage.objects.values_list("message_type", "status"))
    assert statuses == {"goodbye": "sent", "reply": "cancelled", "welcome": "cancelled"}
    assert "text_digest" not in str(list(EngagementStateTransition.objects.values_list("metadata")))


def test_without_yes_it_is_only_counted() -> None:
    user = ana()
    before = everything()
    outcome = erase(user)
    assert outcome.json["dry_run"] is True
    assert (outcome.json["transitions"], outcome.json["messages"], outcome.json["cancelled"]) == (2, 3, 2)
    assert (outcome.json["inbound"], outcome.json["runs"], outcome.json["admin_log"]) == (1, 1, 1)
    assert everything() == before
    text = run_command("erase_engagement_user", str(user.user_id)).out
    assert text.startswith("Would be erased: 1 profile, 1 state, 2 transitions, 3 messages (2 pending)")


def test_a_second_time_finds_nothing() -> None:
    user = ana()
    erase(user, "--yes")
    before = everything()
    outcome = run_command("erase_engagement_user", str(user.user_id), "--yes")
    assert (outcome.code, outcome.out) == (
        0,
        "No row names this user: they were erased before, or were never here.\n",
    )
    assert everything() == before


def test_the_log_names_the_user_so_that_a_restored_backup_can_be_erased_again(
    caplog: pytest.LogCaptureFixture,
) -> None:
    user = told_user()
    erase(user)
    assert not logged_events(caplog, name="engagement_user_erased")
    erase(user, "--yes")
    (event,) = logged_events(caplog, name="engagement_user_erased")
    assert (event["user_id"], event["messages"]) == (str(user.user_id), 1)


def test_of_reasons_only_codes_are_kept() -> None:
    user, sentence = make_user(), f"number {NUMBER} is not on WhatsApp"
    reasons = {"too_old": "131026", sentence: sentence, NUMBER: NUMBER, "Ana": "x" * 65, "waiting": None}
    for reason, code in reasons.items():
        queue_for(user, MessageType.WELCOME, status="failed", outcome_reason=reason, error_code=code)
    erase(user, "--yes")
    kept = EngagementMessage.objects.order_by("id").values_list("outcome_reason", "error_code")
    assert list(kept) == [("too_old", "131026"), (None, None), (None, None), (None, None), ("waiting", None)]


def test_a_message_that_is_queued_for_an_erased_user_keeps_no_address() -> None:
    user = told_user()
    erase(user, "--yes")
    message = NewMessage(
        user_id=user.user_id,
        message_type=MessageType.WELCOME,
        message_key="engagement.reply.help",
        destination=Destination.INDIVIDUAL,
        destination_jid=ADDRESS,
        scheduled_for=database_now(),
        idempotency_key="late",
    )
    assert queue_message(message=message, now=timezone.now())
    send(ScriptedBackend())
    row = EngagementMessage.objects.get(idempotency_key="late")
    assert (row.status, row.outcome_reason, row.destination_jid) == ("cancelled", "no_profile", "")


def test_an_expired_claim_refuses_nothing() -> None:
    user = told_user()
    EngagementMessage.objects.update(
        status=MessageStatus.SENDING, claim_expires_at=database_now() - timedelta(seconds=1)
    )
    before = everything()
    assert (erase(user).code, everything()) == (0, before)
    assert erase(user, "--yes").code == 0
    message = EngagementMessage.objects.get()
    assert (message.status, message.outcome_reason) == ("unknown", "claim_expired")


def test_a_message_that_is_being_sent_refuses_it() -> None:
    user = told_user()
    EngagementMessage.objects.update(status=MessageStatus.SENDING, claim_expires_at=database_now() + DAY)
    before = everything()
    outcome = erase(user, "--yes")
    assert outcome.code == 1
    assert "is being sent; nothing was erased" in outcome.err
    assert everything() == before


def test_under_a_key_that_could_be_guessed_nobody_is_erased(settings: Settings) -> None:
    settings.ENGAGEMENT_SUPPRESSION_KEY = "short"
    with pytest.raises(ImproperlyConfigured, match="must have 16 characters or more"):
        erase(told_user(), "--yes")
    assert UserProfile.objects.exists()


def test_without_the_key_nobody_with_an_address_is_erased(settings: Settings) -> None:
    settings.ENGAGEMENT_SUPPRESSION_KEY = ""
    user = told_user()
    outcome = erase(user, "--yes")
    assert outcome.code == 1
    assert "Set ENGAGEMENT_SUPPRESSION_KEY" in outcome.err
    assert UserProfile.objects.exists()
    without_address = make_user(user__whatsapp_jid=None)
    assert erase(without_address, "--yes").code == 0


def test_a_run_must_have_ended() -> None:
    user = told_user()
    run = make_run(status=RunStatus.RUNNING, now=timezone.now(), last_seen_at=timezone.now())
    outcome = erase(user, "--yes")
    assert (outcome.code, "A run is in progress" in outcome.err) == (1, True)
    EngagementJobRun.objects.filter(pk=run.pk).update(status=RunStatus.SUCCEEDED, finished_at=timezone.now())
    assert erase(user, "--yes").code == 0


def test_the_addresses_of_earlier_messages_are_suppressed_too() -> None:
    user = make_user(user__whatsapp_jid=None)
    queue_for(user, MessageType.WELCOME, destination_jid=ADDRESS, status=MessageStatus.SENT)
    assert erase(user, "--yes").json["suppressed"] is True
    assert is_suppressed(ADDRESS)


def test_metadata_of_any_shape_is_erased() -> None:
    user = told_user()
    EngagementStateTransition.objects.update(metadata=[1])
    assert erase(user, "--yes").code == 0


def test_who_cannot_look_into_the_list_sends_nothing(settings: Settings) -> None:
    erase(ana(), "--yes")
    told_user(whatsapp_jid=ADDRESS)
    settings.ENGAGEMENT_SUPPRESSION_KEY = ""
    backend = ScriptedBackend()
    result = send(backend)
    assert (backend.received, result.exit_code) == ([], 1)
    assert str(result.failure).startswith("ENGAGEMENT_SUPPRESSION_KEY must be set: ")


@pytest.mark.parametrize("options", [(), ("--watch",), ("--workers", "2")])
def test_a_missing_key_is_one_sentence_and_no_crash(
    settings: Settings, options: tuple[str, ...], caplog: pytest.LogCaptureFixture
) -> None:
    settings.ENGAGEMENT_MESSAGE_BACKEND = "engagement.message_backends.console.ConsoleBackend"
    erase(ana(), "--yes")
    settings.ENGAGEMENT_SUPPRESSION_KEY = ""
    outcome = run_command("send_messages", "--no-progress", *options)
    assert outcome.code == 1
    assert "send_messages: ENGAGEMENT_SUPPRESSION_KEY must be set: without it people" in outcome.err
    assert "crashed" not in caplog.text + outcome.err
    assert "Traceback" not in caplog.text + outcome.err


def test_what_arrives_late_brings_no_number_back() -> None:
    user = told_user()
    message = goodbye_of(user)
    attempt = "01a00000-0000-7000-8000-000000000000"
    EngagementMessage.objects.update(status=MessageStatus.UNKNOWN, attempt_id=attempt)
    erase(user, "--yes")
    message.refresh_from_db()
    accept(message_id=message.id, attempt_id=message.attempt_id, provider_message_id=f"wamid.{NUMBER}")
    now = timezone.now()
    receipt = Receipt(
        kind=ReceiptKind.DELIVERED,
        occurred_at=now,
        message_id=message.id,
        attempt_id=message.attempt_id,
        provider_message_id=f"wamid.{NUMBER}",
    )
    take_receipt(receipt, now=now)
    message.refresh_from_db()
    assert (message.status, message.provider_message_id) == ("sent", None)


# The suppression list.


def test_a_new_profile_with_the_same_address_gets_no_goodbye_and_is_opted_out() -> None:
    erase(ana(), "--yes")
    again = told_user(whatsapp_jid=f"{NUMBER[:4]}{NUMBER[5:]}@c.us")
    backend = ScriptedBackend()
    send(backend)
    message = goodbye_of(again)
    assert (backend.received, message.status, message.outcome_reason) == ([], "cancelled", "opted_out")
    again.user.refresh_from_db()
    assert again.user.reengagement_opt_out
    assert run_job(now=timezone.now() + 20 * DAY).processed == 1  # the timeout of that wait


def test_what_the_person_asks_for_is_still_answered() -> None:
    erase(ana(), "--yes")
    user, now = make_user(user__whatsapp_jid=ADDRESS, last_activity_at=database_now()), timezone.now()
    receive_and_reply(user_id=user.user_id, text="sair", received_at=now, now=now, message_id="wamid.B")
    backend = ScriptedBackend()
    send(backend)
    assert [message.message_type for message in backend.received] == ["reply"]


def test_without_the_key_a_check_warns_and_opting_in_is_logged(
    settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    check = partial(run_checks, tags=[Tags.database], databases=["default"])
    settings.ENGAGEMENT_SUPPRESSION_KEY = ""
    user = make_user(user__whatsapp_jid=ADDRESS)
    opt_in(user_id=user.user_id, now=timezone.now())
    assert (check(), logged_events(caplog, name="engagement_suppression_key_missing")) == ([], [])
    settings.ENGAGEMENT_SUPPRESSION_KEY = "a long key of the tests"
    suppress(ADDRESS, now=timezone.now())
    assert check() == []
    settings.ENGAGEMENT_SUPPRESSION_KEY = ""
    (warning,) = check()
    assert (warning.id, warning.msg[:43]) == (
        "engagement.W001",
        "ENGAGEMENT_SUPPRESSION_KEY must be set: wit",
    )
    opt_in(user_id=user.user_id, now=timezone.now())
    assert logged_events(caplog, name="engagement_suppression_key_missing")


def test_who_opts_in_again_is_taken_off_the_list() -> None:
    erase(ana(), "--yes")
    user = make_user(user__whatsapp_jid=ADDRESS)
    assert is_suppressed(ADDRESS)
    opt_in(user_id=user.user_id, now=timezone.now())
    assert not is_suppressed(ADDRESS)


def test_an_old_wish_from_before_the_erasure_takes_nobody_off_the_list() -> None:
    user, erased_at = make_user(user__whatsapp_jid=ADDRESS, user__updated_at=NOW), timezone.now()
    suppress(ADDRESS, now=erased_at)

    def hear(at: datetime) -> InboundResult:
        message_id = at.isoformat()
        return receive_and_reply(
            user_id=user.user_id, text="voltar", received_at=at, now=timezone.now(), message_id=message_id
        )

    for at in (erased_at - DAY, erased_at):
        result = hear(at)
        assert (result.preference, result.reply_key) == (None, None)
        assert is_suppressed(ADDRESS)
    SuppressedAddress.objects.update(created_at=erased_at - DAY)
    result = hear(timezone.now())
    assert (result.preference, result.reply_key) == ("opted_in", "engagement.reply.opted_in")
    assert not is_suppressed(ADDRESS)


@pytest.mark.parametrize(
    ("erased", "other"), [("552133335555", "5521933335555"), ("5521933335555", "552133335555")]
)
def test_a_landline_and_a_mobile_number_are_two_people(erased: str, other: str) -> None:
    erase(make_user(user__whatsapp_jid=f"{erased}@s.whatsapp.net"), "--yes")
    assert (is_suppressed(erased), is_suppressed(other)) == (True, False)


def test_erasing_one_member_of_a_group_leaves_the_others_alone() -> None:
    group = "120363025246125486@g.us"
    to_group = {"user__whatsapp_jid": group, "user__preferred_destination": "group"}
    gone, other = make_user(**to_group), told_user(whatsapp_jid=group, preferred_destination="group")
    queue_for(gone, MessageType.WELCOME, destination_jid=group, status=MessageStatus.SENT)
    assert erase(gone, "--yes").json["suppressed"] is False
    suppress(group, now=timezone.now())  # as an earlier version did
    assert not is_suppressed(group)
    backend = ScriptedBackend()
    send(backend)
    assert [message.to for message in backend.received] == [group]
    other.user.refresh_from_db()
    assert not other.user.reengagement_opt_out


def test_the_key_may_be_changed(settings: Settings) -> None:
    erase(ana(), "--yes")
    settings.ENGAGEMENT_SUPPRESSION_KEY = "another long key"
    assert not is_suppressed(ADDRESS)
    settings.ENGAGEMENT_SUPPRESSION_KEY_FALLBACKS = "an old one, a long key of the tests"
    assert is_suppressed(ADDRESS)
    settings.ENGAGEMENT_SUPPRESSION_KEY = ""
    assert not is_suppressed(ADDRESS)


def test_the_list_holds_no_number_not_even_as_a_plain_digest() -> None:
    erase(ana(), "--yes")
    assert NUMBER not in json.dumps(everything())


def test_wrong_arguments_are_one_sentence() -> None:
    outcome = run_command("erase_engagement_user", "42")
    assert outcome.code == 2
    assert "Traceback" not in outcome.err


@pytest.mark.parametrize(
    "result",
    [
        Refused(Scope.RECIPIENT, "5511980000045@s.whatsapp.net is no user"),
        Refused(Scope.CONNECTION, "x"),
        Unknown("no answer for 5511980000045"),
    ],
    ids=["recipient", "connection", "unknown"],
)
def test_an_outcome_after_the_erasure_changes_nothing(result: Refused | Unknown) -> None:
    user = told_user()
    now = database_now()
    attempt = Attempt.at(now - HOUR)
    EngagementMessage.objects.update(
        status="sending", attempt_id=attempt.id, claimed_at=attempt.claimed_at, claim_expires_at=now - MINUTE
    )
    erase(user, "--yes")
    before = EngagementMessage.objects.values().get()
    outcome = AttemptOutcome(before["id"], attempt.id, result)
    assert record_outcome(outcome, backend="x", template="t", max_attempts=5, now=now) is Ending.STALE
    assert EngagementMessage.objects.values().get() == before


def test_an_entry_is_as_late_as_the_last_erasure() -> None:
    now = timezone.now()
    suppress(ADDRESS, now=now - 10 * DAY)
    suppress(ADDRESS, now=now - HOUR)
    assert not may_be_lifted(ADDRESS, said_at=now - DAY)
    assert may_be_lifted(ADDRESS, said_at=now)


def test_a_claim_without_an_end_is_under_way() -> None:
    user = told_user()
    EngagementMessage.objects.update(status="sending", claimed_at=database_now() - DAY, claim_expires_at=None)
    assert "is being sent; nothing was erased" in erase(user, "--yes").err
