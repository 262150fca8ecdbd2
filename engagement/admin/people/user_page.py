"""The page of a user: state, next step, profile, history and messages."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from engagement.admin import links
from engagement.admin.labels import MESSAGE_COLORS, dated, state_text
from engagement.admin.masking import shown_address, shown_text
from engagement.admin.messages.texts import error_text, message_text
from engagement.admin.people.goodbye_fate import NOT_QUEUED, Fate, fate_of_goodbye
from engagement.admin.people.history import MAX_SHOWN, history
from engagement.delivery_wording import delivery_text
from engagement.formatting import count_text, fill, next_step_sentence
from engagement.local_times import shown_time
from engagement.models import MessageStatus, MessageType
from engagement.selectors.goodbyes import Goodbye
from engagement.selectors.user_history import in_state_since, read_transitions, read_user_status
from engagement.selectors.user_search import latest_messages, support_actions
from engagement.services.explanation import next_step_of
from engagement.services.support import why_not_retry
from engagement.states import State

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import datetime
    from uuid import UUID

    from engagement.admin.masking import Visibility
    from engagement.admin.people.history import Event
    from engagement.models import EngagementMessage, UserProfile
    from engagement.selectors.user_history import UserStatus

NO_PROFILE: Final = gettext_lazy("no profile (deleted or never stored): this page shows what remains")


class ShownMessage(NamedTuple):
    """A message, masked for the reader."""

    row: EngagementMessage
    url: str
    color: str
    text: str
    address: str
    error: str
    when: str
    failures: str
    is_repeated: bool
    """Whether a message above has the same text."""
    may_retry: bool


class Page(NamedTuple):
    """The context of the template."""

    visibility: Visibility
    headline: str
    goodbye: Fate | None
    """How far the goodbye came whose reply the user's state waits for."""
    next_step: str
    facts: Sequence[tuple[str, str]]
    events: Sequence[Event]
    messages: Sequence[ShownMessage]
    has_more_events: bool
    has_actions: bool
    """Whether the admin's log of the user has entries."""
    has_more_messages: bool
    may_be_inactive: bool
    """Whether the user is not active, as far as the page knows."""
    may_have_pending: bool
    """Whether several messages are pending, as far as the page knows. One has its own button."""


def user_page(profile: UserProfile | None, *, user_id: UUID, now: datetime, visibility: Visibility) -> Page:
    """Everything about a user that the reader may see, in a constant number of queries.

    Without a profile it is what the other tables have of the user.
    """
    may = visibility
    status = read_user_status(user_id) if may.states else None
    transitions = read_transitions(user_id, latest=MAX_SHOWN + 1) if may.transitions else []
    messages = latest_messages(user_id, count=MAX_SHOWN + 1) if may.messages else []
    actions = support_actions(user_id, count=MAX_SHOWN + 1)
    since = in_state_since(status, transitions) if status and may.transitions else None
    locale = profile.locale if profile else None
    shown = _shown_messages(messages[:MAX_SHOWN], locale=locale, now=now, visibility=may)
    return Page(
        visibility=may,
        headline=_headline(profile, status, now=now, since=since, visibility=may),
        goodbye=_awaited_goodbye(status, messages, user_id=user_id) if may.messages else None,
        next_step=_next_step(status, user_id=user_id, now=now) if may.states else "",
        facts=[
            (_("User ID"), str(user_id)),
            *(_profile_facts(profile, now=now, unmasked=may.contacts) if profile else ()),
            *_state_facts(status, since=since, now=now),
        ],
        events=history(profile, transitions, actions, now=now, visibility=may),
        messages=shown,
        has_more_events=max(len(transitions), len(actions)) > MAX_SHOWN,
        has_actions=bool(actions),
        has_more_messages=len(messages) > MAX_SHOWN,
        may_be_inactive=not may.states or (status is not None and status.state != State.ACTIVE),
        may_have_pending=not may.messages or _may_have_pending(messages),
    )


def _headline(
    profile: UserProfile | None,
    status: UserStatus | None,
    *,
    now: datetime,
    since: datetime | None,
    visibility: Visibility,
) -> str:
    if status:
        return state_text(status, now=now, since=since)
    if profile is None:
        return str(NO_PROFILE)
    return _("no messages yet") if visibility.states else _("not shown: your account may not see states")


def _awaited_goodbye(
    status: UserStatus | None, messages: Sequence[EngagementMessage], *, user_id: UUID
) -> Fate | None:
    if status is None or status.state != State.GOODBYE_SENT:
        return None
    newest = next((row for row in messages if row.message_type == MessageType.GOODBYE), None)
    goodbye = Goodbye(*(getattr(newest, name) for name in Goodbye._fields)) if newest else None
    if goodbye is None and len(messages) > MAX_SHOWN:
        # It may be among the messages that the page does not read.
        return None
    fate = fate_of_goodbye(goodbye, status, user_id=user_id) or NOT_QUEUED
    return fate._replace(text=_("Goodbye: %(fate)s") % {"fate": fate.text})


def _next_step(status: UserStatus | None, *, user_id: UUID, now: datetime) -> str:
    step = next_step_of(user_status=status, user_id=user_id, now=now)
    return next_step_sentence(step, date=shown_time)


def _may_have_pending(messages: Sequence[EngagementMessage]) -> bool:
    # A message that the page does not show may be pending.
    pending = sum(message.status == MessageStatus.PENDING for message in messages)
    return len(messages) > MAX_SHOWN or pending > 1


def _profile_facts(profile: UserProfile, *, now: datetime, unmasked: bool) -> Iterator[tuple[str, str]]:
    yield "WhatsApp", shown_address(profile.whatsapp_jid, unmasked=unmasked) or _("no address")
    yield _("Channel"), profile.get_preferred_destination_display()
    yield _("Locale"), shown_text(profile.locale, unmasked=unmasked)
    opted_out = _("yes") if profile.reengagement_opt_out else _("no")
    if profile.opt_out_changed_at:
        template = _("%(yes_or_no)s, since %(date)s")
        opted_out = fill(template, yes_or_no=opted_out, date=shown_time(profile.opt_out_changed_at))
    yield _("Opted out"), opted_out
    yield _("First seen"), dated(profile.created_at, now=now)


def _state_facts(
    status: UserStatus | None, *, since: datetime | None, now: datetime
) -> Iterator[tuple[str, str]]:
    if status is None:
        return
    is_active = status.state == State.ACTIVE
    last_message = _("Last message") if is_active else _("Last message other than a reply")
    for name, instant in (
        (_("In this state since"), since),
        (last_message, status.last_activity_at),
        (_("Goodbye queued"), status.goodbye_sent_at),
        (_("Reply expected until"), status.goodbye_expires_at),
        (_("Reminder due"), status.remind_at),
    ):
        if instant is not None:
            yield name, dated(instant, now=now)


def _shown_messages(
    messages: Sequence[EngagementMessage], *, locale: str | None, now: datetime, visibility: Visibility
) -> list[ShownMessage]:
    failed = [message for message in messages if message.status == MessageStatus.FAILED]
    # Without permission to see states the page does not tell whether the user waits.
    refusals = why_not_retry(failed, now=now) if failed and visibility.states else {}
    shown, texts = [], set()
    for message in messages:
        text = shown_text(message_text(message, locale=locale), unmasked=visibility.contacts)
        may_retry = message.status == MessageStatus.FAILED and message.pk not in refusals
        shown.append(
            _shown(
                message,
                text=text,
                is_repeated=text in texts,
                may_retry=may_retry,
                now=now,
                unmasked=visibility.contacts,
            )
        )
        texts.add(text)
    return shown


def _shown(
    message: EngagementMessage,
    *,
    text: str,
    is_repeated: bool,
    may_retry: bool,
    now: datetime,
    unmasked: bool,
) -> ShownMessage:
    failures = message.retry_count
    return ShownMessage(
        row=message,
        url=links.message_url(message.pk),
        color=MESSAGE_COLORS.get(message.status, ""),
        text=text,
        address=shown_address(message.destination_jid, unmasked=unmasked),
        error=shown_text(error_text(message), unmasked=unmasked),
        when=delivery_text(message, now=now, date=shown_time),
        failures=count_text(failures, "failed attempt") if failures else "",
        is_repeated=is_repeated,
        may_retry=may_retry,
    )
