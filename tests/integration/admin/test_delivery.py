"""What the admin shows of sending, and what support can do about it. Real requests."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from django.contrib.admin.models import LogEntry

from engagement.models import MessageType, SendingChannel
from engagement.services.delivery.channels import WITHOUT_END, pause_sending
from tests.factories import NOW, make_user, queue_for
from tests.integration.admin.pages import act_url, choose, download, list_url, page_url, sentences, text_of
from tests.running import run_command
from tests.times import HOUR

if TYPE_CHECKING:
    from collections.abc import Callable

    from django.test import Client

    from engagement.models import EngagementMessage

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("frozen")]

WAMID = "wamid.HBgNNTUxMTk4NzY1NDMyMQ=="


def goodbye(status: str, **fields: object) -> EngagementMessage:
    return queue_for(make_user("goodbye_sent"), MessageType.GOODBYE, status=status, **fields)


@pytest.mark.parametrize(
    ("status", "fields", "text"),
    [
        ("pending", {}, "not sent yet, due since 2 March 2026, 06:00 UTC"),
        (
            "pending",
            {"scheduled_for": NOW + HOUR},
            "not sent yet, scheduled for 2 March 2026, 07:00 UTC",
        ),
        (
            "pending",
            {"next_attempt_at": NOW, "outcome_reason": "waiting_retry", "error_code": "130429"},
            "due since 2 March 2026, 06:00 UTC (refused, will be retried, code 130429)",
        ),
        (
            "pending",
            {"next_attempt_at": NOW + HOUR, "outcome_reason": "waiting_cap", "error_code": "130429"},
            "held back until 2 March 2026, 07:00 UTC (the daily cap is reached)",
        ),
        (
            "pending",
            {"next_attempt_at": NOW + HOUR, "outcome_reason": "waiting_hours"},
            "not sent yet, held back until 2 March 2026, 07:00 UTC (outside the user's hours)",
        ),
        ("sending", {"claimed_at": NOW}, "being sent since 2 March 2026, 06:00 UTC"),
        (
            "unknown",
            {"claimed_at": NOW, "outcome_reason": "timeout"},
            (
                "perhaps sent on 2 March 2026, 06:00 UTC; the outcome is unknown"
                " (the provider did not answer in time)"
            ),
        ),
        (
            "sent",
            {"sent_at": NOW, "delivered_at": NOW + HOUR, "read_at": NOW + 2 * HOUR},
            (
                "sent on 2 March 2026, 06:00 UTC, delivered on 2 March 2026, 07:00 UTC,"
                " read on 2 March 2026, 08:00 UTC"
            ),
        ),
        (
            "sent",
            {"sent_at": NOW, "failed_at": NOW + HOUR, "error_code": "131026"},
            "reported as not delivered on 2 March 2026, 07:00 UTC (code 131026)",
        ),
        (
            "failed",
            {"outcome_reason": "recipient", "error_code": "131026"},
            "failed (the provider cannot deliver to this number, code 131026)",
        ),
        ("cancelled", {"error_code": "130429", "outcome_reason": "opted_out"}, "(the user has opted out)"),
        (
            "unknown",
            {"claimed_at": NOW, "outcome_reason": "timeout", "error_code": "130429"},
            "the outcome is unknown (the provider did not answer in time)",
        ),
        (
            "cancelled",
            {"outcome_reason": "wait_over", "error_code": "130429"},
            "cancelled (the wait for a reply ended before it was sent)",
        ),
    ],
)
def test_delivery_of_a_goodbye_is_told_in_words(
    support: Client, status: str, fields: dict[str, object], text: str
) -> None:
    message = goodbye(status, **fields)
    page = text_of(support, page_url(message))
    assert text in page or text[0].upper() + text[1:] in page
    assert text in text_of(support, page_url(message.user))
    assert text in run_command("explain_engagement", str(message.user_id)).out


def test_a_code_of_before_is_no_reason_for_a_cancellation() -> None:
    message = goodbye("cancelled", error_code="130429")
    assert "130429" not in run_command("explain_engagement", str(message.user_id)).out


def test_what_has_ended_is_no_reason_for_not_being_sent() -> None:
    held = {"next_attempt_at": NOW, "scheduled_for": NOW - HOUR, "outcome_reason": "waiting_hours"}
    message = goodbye("pending", **held)
    explained = run_command("explain_engagement", str(message.user_id)).out
    assert "not sent yet, due since 2 March 2026, 06:00 UTC.\n" in explained


def test_id_of_whatsapp_which_holds_the_number_is_for_those_who_see_numbers(
    viewer: Client, support: Client
) -> None:
    message = goodbye("sent", sent_at=NOW, provider_message_id=WAMID)
    assert WAMID in text_of(support, page_url(message))
    for url in (page_url(message), page_url(message.user), list_url(type(message))):
        assert "HBgNNTUx" not in text_of(viewer, url)


@pytest.mark.parametrize(("action", "status"), [("arrived", "sent"), ("not_arrived", "failed")])
def test_support_says_what_came_of_an_unknown_outcome(support: Client, action: str, status: str) -> None:
    message = goodbye("unknown", claimed_at=NOW - HOUR)
    assert any(
        "resolved as" in line for line in sentences(support.post(act_url(message, action), follow=True))
    )
    message.refresh_from_db()
    assert message.status == status
    assert str(message.pk) in LogEntry.objects.get().change_message


def test_message_that_is_not_unknown_is_left_as_it_is(support: Client) -> None:
    message = goodbye("pending")
    report = sentences(support.post(act_url(message, "arrived"), follow=True))
    assert report == ["It arrived: skipped because the outcome of the message is not unknown."]
    message.refresh_from_db()
    assert message.status == "pending"


def test_viewers_may_neither_resolve_nor_resume(viewer: Client) -> None:
    message, channel = goodbye("unknown"), paused()
    assert viewer.post(act_url(message, "arrived")).status_code == 403
    assert viewer.post(act_url(channel, "resume")).status_code == 403
    message.refresh_from_db()
    assert message.status == "unknown"


def paused(scope: str = "") -> SendingChannel:
    until = NOW + 2 * HOUR
    pause_sending(backend="whatsapp_cloud", until=until, reason="account error 368", now=NOW, scope=scope)
    return SendingChannel.objects.get(scope=scope)


def test_pause_is_shown_where_everybody_looks_and_can_be_ended(support: Client) -> None:
    channel = paused()
    sentence = "Sending by whatsapp_cloud is paused until 2 March 2026, 08:00 UTC: account error 368."
    assert sentence in text_of(support, "/admin/")
    assert "account error 368" in text_of(support, list_url(SendingChannel))
    report = sentences(support.post(act_url(channel, "resume"), follow=True))
    assert report == ["Resume sending: resumed."]
    assert "is paused" not in text_of(support, "/admin/")
    assert LogEntry.objects.get().change_message == "Resumed sending by whatsapp_cloud."
    report = sentences(support.post(act_url(channel, "resume"), follow=True))
    assert report == ["Resume sending: skipped because sending is not paused."]


def test_page_of_a_pause_explains_its_times(support: Client) -> None:
    page = text_of(support, page_url(paused()))
    assert "Before this time no further message is sent." in page
    assert "Failures from before do not pause it again." in page


def test_pauses_are_counted_in_the_language_of_the_reader(support: Client) -> None:
    paused()
    page = support.get(list_url(SendingChannel), headers={"accept-language": "pt-BR"}).content.decode()
    assert "1 pausa" in page


def test_pause_of_a_template_is_named(support: Client) -> None:
    paused("engagement.goodbye.self_select/en")
    sentence = "Sending of engagement.goodbye.self_select/en by whatsapp_cloud is paused until"
    assert sentence in text_of(support, "/admin/")


def test_dashboard_counts_messages_by_what_became_of_them(support: Client) -> None:
    goodbye("pending", next_attempt_at=NOW + HOUR, outcome_reason="waiting_cap")
    goodbye("unknown")
    goodbye("failed", outcome_reason="recipient")
    goodbye("sent", claimed_at=NOW - HOUR)
    page = text_of(support, "/admin/")
    for text in (
        "1: the daily cap is reached",
        "1: the provider cannot deliver to this number",
        "Outcome unknown",
    ):
        assert text in page


def test_accounts_that_may_not_see_pauses_do_not(account_with: Callable[..., Client]) -> None:
    paused()
    client = account_with(
        "view_userengagementstate",
        "view_engagementstatetransition",
        "view_engagementmessage",
        "view_engagementjobrun",
    )
    assert "account error 368" not in text_of(client, "/admin/")
    assert client.get(list_url(SendingChannel)).status_code == 403


def test_pause_without_an_end_is_in_the_same_words_everywhere(support: Client) -> None:
    pause_sending(backend="console", until=WITHOUT_END, reason="by hand", now=NOW)
    channel = SendingChannel.objects.get()
    for text in (
        text_of(support, "/admin/"),
        text_of(support, list_url(SendingChannel)),
        text_of(support, page_url(channel)),
        download(support, channel),
    ):
        assert "until it is resumed" in text
        assert "2099" not in text


def test_pauses_of_one_backend_are_ended_once(support: Client) -> None:
    channels = [paused(), paused("engagement.goodbye.self_select/en")]
    response = choose(support, SendingChannel, "resume", *channels, confirmed="yes")
    assert sentences(response) == ["Resume sending: resumed."]
    assert LogEntry.objects.count() == 1
    assert not SendingChannel.objects.filter(paused_until__isnull=False).exists()
