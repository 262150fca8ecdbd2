"""What sending costs: beside a server that takes its time, and the database's part alone."""

from __future__ import annotations

import json
import time
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from django.utils import timezone

from engagement.message_backends.base import Accepted, MessageBackend
from engagement.message_catalogue import GOODBYE
from engagement.models import EngagementMessage, EngagementStateTransition, UserEngagementState, UserProfile
from engagement.sandbox.server import WhatsAppSandbox
from tests.bench.measuring import of_process
from tests.factories import make_users
from tests.running import run_job

if TYPE_CHECKING:
    from collections.abc import Iterator

    from engagement.message_backends.base import OutgoingMessage
    from tests.bench.measuring import Measurement

ANSWER_SECONDS: Final = 0.05
WORKERS: Final = 4
CHUNK: Final = 2_000
"""Users per statement."""
TABLES: Final = (EngagementMessage, EngagementStateTransition, UserEngagementState, UserProfile)
_template: Final = {"name": "goodbye_v1", "language": "pt_BR"}


class InstantBackend(MessageBackend):
    """Accepts everything at once, so that the database's part is left."""

    name = "instant"
    max_call = timedelta(seconds=1)

    def send(self, message: OutgoingMessage) -> Accepted:
        return Accepted(f"instant-{message.message_id}")


def report(size: int) -> str:
    """Send a tenth of `size` messages and all of them to a slow server, then a fifth without a server."""
    few, many = (_beside_a_server(number) for number in (size // 10, size))
    a_fifth = size // 5
    alone = _measured(a_fifth, "tests.bench.sending.InstantBackend", workers=1)
    start = _measured(0, "tests.bench.sending.InstantBackend", workers=1)
    ideal = size * ANSWER_SECONDS / WORKERS
    milliseconds = (alone.seconds - start.seconds) * 1000 / a_fifth
    return "\n".join(_lines(size, few, many, milliseconds=milliseconds, ideal=ideal)) + "\n"


def _lines(
    size: int, few: Measurement, many: Measurement, *, milliseconds: float, ideal: float
) -> Iterator[str]:
    assert few.peak_megabytes
    assert many.peak_megabytes
    yield f"{size:,} messages, a server that answers in 50 ms, {WORKERS} workers: {many.seconds:.1f} s"
    yield f"x ideal ({size:,} x 50 ms / {WORKERS} = {ideal:.1f} s): {many.seconds / ideal:.2f}"
    growth = many.peak_megabytes / few.peak_megabytes
    yield f"peak memory: {many.peak_megabytes:.0f} MB; / a tenth of the messages: {growth:.2f}"
    yield f"the database's part, one worker: {milliseconds:.2f} ms per message"


def _beside_a_server(size: int) -> Measurement:
    with WhatsAppSandbox(respond=lambda _message: time.sleep(ANSWER_SECONDS)).running() as sandbox:
        backend = "engagement.message_backends.whatsapp_cloud.WhatsAppCloudBackend"
        measurement = _measured(size, backend, workers=WORKERS, WHATSAPP_API_URL=sandbox.url)
        if len(sandbox.messages) != size:
            raise SystemExit(f"bench: {len(sandbox.messages)} messages arrived instead of {size}.")
    return measurement


def _measured(size: int, backend: str, *, workers: int, **environment: str) -> Measurement:
    for table in TABLES:
        table.objects.all()._raw_delete(table.objects.db)
    for done in range(0, size, CHUNK):
        number = min(CHUNK, size - done)
        make_users(number, "silent", last_activity_at=timezone.now() - timedelta(days=20))
    run_job(now=timezone.now())
    templates = json.dumps({GOODBYE: {"pt-BR": _template, "en": _template}})
    return of_process(
        *("manage.py", "send_messages", "--workers", str(workers), "--no-progress"),
        ENGAGEMENT_MESSAGE_BACKEND=backend,
        ENGAGEMENT_SEND_HOURS="",
        ENGAGEMENT_SEND_RATE_PER_SECOND="0",
        WHATSAPP_PHONE_NUMBER_ID="1",
        WHATSAPP_ACCESS_TOKEN="bench",  # noqa: S106  no real one
        WHATSAPP_TEMPLATES=templates,
        **environment,
    )
