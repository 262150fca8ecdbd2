"""`manage.py demo_delivery`: people of a sample get a goodbye in a sandbox, and answer."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from django.core.management.base import CommandError
from django.utils import timezone

from engagement.formatting import count_text, date_text, duration_text
from engagement.management.base import SentenceCommand
from engagement.management.options import timestamp
from engagement.replay.activity_log import MalformedActivityLog
from engagement.replay.demo_run import DatabaseNotEmpty, DemonstrationFailed
from engagement.sandbox.demo import play_delivery
from engagement.states import CHECK_OF, Policy, State

if TYPE_CHECKING:
    from argparse import ArgumentParser
    from collections.abc import Iterator
    from datetime import datetime

    from engagement.sandbox.demo import DeliveryStory, Person


class Command(SentenceCommand):
    help = (
        "Show a goodbye from start to finish in an empty database: people of an activity log, the daily job,"
        " a stand-in for WhatsApp, people who answer or say nothing, and the run two days later."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("file", metavar="FILE", type=Path, help="the activity log")
        parser.add_argument(
            "--as-of",
            metavar="TIMESTAMP",
            type=timestamp,
            help="the time in the log that becomes now (default: its last event)",
        )

    def handle(self, **options: Any) -> None:
        now = timezone.now()
        try:
            story = play_delivery(path=options["file"], as_of=options["as_of"], now=now)
        except (DatabaseNotEmpty, MalformedActivityLog, DemonstrationFailed) as error:
            raise CommandError(str(error)) from None
        self.write_result("\n".join(_page(story, now=now)))


def _page(story: DeliveryStory, *, now: datetime) -> Iterator[str]:
    first, second, sending = story.first_run, story.second_run, story.sending
    yield f"\n{date_text(first.now)}: the daily job\n"
    queued = count_text(first.succeeded, "goodbye")
    yield f"  {queued} queued; {first.skipped.total} silent people skipped, who have opted out."
    yield f"\n{date_text(story.sent_as_of)}: the sender\n"
    counts = ", ".join(f"{number} {name}" for name, number in sending.numbers().items() if number)
    yield f"  {counts}, in {duration_text(timedelta(milliseconds=sending.duration_ms))}."
    yield "\nWhat the people do\n"
    for number, person in enumerate(story.people, start=1):
        yield from _about(number, person, now=now)
    yield f"\n{date_text(second.now)}: the daily job\n"
    dormant = second.checks[CHECK_OF[State.GOODBYE_SENT].name].succeeded
    wait = duration_text(Policy().goodbye_wait)
    yield f"  {dormant} people wrote nothing for {wait} and became dormant, silently: no message was queued."
    yield "\nWhere they are now\n"
    states = [person.state for person in story.people]
    for state in dict.fromkeys(states):
        yield f"  {state:<14}{states.count(state):>3}"


def _about(number: int, person: Person, *, now: datetime) -> Iterator[str]:
    silent = duration_text(now - person.last_activity_at, units=1)
    yield f"  {number}. Silent for {silent}; now {person.state}. User {person.user_id}"
    for event in person.events:
        yield f"     {event}"
