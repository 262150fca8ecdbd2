"""A backend whose process is killed just before or just after it sends."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

from engagement.message_backends.whatsapp_cloud import WhatsAppCloudBackend

if TYPE_CHECKING:
    from engagement.message_backends.base import OutgoingMessage, SendOutcome


class DyingBackend(WhatsAppCloudBackend):
    """DIE in the environment says when: `before` or `after` the message left."""

    def send(self, message: OutgoingMessage) -> SendOutcome:
        if os.environ["DIE"] == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        outcome = super().send(message)
        os.kill(os.getpid(), signal.SIGKILL)
        return outcome
