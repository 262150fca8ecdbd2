"""`manage.py resolve_message`: record the outcome of messages where it is unknown."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from django.core.management.base import CommandError

from engagement.formatting import count_text
from engagement.management.base import SentenceCommand, refuse
from engagement.management.options import identifier, timestamp
from engagement.selectors.deliveries import status_of, unknown_messages
from engagement.services.delivery.outcomes import resolve_unknown

if TYPE_CHECKING:
    from argparse import ArgumentParser
    from uuid import UUID


class Command(SentenceCommand):
    help = (
        "Record whether messages with an unknown outcome arrived. What arrived is sent; what did not has"
        " failed, and can be retried. Without --yes, many are only counted."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("ids", nargs="*", type=identifier, metavar="ID", help="messages")
        parser.add_argument("--backend", metavar="NAME", help="all unknown messages of this backend")
        parser.add_argument(
            "--claimed-before", type=timestamp, metavar="TIMESTAMP", help="only those claimed before then"
        )
        parser.add_argument("--yes", action="store_true", help="resolve those of --backend, not only count")
        outcome = parser.add_mutually_exclusive_group(required=True)
        outcome.add_argument("--arrived", action="store_true", help="the users got them")
        outcome.add_argument("--not-arrived", action="store_true", help="the users did not get them")

    def handle(self, **options: Any) -> None:
        ids: list[UUID] = list(dict.fromkeys(options["ids"]))
        _refuse_contradictions(options)
        for each in ids:
            if status_of(each) is None:
                raise CommandError(f"There is no message {each}; nothing was changed.")
        if options["backend"]:
            ids = unknown_messages(backend=options["backend"], claimed_before=options["claimed_before"])
            if not ids:
                self.say(f"{options['backend']} has no message with an unknown outcome from before then.")
            if not options["yes"]:
                self.write_answer(
                    f"{count_text(len(ids), 'message')} of {options['backend']} would be resolved."
                    " Repeat the command with --yes."
                )
                return
        resolved = sum(resolve_unknown(message_id=each, arrived=options["arrived"]) for each in ids)
        as_what = "sent" if options["arrived"] else "failed"
        self.write_result(f"{count_text(resolved, 'message')} resolved as {as_what}.")
        if resolved < len(ids):
            self.say(f"{count_text(len(ids) - resolved, 'message')} had no unknown outcome; unchanged.")
            sys.exit(3)


def _refuse_contradictions(options: dict[str, Any]) -> None:
    if bool(options["ids"]) == bool(options["backend"]):
        refuse("give either message IDs or --backend with --claimed-before")
    if bool(options["backend"]) != bool(options["claimed_before"]):
        refuse("--backend and --claimed-before belong together")
