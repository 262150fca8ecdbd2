"""The events in the body of a WhatsApp webhook. Pure.

https://developers.facebook.com/docs/whatsapp/cloud-api/webhooks
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any, Final, TypeAlias

from pydantic import BaseModel, BeforeValidator, Field, StringConstraints, ValidationError

from engagement.message_backends.whatsapp_cloud import refusal_of
from engagement.replies import Preference
from engagement.services.delivery.receipts import Receipt, ReceiptKind, callback_ids

if TYPE_CHECKING:
    from collections.abc import Iterator

PREFERENCES: Final = {"stop": Preference.OPTED_OUT, "resume": Preference.OPTED_IN}
KINDS: Final = frozenset(kind.value for kind in ReceiptKind)
NOT_BY_THE_USER: Final = frozenset({"system"})
"""Messages that WhatsApp itself writes, such as that a number has changed."""
MAX_ID: Final = 512


@dataclass(frozen=True, slots=True)
class UserMessage:
    """A user has written, or has pressed a button."""

    number: str
    message_id: str
    received_at: datetime
    text: str
    button_of: str | None
    """The id of the message whose button it was."""


@dataclass(frozen=True, slots=True)
class PreferenceChange:
    """A user has told WhatsApp to stop marketing messages, or to resume them."""

    number: str
    preference: Preference
    said_at: datetime


class Unreadable:
    """An event that is not as WhatsApp documents it."""


class Ignored:
    """An event that changes nothing here."""


Event: TypeAlias = UserMessage | Receipt | PreferenceChange | Unreadable | Ignored

EARLIEST: Final = datetime(2009, 1, 1, tzinfo=UTC)
"""WhatsApp's first year."""


def _instant(value: Any) -> datetime:
    """A time in Unix seconds; as text or as a number."""
    try:
        instant = datetime.fromtimestamp(int(str(value)), tz=UTC)
    except (OverflowError, OSError) as error:
        raise ValueError(str(error)) from None
    if not instant >= EARLIEST:
        raise ValueError("before WhatsApp")
    return instant


Id: TypeAlias = Annotated[str, StringConstraints(min_length=1, max_length=MAX_ID)]
Number: TypeAlias = Annotated[str, StringConstraints(pattern=r"^\+?\d{5,20}$")]
Instant: TypeAlias = Annotated[datetime, BeforeValidator(_instant)]


class _Text(BaseModel):
    body: str


class _Button(BaseModel):
    payload: str | None = None
    text: str = ""


class _Choice(BaseModel):
    id: str = ""
    title: str = ""


class _Interactive(BaseModel):
    button_reply: _Choice | None = None
    list_reply: _Choice | None = None


class _Context(BaseModel):
    id: Id | None = None


class _Message(BaseModel):
    sender: Number = Field(alias="from")
    id: Id
    timestamp: Instant
    type: str
    text: _Text | None = None
    button: _Button | None = None
    interactive: _Interactive | None = None
    context: _Context | None = None

    @property
    def words(self) -> str:
        """What the user said; empty for a picture and the like, which are messages too."""
        if self.text:
            return self.text.body
        if self.button:
            return self.button.payload or self.button.text
        choice = self.interactive and (self.interactive.button_reply or self.interactive.list_reply)
        return (choice.id or choice.title) if choice else ""

    @property
    def is_button(self) -> bool:
        return self.button is not None or self.interactive is not None


class _Error(BaseModel):
    code: int


class _Status(BaseModel):
    id: Id
    status: str
    timestamp: Instant
    biz_opaque_callback_data: str | None = None
    errors: list[_Error] = []


class _UserPreference(BaseModel):
    wa_id: Number
    category: str
    value: str
    timestamp: Instant


class _Metadata(BaseModel):
    phone_number_id: str | None = None


class _Value(BaseModel):
    metadata: _Metadata = _Metadata()
    messages: list[dict[str, Any]] = []
    statuses: list[dict[str, Any]] = []
    user_preferences: list[dict[str, Any]] = []


class _Change(BaseModel):
    value: _Value = _Value()


class _Entry(BaseModel):
    changes: list[_Change] = []


class _Body(BaseModel):
    object: str
    entry: list[_Entry]


def events_in(body: Any, *, phone_number_id: str) -> Iterator[Event] | None:
    """The events of a body, in their order; None if it is no webhook of WhatsApp.

    Events for the account's other numbers are ignored; an empty `phone_number_id` accepts all.
    """
    try:
        parsed = _Body.model_validate(body)
    except ValidationError:
        return None
    if parsed.object != "whatsapp_business_account":
        return None
    values = [change.value for entry in parsed.entry for change in entry.changes]
    return (event for value in values for event in _events(value, phone_number_id=phone_number_id))


def _events(value: _Value, *, phone_number_id: str) -> Iterator[Event]:
    to = value.metadata.phone_number_id
    is_other_number = bool(phone_number_id and to and to != phone_number_id)
    for read, items in (
        (_receipt, value.statuses),
        (_user_message, value.messages),
        (_preference_change, value.user_preferences),
    ):
        for item in items:
            try:
                yield Ignored() if is_other_number else read(item)
            except ValidationError:
                yield Unreadable()


def _receipt(item: dict[str, Any]) -> Event:
    status = _Status.model_validate(item)
    if status.status not in KINDS:
        return Ignored()
    ids = callback_ids(status.biz_opaque_callback_data)
    return Receipt(
        kind=ReceiptKind(status.status),
        occurred_at=status.timestamp,
        message_id=ids[0] if ids else None,
        attempt_id=ids[1] if ids else None,
        provider_message_id=status.id,
        refusal=refusal_of(status.errors[0].code) if status.errors else None,
    )


def _user_message(item: dict[str, Any]) -> Event:
    message = _Message.model_validate(item)
    if message.type in NOT_BY_THE_USER:
        return Ignored()
    return UserMessage(
        number=message.sender.lstrip("+"),
        message_id=message.id,
        received_at=message.timestamp,
        text=message.words,
        button_of=message.context.id if message.is_button and message.context else None,
    )


def _preference_change(item: dict[str, Any]) -> Event:
    change = _UserPreference.model_validate(item)
    preference = PREFERENCES.get(change.value)
    if preference is None or change.category != "marketing_messages":
        return Ignored()
    return PreferenceChange(change.wa_id.lstrip("+"), preference, change.timestamp)
