"""`manage.py erase_engagement_user`: erase what identifies a person."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from django.core.management.base import CommandError
from django.utils import timezone

from engagement.formatting import count_text
from engagement.management.base import SentenceCommand
from engagement.management.options import identifier
from engagement.services.erasure import BeingSent, NoSuppressionKey, RunInProgress, erase_user

if TYPE_CHECKING:
    from argparse import ArgumentParser

    from engagement.services.erasure import Erasure


class Command(SentenceCommand):
    help = (
        "Erase a user: delete the profile and the state, and let the audit log, the messages and the runs"
        " name a random id instead. Without --yes, only count. Cannot be undone."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("user_id", metavar="USER_ID", type=identifier, help="the user's id, a UUID")
        parser.add_argument("--yes", action="store_true", help="erase, not only count")
        parser.add_argument("--json", action="store_true", help="print one JSON object instead of sentences")

    def handle(self, **options: Any) -> None:
        user_id, dry_run = options["user_id"], not options["yes"]
        try:
            erasure = erase_user(user_id=user_id, now=timezone.now(), dry_run=dry_run)
        except BeingSent:
            raise CommandError(
                "A message to this user is being sent; nothing was erased. Try again in a few minutes."
            ) from None
        except RunInProgress:
            raise CommandError(
                "A run is in progress; nothing was erased. Try again when it has ended."
            ) from None
        except NoSuppressionKey:
            raise CommandError(
                "Set ENGAGEMENT_SUPPRESSION_KEY to a long random text first: under it a digest of the address"
                " is kept, so that the person is not written to again. Nothing was erased."
            ) from None
        if options["json"]:
            report = json.dumps({"user_id": str(user_id), "dry_run": dry_run, **asdict(erasure)})
        else:
            report = _sentence(erasure, dry_run=dry_run)
        self.write_report(report, dry_run=dry_run)


def _sentence(erasure: Erasure, *, dry_run: bool) -> str:
    if erasure.found_nothing:
        return "No row names this user: they were erased before, or were never here."
    counts = ", ".join(
        (
            count_text(erasure.profile, "profile"),
            count_text(erasure.state, "state"),
            count_text(erasure.transitions, "transition"),
            f"{count_text(erasure.messages, 'message')} ({erasure.cancelled} pending)",
            count_text(erasure.inbound, "inbound message"),
            count_text(erasure.runs, "run"),
            f"{count_text(erasure.admin_log, 'line')} of the admin's log",
        )
    )
    tied = " and ".join(erasure.deleted)
    deleted = f" Because of a foreign key, the rows of {tied} are deleted." if tied else ""
    if dry_run:
        return f"Would be erased: {counts}.{deleted} Repeat the command with --yes."
    kept = " A digest of the address is on the suppression list." if erasure.suppressed else ""
    return f"Erased: {counts}.{deleted}{kept}"
