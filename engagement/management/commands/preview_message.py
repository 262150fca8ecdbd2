"""`manage.py preview_message`: the text of a message."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.core.management.base import CommandError

from engagement.management.base import WRONG_ARGUMENTS, SentenceCommand
from engagement.management.options import json_object
from engagement.message_catalogue import (
    UnknownMessageKey,
    WrongMessageParameters,
    WrongTranslation,
    message_keys,
    render,
)

if TYPE_CHECKING:
    from django.core.management.base import CommandParser


class Command(SentenceCommand):
    help = "Print the text of a message exactly as a user with this locale receives it."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("key", metavar="KEY", help=f"one of {', '.join(message_keys())}")
        parser.add_argument(
            "--locale",
            default="pt-BR",
            metavar="L",
            help="such as en, or pt-BR (the default, also for unsupported locales)",
        )
        parser.add_argument(
            "--params",
            type=json_object,
            default={},
            metavar="JSON",
            help="the message's parameters, as a JSON object",
        )

    def handle(self, *_args: Any, **options: Any) -> None:
        try:
            text = render(key=options["key"], locale=options["locale"], params=options["params"])
        except (UnknownMessageKey, WrongMessageParameters, WrongTranslation) as error:
            raise CommandError(str(error), returncode=WRONG_ARGUMENTS) from None
        self.write_answer(text)
