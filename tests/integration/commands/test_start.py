"""What a command imports: its start is the longest part of a run with nobody due."""

from __future__ import annotations

import re
import subprocess
import sys
from typing import Final

import pytest

from tests.factories import make_user
from tests.running import PATIENCE, PROJECT, database_url

PAGES: Final = (
    # The web server's: pages, API, webhook.
    *("engagement.admin", "engagement.api", "config.urls", "ninja", "pydantic", "unfold.sites", "whitenoise"),
    # What some settings or other commands need.
    *("engagement.replay", "engagement.sandbox", "engagement.services.metrics", "engagement.services.undo"),
    *("prometheus_client", "sentry_sdk", "matplotlib"),
    *("django.test", "unittest", "tests"),
)
SENDER: Final = ("engagement.message_backends", "engagement.services.delivery")
NETWORK: Final = ("urllib3",)
TABLES: Final = ("rich.console", "attr", "pygments")


def imported(*arguments: str) -> set[str]:
    """The modules that a command imports from its start to its end."""
    process = subprocess.run(  # check_* exit with 1, because nothing has run
        [sys.executable, "-X", "importtime", "manage.py", *arguments],
        check=False,
        cwd=PROJECT,
        env={
            **PATIENCE,
            "DATABASE_URL": database_url(),
            "SECRET_KEY": "of-a-test",
            "DEBUG": "off",
            "LOG_LEVEL": "ERROR",
        },
        capture_output=True,
        text=True,
    )
    return set(re.findall(r"^import time: .*\| +([\w.]+)$", process.stderr, re.MULTILINE))


def unwanted(modules: set[str], packages: tuple[str, ...]) -> set[str]:
    return {
        name for name in modules for package in packages if name == package or name.startswith(f"{package}.")
    }


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(
    ("command", "packages"),
    [
        (("run_engagement_daily", "--json"), PAGES + SENDER + NETWORK + TABLES),
        (("check_engagement_runs",), PAGES + SENDER + NETWORK + TABLES),
        (("receive_message", "USER", "oi", "--json"), PAGES + SENDER + NETWORK + TABLES),
        (("check_sending",), PAGES + TABLES),
    ],
    ids=lambda value: value[0],
)
def test_command_imports_nothing_that_it_does_not_need(
    command: tuple[str, ...], packages: tuple[str, ...]
) -> None:
    user = make_user()
    modules = imported(*(str(user.user_id) if word == "USER" else word for word in command))
    assert "engagement.models.users" in modules
    assert unwanted(modules, packages) == set()
