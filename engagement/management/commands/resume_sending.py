"""`manage.py resume_sending`: end all pauses of the backend."""

from __future__ import annotations

from typing import Any

from engagement.formatting import count_text
from engagement.management.base import SentenceCommand
from engagement.message_backends.base import named_backend
from engagement.selectors.deliveries import database_now
from engagement.services.delivery.channels import resume_sending


class Command(SentenceCommand):
    help = "End all pauses of ENGAGEMENT_MESSAGE_BACKEND, also those of its templates."

    def handle(self, **options: Any) -> None:  # noqa: ARG002  there are none
        backend = named_backend().name
        ended = resume_sending(backend=backend, now=database_now())
        text = f"{count_text(ended, 'pause')} of {backend} ended." if ended else f"{backend} was not paused."
        self.write_result(text)
