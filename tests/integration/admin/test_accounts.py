"""Accounts: invited and reset by a one-time link, with permissions that mean something. Real requests."""

from __future__ import annotations

import logging
import re
from datetime import timedelta
from smtplib import SMTPServerDisconnected
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Group, Permission, User
from django.test import Client
from django.utils import timezone
from freezegun import freeze_time

from engagement.groups import SUPPORT, VIEWERS, assignable_permissions
from tests.integration.admin.pages import sentences, text_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from django.core.mail import EmailMessage
    from pytest_django.fixtures import Settings

pytestmark = pytest.mark.django_db

PASSWORD: Final = "right horse battery"  # noqa: S105  of a test
ADD: Final = "/admin/auth/user/add/"
FORGOT: Final = "/admin/forgot-password/"
LINK: Final = re.compile(r"https?://testserver(/admin/set-password/[\w-]+/[\w-]+/)")


@pytest.fixture
def with_mail(settings: Settings) -> None:
    """A mail server is configured."""
    settings.EMAIL_HOST = "mail.example.org"
    settings.DEFAULT_FROM_EMAIL = "engagement@example.org"


@pytest.fixture
def grace() -> User:
    """An account with a password and an address."""
    return User.objects.create_user("grace", "grace@example.org", PASSWORD, is_staff=True)


def invite(client: Client, **fields: Any) -> Any:
    support = Group.objects.get(name=SUPPORT)
    form = {"username": "grace", "email": "grace@example.org", "groups": [support.pk], **fields}
    return client.post(ADD, form)


def link_page(account: User) -> str:
    return f"/admin/auth/user/{account.pk}/link/"


def link_in(text: str) -> str:
    """The path of the one-time link in a page or a mail."""
    found = LINK.search(text)
    assert found, text
    return found[1]


def set_password(link: str, password: str = PASSWORD) -> Any:
    """Open the link and enter the password twice."""
    client = Client()
    form = client.get(link, follow=True)
    page = form.redirect_chain[-1][0] if form.redirect_chain else link
    return client.post(page, {"new_password1": password, "new_password2": password}, follow=True)


def may_log_in(name: str = "grace", password: str = PASSWORD) -> bool:
    return Client().post("/admin/login/", {"username": name, "password": password}).status_code == 302


def test_invited_person_sets_a_password_and_logs_in(admin_client: Client) -> None:
    response = invite(admin_client)
    page = response.content.decode()
    account = User.objects.get(username="grace")
    assert (account.is_staff, account.is_superuser, account.has_usable_password()) == (True, False, False)
    assert [group.name for group in account.groups.all()] == [SUPPORT]
    assert "no-store" in response["Cache-Control"]
    assert "It can be used once, within 3 days." in page
    answer = set_password(link_in(page))
    assert sentences(answer) == ["Your password is set. Log in with it."]
    assert "_auth_user_id" not in answer.client.session
    assert may_log_in()


def test_invitation_asks_for_no_password(admin_client: Client) -> None:
    page = text_of(admin_client, ADD)
    assert 'type="password"' not in page
    assert "usable_password" not in page
    assert "The account needs no password from you." in page


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"username": ""}, "This field is required."),
        ({"username": "GRACE"}, "There is an account with this name."),
        ({"groups": []}, "This field is required."),
        ({"groups": ["0"]}, "is not one of the available choices"),
        ({"email": "grace"}, "Enter a valid email address."),
    ],
)
def test_wrong_invitation_makes_no_account(
    admin_client: Client, grace: User, fields: dict[str, Any], sentence: str
) -> None:
    page = invite(admin_client, **{"username": "linus", **fields}).content.decode()
    assert sentence in page
    assert set(User.objects.values_list("username", flat=True)) == {"admin", grace.username}


def test_link_is_good_once(admin_client: Client) -> None:
    link = link_in(invite(admin_client).content.decode())
    set_password(link)
    page = Client().get(link, follow=True).content.decode()
    assert "This link was used already, or it has expired." in page
    assert "Ask an administrator for another one." in page
    assert "new_password1" not in set_password(link, "another " + PASSWORD).content.decode()
    assert may_log_in()


def test_link_expires(admin_client: Client) -> None:
    link = link_in(invite(admin_client).content.decode())
    with freeze_time(timezone.now() + timedelta(days=3, minutes=1)):
        assert "it has expired" in text_of(Client(), link)


def test_link_ends_when_the_account_is_made_inactive(admin_client: Client) -> None:
    link = link_in(invite(admin_client).content.decode())
    User.objects.filter(username="grace").update(is_active=False)
    assert "it has expired" in text_of(Client(), link)
    assert "it gets no link" in text_of(admin_client, link_page(User.objects.get(username="grace")))


@pytest.mark.parametrize("link", ["x/y", "MQ/set-password", "MQ/c-x", "%00/x", "OTk5OTk5OTk5OTk5OTk5OTk5/x"])
def test_invented_link_sets_nothing(link: str) -> None:
    assert "it has expired" in text_of(Client(), f"/admin/set-password/{link}/")


@pytest.mark.parametrize("password", ["short", "password123", "grace@example.org", "12345678901"])
def test_weak_password_is_refused(admin_client: Client, password: str) -> None:
    page = set_password(link_in(invite(admin_client).content.decode()), password).content.decode()
    assert "This password is too" in page or "The password is too similar" in page or "numeric" in page
    assert not User.objects.get(username="grace").has_usable_password()


def test_page_of_the_link_keeps_the_token_out_of_its_address(admin_client: Client) -> None:
    link = link_in(invite(admin_client).content.decode())
    response = Client().get(link)
    assert response.status_code == 302
    assert urlsplit(response["Location"]).path.endswith("/set-password/")


def test_link_is_in_no_log(
    admin_client: Client,
    with_mail: None,
    caplog: pytest.LogCaptureFixture,
    capsys: pytest.CaptureFixture[str],
) -> None:
    with caplog.at_level(logging.DEBUG):
        link = link_in(invite(admin_client).content.decode())
        set_password(link)
    token = link.split("/")[-2]
    logged = caplog.text + "".join(capsys.readouterr()) + str([*LogEntry.objects.values()])
    assert token not in logged


def test_administrator_makes_a_link_for_an_account(admin_client: Client, grace: User) -> None:
    assert link_page(grace) in text_of(admin_client, f"/admin/auth/user/{grace.pk}/change/")
    assert not LINK.search(text_of(admin_client, link_page(grace)))
    assert may_log_in()
    page = admin_client.post(link_page(grace)).content.decode()
    set_password(link_in(page), "another " + PASSWORD)
    assert (may_log_in(), may_log_in(password="another " + PASSWORD)) == (False, True)
    assert LogEntry.objects.get().change_message == "Made a one-time link."
    history = admin_client.get(
        f"/admin/auth/user/{grace.pk}/history/", headers={"accept-language": "pt-BR"}
    ).content.decode()
    assert "Link de uso único criado." in history


def test_link_ends_with_the_next_log_in(admin_client: Client, grace: User) -> None:
    link = link_in(admin_client.post(link_page(grace)).content.decode())
    assert may_log_in()
    assert "it has expired" in text_of(Client(), link)


def test_link_is_sent_by_mail(
    admin_client: Client, grace: User, with_mail: None, mailoutbox: list[EmailMessage]
) -> None:
    assert "Send a link to grace@example.org" in text_of(admin_client, link_page(grace))
    response = admin_client.post(link_page(grace), {"send": "yes"}, follow=True)
    assert sentences(response) == ["A one-time link was sent to grace@example.org."]
    (mail,) = mailoutbox
    assert (mail.to, mail.from_email) == (["grace@example.org"], "engagement@example.org")
    assert not LINK.search(response.content.decode())
    set_password(link_in(str(mail.body)), "another " + PASSWORD)
    assert may_log_in(password="another " + PASSWORD)


def test_mail_is_not_offered_where_none_can_be_sent(
    admin_client: Client, grace: User, mailoutbox: list[EmailMessage], settings: Settings
) -> None:
    assert "Send a link" not in text_of(admin_client, link_page(grace))
    assert LINK.search(admin_client.post(link_page(grace), {"send": "yes"}).content.decode())
    settings.EMAIL_HOST = "mail.example.org"
    User.objects.update(email="")
    assert "Send a link" not in text_of(admin_client, link_page(grace))
    assert mailoutbox == []


def test_mail_that_cannot_be_sent_is_one_sentence(
    admin_client: Client,
    grace: User,
    with_mail: None,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def refuse(*_arguments: Any, **_options: Any) -> None:
        raise SMTPServerDisconnected("grace@example.org was refused")

    monkeypatch.setattr("django.core.mail.backends.locmem.EmailBackend.send_messages", refuse)
    response = admin_client.post(link_page(grace), {"send": "yes"})
    assert sentences(response) == ["The mail could not be sent. Copy a link instead; the log has the reason."]
    assert "SMTPServerDisconnected" in caplog.text
    assert "grace@example.org" not in caplog.text


def test_links_are_made_by_accounts_that_may_change_the_account(
    account_with: Callable[..., Client], viewer: Client, grace: User
) -> None:
    manager = account_with("view_user", "change_user", "add_user")
    boss = User.objects.create_superuser("boss")
    for client, account, code in ((viewer, grace, 403), (manager, grace, 200), (manager, boss, 403)):
        assert client.get(link_page(account)).status_code == code
        assert client.post(link_page(account)).status_code == code
    assert manager.get("/admin/auth/user/9999999/link/").status_code == 404


def test_who_is_no_superuser_makes_nobody_one(account_with: Callable[..., Client], grace: User) -> None:
    manager = account_with("view_user", "change_user")
    page = f"/admin/auth/user/{grace.pk}/change/"
    assert "id_is_superuser" not in text_of(manager, page)
    manager.post(page, {"is_superuser": "on", "is_staff": "on", "is_active": "on", "first_name": "G"})
    grace.refresh_from_db()
    assert (grace.is_superuser, grace.first_name) == (False, "G")
    boss = User.objects.create_superuser("boss")
    for name in ("change", "password"):
        form = {"password1": PASSWORD, "password2": PASSWORD, "usable_password": "true"}
        assert manager.post(f"/admin/auth/user/{boss.pk}/{name}/", form).status_code == 403


def test_forgotten_password_is_reset_by_mail(
    grace: User, with_mail: None, mailoutbox: list[EmailMessage]
) -> None:
    client = Client()
    assert FORGOT in text_of(client, "/admin/login/")
    answers = [
        client.post(FORGOT, {"email": email}, follow=True).content.decode()
        for email in ("Grace@Example.org", "nobody@example.org")
    ]
    assert all("If an account with a password has this address" in answer for answer in answers)
    (mail,) = mailoutbox
    assert mail.to == ["grace@example.org"]
    set_password(link_in(str(mail.body)), "another " + PASSWORD)
    assert may_log_in(password="another " + PASSWORD)


def test_without_mail_the_log_in_says_whom_to_ask() -> None:
    page = text_of(Client(), "/admin/login/")
    assert "Forgot your password? Ask an administrator for a one-time link." in page
    assert FORGOT not in page
    assert Client().get(FORGOT).status_code == Client().post(FORGOT, {"email": "a@b.org"}).status_code == 404


def test_mailbox_cannot_be_flooded(grace: User, with_mail: None, mailoutbox: list[EmailMessage]) -> None:
    codes = [Client().post(FORGOT, {"email": "grace@example.org"}).status_code for _ in range(7)]
    assert (codes[0], codes[-1]) == (302, 429)
    assert len(mailoutbox) <= 5


def test_new_password_does_not_end_a_lockout(admin_client: Client, grace: User) -> None:
    for number in range(5):
        may_log_in(password=f"guess {number}")
    set_password(link_in(admin_client.post(link_page(grace)).content.decode()), "another " + PASSWORD)
    assert not may_log_in(password="another " + PASSWORD)


def test_log_in_page_says_the_name_of_the_product() -> None:
    page = text_of(Client(), "/admin/login/")
    assert "Welcome" not in page
    assert re.search(r"<h1[^>]*>\s*<span[^>]*>Engagement</span>", page)
    assert re.search(r"<title>\s*Log in \| Engagement\s*</title>", page)


@pytest.mark.parametrize("url", ["/admin/login/", FORGOT, f"{FORGOT}sent/", "/admin/set-password/x/y/"])
def test_pages_obey_the_content_security_policy(with_mail: None, url: str) -> None:
    response = Client().get(url)
    assert response.status_code == 200
    assert "script-src 'self'" in response["Content-Security-Policy"]
    page = response.content.decode()
    assert not re.search(r"<script(?![^>]*src=)[^>]*>\s*\S|<style>|\son\w+=", page)


def options_of(page: str, name: str) -> set[str]:
    (select,) = re.findall(rf'<select[^>]*name="{name}".*?</select>', page, re.DOTALL)
    return {text.strip() for text in re.findall(r"<option[^>]*>(.*?)</option>", select, re.DOTALL)}


def test_pickers_list_our_permissions_only(admin_client: Client, grace: User) -> None:
    group = Group.objects.get(name=SUPPORT)
    user_page = text_of(admin_client, f"/admin/auth/user/{grace.pk}/change/")
    group_page = text_of(admin_client, f"/admin/auth/group/{group.pk}/change/")
    ours = options_of(user_page, "user_permissions")
    assert ours == options_of(group_page, "permissions")
    assert {"Undo runs", "View runs", "Opt users out and in"} <= ours
    # Django's own names begin like this.
    assert not [name for name in ours if "log entry" in name or name.startswith("Can ")]


def test_pickers_are_in_the_language_of_the_reader(admin_client: Client, grace: User) -> None:
    page = admin_client.get(f"/admin/auth/user/{grace.pk}/change/", headers={"accept-language": "pt-BR"})
    names = options_of(page.content.decode(), "user_permissions")
    assert {"Desfazer execuções", "Ver execuções", "Descadastrar e recadastrar usuários"} <= names
    assert len(names) == assignable_permissions().count()
    assert page.content.index(b"Descadastrar e") < page.content.index("Desfazer execuções".encode())


def test_permission_that_is_not_listed_is_kept(admin_client: Client) -> None:
    group = Group.objects.create(name="managers")
    other = Permission.objects.get(codename="change_user")
    group.permissions.add(other)
    page = f"/admin/auth/group/{group.pk}/change/"
    assert other.name in options_of(text_of(admin_client, page), "permissions")
    undo = Permission.objects.get(codename="undo_run")
    admin_client.post(page, {"name": "managers", "permissions": [other.pk, undo.pk]})
    assert set(group.permissions.all()) == {other, undo}


def test_times_of_an_account_are_read_only(admin_client: Client, grace: User) -> None:
    page = text_of(admin_client, f"/admin/auth/user/{grace.pk}/change/")
    assert "Last login" in page
    assert not re.search(r'name="(last_login|date_joined)', page)


@pytest.mark.parametrize("name", [VIEWERS, SUPPORT])
def test_group_of_the_program_is_neither_deleted_nor_renamed(admin_client: Client, name: str) -> None:
    group = Group.objects.get(name=name)
    page = f"/admin/auth/group/{group.pk}"
    text = text_of(admin_client, f"{page}/change/")
    assert "This group comes with the program" in text
    assert f"{page}/delete/" not in text
    assert admin_client.post(f"{page}/delete/", {"post": "yes"}).status_code == 403
    form = {"action": "delete_selected", "_selected_action": [group.pk], "post": "yes"}
    admin_client.post("/admin/auth/group/", form)
    admin_client.post(f"{page}/change/", {"name": "others", "permissions": []})
    group.refresh_from_db()
    assert (group.name, group.permissions.count()) == (name, 0)


def test_group_with_accounts_is_not_deleted(admin_client: Client, grace: User) -> None:
    group = Group.objects.create(name="night shift")
    grace.groups.add(group)
    page = f"/admin/auth/group/{group.pk}"
    assert "1 account has its permissions from this group." in text_of(admin_client, f"{page}/change/")
    assert admin_client.post(f"{page}/delete/", {"post": "yes"}).status_code == 403
    grace.groups.clear()
    assert "permissions from this group" not in text_of(admin_client, f"{page}/change/")
    admin_client.post(f"{page}/delete/", {"post": "yes"})
    assert not Group.objects.filter(name="night shift").exists()
