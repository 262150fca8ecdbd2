"""A demonstration of delivery: people of an activity log get a goodbye in the sandbox, and answer.

Nothing leaves the machine. All commands and services are those of everyday use.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Final
from zoneinfo import ZoneInfo

from django.test.utils import override_settings

from engagement.conf import POLICY
from engagement.message_backends.whatsapp_cloud import CloudSettings, WhatsAppCloudBackend
from engagement.message_catalogue import GOODBYE
from engagement.models import (
    EngagementJobRun,
    EngagementMessage,
    MessageType,
    UserEngagementState,
    UserProfile,
)
from engagement.replay.demo_run import DatabaseNotEmpty, run_demonstration_job
from engagement.replay.period import read_replay_log
from engagement.replay.receiving import add_profiles, latest, receive_all
from engagement.sandbox import people
from engagement.sandbox.server import Answer, WhatsAppSandbox
from engagement.selectors.addresses import locale_of
from engagement.sending_hours import SendingHours
from engagement.services.delivery.receipts import ReceiptKind
from engagement.services.delivery.sender import SendRequest, send_messages
from engagement.services.delivery.settings import DEFAULT_HOURS, DEFAULT_TIME_ZONE, DeliverySettings
from engagement.states import DAY, HOUR, Policy

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import datetime
    from pathlib import Path
    from uuid import UUID

    from engagement.replay.activity_log import Event
    from engagement.replay.period import Message
    from engagement.sandbox.server import SandboxMessage
    from engagement.services.delivery.result import SendResult
    from engagement.services.job.result import RunResult

SILENT: Final = 14
"""How many people are due for a goodbye. Besides them there are silent ones who have opted out."""
OPTED_OUT: Final = 2
ACTIVE: Final = 3
HOURS: Final = SendingHours.parse(DEFAULT_HOURS)
ZONE: Final = ZoneInfo(DEFAULT_TIME_ZONE)
NOT_ON_WHATSAPP: Final = 131026
TOKEN: Final = "sandbox"  # noqa: S105  no real one

TEMPLATES: Final = {
    GOODBYE: {
        "pt-BR": {"name": "goodbye_v1", "language": "pt_BR"},
        "en": {"name": "goodbye_v1", "language": "en"},
    }
}
"""WHATSAPP_TEMPLATES for a sandbox, which takes any template."""

ANSWERS: Final = ("1", "2", "3", "stop", "Oi! Voltei", None, None)
"""What people answer, in turns; None says nothing."""


@dataclass(slots=True)
class Person:
    """A user of the log, and what happened to them."""

    user_id: UUID
    last_activity_at: datetime
    events: list[str] = field(default_factory=list)
    state: str = ""
    """The state in the end."""


@dataclass(frozen=True, slots=True)
class DeliveryStory:
    """What happened, in the order in which it did."""

    people: Sequence[Person]
    first_run: RunResult
    sending: SendResult
    second_run: RunResult
    sent_as_of: datetime


# The story is that of the default rules, whatever this project's are.
@override_settings(**dict.fromkeys(POLICY, ""))
def play_delivery(*, path: Path, as_of: datetime | None, now: datetime) -> DeliveryStory:
    """Tell people of the log at `path` goodbye through a sandbox, and let them answer.

    The log is moved by whole days so that `as_of` (its last event) becomes `now`. The next run is that of
    three hours after the end of the wait.
    Transaction: none; each service has its own. Not repeatable.
    Raises DatabaseNotEmpty and MalformedActivityLog before anything is written, and DemonstrationFailed.
    """
    if any(table.objects.exists() for table in (UserProfile, EngagementMessage, EngagementJobRun)):
        raise DatabaseNotEmpty
    persons = _settle(read_replay_log(path).messages, as_of=as_of, now=now)
    first_run = run_demonstration_job(now)
    sent_as_of = HOURS.next_open_at(now, zone=ZONE)
    with WhatsAppSandbox().running() as sandbox:
        sandbox.respond = _respond
        backend = WhatsAppCloudBackend(_settings_for(sandbox.url))
        sending = send_messages(
            request=SendRequest(backend=backend, now=sent_as_of, delivery=_delivery_settings())
        )
    by_id = {person.user_id: person for person in persons}
    told = [(by_id.pop(people.queued(message).user_id), message) for message in sandbox.messages]
    for person, message in told:
        _live_on(person, message)
    second_run = run_demonstration_job(sent_as_of + Policy().goodbye_wait + 3 * HOUR)
    in_order = [*(person for person, _ in told), *by_id.values()]
    _tell_the_end(in_order)
    return DeliveryStory(in_order, first_run, sending, second_run, sent_as_of)


def _settle(messages: Iterable[Message], *, as_of: datetime | None, now: datetime) -> list[Person]:
    """Add a few people of the log to the tables, silent ones and active ones."""
    messages = list(messages)
    ends_at = as_of or messages[-1].event.occurred_at
    by = timedelta(days=(now - ends_at).days)
    moved = [
        each._replace(event=replace(each.event, occurred_at=each.event.occurred_at + by))
        for each in messages
        if each.event.occurred_at <= ends_at
    ]
    last: dict[UUID, Event] = {}
    for each in moved:
        # Taken out first, so that the order is that of the last activity.
        last.pop(each.user_id, None)
        last[each.user_id] = each.event
    limit = now - Policy().inactivity
    silent = [user_id for user_id, event in last.items() if event.occurred_at < limit - DAY]
    willing = [user_id for user_id in silent if last[user_id].whatsapp_jid]
    opted_out = [user_id for user_id in willing if last[user_id].reengagement_opt_out][-OPTED_OUT:]
    told = [user_id for user_id in willing if not last[user_id].reengagement_opt_out][-SILENT:]
    active = [user_id for user_id, event in last.items() if event.occurred_at > limit + 3 * DAY][-ACTIVE:]
    chosen = [*told, *opted_out, *active]
    lives = [each for each in moved if each.user_id in chosen]
    add_profiles(lives)
    receive_all(latest(lives))
    return [Person(user_id, last[user_id].occurred_at) for user_id in chosen]


def _delivery_settings() -> DeliverySettings:
    """Those of the demonstration: what a developer has set for a sender of their own may hold all back."""
    return DeliverySettings(
        hours=HOURS,
        time_zone=ZONE,
        rate_per_second=0,
        daily_cap=0,
        max_age=2 * DAY,
        max_attempts=5,
        allow_only=frozenset(),
        types=tuple(MessageType),
    )


def _settings_for(url: str) -> CloudSettings:
    return CloudSettings(
        url=url, version="v23.0", phone_number_id="1", token=TOKEN, templates=json.dumps(TEMPLATES)
    )


def _respond(message: SandboxMessage) -> Answer | None:
    """Two of the messages have trouble."""
    if message.number == SILENT - 1:
        return Answer.error(NOT_ON_WHATSAPP)
    if message.number == SILENT:
        # It was taken, but the answer is lost.
        return Answer(500, b"")
    return None


def _live_on(person: Person, message: SandboxMessage) -> None:
    """What happens after the message was sent to this person."""
    row = people.queued(message)
    if row.status == "failed":
        person.events.append(f"WhatsApp refused the goodbye: the number cannot get it ({row.error_code}).")
        return
    if row.status == "unknown":
        person.events.append("The answer to the goodbye was lost, so it is not sent again by itself.")
        people.report(message, ReceiptKind.DELIVERED)
        person.events.append("WhatsApp's receipt says that it arrived; now it counts as sent.")
        return
    people.report(message, ReceiptKind.DELIVERED)
    people.report(message, ReceiptKind.READ)
    person.events.append("Got the goodbye, and read it.")
    text = ANSWERS[(message.number - 1) % len(ANSWERS)]
    if text is None:
        person.events.append("Says nothing.")
        return
    result = people.answer(message, text)
    person.events.append(f'Writes "{text}".')
    if reply := people.reply_to(result, locale=locale_of(row.user_id) or ""):
        person.events.append(f'The assistant replies: "{reply}"')


def _tell_the_end(persons: Iterable[Person]) -> None:
    states = dict(UserEngagementState.objects.values_list("user_id", "state"))
    goodbyes = set(EngagementMessage.objects.values_list("user_id", flat=True))
    opted_out = set(UserProfile.objects.filter(reengagement_opt_out=True).values_list("user_id", flat=True))
    for person in persons:
        person.state = states[person.user_id]
        if person.user_id not in goodbyes:
            reason = "has opted out" if person.user_id in opted_out else "has written not long ago"
            person.events.append(f"Gets nothing: {reason}.")
