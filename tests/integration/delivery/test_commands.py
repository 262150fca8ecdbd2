"""The commands that send, pause, resume, resolve and watch."""

from __future__ import annotations

import json
import signal
from typing import TYPE_CHECKING, Final
from urllib.parse import urlencode

import pytest
import urllib3
from django.core.exceptions import ImproperlyConfigured
from uuid_utils.compat import uuid7

from engagement.message_backends.base import MessageBackend
from engagement.models import (
    EngagementMessage,
    MessageStatus,
    MessageType,
    SendingChannel,
    UserEngagementState,
)
from engagement.selectors.deliveries import database_now
from tests.factories import queue_for
from tests.integration.delivery.sending import (
    ScriptedBackend,
    active_user,
    goodbye_of,
    statuses,
    told_user,
    unknown_goodbye,
)
from tests.running import run_command, start_process
from tests.times import DAY, HOUR, MINUTE
from tests.waiting import wait_until

if TYPE_CHECKING:
    from pytest_django.fixtures import Settings

pytestmark = pytest.mark.django_db(transaction=True)

CONSOLE: Final = "engagement.message_backends.console.ConsoleBackend"


@pytest.fixture(autouse=True)
def console(settings: Settings) -> None:
    settings.ENGAGEMENT_MESSAGE_BACKEND = CONSOLE


def test_what_is_due_is_sent_and_counted() -> None:
    told_user()
    outcome = run_command("send_messages")
    assert outcome.code == 0
    assert "Sending by console as of" in outcome.out
    assert outcome.out.splitlines()[-1].startswith("Done, in ")
    assert statuses() == ["sent"]


def test_the_console_shows_the_text_and_masks_the_number(capsys: pytest.CaptureFixture[str]) -> None:
    told_user(locale="en", whatsapp_jid="5511987654321@s.whatsapp.net")
    run_command("send_messages")
    err = capsys.readouterr().err
    assert "--- goodbye to 5511•••••4321 ---\nHi! It's been a while" in err
    assert "987654321" not in err


def test_json_has_the_whole_result() -> None:
    told_user()
    result = run_command("send_messages", "--json").json
    assert result.keys() == {
        *("status", "backend", "now", "dry_run", "due", "sent", "failed", "unknown", "cancelled", "waiting"),
        "refusals",
        *("paused_until", "pause_reason", "failure", "hint", "duration_ms", "errors"),
    }
    assert (result["status"], result["backend"], result["due"], result["sent"]) == (
        "succeeded",
        "console",
        1,
        1,
    )
    assert result["errors"] == []


def test_what_a_sender_leaves_is_counted_as_not_tried() -> None:
    told_user()
    told_user()
    assert "not tried" in run_command("send_messages", "--limit", "1").out
    preview = run_command("send_messages", "--dry-run").out
    assert "would be sent" in preview
    assert "accepted by the backend" not in preview
    told_user()
    assert "not looked at" in run_command("send_messages", "--dry-run", "--limit", "1").out
    assert "not tried" not in run_command("send_messages").out


def test_nothing_due_is_no_error() -> None:
    result = run_command("send_messages", "--json")
    assert (result.code, result.json["due"]) == (0, 0)


def test_a_dry_run_sends_and_writes_nothing() -> None:
    told_user()
    before = list(EngagementMessage.objects.values())
    outcome = run_command("send_messages", "--dry-run", "--json")
    assert (outcome.code, outcome.json["sent"], outcome.json["dry_run"]) == (0, 1, True)
    assert list(EngagementMessage.objects.values()) == before
    assert not SendingChannel.objects.exists()


def test_no_more_than_the_limit_is_sent() -> None:
    for _ in range(3):
        told_user()
    assert run_command("send_messages", "--limit", "2", "--json").json["sent"] == 2
    assert statuses() == ["pending", "sent", "sent"]


def test_now_shifts_what_is_due() -> None:
    user = active_user()
    queue_for(user, MessageType.REPLY, scheduled_for=database_now() + HOUR)
    assert run_command("send_messages", "--json").json["due"] == 0
    later = (database_now() + 2 * HOUR).isoformat()
    outcome = run_command("send_messages", "--json", "--now", later)
    assert outcome.json["sent"] == 1
    assert "ahead of the clock. By it messages are due" in outcome.err


def test_now_far_ahead_cancels_nothing_by_mistake() -> None:
    told_user()
    later = (database_now() + 3 * DAY).isoformat()
    outcome = run_command("send_messages", "--now", later)
    assert (outcome.code, outcome.out, statuses()) == (2, "", ["pending"])
    assert "more than a day ahead needs --dry-run." in outcome.err
    assert run_command("send_messages", "--now", later, "--dry-run", "--json").json["cancelled"] == 1


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["--watch", "--now", "2026-03-02T06:00:00Z"], "--watch: cannot be combined with --now"),
        (["--watch", "--dry-run"], "--watch: cannot be combined with --dry-run"),
        (["--limit", "0"], "--limit"),
        (["--workers", "65"], "--workers"),
        (["--now", "tomorrow"], "--now"),
    ],
)
def test_wrong_arguments_are_refused_in_a_sentence(arguments: list[str], problem: str) -> None:
    outcome = run_command("send_messages", *arguments)
    assert (outcome.code, outcome.out) == (2, "")
    assert problem in outcome.err


@pytest.mark.parametrize(
    "command",
    [["send_messages"], ["pause_sending", "--reason", "x"], ["resume_sending"], ["check_sending"]],
    ids=lambda command: command[0],
)
def test_a_backend_that_does_not_exist_is_refused_in_a_sentence(
    settings: Settings, command: list[str]
) -> None:
    settings.ENGAGEMENT_MESSAGE_BACKEND = "engagement.nowhere.Backend"
    with pytest.raises(ImproperlyConfigured, match=r"^ENGAGEMENT_MESSAGE_BACKEND must be the dotted path"):
        run_command(*command)


class Abstract(ScriptedBackend):
    """A backend without `max_call`."""

    max_call = MessageBackend.max_call


class Nameless(ScriptedBackend):
    name = ""


@pytest.mark.parametrize(
    ("path", "sentence"),
    [
        ("tests.nowhere.Sms", r"\(No module named 'tests\.nowhere'\)\.$"),
        (f"{__name__}.Missing", r"does not define a \"Missing\" attribute/class\)\.$"),
        (f"{__name__}.Abstract", "must name a whole backend; .*Abstract lacks max_call"),
        (f"{__name__}.Nameless", "must name a whole backend; .*Nameless lacks name"),
        ("engagement.message_backends.base.MessageBackend", "lacks name and max_call and send"),
    ],
)
def test_an_own_backend_with_a_slip_is_refused_in_a_sentence(
    settings: Settings, path: str, sentence: str
) -> None:
    settings.ENGAGEMENT_MESSAGE_BACKEND = path
    with pytest.raises(ImproperlyConfigured, match=sentence):
        run_command("send_messages")


@pytest.mark.parametrize("rate", ["1e-300", "0.00009", "-1", "1001", "nan", "fast"])
def test_an_impossible_rate_is_refused_in_a_sentence(settings: Settings, rate: str) -> None:
    settings.ENGAGEMENT_SEND_RATE_PER_SECOND = rate
    with pytest.raises(ImproperlyConfigured, match=r"must be 0 \(no limit\) or a number from 0.0001 to 1000"):
        run_command("send_messages")


def test_in_production_nothing_is_the_default(settings: Settings) -> None:
    settings.ENGAGEMENT_MESSAGE_BACKEND = ""
    settings.DEBUG = False
    with pytest.raises(ImproperlyConfigured, match=r"^ENGAGEMENT_MESSAGE_BACKEND must say how"):
        run_command("send_messages")


def test_a_wrong_delivery_setting_is_refused_in_a_sentence(settings: Settings) -> None:
    settings.ENGAGEMENT_SEND_HOURS = "9-20"
    with pytest.raises(ImproperlyConfigured, match="must be hours such as 09:00-20:00, not '9-20'"):
        run_command("send_messages")


def test_a_pause_holds_everything_back_until_it_is_resumed() -> None:
    told_user()
    paused = run_command("pause_sending", "--reason", "5511987654321 under review")
    assert paused.out == "Sending by console is paused until it is resumed.\n"
    outcome = run_command("send_messages", "--json")
    assert (outcome.code, outcome.json["status"]) == (5, "paused")
    assert outcome.json["pause_reason"] == "[number] under review"
    assert run_command("check_sending", "--json").json["pauses"][0]["reason"] == "[number] under review"
    assert statuses() == ["pending"]
    assert "Paused until it is resumed: [number] under review." in run_command("send_messages").out
    assert run_command("resume_sending").out == "1 pause of console ended.\n"
    assert run_command("resume_sending").out == "console was not paused.\n"
    assert run_command("send_messages", "--json").json["sent"] == 1


def test_another_backend_is_paused_watched_and_resumed(settings: Settings) -> None:
    """As where only a client of the HTTP API sends, with no backend of its own."""
    settings.ENGAGEMENT_MESSAGE_BACKEND, settings.DEBUG = "", False
    assert run_command("check_sending").code == 0
    other = ("--backend", "api:assistant")
    paused = run_command("pause_sending", *other, "--reason", "number under review")
    assert paused.out == "Sending by api:assistant is paused until it is resumed.\n"
    sentence = "Sending by api:assistant is paused until it is resumed: number under review."
    for arguments, code in (((), 1), (other, 1), (("--backend", "console"), 0)):
        watched = run_command("check_sending", *arguments)
        assert (watched.code, sentence in watched.err) == (code, bool(code))
    assert run_command("resume_sending", "--backend", "console").out == (
        "console was not paused. Others are paused: api:assistant. Resume them with --backend.\n"
    )
    assert run_command("resume_sending", *other).out == "1 pause of api:assistant ended.\n"
    assert run_command("check_sending").code == 0


def test_a_pause_of_a_backend_that_sends_nothing_is_doubted_if_others_send() -> None:
    wrong = ("pause_sending", "--backend", "consol", "--reason", "number under review")
    assert run_command(*wrong).err == ""
    told_user()
    run_command("send_messages")
    doubted = run_command(*wrong)
    assert (doubted.code, doubted.out) == (0, "Sending by consol is paused until it is resumed.\n")
    assert doubted.err == (
        "pause_sending: consol has claimed no message in the last 7 days. If that is not the backend to"
        " pause, name it with --backend; these have: console.\n"
    )
    assert run_command("pause_sending", "--reason", "number under review").err == ""


def test_a_pause_may_have_an_end() -> None:
    run_command("pause_sending", "--reason", "holiday", "--for", "6h")
    until = SendingChannel.objects.get().paused_until
    assert until is not None
    assert abs(until - database_now() - 6 * HOUR) < MINUTE


def test_a_shorter_pause_changes_nothing_and_says_so() -> None:
    paused = run_command("pause_sending", "--reason", "5511987654321 banned")
    assert run_command("pause_sending", "--reason", "5511987654321 banned").out == paused.out
    stays = (
        "It was paused before, and that pause stays: [number] banned."
        " To replace it, call resume_sending first.\n"
    )
    for arguments in (["--reason", "holiday", "--for", "6h"], ["--reason", "another"]):
        assert run_command("pause_sending", *arguments).out == paused.out + stays
    assert SendingChannel.objects.get().pause_reason == "5511987654321 banned"


@pytest.mark.parametrize("reason", ["", "  "])
def test_a_pause_needs_a_reason(reason: str) -> None:
    outcome = run_command("pause_sending", "--reason", reason)
    assert outcome.code == 2
    assert "--reason" in outcome.err
    assert not SendingChannel.objects.exists()


@pytest.mark.parametrize(("option", "status"), [("--arrived", "sent"), ("--not-arrived", "failed")])
def test_a_person_resolves_an_unknown_outcome(option: str, status: str) -> None:
    message = unknown_goodbye(claimed_at=database_now() - HOUR)
    outcome = run_command("resolve_message", str(message.id), option)
    assert (outcome.code, outcome.out) == (0, f"1 message resolved as {status}.\n")
    assert statuses() == [status]


def test_only_unknown_outcomes_are_resolved() -> None:
    message = goodbye_of(told_user())
    outcome = run_command("resolve_message", str(message.id), "--arrived")
    assert outcome.code == 3
    assert "1 message had no unknown outcome; unchanged." in outcome.err
    assert statuses() == ["pending"]


def test_an_id_without_a_message_resolves_nothing() -> None:
    message, missing = unknown_goodbye(claimed_at=database_now() - HOUR), uuid7()
    outcome = run_command("resolve_message", str(message.id), str(missing), "--arrived")
    assert (outcome.code, outcome.out) == (1, "")
    assert f"There is no message {missing}; nothing was changed." in outcome.err
    assert statuses() == ["unknown"]


def test_many_are_counted_first() -> None:
    old = unknown_goodbye(claimed_at=database_now() - DAY)
    new = unknown_goodbye(claimed_at=database_now())
    EngagementMessage.objects.update(backend="evolution")
    before = (database_now() - HOUR).isoformat()
    command = ("resolve_message", "--backend", "evolution", "--claimed-before", before, "--not-arrived")
    assert run_command(*command).out == (
        "1 message of evolution would be resolved. Repeat the command with --yes.\n"
    )
    assert statuses() == ["unknown", "unknown"]
    assert run_command(*command, "--yes").out == "1 message resolved as failed.\n"
    old.refresh_from_db()
    new.refresh_from_db()
    assert (old.status, new.status) == (MessageStatus.FAILED, MessageStatus.UNKNOWN)


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["--arrived"],
        ["--arrived", "--backend", "console"],
        ["--arrived", "--claimed-before", "2026-03-02T06:00:00Z"],
        ["--arrived", "--not-arrived", str(uuid7())],
        ["--arrived", "5511987654321"],
    ],
)
def test_contradictions_are_refused(arguments: list[str]) -> None:
    outcome = run_command("resolve_message", *arguments)
    assert (outcome.code, outcome.out) == (2, "")
    assert "5511987654321" not in outcome.err


def test_the_sandbox_receives_shows_and_answers(settings: Settings) -> None:
    user = told_user(locale="en")
    process = start_process("whatsapp_sandbox", "--port", "0")
    try:
        assert process.stdout
        url = process.stdout.readline().split(" is at ")[1].partition(";")[0]
        settings.ENGAGEMENT_MESSAGE_BACKEND = (
            "engagement.message_backends.whatsapp_cloud.WhatsAppCloudBackend"
        )
        settings.WHATSAPP_API_URL, settings.WHATSAPP_PHONE_NUMBER_ID = url, "1"
        settings.WHATSAPP_ACCESS_TOKEN = "sandbox"  # noqa: S105  no real one
        template = {"name": "goodbye_v1", "language": "en"}
        settings.WHATSAPP_TEMPLATES = json.dumps(
            {"engagement.goodbye.self_select": {"en": template, "pt-BR": template}}
        )
        assert run_command("send_messages", "--json").json["sent"] == 1
        page = urllib3.request("GET", url).data.decode()
        assert "1 message received" in page
        assert "It&#x27;s been a while since we talked" in page
        for what, said in (
            ("receipt:delivered", "Receipt delivered: recorded."),
            ("answer:2", "goodbye_sent to remind_later"),
            ("receipt:nonsense", "The sandbox knows no such answer."),
        ):
            form = urlencode({"message": 1, "what": what})
            assert said in urllib3.request("POST", f"{url}/act", body=form, redirect=True).data.decode()
        odd = {"type": "template", "template": {"name": "goodbye_v1"}, "text": "y"}
        odd |= {"messaging_product": "whatsapp", "to": "5511987654321"}
        headers = {"Authorization": "Bearer sandbox"}
        urllib3.request("POST", f"{url}/v23.0/1/messages", json=odd, headers=headers)
        assert "(template goodbye_v1)" in urllib3.request("GET", url).data.decode()
        too_large = urlencode({"message": "9" * 5_000, "what": what})
        assert urllib3.request("POST", f"{url}/act", body=too_large).status == 400
        foreign = urllib3.request("POST", f"{url}/act", body=form, headers={"Origin": "https://evil.example"})
        assert foreign.status == 400
    finally:
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=30)
    assert (process.returncode, err) == (0, "")
    user.refresh_from_db()
    assert user.state == "remind_later"
    assert goodbye_of(user).delivered_at is not None


def test_the_sandbox_says_when_its_port_is_taken() -> None:
    process = start_process("whatsapp_sandbox", "--port", "0")
    try:
        assert process.stdout
        port = process.stdout.readline().partition(";")[0].rpartition(":")[2]
        outcome = run_command("whatsapp_sandbox", "--port", port)
    finally:
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=30)
    assert outcome.code == 1
    assert f"Port {port} cannot be used" in outcome.err


def test_a_watching_sender_ends_when_it_is_told_to() -> None:
    told_user()
    process = start_process("send_messages", "--watch", "--json", ENGAGEMENT_SEND_HOURS="")
    try:
        wait_until(lambda: statuses() == ["sent"], "the message is not sent")
    finally:
        process.send_signal(signal.SIGTERM)
        out, _ = process.communicate(timeout=30)
    assert process.returncode == 143
    assert json.loads(out)["sent"] == 1
    assert UserEngagementState.objects.get().state == "goodbye_sent"
