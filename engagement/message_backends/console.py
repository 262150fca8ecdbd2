"""The backend of development: it writes what it would send."""

from __future__ import annotations

import sys
from datetime import timedelta
from uuid import uuid4

from engagement.message_backends.base import Accepted, MessageBackend, OutgoingMessage
from engagement.privacy import mask


class ConsoleBackend(MessageBackend):
    """Writes each message to stderr and calls it accepted."""

    name = "console"

    @property
    def max_call(self) -> timedelta:
        return timedelta(seconds=5)

    def send(self, message: OutgoingMessage) -> Accepted:
        if sys.stderr is not None:
            sys.stderr.write(f"--- {message.message_type} to {mask(message.to)} ---\n{message.text}\n")
        return Accepted(f"console-{uuid4()}")
