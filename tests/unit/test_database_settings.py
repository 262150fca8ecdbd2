"""Which database the environment asks for."""

from __future__ import annotations

import pytest
from django.core.exceptions import ImproperlyConfigured

from config.database import PRIVATE_POSTGRESQL, database_settings

URL = "postgresql://ana:pa%24sword@db.example.org:6543/assistant"


def test_url_names_the_server() -> None:
    database = database_settings(url=URL, behind_pooler=False, development=False)

    assert database["ENGINE"] == "django.db.backends.postgresql"
    assert (database["USER"], database["PASSWORD"]) == ("ana", "pa$sword")
    assert (database["HOST"], database["PORT"], database["NAME"]) == ("db.example.org", 6543, "assistant")


def test_url_wins_over_the_private_server_in_development_too() -> None:
    database = database_settings(url=URL, behind_pooler=False, development=True)

    assert database["HOST"] == "db.example.org"


def test_options_of_the_url_reach_the_driver() -> None:
    database = database_settings(url=f"{URL}?sslmode=require", behind_pooler=False, development=False)

    assert database["OPTIONS"]["sslmode"] == "require"


def test_vanished_server_is_noticed_within_a_minute_unless_the_url_says_otherwise() -> None:
    usual = database_settings(url=URL, behind_pooler=False, development=False)
    other = database_settings(url=f"{URL}?connect_timeout=60", behind_pooler=False, development=False)

    assert (usual["OPTIONS"]["connect_timeout"], other["OPTIONS"]["connect_timeout"]) == (10, 60)
    assert usual["OPTIONS"]["tcp_user_timeout"] <= 60_000
    assert usual["OPTIONS"]["keepalives_idle"] + 3 * usual["OPTIONS"]["keepalives_interval"] <= 60


@pytest.mark.parametrize("behind_pooler", [False, True])
@pytest.mark.parametrize(
    "url", [URL, f"{URL}?sslmode=require", f"{URL}?server_side_binding=off&prepare_threshold=5", ""]
)
def test_values_are_bound_on_the_server_and_nothing_is_prepared(url: str, *, behind_pooler: bool) -> None:
    database = database_settings(url=url, behind_pooler=behind_pooler, development=True)

    assert database["OPTIONS"]["server_side_binding"] is True
    assert database["OPTIONS"]["prepare_threshold"] is None


@pytest.mark.parametrize("url", [URL, ""])
def test_server_side_cursors_are_off_behind_a_pooler_only(url: str) -> None:
    direct = database_settings(url=url, behind_pooler=False, development=True)
    pooled = database_settings(url=url, behind_pooler=True, development=True)

    assert "DISABLE_SERVER_SIDE_CURSORS" not in direct
    assert pooled["DISABLE_SERVER_SIDE_CURSORS"] is True


def test_pooler_setting_keeps_the_options_of_the_url() -> None:
    database = database_settings(url=f"{URL}?sslmode=require", behind_pooler=True, development=False)

    assert database["OPTIONS"]["sslmode"] == "require"


def test_development_without_a_url_gets_the_private_server() -> None:
    database = database_settings(url="", behind_pooler=False, development=True)

    assert database["ENGINE"] == PRIVATE_POSTGRESQL


@pytest.mark.parametrize(("url", "seconds"), [(URL, 60), ("", 0)])
def test_connections_to_the_private_server_end_with_their_request(url: str, seconds: int) -> None:
    database = database_settings(url=url, behind_pooler=False, development=True)

    assert database["CONN_MAX_AGE"] == seconds


def test_production_without_a_url_is_refused_with_what_is_missing() -> None:
    with pytest.raises(ImproperlyConfigured, match=r"^DATABASE_URL is not set\."):
        database_settings(url="", behind_pooler=False, development=False)


@pytest.mark.parametrize(
    "url",
    [
        "sqlite:///db.sqlite3",
        "mysql://ana:secret@db.example.org/assistant",
        "postgresql://ana:secret@db.example.org:5432/",
        "postgresql://ana:secret@db.example.org:port/assistant",
        "ana:secret@db.example.org/assistant",
        "secret",
    ],
)
def test_unusable_url_is_refused_without_repeating_its_password(url: str) -> None:
    with pytest.raises(ImproperlyConfigured) as refusal:
        database_settings(url=url, behind_pooler=False, development=True)

    assert "must look like postgresql://" in str(refusal.value)
    assert "secret" not in str(refusal.value)
    # A traceback prints the message of the error before, too.
    assert refusal.value.__context__ is None


@pytest.mark.parametrize(
    ("url", "host", "port"),
    [
        ("postgresql://ana@%2Fvar%2Frun%2Fpostgresql/assistant", "/var/run/postgresql", ""),
        ("postgresql://ana:x@%2fvar%2Frun%2fpostgresql:6543/assistant", "/var/run/postgresql", 6543),
        ("postgresql://%2Ftmp/assistant", "/tmp", ""),  # noqa: S108  a socket, not a file
    ],
)
def test_host_of_the_url_may_be_a_socket_as_libpq_writes_it(url: str, host: str, port: object) -> None:
    database = database_settings(url=url, behind_pooler=False, development=False)

    assert (database["HOST"], database["NAME"]) == (host, "assistant")
    assert (database["PORT"] or "") == port
