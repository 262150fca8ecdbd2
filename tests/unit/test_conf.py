"""The settings of the app: defaults, values from the environment, and the error for each mistake."""

from __future__ import annotations

from datetime import UTC, time, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Final

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.core.management import call_command
from django.core.management.base import SystemCheckError

from engagement.conf import engagement_settings, refuse_misspelt_names
from engagement.services.delivery.settings import delivery_settings
from engagement.services.suppression import refuse_without_key
from engagement.states import Policy
from engagement.system_checks import check_metrics_file

if TYPE_CHECKING:
    from pathlib import Path

    from pytest_django.fixtures import Settings

BOUNDS: Final = {
    "ENGAGEMENT_INACTIVITY_DAYS": (1, 3650),
    "ENGAGEMENT_GOODBYE_WAIT_HOURS": (1, 8760),
    "ENGAGEMENT_REMIND_AFTER_DAYS": (1, 3650),
    "ENGAGEMENT_UNPROMPTED_RETURN_DAYS": (1, 3650),
    "ENGAGEMENT_BATCH_SIZE": (1, 10_000),
    "ENGAGEMENT_BATCH_ATTEMPTS": (1, 100),
    "ENGAGEMENT_LOCK_TIMEOUT_SECONDS": (1, 3600),
    "ENGAGEMENT_RECONNECT_LIMIT_SECONDS": (0, 86_400),
    "ENGAGEMENT_MAX_GOODBYES_PER_RUN": (0, 1_000_000_000),
}

TYPING_ERRORS: Final = ("ten", "1.5", "10 days", "0x10", "-", 1.5, float("inf"), float("nan"), True, [14])


def read_settings() -> None:
    refuse_misspelt_names()
    engagement_settings()


def complaint() -> str:
    with pytest.raises(ImproperlyConfigured) as refused:
        read_settings()
    return str(refused.value)


def test_policy_has_the_same_defaults_with_settings_and_without() -> None:
    assert engagement_settings().policy == Policy()


def test_defaults_of_the_settings() -> None:
    configured = engagement_settings()
    assert configured.policy == Policy(
        inactivity=timedelta(days=14),
        goodbye_wait=timedelta(hours=48),
        remind_after=timedelta(days=14),
        unprompted_return_after=timedelta(days=3),
    )
    assert (configured.batch_size, configured.batch_attempts) == (1000, 5)
    assert configured.lock_timeout == timedelta(seconds=5)
    assert configured.reconnect_limit == timedelta(seconds=30)
    assert (configured.max_goodbyes, configured.max_goodbye_share) == (0, Decimal(0))
    assert configured.heartbeat_url == ""
    assert configured.run_time == time(6, tzinfo=UTC)


def test_text_from_the_environment_reaches_the_setting_it_names(settings: Settings) -> None:
    for number, name in enumerate(BOUNDS, start=2):
        setattr(settings, name, str(number))
    configured = engagement_settings()
    assert configured.policy == Policy(
        inactivity=timedelta(days=2),
        goodbye_wait=timedelta(hours=3),
        remind_after=timedelta(days=4),
        unprompted_return_after=timedelta(days=5),
    )
    assert (configured.batch_size, configured.batch_attempts) == (6, 7)
    assert configured.lock_timeout == timedelta(seconds=8)
    assert configured.reconnect_limit == timedelta(seconds=9)
    assert configured.max_goodbyes == 10


@pytest.mark.parametrize("nothing", ["", None])
def test_empty_setting_has_its_default(settings: Settings, nothing: str | None) -> None:
    settings.ENGAGEMENT_BATCH_SIZE = nothing
    assert engagement_settings().batch_size == 1000


@pytest.mark.parametrize("name", BOUNDS)
def test_bounds_themselves_are_accepted(settings: Settings, name: str) -> None:
    for bound in BOUNDS[name]:
        setattr(settings, name, str(bound))
        engagement_settings()


@pytest.mark.parametrize("name", BOUNDS)
def test_number_beyond_its_bounds_is_refused(settings: Settings, name: str) -> None:
    lowest, highest = BOUNDS[name]
    for beyond in (lowest - 1, highest + 1, -highest):
        setattr(settings, name, str(beyond))
        assert complaint() == f"{name} must be a whole number from {lowest} to {highest}, not '{beyond}'."


@pytest.mark.parametrize("value", TYPING_ERRORS, ids=repr)
def test_value_that_is_not_a_whole_number_is_refused(settings: Settings, value: object) -> None:
    settings.ENGAGEMENT_BATCH_SIZE = value
    assert complaint() == f"ENGAGEMENT_BATCH_SIZE must be a whole number from 1 to 10000, not {value!r}."


def test_long_value_is_not_repeated_in_full(settings: Settings) -> None:
    settings.ENGAGEMENT_BATCH_SIZE = "9" * 5_000
    assert complaint() == f"ENGAGEMENT_BATCH_SIZE must be a whole number from 1 to 10000, not '{'9' * 40}'."


@pytest.mark.parametrize(
    ("value", "share"),
    [
        ("0.05", "0.05"),
        (0.29, "0.29"),
        ("1", "1"),
        (1, "1"),
        ("0", "0"),
        ("", "0"),
        (None, "0"),
        ("1e-3", "0.001"),
    ],
    ids=repr,
)
def test_share_is_read_to_the_last_digit(settings: Settings, value: object, share: str) -> None:
    settings.ENGAGEMENT_MAX_GOODBYE_SHARE = value
    assert engagement_settings().max_goodbye_share == Decimal(share)


@pytest.mark.parametrize("value", ["5%", "5", "-0.1", "1.0001", "nan", "inf", "0,05", "much", True], ids=repr)
def test_value_that_is_not_a_share_is_refused(settings: Settings, value: object) -> None:
    settings.ENGAGEMENT_MAX_GOODBYE_SHARE = value
    assert complaint() == (
        f"ENGAGEMENT_MAX_GOODBYE_SHARE must be a fraction from 0 to 1, such as 0.05 for 5%, not {value!r}."
    )


@pytest.mark.parametrize(
    "url",
    [
        "https://hc-ping.com/0b1f7f16-6f4c-4d3a-9f5e-6f0c2c8a0d11",
        "http://127.0.0.1:8000/ping/key/slug?create=1",
        "https://[::1]/ping",
        "HTTPS://hc.example.org",
    ],
)
def test_web_address_is_accepted(settings: Settings, url: str) -> None:
    settings.ENGAGEMENT_HEARTBEAT_URL = url
    assert engagement_settings().heartbeat_url == url


@pytest.mark.parametrize(
    "url",
    [
        "hc-ping.com/secret",
        "ftp://hc-ping.com/secret",
        "file:///secret",
        "https:///secret",
        "https://user:secret@hc-ping.com/",
        "https://hc-ping.com:port/secret",
        "https://hc-ping.com:0/secret",
        "https://[::1/secret",
        "https://hc-ping.com/secret path",
        " https://hc-ping.com/secret",
        "https://hc-ping.com/secret\n",
        "https://exämple.org/secret",
        7,
    ],
)
def test_value_that_is_not_a_web_address_is_refused_and_not_repeated(settings: Settings, url: object) -> None:
    settings.ENGAGEMENT_HEARTBEAT_URL = url
    assert complaint() == (
        "ENGAGEMENT_HEARTBEAT_URL must look like https://host/path: http or https, a host, no user name,"
        " no spaces."
    )


def test_repr_of_the_settings_has_no_heartbeat_url(settings: Settings) -> None:
    settings.ENGAGEMENT_HEARTBEAT_URL = "https://hc-ping.com/secret"
    assert "secret" not in repr(engagement_settings())


@pytest.mark.parametrize("text", ["00:00", "06:30", "23:59"])
def test_run_time_is_hours_and_minutes_in_utc(settings: Settings, text: str) -> None:
    settings.ENGAGEMENT_RUN_TIME = text
    assert engagement_settings().run_time.isoformat("minutes") == f"{text}+00:00"


@pytest.mark.parametrize(
    "value", ["6:00", "24:00", "06:60", "06", "0600", "06:00:00", "06:00Z", "06:00\n", "six", 6], ids=repr
)
def test_value_that_is_not_a_run_time_is_refused(settings: Settings, value: object) -> None:
    settings.ENGAGEMENT_RUN_TIME = value
    assert complaint() == f"ENGAGEMENT_RUN_TIME must be a time in UTC, such as 06:00, not {value!r}."


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("ENGAGEMENT_BATCHSIZE", "ENGAGEMENT_BATCH_SIZE"),
        ("ENGAGEMENT_INACTIVITY_DAY", "ENGAGEMENT_INACTIVITY_DAYS"),
        ("ENGAGEMENT_LOCK_TIMEOUT", "ENGAGEMENT_LOCK_TIMEOUT_SECONDS"),
        ("ENGAGEMENT_MAX_GOODBYES_SHARE", "ENGAGEMENT_MAX_GOODBYE_SHARE"),
        ("ENGAGEMENT_HEARTBEAT_URI", "ENGAGEMENT_HEARTBEAT_URL"),
        ("ENGAGEMENT_SEND_RATE", "ENGAGEMENT_SEND_RATE_PER_SECOND"),
    ],
)
def test_misspelt_name_is_refused_with_what_was_meant(settings: Settings, name: str, meant: str) -> None:
    setattr(settings, name, "10")
    assert complaint() == f"{name} is not a setting; did you mean {meant}?"


@pytest.mark.parametrize(
    "name",
    [
        "ENGAGEMENT_PORT",
        "ENGAGEMENT_SERVICE_HOST",
        "ENGAGEMENT_PORT_80_TCP_ADDR",
        "ENGAGEMENT_SERVICE_PORT",
        "ENGAGEMENT_HEARTBEAT_PORT",
        "ENGAGEMENT_HEARTBEAT_SERVICE_HOST",
        "ENGAGEMENT_HEARTBEAT_SERVICE_PORT",
        "ENGAGEMENT_HEARTBEAT_SERVICE_PORT_HTTP",
        "ENGAGEMENT_HEARTBEAT_PORT_80_TCP",
        "ENGAGEMENT_HEARTBEAT_PORT_80_TCP_PROTO",
        "ENGAGEMENT_RUN_SERVICE_PORT",
        "ENGAGEMENT_RUN_PORT",
    ],
)
def test_name_that_a_container_platform_sets_is_allowed(settings: Settings, name: str) -> None:
    setattr(settings, name, "tcp://10.0.0.1:80")
    read_settings()


def test_phrases_that_opt_out_and_in_are_settings(settings: Settings) -> None:
    settings.ENGAGEMENT_OPT_OUT_WORDS = "sair, parar, STOP,  Já chega! ,"
    preferences = engagement_settings().preferences
    assert preferences["ja chega"] == preferences["stop"] == "opted_out"
    assert "pare" not in preferences
    assert preferences["start"] == "opted_in"


@pytest.mark.parametrize(
    ("name", "value", "problem"),
    [
        ("ENGAGEMENT_OPT_OUT_WORDS", "sair, parar, stop, 3", "must be phrases, none of which is a reply"),
        ("ENGAGEMENT_OPT_OUT_WORDS", "sair, parar, stop, 🛑", "must be phrases, none of which is a reply"),
        ("ENGAGEMENT_OPT_IN_WORDS", "voltar, start, busy", "must be phrases, none of which is a reply"),
        ("ENGAGEMENT_OPT_OUT_WORDS", "sair, parar", "must include 'stop', which messages tell users to send"),
        ("ENGAGEMENT_OPT_IN_WORDS", "start", "must include 'voltar', which messages tell users to send"),
        ("ENGAGEMENT_OPT_IN_WORDS", "start, voltar, Parar!", "must not have the same phrase, but 'parar'"),
    ],
)
def test_phrase_that_cannot_be_told_apart_is_refused(
    settings: Settings, name: str, value: str, problem: str
) -> None:
    setattr(settings, name, value)
    assert problem in complaint()


# Django 6 asks the database for its version in these checks.
@pytest.mark.django_db
def test_check_command_accepts_the_defaults() -> None:
    call_command("check")


@pytest.mark.django_db
def test_check_command_reports_a_bad_setting(settings: Settings) -> None:
    settings.ENGAGEMENT_BATCH_SIZE = "ten"
    with pytest.raises(SystemCheckError, match=r"engagement\.E001.* must be a whole number from 1 to 10000"):
        call_command("check")


@pytest.mark.django_db
@pytest.mark.parametrize("value", [" ", "engagement.prom", "./engagement.prom"])
def test_metrics_file_whose_place_depends_on_the_caller_is_refused(settings: Settings, value: str) -> None:
    settings.ENGAGEMENT_METRICS_FILE = value
    with pytest.raises(SystemCheckError, match="ENGAGEMENT_METRICS_FILE must be an absolute path"):
        call_command("check")


@pytest.mark.parametrize(
    ("name", "warnings"),
    [("engagement.prom", []), ("", ["engagement.W002"]), ("none/engagement.prom", ["engagement.W002"])],
)
def test_metrics_file_without_a_folder_is_warned_of(
    settings: Settings, tmp_path: Path, name: str, warnings: list[str]
) -> None:
    settings.ENGAGEMENT_METRICS_FILE = str(tmp_path / name)
    assert [warning.id for warning in check_metrics_file(None)] == warnings


@pytest.mark.django_db
@pytest.mark.parametrize("value", [" ", "a", "fifteen letters"])
def test_suppression_key_that_could_be_guessed_is_refused(settings: Settings, value: str) -> None:
    settings.ENGAGEMENT_SUPPRESSION_KEY = value
    with pytest.raises(SystemCheckError, match="ENGAGEMENT_SUPPRESSION_KEY must have 16 characters or more"):
        call_command("check")
    with pytest.raises(ImproperlyConfigured, match="keep the former key in ENGAGEMENT_SUPPRESSION_KEY_FALL"):
        refuse_without_key()
    # What users say is heard all the same.
    engagement_settings()


@pytest.mark.parametrize("value", [" , ", ",", "ana", "+55 11 98765-4321", "5511987654321@s.whatsapp.net, x"])
def test_allow_list_that_allows_nobody_is_refused(settings: Settings, value: str) -> None:
    settings.ENGAGEMENT_SEND_ALLOW_ONLY = value
    with pytest.raises(ImproperlyConfigured, match="ENGAGEMENT_SEND_ALLOW_ONLY must be addresses"):
        delivery_settings()


@pytest.mark.parametrize("value", ["5511987654321@s.whatsapp.net", " 5511987654321 , 120363-1@g.us,"])
def test_allow_list_of_addresses_is_accepted(settings: Settings, value: str) -> None:
    settings.ENGAGEMENT_SEND_ALLOW_ONLY = value
    assert len(delivery_settings().allow_only) == len([item for item in value.split(",") if item])
