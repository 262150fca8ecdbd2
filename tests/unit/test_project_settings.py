"""The project's settings: texts from the environment are literal, and empty ones mean the default."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from tests.running import PROJECT

if TYPE_CHECKING:
    from pathlib import Path

PROGRAM = """
import json, os, runpy, sys
names = (
    *("SECRET_KEY", "SECRET_KEY_FALLBACKS", "ALLOWED_HOSTS", "CSRF_TRUSTED_ORIGINS", "DEBUG"),
    *("EMAIL_HOST", "EMAIL_PORT", "EMAIL_USE_TLS", "EMAIL_USE_SSL", "DEFAULT_FROM_EMAIL"),
)
inherited = dict(os.environ)
for line in sys.stdin:
    os.environ.clear()
    os.environ.update(inherited | json.loads(line))
    settings = runpy.run_module("config.settings")
    print(json.dumps({name: settings[name] for name in names}))
"""
KEYS = ["$HOME", "$$", "$ecret", "a,b;c#d'e", r"\$x", "${HOME}"]


def settings_with(**environment: str) -> dict[str, Any]:
    (found,) = settings_of(environment)
    return found


def settings_of(*environments: dict[str, str]) -> list[dict[str, Any]]:
    """The settings with each of these environments, from one process."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        input="\n".join(map(json.dumps, environments)),
        cwd=PROJECT,
        env={
            **os.environ,
            "DJANGO_SETTINGS_MODULE": "config.settings",
            "DATABASE_URL": "postgresql://user:secret@/engagement",
            "DEBUG": "off",
        },
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_secret_key_is_taken_literally() -> None:
    found = settings_of(*({"SECRET_KEY": key} for key in KEYS))
    assert [settings["SECRET_KEY"] for settings in found] == KEYS


def test_lists_are_taken_literally() -> None:
    found = settings_with(
        SECRET_KEY="x",  # noqa: S106
        SECRET_KEY_FALLBACKS="$HOME, $old",  # noqa: S106
        ALLOWED_HOSTS="$HOME, a.example.org,",
        CSRF_TRUSTED_ORIGINS="",
    )
    assert found["SECRET_KEY_FALLBACKS"] == ["$HOME", "$old"]
    assert found["ALLOWED_HOSTS"] == ["$HOME", "a.example.org"]
    assert found["CSRF_TRUSTED_ORIGINS"] == []


def test_empty_variables_mean_the_defaults() -> None:
    found = settings_with(SECRET_KEY="x", DEBUG="", LOG_LEVEL="", LOG_FORMAT="", ALLOWED_HOSTS="")  # noqa: S106
    assert (found["DEBUG"], found["ALLOWED_HOSTS"]) == (False, [])


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({}, ("", 587, True, False)),
        ({"EMAIL_HOST": "mail.example.org", "EMAIL_PORT": "25"}, ("mail.example.org", 25, True, False)),
        ({"EMAIL_USE_SSL": "on", "EMAIL_PORT": "465"}, ("", 465, False, True)),
    ],
)
def test_mail_comes_from_the_environment(environment: dict[str, str], expected: tuple[object, ...]) -> None:
    found = settings_with(SECRET_KEY="x", DEFAULT_FROM_EMAIL="a@example.org", **environment)  # noqa: S106
    names = ("EMAIL_HOST", "EMAIL_PORT", "EMAIL_USE_TLS", "EMAIL_USE_SSL")
    assert tuple(found[name] for name in names) == expected


@pytest.mark.parametrize(
    ("environment", "sentence"),
    [
        ({"EMAIL_PORT": "smtp"}, "EMAIL_PORT must be a number from 1 to 65535, not 'smtp'."),
        ({"EMAIL_PORT": "0"}, "EMAIL_PORT must be a number from 1 to 65535, not '0'."),
        ({"EMAIL_PORT": "65536"}, "EMAIL_PORT must be a number from 1 to 65535, not '65536'."),
        ({"EMAIL_PORT": "9" * 5_000}, f"EMAIL_PORT must be a number from 1 to 65535, not '{'9' * 20}'."),
        ({"EMAIL_HOST": "mail.example.org"}, "EMAIL_HOST needs DEFAULT_FROM_EMAIL"),
        (
            {"EMAIL_USE_SSL": "on", "EMAIL_USE_TLS": "on"},
            "EMAIL_USE_SSL and EMAIL_USE_TLS exclude each other",
        ),
    ],
)
def test_wrong_mail_settings_are_one_sentence(environment: dict[str, str], sentence: str) -> None:
    with pytest.raises(subprocess.CalledProcessError) as error:
        settings_with(SECRET_KEY="x", **environment)  # noqa: S106
    assert sentence in error.value.stderr


@pytest.mark.parametrize(
    ("environment", "is_said"),
    [
        ({}, False),
        ({"DATABASE_URL": "postgresql://user@/engagement"}, True),
        ({"DATABASE_URL": "postgresql://user@/engagement", "DEBUG": "on"}, False),
        ({"DATABASE_URL": "postgresql://user@/engagement", "DEBUG": "off"}, False),
    ],
)
def test_leftover_file_that_switches_debug_on_is_said_aloud(
    tmp_path: Path, environment: dict[str, str], *, is_said: bool
) -> None:
    for name in ("config", "engagement", "manage.py"):
        (tmp_path / name).symlink_to(PROJECT / name)
    (tmp_path / "config").unlink()
    shutil.copytree(PROJECT / "config", tmp_path / "config")
    (tmp_path / ".env").write_text("DEBUG=on\nSECRET_KEY=x\n")
    inherited = {name: value for name, value in os.environ.items() if name not in {"DEBUG", "DATABASE_URL"}}
    done = subprocess.run(
        [sys.executable, "-c", "import django.conf; django.conf.settings.DEBUG"],
        cwd=tmp_path,
        env={**inherited, "DJANGO_SETTINGS_MODULE": "config.settings", **environment},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert ("DEBUG is on because" in done.stderr) is is_said
