"""`manage.py load_activity_log`: fill the tables with the users of an activity log."""

from __future__ import annotations

import json
from dataclasses import asdict
from datetime import UTC
from pathlib import Path
from typing import TYPE_CHECKING, Any

from django.core.management.base import CommandError
from django.utils import timezone

from engagement.formatting import count_text
from engagement.management.base import SentenceCommand, printable
from engagement.management.options import timestamp
from engagement.replay.activity_log import MalformedActivityLog
from engagement.replay.loading import load_activity_log

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from django.core.management.base import CommandParser

    from engagement.replay.loading import LoadedActivityLog


class Command(SentenceCommand):
    # The database adds all users of a large file in a few statements.
    has_deadline = False
    help = (
        "Add the users of an activity log, each active since their last event. Existing users are not"
        " changed, so the same log can be loaded again."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "file",
            metavar="FILE",
            type=Path,
            help="CSV, plain or gzipped, with the columns user and occurred_at, and optionally"
            " locale, whatsapp_jid and reengagement_opt_out",
        )
        parser.add_argument(
            "--as-of",
            metavar="TIMESTAMP",
            type=timestamp,
            help="ignore events after this time (ISO 8601 with an offset; default: now)",
        )
        parser.add_argument("--json", action="store_true", help="print one JSON object instead of sentences")

    def handle(self, *_args: Any, **options: Any) -> None:
        path: Path = options["file"]
        now = timezone.now()
        as_of: datetime = options["as_of"] or now
        try:
            loaded = load_activity_log(path=path, as_of=options["as_of"], now=now)
        except MalformedActivityLog as error:
            raise CommandError(str(error)) from None
        except OSError as error:
            reason = error.strerror or error
            raise CommandError(f"The temporary file for the log cannot be written ({reason}).") from None
        name = printable(path)
        if options["json"]:
            report = {"file": name, "as_of": as_of.isoformat(), **asdict(loaded)}
            self.write_result(json.dumps(report))
        else:
            self.write_result("\n".join(_sentences(name, as_of, loaded)))


def _sentences(name: str, as_of: datetime, loaded: LoadedActivityLog) -> Iterator[str]:
    until = as_of.astimezone(UTC).replace(tzinfo=None).isoformat(" ", "minutes")
    events, users = count_text(loaded.events, "event"), count_text(loaded.users, "user")
    yield f"{name}: {events} of {users}, as of {until} UTC."
    added = f"{count_text(loaded.states_created, 'user')} added"
    yield (
        f"{added if loaded.states_created else 'No users added'},"
        f" {loaded.already_known:,} already known (unchanged), {loaded.not_here_yet:,} not here yet."
    )
    if had_profile := loaded.states_created - loaded.profiles_created:
        yield f"{had_profile:,} of those added had a profile already; it is unchanged."
    if loaded.ahead_of_clock:
        ahead = count_text(loaded.ahead_of_clock, "event")
        yield f"{ahead} ahead of the clock, by 5 minutes at most: counted as now."
    if loaded.ignored_columns:
        yield f"Columns that were not read: {', '.join(map(repr, loaded.ignored_columns))}."
