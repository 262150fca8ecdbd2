"""No page shows a text that did not go through a catalogue: all links are followed, all forms are sent."""

from __future__ import annotations

import csv
import re
import socket
from collections import Counter
from datetime import timedelta
from io import StringIO
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qsl, urljoin, urlsplit

import pytest
from django.contrib import admin
from django.contrib.auth.models import Group, User
from django.template.loader import render_to_string
from django.test import Client
from django.urls import Resolver404, resolve
from django.utils import translation
from freezegun import freeze_time

from engagement.groups import VIEWERS
from engagement.models import (
    ApiScope,
    EngagementStateTransition,
    MessageStatus,
    MessageType,
    RunStatus,
    SendingChannel,
    UserProfile,
)
from engagement.replies import PREFERENCES, REPLIES
from engagement.services.api_tokens import make_token
from engagement.services.delivery import outcomes
from tests.factories import NOW, make_run, make_user, queue_for
from tests.integration.admin.pages import OF_USERS, list_url
from tests.integration.admin.visible_texts import (
    LANGUAGE,
    Forms,
    Links,
    marked_translations,
    untranslated,
)
from tests.running import run_job
from tests.themes import with_the_theme_of_the_catalogue

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytest_django.fixtures import Settings

pytestmark = pytest.mark.django_db

TODAY: Final = NOW + timedelta(hours=3)
PER_SHAPE: Final = 3
"""How many pages of one kind are visited, such as pages of users."""
IN_PORTUGUESE: Final = {"accept-language": "pt-BR"}

DATA: Final = (
    r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}",
    r"[\w.+•-]+@[\w.]+",
    r"[A-Z]\w+/[A-Z][\w/+-]+",
    r"Salvador|Fortaleza|Recife|Belém|Manaus|Cuiabá|Campo Grande|Porto Velho|Boa Vista|Rio Branco",
    r"Fernando de Noronha|md5|[\w/+=]+\*{5,}",
    r"Group-permission relationships?|Group_permissions object",
    r"[Ee]ngagement\.\w+\.\w+(/[\w-]+)?",
    r"\b[0-9a-f]{8}\b",
    *(rf"\b{re.escape(phrase)}\b" for phrase in sorted({**REPLIES, **PREFERENCES}, key=len, reverse=True)),
    r"\bEngagement( viewers| support)?\b",
    r"\b(ada|boss|grace|carol)\b",
    r"\b(console|whatsapp_cloud|assistant-eu|send|some error|some failure)\b",
    r"\b(WhatsApp|host|key \d+|esc|pt-BR|UTC)\b",
    rf"\b{re.escape(socket.gethostname())}\b",
    r"English|Português \(Brasil\)",
)
"""What pages show that is no text: ids, names, addresses, zones, keys, and words of other programs."""

NOT_VISITED: Final = {"admin:logout", "admin:jsi18n", "admin:autocomplete"}


@pytest.fixture
def world(settings: Settings) -> None:
    """Something of everything that a page can show."""
    settings.ENGAGEMENT_MESSAGE_BACKEND = "engagement.message_backends.console.ConsoleBackend"
    for trait in ("silent", "goodbye_sent", "remind_later", "help_flow", "dormant"):
        make_user(trait)
    make_user("silent", user__reengagement_opt_out=True, user__opt_out_changed_at=NOW)
    make_user("silent", user__whatsapp_jid=None)
    run_job()
    user = make_user(last_activity_at=NOW)
    for number, status in enumerate(MessageStatus.values):
        type_ = MessageType.values[number]
        fields = dict.fromkeys(("claimed_at", "sent_at", "delivered_at", "read_at", "failed_at"), NOW)
        queue_for(
            user, MessageType(type_), status=status, error_message="some error", retry_count=2, **fields
        )
        queue_for(user, MessageType.GOODBYE, status=status, error_code="131026")
    queue_for(
        user, MessageType.GOODBYE, next_attempt_at=TODAY, outcome_reason=outcomes.WAITING_RETRY, retry_count=1
    )
    for status in RunStatus.values:
        make_run(status=status, now=NOW, failed=2, succeeded=1234, skipped=5, failure="some failure")
    until = TODAY + timedelta(days=1)
    for scope in ("", "engagement.goodbye.self_select/en"):
        SendingChannel.objects.create(
            backend="whatsapp_cloud", scope=scope, paused_until=until, pause_reason="some error"
        )
    make_token(client="assistant-eu", scopes=[ApiScope.SEND.value], now=NOW, made_by="boss")
    gone = make_user("dormant").user
    EngagementStateTransition.objects.create(
        user_id=gone.pk, from_state="active", to_state="goodbye_sent", trigger="inactivity_14d"
    )
    UserProfile.objects.filter(pk=gone.pk).delete()


@pytest.fixture(autouse=True)
def marks() -> Iterator[None]:
    with marked_translations(), freeze_time(TODAY):
        yield


def client_of(account: User) -> Client:
    client = Client(headers=IN_PORTUGUESE)
    client.force_login(account)
    return client


def shape(url: str) -> tuple[object, ...]:
    """The kind of a page."""
    parts = urlsplit(url)
    found = resolve(parts.path)
    return (found.view_name, found.kwargs.get("name"), *sorted(dict(parse_qsl(parts.query))))


class Crawler:
    """Follows links, sends forms, and remembers the texts that are not translated, by page."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self.seen: Counter[tuple[object, ...]] = Counter()
        self.urls: set[str] = set()
        self.found: dict[str, str] = {}
        self.names: set[str] = set()

    def visit(self, *waiting: str) -> None:
        """Visit these pages and what they link to."""
        queue = list(waiting)
        while queue:
            url = queue.pop(0)
            if url in self.urls or not self._is_wanted(url):
                continue
            self.urls.add(url)
            html = self.look(self.client.get(url, follow=True), where=url)
            queue += [urljoin(url, link).partition("#")[0] for link in Links(html).urls]
            self._send_forms(url, html)

    def look(self, response: Any, *, where: str) -> str:
        """Check an answer."""
        assert response.status_code < 500, where
        if "html" not in response["Content-Type"]:
            self._look_at_file(response, where=where)
            return ""
        html: str = response.content.decode()
        for text in untranslated(html, data=DATA):
            self.found.setdefault(text, where)
        return html

    def _look_at_file(self, response: Any, *, where: str) -> None:
        content = b"".join(response) if response.streaming else response.content
        header = next(csv.reader(StringIO(content.decode("utf-8-sig"))))
        for text in untranslated(" ".join(header), data=DATA):
            self.found.setdefault(text, where)

    def _is_wanted(self, url: str) -> bool:
        try:
            kind = shape(url)
        except Resolver404:
            return False
        name = str(kind[0])
        if not name.startswith("admin:") or name in NOT_VISITED:
            return False
        self.seen[kind] += 1
        self.names.add(name)
        return self.seen[kind] <= PER_SHAPE

    def _send_forms(self, url: str, html: str) -> None:
        for form in Forms(html).forms:
            has_actions = "action" in form["menus"]
            # The actions of a list are the same whatever its filters.
            kind = ("form", form["id"], *(shape(url)[:1] if has_actions else shape(url)))
            self.seen[kind] += 1
            most = 1 if has_actions else PER_SHAPE
            if form["method"].lower() != "post" or "logout" in form["action"] or self.seen[kind] > most:
                continue
            target = urljoin(url, form["action"])
            if has_actions:
                self._act_on_rows(target, form)
            else:
                self.look(self.client.post(target, form["hidden"], follow=True), where=f"form of {url}")

    def _act_on_rows(self, url: str, form: dict[str, Any]) -> None:
        for action in form["menus"]["action"]:
            data = {"action": action, "_selected_action": form["checkboxes"].get("_selected_action", "")}
            for more in ({}, {"confirmed": "yes"}) if data["_selected_action"] else ():
                answer = self.client.post(url, {**data, **more}, follow=True)
                self.look(answer, where=f"{action} on {url}")
            self.look(self.client.post(url, {"action": action}, follow=True), where=f"{action} on nothing")


@with_the_theme_of_the_catalogue
def test_no_page_shows_a_text_that_is_not_translated(world: None) -> None:
    boss = User.objects.create_superuser("boss", password="right horse")  # noqa: S106  of a test
    User.objects.create_user("ada", is_staff=True)
    crawler = Crawler(client_of(boss))
    crawler.visit("/admin/")
    # Again, because the forms have left messages and history.
    crawler.urls.clear()
    crawler.seen.clear()
    crawler.visit(
        "/admin/", *(f"{list_url(model)}?q={term}" for model in OF_USERS for term in ("nobody", "9990000"))
    )
    assert crawler.found == {}
    names = (getattr(url, "name", None) for url in admin.site.urls[0])
    expected = {f"admin:{name}" for name in names if name}
    assert expected - crawler.names <= NOT_VISITED | {
        "admin:login",
        "admin:password_change_done",
        "admin:search",
    }


@with_the_theme_of_the_catalogue
def test_pages_of_a_viewer_are_translated(world: None) -> None:
    carol = User.objects.create_user("carol", is_staff=True)
    carol.groups.add(Group.objects.get(name=VIEWERS))
    crawler = Crawler(client_of(carol))
    crawler.visit("/admin/", *(f"{list_url(model)}?q=9990000" for model in OF_USERS))
    assert crawler.found == {}


def test_pages_without_an_account_are_translated() -> None:
    User.objects.create_user("ada", is_staff=True)
    crawler = Crawler(Client(headers=IN_PORTUGUESE))
    crawler.visit("/admin/login/")
    wrong = {"username": "ada", "password": "wrong"}
    for _ in range(6):
        crawler.look(crawler.client.post("/admin/login/", wrong), where="wrong password")
    crawler.look(client_of(User.objects.get()).post("/admin/logout/"), where="log-out")
    assert crawler.found == {}


def test_error_pages_are_translated() -> None:
    ada = User.objects.create_user("ada", is_staff=True)
    crawler, strict = Crawler(client_of(ada)), Client(headers=IN_PORTUGUESE, enforce_csrf_checks=True)
    for url in ("/nowhere", "/admin/auth/user/", f"{list_url(UserProfile)}?nonsense=1"):
        crawler.look(crawler.client.get(url), where=url)
    crawler.look(strict.post("/admin/login/"), where="without a token")
    with translation.override(LANGUAGE):
        assert untranslated(render_to_string("500.html"), data=DATA) == set()
    assert crawler.found == {}


@pytest.mark.parametrize(
    "html",
    [
        "<p>Forgotten</p>",
        '<a title="Forgotten">⟦x⟧</a>',
        "<p>⟦x⟧ Forgotten</p>",
        '<input type="submit" value="Forgotten">',
        '<canvas data-value=\'{"labels": ["Forgotten"], "datasets": []}\'></canvas>',
        '<canvas data-value=\'{"labels": [], "datasets": [{"label": "Forgotten"}]}\'></canvas>',
        '<td data-label="Forgotten">1</td>',
        "<title>Forgotten</title>",
    ],
)
def test_text_without_a_translation_is_found(html: str) -> None:
    assert untranslated(html, data=DATA) == {"Forgotten"}


@pytest.mark.parametrize(
    "html",
    [
        "<p>⟦até ⟦quarta-feira⟧, 03:00⟧</p>",
        "<p>⟦Clique <b>aqui</b>⟧</p>",
        "<script>Forgotten</script>",
        '<span class="material-symbols-outlined">inbox</span>',
        "<p>5511•••••0042, 01a228ab-a7fc-7461-8126-9937fa9c3eea</p>",
    ],
)
def test_translated_text_and_data_are_not_found(html: str) -> None:
    assert untranslated(html, data=DATA) == set()
