"""The texts of messages in the admin: languages, template, replies, what is missing. Real requests."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

import pytest
from django.urls import reverse

from engagement import message_catalogue
from engagement.message_catalogue import GOODBYE, HELP, SEE_YOU_IN_TWO_WEEKS, message_keys
from engagement.models import EngagementMessage
from tests.integration.admin.pages import list_url, text_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from django.test import Client
    from pytest_django.fixtures import Settings

    from engagement.admin.messages.catalogue import MessageText

pytestmark = pytest.mark.django_db

CLOUD: Final = "engagement.message_backends.whatsapp_cloud.WhatsAppCloudBackend"
SECRET: Final = "EAAG-of-a-test"  # noqa: S105  of a test
TEXTS: Final = "/admin/engagement/engagementmessage/texts/"


@pytest.fixture
def cloud(settings: Settings) -> Settings:
    """Meta's API, with a template of the goodbye in Portuguese alone."""
    settings.ENGAGEMENT_MESSAGE_BACKEND = CLOUD
    settings.WHATSAPP_ACCESS_TOKEN = SECRET
    settings.WHATSAPP_TEMPLATES = json.dumps(
        {GOODBYE: {"pt-BR": {"name": "goodbye_v1", "language": "pt_BR", "endpoint": "marketing_messages"}}}
    )
    return settings


def url_of(key: str) -> str:
    return reverse("admin:engagement_message_text", args=[key])


def shown(client: Client, key: str) -> MessageText:
    context: dict[str, Any] = client.get(url_of(key)).context_data or {}
    text: MessageText = context["text"]
    return text


def test_list_has_all_texts_and_is_in_the_navigation(viewer: Client) -> None:
    assert reverse("admin:engagement_message_texts") == TEXTS
    page = text_of(viewer, TEXTS)
    for key in message_keys():
        assert f'href="{url_of(key)}">{key}</a>' in page
    assert "The goodbye to a user who has been silent" in page
    assert "incomplete" not in page
    assert f'href="{TEXTS}"' in text_of(viewer, "/admin/")


def test_page_shows_the_text_in_each_language(viewer: Client) -> None:
    page = text_of(viewer, url_of(GOODBYE))
    assert "Oi! Faz um tempo que a gente não se fala" in page
    assert "Hi! It's been a while since we talked" in page
    assert ("Brazilian Portuguese" in page, "English" in page) == (True, True)
    assert "make messages" in page


def test_parameters_have_an_example(viewer: Client, settings: Settings) -> None:
    settings.ENGAGEMENT_REMIND_AFTER_DAYS = "21"
    text = shown(viewer, SEE_YOU_IN_TWO_WEEKS)
    assert text.parameters == [("days", 21)]
    assert all("21" in rendering.text for rendering in text.renderings)


def test_replies_lead_to_a_state_and_a_text(viewer: Client) -> None:
    page = text_of(viewer, url_of(GOODBYE))
    assert "1, confuso, confusa, confused" in page
    assert "The user becomes: getting help." in page
    assert f'href="{url_of(HELP)}">{HELP}</a>' in page
    assert "sair, quero sair" in page
    assert "The user becomes: opted out." in page
    assert "The user becomes" not in text_of(viewer, url_of(HELP))


def test_backend_that_sends_texts_needs_no_template(viewer: Client) -> None:
    assert "Not needed: this backend sends the text." in text_of(viewer, url_of(GOODBYE))


@pytest.mark.usefixtures("cloud")
def test_template_is_shown_and_a_missing_one_is_said(viewer: Client) -> None:
    portuguese, english = shown(viewer, GOODBYE).renderings
    assert dict(portuguese.template) == {
        "Name": "goodbye_v1",
        "Language": "pt_BR",
        "Sent through": "marketing_messages",
        "Parameters": "none",
        "Buttons send": "1, 2, 3",
    }
    missing = "No template for English (en): messages in this language cannot be sent."
    assert (portuguese.problems, english.problems) == ([], [missing])
    assert missing in text_of(viewer, url_of(GOODBYE))
    listed = text_of(viewer, TEXTS)
    assert listed.count(missing) == 1
    assert listed.count("incomplete") == 1


@pytest.mark.usefixtures("cloud")
def test_reply_needs_no_template(viewer: Client) -> None:
    assert shown(viewer, HELP).problems == []
    page = text_of(viewer, url_of(HELP))
    assert "a reply to a user who has just written is sent as text" in page
    assert SECRET not in page


def test_setting_that_cannot_be_read_is_said(viewer: Client, cloud: Settings) -> None:
    cloud.WHATSAPP_TEMPLATES = "{"
    assert "WHATSAPP_TEMPLATES must be a JSON object" in text_of(viewer, url_of(GOODBYE))
    cloud.ENGAGEMENT_MESSAGE_BACKEND = "no.such.Backend"
    assert "ENGAGEMENT_MESSAGE_BACKEND must be the dotted path" in text_of(viewer, TEXTS)


def test_text_of_another_app_without_a_translation_is_said(
    viewer: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    texts = {**message_catalogue._texts, "assistant.hello": "Hello %(name)s"}
    monkeypatch.setattr(message_catalogue, "_texts", texts)
    text = shown(viewer, "assistant.hello")
    assert [rendering.text for rendering in text.renderings] == ["Hello [name]"] * 2
    assert text.problems == ["No translation to Brazilian Portuguese: users get the English text."]


def test_key_that_does_not_exist_is_not_found(viewer: Client) -> None:
    assert viewer.get(url_of("no.such.key")).status_code == 404


def test_texts_need_the_permission_to_see_messages(account_with: Callable[..., Client]) -> None:
    client = account_with("view_userprofile")
    assert client.get(TEXTS).status_code == 403
    assert client.get(url_of(GOODBYE)).status_code == 403
    assert TEXTS not in text_of(client, "/admin/")


def test_list_of_messages_is_not_marked_in_the_navigation_of_a_text(viewer: Client) -> None:
    groups = viewer.get(TEXTS).context_data["sidebar_navigation"]  # type: ignore[index]
    active = [str(item["title"]) for group in groups for item in group["items"] if item["active"]]
    assert active == ["Message texts"]
    assert viewer.get(list_url(EngagementMessage)).status_code == 200
