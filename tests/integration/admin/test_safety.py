"""Protection of the admin: login attempts, headers, cookies, error pages and staff accounts."""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

import pytest
from django.contrib.auth.models import User
from django.test import Client, RequestFactory
from freezegun import freeze_time

from config.admin.login import address_behind_proxy
from engagement.models import UserProfile
from tests.factories import make_user
from tests.integration.admin.pages import list_url, page_url
from tests.running import run_process

if TYPE_CHECKING:
    from pytest_django.fixtures import Settings

pytestmark = pytest.mark.django_db

LOGIN: Final = "/admin/login/"
PASSWORD: Final = "right horse"  # noqa: S105  of a test
LIMIT: Final = 5
START: Final = datetime(2026, 3, 2, 6, 0, tzinfo=UTC)


@pytest.fixture
def ada() -> User:
    return User.objects.create_superuser("ada", password=PASSWORD)


def log_in(password: str, *, name: str = "ada", address: str = "192.0.2.1") -> Any:
    return Client(REMOTE_ADDR=address).post(LOGIN, {"username": name, "password": password})


@pytest.mark.usefixtures("ada")
class TestThrottling:
    def test_lockout_after_failed_attempts_also_refuses_the_right_password(self) -> None:
        codes = [log_in(f"guess {number}").status_code for number in range(LIMIT)]
        assert codes == [200] * (LIMIT - 1) + [429]
        answer = log_in(PASSWORD)
        assert answer.status_code == 429
        assert "Too many attempts" in answer.content.decode()

    def test_lockout_ends_after_15_minutes(self) -> None:
        with freeze_time(START) as clock:
            for number in range(LIMIT):
                log_in(f"guess {number}")
            clock.tick(15 * 60 - 1)
            assert log_in(PASSWORD).status_code == 429
            clock.tick(2)
            assert log_in(PASSWORD).status_code == 302

    def test_one_password_tried_on_many_names_locks_out_that_address_only(self) -> None:
        codes = [log_in("1234", name=f"name {number}").status_code for number in range(50)]
        assert codes == [200] * 49 + [429]
        assert log_in(PASSWORD).status_code == 429
        assert log_in(PASSWORD, address="192.0.2.66").status_code == 302

    def test_lockout_of_an_address_ends_after_15_minutes(self) -> None:
        with freeze_time(START) as clock:
            for number in range(50):
                log_in("1234", name=f"name {number}")
            clock.tick(15 * 60 + 1)
            assert log_in(PASSWORD).status_code == 302

    def test_too_long_name_is_a_form_error(self) -> None:
        answer = log_in(PASSWORD, name="a" * 300)
        assert answer.status_code == 200
        assert "at most 150 characters" in answer.content.decode()

    def test_failed_attempts_from_another_address_do_not_lock_out(self) -> None:
        for number in range(LIMIT):
            log_in(f"guess {number}", address="192.0.2.66")
        assert log_in(PASSWORD).status_code == 302

    def test_successful_login_resets_failed_attempts(self) -> None:
        for _ in range(2):
            for number in range(LIMIT - 1):
                log_in(f"guess {number}")
            assert log_in(PASSWORD).status_code == 302

    def test_passwords_are_not_kept(self) -> None:
        from axes.models import AccessAttempt

        log_in("guess to be forgotten")
        attempt = AccessAttempt.objects.get()
        assert "guess" not in f"{attempt.get_data} {attempt.post_data}"


@pytest.mark.parametrize(
    ("forwarded", "address"),
    [
        ("198.51.100.7", "198.51.100.7"),
        ("invented, 198.51.100.7", "198.51.100.7"),
        ("198.51.100.7:4711", "198.51.100.7"),
        ("2001:db8::7", "2001:db8::"),
        ("[2001:db8:0:1:2:3:4:5]:4711", "2001:db8:0:1::"),
        ("fe80::1%eth0", "fe80::"),
        ("::ffff:198.51.100.7", "198.51.100.7"),
        ("unknown", "127.0.0.1"),
        ("", "127.0.0.1"),
    ],
)
def test_visitors_address_comes_from_the_proxy_and_not_from_the_visitor(forwarded: str, address: str) -> None:
    request = RequestFactory().get("/", headers={"X-Forwarded-For": forwarded})
    assert address_behind_proxy(request) == address


@pytest.mark.django_db
@pytest.mark.parametrize("addresses", [[""] * 9, [f"2001:db8::{number:x}" for number in range(9)]])
def test_guesses_without_an_address_or_from_one_network_lock_out(
    client: Client, addresses: list[str], django_user_model: type[User]
) -> None:
    django_user_model.objects.create_user("grace", password="right", is_staff=True)  # noqa: S106
    codes = [
        client.post(
            "/admin/login/", {"username": "grace", "password": "wrong"}, REMOTE_ADDR=address
        ).status_code
        for address in addresses
    ]
    assert codes[-1] == 429


@pytest.mark.django_db
@pytest.mark.parametrize("target", ["https://evil.example.org/", "//evil.example.org", "javascript:1", ""])
def test_login_with_a_foreign_target_ends_at_the_admin(
    client: Client, django_user_model: type[User], target: str
) -> None:
    django_user_model.objects.create_user("grace", password="right", is_staff=True)  # noqa: S106
    form = {"username": "grace", "password": "right", "next": target}
    assert client.post("/admin/login/", form).headers["Location"] == "/admin/"


@pytest.mark.parametrize("url", ["/admin/login/", "/admin/", "/admin/engagement/userprofile/", "/nothing"])
def test_pages_load_from_this_server_only_and_run_no_inline_script(admin_client: Client, url: str) -> None:
    response = admin_client.get(url)
    policy = dict(
        part.strip().split(" ", 1) for part in response.headers["Content-Security-Policy"].split(";")
    )
    assert policy["default-src"] == "'self'"
    assert policy["script-src"] == "'self' 'unsafe-eval'"
    assert policy["style-src"] == "'self'"
    assert policy["frame-ancestors"] == "'none'"


def test_cookies_are_secure_in_production() -> None:
    settings = run_process("diffsettings", "--all", DEBUG="off").out.splitlines()
    # The hashes mark settings that differ from Django's defaults.
    for name in ("SESSION_COOKIE_SECURE", "CSRF_COOKIE_SECURE", "SESSION_COOKIE_HTTPONLY"):
        assert f"{name} = True" in [line.removeprefix("### ") for line in settings]


@pytest.mark.usefixtures("ada")
def test_session_cookies_are_hidden_from_scripts_and_expire_after_12_hours() -> None:
    cookie = log_in(PASSWORD).cookies["sessionid"]
    assert (cookie["httponly"], cookie["samesite"]) == (True, "Lax")
    assert cookie["max-age"] == 12 * 60 * 60


@pytest.fixture
def broken_page(monkeypatch: pytest.MonkeyPatch) -> str:
    """The page of a user, which fails with their address in the exception."""
    user = make_user(user__whatsapp_jid="5511999990042@s.whatsapp.net")

    def fail(profile: UserProfile, **_: object) -> None:
        raise RuntimeError(f"no page for {profile.whatsapp_jid}")

    monkeypatch.setattr("engagement.admin.people.user_list.user_page", fail)
    return page_url(user.user)


@pytest.mark.parametrize("by", ["viewer", "support"])
def test_failing_page_shows_and_logs_no_address_and_no_secret(
    by: str,
    broken_page: str,
    request: pytest.FixtureRequest,
    settings: Settings,
    capsys: pytest.CaptureFixture[str],
) -> None:
    settings.SECRET_KEY = "secret-of-this-test"  # noqa: S105  of a test
    client: Client = request.getfixturevalue(by)
    client.raise_request_exception = False
    response = client.get(broken_page)
    assert response.status_code == 500
    page, log = response.content.decode(), capsys.readouterr().err
    assert "Something went wrong on our side" in page
    assert "RuntimeError" in log
    for text in (page, log):
        assert "5511999990042" not in text
        assert settings.SECRET_KEY not in text
    assert "Traceback" not in page


@pytest.mark.parametrize(
    ("url", "code", "sentence"),
    [
        ("/admin/nothing/", 404, "Page not found"),
        ("/admin/auth/user/", 403, "You don't have access to this page"),
        ("/admin/engagement/userprofile/?whatsapp_jid=5511999990042", 400, "This request is not valid"),
    ],
)
def test_error_page_has_one_sentence_and_repeats_no_input(
    viewer: Client, url: str, code: int, sentence: str, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG):
        response = viewer.get(url)
    assert response.status_code == code
    assert sentence in response.content.decode()
    assert "5511999990042" not in response.content.decode() + caplog.text


def test_form_without_csrf_token_gets_an_error_page(ada: User) -> None:
    client = Client(enforce_csrf_checks=True)
    response = client.post(LOGIN, {"username": "ada", "password": PASSWORD})
    assert response.status_code == 403
    assert "no longer valid" in response.content.decode()


def test_staff_accounts_need_the_permission_to_manage_them(
    viewer: Client, support: Client, admin_client: Client
) -> None:
    for page in ("/admin/auth/user/", "/admin/auth/group/", "/admin/auth/user/add/"):
        assert viewer.get(page).status_code == support.get(page).status_code == 403
        assert admin_client.get(page).status_code == 200
    person = User.objects.first()
    assert person is not None
    for page in ("change", "password"):
        assert admin_client.get(f"/admin/auth/user/{person.pk}/{page}/").status_code == 200


def test_staff_account_cannot_be_deleted_or_renamed(admin_client: Client) -> None:
    person = User.objects.create_user("grace", password=PASSWORD)
    page = f"/admin/auth/user/{person.pk}"

    assert admin_client.get(f"{page}/delete/").status_code == 403
    assert "delete_selected" not in admin_client.get("/admin/auth/user/").content.decode()
    admin_client.post(f"{page}/change/", {"username": "somebody", "is_active": ""})
    person.refresh_from_db()
    assert (person.username, person.is_active) == ("grace", False)


def test_users_are_not_linked_without_the_permission_to_see_them(client: Client) -> None:
    client.force_login(User.objects.create_user("staff", is_staff=True))
    assert list_url(UserProfile) not in client.get("/admin/").content.decode()
