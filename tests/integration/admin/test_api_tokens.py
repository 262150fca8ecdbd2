"""API tokens in the admin: made with the right permission, shown once, revoked with a name."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Permission, User
from django.utils import timezone

from engagement.admin.api_tokens import MADE_BEFORE
from engagement.models import ApiToken
from engagement.services.api_tokens import make_token, valid_token
from tests.integration.admin.pages import sentences
from tests.running import run_command

if TYPE_CHECKING:
    from django.test import Client

pytestmark = pytest.mark.django_db

LIST = "/admin/engagement/apitoken/"


def logged_in(client: Client, *permissions: str) -> Client:
    account = User.objects.create_user("ada", is_staff=True)
    account.user_permissions.set(Permission.objects.filter(codename__in=permissions))
    client.force_login(account)
    return client


def test_a_token_is_made_and_shown_once(client: Client) -> None:
    logged_in(client, "view_apitoken", "manage_api_tokens")
    assert b"Make the token" in client.get(f"{LIST}add/").content
    answer = client.post(f"{LIST}add/", {"client": "assistant", "scopes": ["send", "messages"]})
    found = re.search(r'<code id="token">(eng_[\w-]{43})</code>', answer.content.decode())
    assert found
    token = valid_token(found[1], now=timezone.now())
    assert token
    assert (token.client, token.scopes, token.created_by) == ("assistant", ["messages", "send"], "ada")
    assert "no-store" in answer["Cache-Control"]
    assert found[1] not in client.get(LIST).content.decode() + str(answer.cookies)
    assert LogEntry.objects.get().change_message == "Made."


def test_a_form_that_is_sent_again_makes_no_other_token(client: Client) -> None:
    logged_in(client, "manage_api_tokens")
    forms = [
        re.search(r'name="token_id" value="([^"]+)"', client.get(f"{LIST}add/").content.decode())
        for _ in range(2)
    ]
    first, second = (
        {"client": "assistant", "scopes": ["send"], "token_id": form[1]} for form in forms if form
    )
    assert b'id="token"' in client.post(f"{LIST}add/", first).content
    again = client.post(f"{LIST}add/", first, follow=True)
    assert again.redirect_chain == [(LIST, 302)]
    assert sentences(again) == [str(MADE_BEFORE)]
    assert (ApiToken.objects.count(), LogEntry.objects.count()) == (1, 1)
    assert b'id="token"' in client.post(f"{LIST}add/", second).content
    assert ApiToken.objects.count() == 2


@pytest.mark.parametrize("token_id", ["", "42", "\0", "00000000-0000-0000-0000-00000000000g"])
def test_a_form_with_a_bad_id_makes_a_token(client: Client, token_id: str) -> None:
    logged_in(client, "manage_api_tokens")
    form = {"client": "assistant", "scopes": ["send"], "token_id": token_id}
    assert b'id="token"' in client.post(f"{LIST}add/", form).content
    assert ApiToken.objects.count() == 1


def test_managing_tokens_includes_seeing_them(client: Client) -> None:
    token, _secret = make_token(client="assistant", scopes=["send"], now=timezone.now())
    logged_in(client, "manage_api_tokens")
    assert f'href="{LIST}"' in client.get("/admin/").content.decode()
    assert f"{LIST}{token.pk}/change/" in client.get(LIST).content.decode()
    assert client.post(f"{LIST}{token.pk}/act/revoke/", follow=True).status_code == 200


@pytest.mark.parametrize(
    "values",
    [{"client": "Assistant", "scopes": ["send"]}, {"client": "a", "scopes": ["root"]}, {"client": "a"}, {}],
)
def test_a_wrong_form_makes_nothing(client: Client, values: dict[str, Any]) -> None:
    logged_in(client, "view_apitoken", "manage_api_tokens")
    answer = client.post(f"{LIST}add/", values)
    assert (answer.status_code, b"Make the token" in answer.content) == (200, True)
    assert not ApiToken.objects.exists()
    # A screen reader reads the help and the errors of a field with it.
    page = answer.content.decode()
    described = {name for names in re.findall(r'aria-describedby="([^"]*)"', page) for name in names.split()}
    assert described
    assert described <= set(re.findall(r' id="([^"]*)"', page))


def test_a_token_is_revoked_with_a_name(client: Client) -> None:
    logged_in(client, "view_apitoken", "manage_api_tokens")
    token, secret = make_token(client="assistant", scopes=["send"], now=timezone.now())
    page = client.get(f"{LIST}{token.pk}/act/revoke/").content
    assert b"Revoke this token?" in page
    client.post(f"{LIST}{token.pk}/act/revoke/")
    assert valid_token(secret, now=timezone.now()) is None
    entry = LogEntry.objects.get()
    assert (entry.change_message, entry.user.get_username()) == ("Revoked.", "ada")


def test_who_may_not_manage_tokens_makes_and_revokes_none(client: Client) -> None:
    logged_in(client, "view_apitoken")
    token, secret = make_token(client="assistant", scopes=["send"], now=timezone.now())
    assert client.get(LIST).status_code == 200
    assert client.get(f"{LIST}add/").status_code == 403
    assert client.post(f"{LIST}{token.pk}/act/revoke/").status_code == 403
    assert valid_token(secret, now=timezone.now())


def test_the_command_makes_lists_and_revokes() -> None:
    assert run_command("api_token", "list").out == ""
    secret = run_command("api_token", "create", "assistant", "send", "messages").out.strip()
    token = valid_token(secret, now=timezone.now())
    assert token
    listed = run_command("api_token", "list").out
    assert f"{token.pk}  assistant (messages, send)  made" in listed
    assert secret not in listed
    assert run_command("api_token", "revoke", str(token.pk)).code == 0
    assert "revoked" in run_command("api_token", "list").out
    again = run_command("api_token", "revoke", str(token.pk))
    assert (again.code, "There is no valid token" in again.err) == (1, True)
    assert valid_token(secret, now=timezone.now()) is None


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("create", "Assistant", "send"), "lower-case letters"),
        (("create", "assistant", "root"), "Choose some of the scopes messages, send"),
        (("create", "assistant"), "required"),
        (("create", "", "send"), "lower-case letters"),
        (("create", "a b", "send"), "lower-case letters"),
        (("create", "assistant", "send", "--he"), "--he"),
        (("revoke", "42"), "UUID"),
        ((), "required"),
        (("destroy",), "invalid choice"),
    ],
)
def test_wrong_arguments_are_one_sentence(arguments: tuple[str, ...], sentence: str) -> None:
    outcome = run_command("api_token", *arguments)
    assert outcome.code == 2
    assert sentence in outcome.err
    assert outcome.err.endswith(" Try --help.")
    assert "usage" not in outcome.err
    assert not ApiToken.objects.exists()
