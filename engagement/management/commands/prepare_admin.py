"""`manage.py prepare_admin`: somebody who may log in, and something to look at."""

from __future__ import annotations

import os
import sys
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
from engagement.management.quiet_jobs import quiet_jobs
from engagement.models import UserProfile
from engagement.replay.activity_log import MalformedActivityLog
from engagement.replay.demo import DAYS, play_demonstration
from engagement.replay.replay_player import ReplayFailed

if TYPE_CHECKING:
    from datetime import datetime

    from django.core.management.base import CommandParser

NAME: Final = "DJANGO_SUPERUSER_USERNAME"
PASSWORD: Final = "DJANGO_SUPERUSER_PASSWORD"  # noqa: S105  the name of a variable
EMAIL: Final = "DJANGO_SUPERUSER_EMAIL"


class Command(SentenceCommand):
    help = (
        "Make the first administrator of the admin, if there is none: from the environment"
        f" ({NAME}, {PASSWORD} and, if you like, {EMAIL}), else by asking. If there are no users yet, play"
        " the last weeks of an activity log as if they were these, too."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--sample", metavar="FILE", type=Path, help="what to play if there are no users")
        parser.add_argument(
            "--as-of",
            metavar="TIMESTAMP",
            type=timestamp,
            help="where the log ends, which becomes today (its last event)",
        )

    def handle(self, *_args: Any, **options: Any) -> None:
        if not User.objects.filter(is_superuser=True).exists():
            self._make_administrator()
        if options["sample"] and not UserProfile.objects.exists():
            self._play(options["sample"], as_of=options["as_of"])

    def _play(self, path: Path, *, as_of: datetime | None) -> None:
        self.write_result(f"Playing the last {DAYS} days of {path}, once.")
        try:
            with quiet_jobs():
                played = play_demonstration(path=path, as_of=as_of, now=timezone.now())
        except (MalformedActivityLog, ReplayFailed) as error:
            raise CommandError(str(error)) from None
        self.write_result(
            f"{count_text(played.events, 'event')} of {count_text(played.users, 'user')} played,"
            f" with {DAYS} daily runs, the last that of {played.last_run_at:%Y-%m-%d %H:%M} UTC."
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
            raise CommandError(f"{PASSWORD} will not do: {' '.join(error.messages)}") from None
        if User.objects.filter(username=name).exists():
            raise CommandError(f"There is an account {name} already, but it is no administrator's.")
        User.objects.create_superuser(username=name, email=os.environ.get(EMAIL, ""), password=password)
        self.write_result(f"{name} is the first administrator.")
