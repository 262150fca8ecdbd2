"""`manage.py explain_engagement`: why a user did, or did not, get a goodbye."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from django.core.management.base import CommandError
from django.utils import timezone

from engagement.management.base import SentenceCommand
from engagement.management.options import add_now, identifier
from engagement.management.output.explanation_report import explanation_report
from engagement.services.explanation import UnknownUser, explain_user

if TYPE_CHECKING:
    from django.core.management.base import CommandParser


class Command(SentenceCommand):
    help = (
        "Show the state of one user and since when, the next step and when at the earliest, or why there is"
        " none, and their history and messages."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("user_id", metavar="USER_ID", type=identifier, help="the user's id, a UUID")
        add_now(parser, "explain")
        parser.add_argument("--json", action="store_true", help="print one JSON object instead of sentences")

    def handle(self, *_args: Any, **options: Any) -> None:
        now = options["now"] or timezone.now()
        try:
            explanation = explain_user(user_id=options["user_id"], now=now)
        except UnknownUser as error:
            raise CommandError(str(error)) from None
        as_json = options["json"]
        self.write_result(json.dumps(explanation.as_json()) if as_json else explanation_report(explanation))
