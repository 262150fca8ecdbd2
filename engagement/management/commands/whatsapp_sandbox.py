"""`manage.py whatsapp_sandbox`: a stand-in for WhatsApp's Cloud API on this machine."""

from __future__ import annotations

import json
from functools import wraps
from typing import TYPE_CHECKING, Any, Final, ParamSpec, TypeVar

from django.core.management.base import CommandError
from django.db import connections

from engagement.management.base import SentenceCommand
from engagement.management.options import whole_number
from engagement.sandbox import people
from engagement.sandbox.demo import TEMPLATES
from engagement.sandbox.server import WhatsAppSandbox
from engagement.services.resilience.stop import StopRequest, stop_on_signals

if TYPE_CHECKING:
    from argparse import ArgumentParser
    from collections.abc import Callable

P = ParamSpec("P")
T = TypeVar("T")
DEFAULT_PORT: Final = 8010
POLL_SECONDS: Final = 3600.0


class Command(SentenceCommand):
    help = (
        "Serve a stand-in for WhatsApp's Cloud API on this machine, until Ctrl-C. Its page shows what"
        " send_messages sent, and lets one answer as the user and report receipts."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--port",
            type=whole_number(0, 65_535),
            default=DEFAULT_PORT,
            metavar="N",
            help=f"where it listens ({DEFAULT_PORT}); 0 for any free port",
        )

    def handle(self, **options: Any) -> None:
        try:
            sandbox = WhatsAppSandbox(
                port=options["port"],
                act=_with_own_connection(people.act),
                text_of=_with_own_connection(people.text_of),
            )
        except OSError as error:
            raise CommandError(
                f"Port {options['port']} cannot be used ({error.strerror}); choose another one with --port."
            ) from None
        stop = StopRequest()
        with stop_on_signals(stop), sandbox.running():
            self.write_result(_how_to_use(sandbox.url))
            while not stop.is_set():
                stop.wait(POLL_SECONDS)


def _how_to_use(url: str) -> str:
    settings = {
        "ENGAGEMENT_MESSAGE_BACKEND": "engagement.message_backends.whatsapp_cloud.WhatsAppCloudBackend",
        "WHATSAPP_API_URL": url,
        "WHATSAPP_PHONE_NUMBER_ID": "1",
        "WHATSAPP_ACCESS_TOKEN": "sandbox",
        "WHATSAPP_TEMPLATES": f"'{json.dumps(TEMPLATES)}'",
    }
    lines = (f"  {name}={value}" for name, value in settings.items())
    return "\n".join(
        (f"The sandbox is at {url}; stop it with Ctrl-C.", "To send to it, set for send_messages:", *lines)
    )


def _with_own_connection(work: Callable[P, T]) -> Callable[P, T]:
    """Each request has a thread, and so a connection, of its own, which nobody else would close."""

    @wraps(work)
    def done(*arguments: P.args, **options: P.kwargs) -> T:
        try:
            return work(*arguments, **options)
        finally:
            connections.close_all()

    return done
