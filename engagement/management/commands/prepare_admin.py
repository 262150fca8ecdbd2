"""`manage.py prepare_admin`: create the first administrator, and play a demonstration."""

from __future__ import annotations

import logging
import os
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from django.contrib.auth.models import User
from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import ValidationError
from django.core.management import call_command
from django.core.management.base import CommandError
from django.utils import timezone

from engagement.formatting import count_text
from engagement.management.base import SentenceCommand
from engagement.management.options import timestamp
from engagement.replay.activity_log import MalformedActivityLog
from engagement.replay.demo import DAYS, play_demonstration
from engagement.replay.demo_run import DatabaseNotEmpty, DemonstrationFailed

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from django.core.management.base import CommandParser

NAME: Final = "DJANGO_SUPERUSER_USERNAME"
PASSWORD: Final = "DJANGO_SUPERUSER_PASSWORD"  # noqa: S105  the name of a variable
EMAIL: Final = "DJANGO_SUPERUSER_EMAIL"


class Command(SentenceCommand):
    help = (
        "Create the first administrator if there is none: from the environment"
        f" ({NAME}, {PASSWORD} and optionally {EMAIL}), or else by asking. With --sample, also play the last"
        " weeks of an activity log as if they ended now, with answers, failures and manual actions, if the"
        " database has no users, messages or runs."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--sample", metavar="FILE", type=Path, help="the activity log to play")
        parser.add_argument(
            "--as-of",
            metavar="TIMESTAMP",
            type=timestamp,
            help="the time in the log that becomes today (default: its last event)",
        )

    def handle(self, *_args: Any, **options: Any) -> None:
        if not User.objects.filter(is_superuser=True).exists():
            self._make_administrator()
        if options["sample"]:
            self._play(options["sample"], as_of=options["as_of"])

    def _play(self, path: Path, *, as_of: datetime | None) -> None:
        self.write_result(f"Playing the last {DAYS} days of {path}.")
        try:
            with _quiet_runs():
                played = play_demonstration(path=path, as_of=as_of, now=timezone.now())
        except DatabaseNotEmpty as error:
            # Expected whenever the command is repeated, so it does not fail.
            self.say(str(error))
            return
        except (MalformedActivityLog, DemonstrationFailed) as error:
            raise CommandError(str(error)) from None
        self.write_result(
            f"{count_text(played.events, 'event')} of {count_text(played.users, 'user')} played,"
            f" with a run on each of {DAYS} days, the last that of {played.last_run_at:%Y-%m-%d %H:%M} UTC."
        )

    def _make_administrator(self) -> None:
        name, password = os.environ.get(NAME), os.environ.get(PASSWORD)
        if name and password:
            self._store(name, password)
        elif sys.stdin is not None and sys.stdin.isatty():
            self.stdout.write("There is no administrator yet. Choose a name and a password.")
            call_command("createsuperuser")
        else:
            raise CommandError(
                f"There is no administrator yet: set {NAME} and {PASSWORD}, or run this on a terminal."
            )

    def _store(self, name: str, password: str) -> None:
        try:
            validate_password(password, user=User(username=name))
        except ValidationError as error:
            raise CommandError(f"{PASSWORD} was refused: {' '.join(error.messages)}") from None
        if User.objects.filter(username=name).exists():
            raise CommandError(f"The account {name} exists, but is not an administrator.")
        User.objects.create_superuser(username=name, email=os.environ.get(EMAIL, ""), password=password)
        self.write_result(f"{name} is the first administrator.")


@contextmanager
def _quiet_runs() -> Iterator[None]:
    """Hide what a demonstration always logs, such as runs as of former days, unless the level is DEBUG."""
    log = logging.getLogger("engagement")
    former = log.level
    if log.getEffectiveLevel() in {logging.INFO, logging.WARNING}:
        log.setLevel(logging.ERROR)
    try:
        yield
    finally:
        log.setLevel(former)
