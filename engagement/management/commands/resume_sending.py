"""`manage.py resume_sending`: end all pauses of a backend."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from engagement.delivery_wording import until_text
from engagement.formatting import count_text
from engagement.management.base import SentenceCommand
from engagement.management.options import add_backend
from engagement.message_backends.base import named_backend
from engagement.selectors.deliveries import database_now, pauses
from engagement.services.delivery.channels import resume_sending

if TYPE_CHECKING:
    from argparse import ArgumentParser
    from collections.abc import Iterator
    from datetime import datetime

    from engagement.services.delivery.channels import Resumed


class Command(SentenceCommand):
    help = (
        "End all pauses of ENGAGEMENT_MESSAGE_BACKEND, or of another backend, also those of its templates,"
        " and the wait that its provider has asked for or that slots far ahead make."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        add_backend(parser, "resume this backend instead, or a client of the HTTP API")

    def handle(self, **options: Any) -> None:
        backend, now = options["backend"] or named_backend().name, database_now()
        resumed = resume_sending(backend=backend, now=now)
        self.write_result(" ".join(_sentences(resumed, backend=backend, now=now)))


def _sentences(resumed: Resumed, *, backend: str, now: datetime) -> Iterator[str]:
    if resumed.pauses:
        yield f"{count_text(resumed.pauses, 'pause')} of {backend} ended."
    if resumed.waited_until:
        yield f"{backend} would have waited {until_text(resumed.waited_until)}; that ended, too."
    if resumed:
        return
    yield f"{backend} was not paused."
    others = sorted({channel.backend for channel in pauses(now=now)})
    if others:
        yield f"Others are paused: {', '.join(others)}. Resume them with --backend."
