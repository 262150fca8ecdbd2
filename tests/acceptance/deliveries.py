"""Senders as separate processes, a server that counts what it took, and what must hold afterwards."""

from __future__ import annotations

import json
from collections import Counter
from typing import TYPE_CHECKING, Any, Final

from django.db.models import F
from django.test import override_settings

from engagement.message_catalogue import GOODBYE
from engagement.models import EngagementMessage, MessageStatus
from engagement.sandbox.server import Answer
from engagement.selectors.deliveries import database_now
from engagement.services.delivery.receipts import callback_ids
from tests.acceptance.runs import RUN_SECONDS, start
from tests.factories import make_users
from tests.running import Outcome, run_command, run_job
from tests.times import DAY, MINUTE
from tests.waiting import wait_until

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Iterable, Mapping
    from datetime import datetime
    from uuid import UUID

    from engagement.models import UserEngagementState
    from engagement.sandbox.server import SandboxMessage, WhatsAppSandbox

CLOUD: Final = "engagement.message_backends.whatsapp_cloud.WhatsAppCloudBackend"
DYING: Final = "tests.acceptance.dying.DyingBackend"

_template: Final = {"name": "goodbye_v1", "language": "pt_BR"}


class Refusals:
    """Refuses what `code_of` gives a code for; the server has not taken these."""

    def __init__(self, code_of: Mapping[int, int] | None = None) -> None:
        self.codes = dict(code_of or {})
        self.refused: set[int] = set()

    def __call__(self, message: SandboxMessage) -> Answer | None:
        code = self.codes.get(message.number)
        if code is None:
            return None
        self.refused.add(message.number)
        return Answer.error(code)


def queue_goodbyes(count: int, *, now: datetime | None = None) -> list[UserEngagementState]:
    """Users whose goodbyes a run has queued at `now`, by default a minute ago."""
    now = now or database_now() - MINUTE
    users = make_users(count, "silent", last_activity_at=now - 20 * DAY)
    run_job(now=now)
    return users


def backend_environment(sandbox: WhatsAppSandbox) -> dict[str, str]:
    """The settings with which a process sends to the sandbox at any hour, as fast as it can."""
    return {
        "ENGAGEMENT_MESSAGE_BACKEND": CLOUD,
        "ENGAGEMENT_SEND_HOURS": "",
        "ENGAGEMENT_SEND_RATE_PER_SECOND": "0",
        "WHATSAPP_API_URL": sandbox.url,
        "WHATSAPP_PHONE_NUMBER_ID": "4711",
        "WHATSAPP_ACCESS_TOKEN": "secret",
        "WHATSAPP_TEMPLATES": json.dumps({GOODBYE: {"pt-BR": _template, "en": _template}}),
    }


def start_sender(sandbox: WhatsAppSandbox, *arguments: str, **environment: str) -> subprocess.Popen[str]:
    return start("send_messages", "--json", *arguments, **(backend_environment(sandbox) | environment))


def end_of(process: subprocess.Popen[str]) -> Outcome:
    out, err = process.communicate(timeout=RUN_SECONDS)
    assert "Traceback" not in err, err
    return Outcome(out, err, process.returncode)


def send_to_the_end(sandbox: WhatsAppSandbox, *arguments: str, **environment: str) -> Outcome:
    return end_of(start_sender(sandbox, *arguments, **environment))


def send_here(sandbox: WhatsAppSandbox, *arguments: str, **environment: str) -> Outcome:
    """A sender in this process, for what does not depend on the process."""
    with override_settings(**(backend_environment(sandbox) | environment)):
        return run_command("send_messages", "--json", "--no-progress", *arguments)


def let_claims_expire() -> None:
    """As if the time of all claims were over, whose senders are dead."""
    sending = EngagementMessage.objects.filter(status=MessageStatus.SENDING)
    sending.update(claim_expires_at=F("claimed_at"))


def taken(sandbox: WhatsAppSandbox, *, refused: Iterable[int] = ()) -> Counter[UUID]:
    """By message: how often the server has taken it."""
    ids = (callback_ids(each.callback_data) for each in sandbox.messages if each.number not in set(refused))
    return Counter(found[0] for found in ids if found)


def assert_at_most_once(sandbox: WhatsAppSandbox, *, refused: Iterable[int] = (), **counts: int) -> None:
    """No message was taken twice, and each status says the truth; `counts` has the expected statuses."""
    times = taken(sandbox, refused=refused)
    assert not {message: count for message, count in times.items() if count > 1}
    rows: list[tuple[Any, str, Any, Any]] = list(
        EngagementMessage.objects.values_list("id", "status", "sent_at", "outcome_reason")
    )
    assert times.keys() <= {row[0] for row in rows}, "a message that was taken is not in the queue any more"
    for message_id, status, sent_at, reason in rows:
        match status:
            case MessageStatus.SENT:
                assert times[message_id] == 1
                assert sent_at is not None
            case MessageStatus.PENDING:
                assert times[message_id] == 0
            case MessageStatus.FAILED | MessageStatus.CANCELLED:
                assert times[message_id] == 0
                assert reason or status == MessageStatus.CANCELLED
            case MessageStatus.UNKNOWN:
                assert reason
            case _:
                raise AssertionError(f"{message_id} is {status}: nobody sees it")
    found = Counter(row[1] for row in rows)
    assert {name: found[name] for name in counts} == counts


def wait_for_messages(
    sandbox: WhatsAppSandbox, count: int, *, of: subprocess.Popen[str] | None = None
) -> None:
    """Return once the server has received so many, or the process has ended."""
    wait_until(
        lambda: len(sandbox.messages) >= count or (of is not None and of.poll() is not None),
        f"fewer than {count} messages arrive",
    )
