"""The events in the body of a WhatsApp webhook. Pure.

https://developers.facebook.com/docs/whatsapp/cloud-api/webhooks
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any, Final, TypeAlias

from pydantic import BaseModel, BeforeValidator, Field, StringConstraints, ValidationError, WrapValidator

from engagement.message_backends.whatsapp_cloud import refusal_of
from engagement.models.choices import LATEST
from engagement.replies import Preference
from engagement.services.delivery.receipts import Receipt, ReceiptKind, callback_ids

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ACCOUNT: Final = "whatsapp_business_account"
PREFERENCES: Final = {"stop": Preference.OPTED_OUT, "resume": Preference.OPTED_IN}
KINDS: Final = frozenset(kind.value for kind in ReceiptKind)
NO_ACTIVITY: Final = frozenset({"system", "request_welcome"})
"""Messages that WhatsApp itself writes: a number has changed, a chat was opened for the first time."""
MAX_ID: Final = 512


@dataclass(frozen=True, slots=True)
class UserMessage:
    """A user has written, or has pressed a button."""

    number: str
    message_id: str
    received_at: datetime
    text: str
    button_of: str | None
    """The id of the message whose button it was. Empty if it is not readable."""
    is_in_group: bool


@dataclass(frozen=True, slots=True)
class PreferenceChange:
    """A user has told WhatsApp to stop marketing messages, or to resume them."""

    number: str
    preference: Preference
    said_at: datetime


class Effect(StrEnum):
    """The result of an event. Some have one as soon as they are read."""

    RECORDED = "recorded"
    REPEATED = "repeated"
    UNKNOWN = "unknown"
    """It names no message or no user of ours."""
    IGNORED = "ignored"
    """It changes nothing here."""
    UNREADABLE = "unreadable"
    """It is not as WhatsApp documents it."""
    WITHOUT_NUMBER = "without_number"
    """WhatsApp names its author by a business-scoped id alone."""
    FAILED = "failed"
    """The database refuses its values, and would again."""
    NOT_TAKEN = "not_taken"
    """The database was away, or something else is wrong that can be mended: WhatsApp must send it again."""


Event: TypeAlias = UserMessage | Receipt | PreferenceChange | Effect

EARLIEST: Final = datetime(2009, 1, 1, tzinfo=UTC)
"""WhatsApp's first year."""
FIRST_MILLISECOND: Final = 10**11
"""Numbers from here on are milliseconds: as seconds they would be after the year 5000."""


def _instant(value: Any) -> datetime:
    """A Unix time as text or as a number: in seconds, as documented, or in milliseconds."""
    try:
        number = int(str(value))
        instant = datetime.fromtimestamp(number / 1000 if number >= FIRST_MILLISECOND else number, tz=UTC)
    except (OverflowError, OSError) as error:
        raise ValueError(str(error)) from None
    if not EARLIEST <= instant < LATEST:
        raise ValueError("before WhatsApp, or after what the tables hold")
    return instant


Id: TypeAlias = Annotated[str, StringConstraints(min_length=1, max_length=MAX_ID)]
Number: TypeAlias = Annotated[str, StringConstraints(pattern=r"^\+?\d{5,20}$")]
Instant: TypeAlias = Annotated[datetime, BeforeValidator(_instant)]


def _or_none(value: Any, read: Callable[[Any], Any]) -> Any:
    """What cannot be read of a message is left out: that the user wrote counts all the same."""
    try:
        return read(value)
    except ValidationError:
        return None


IfReadable: Final = WrapValidator(_or_none)
Words: TypeAlias = Annotated[str | None, IfReadable]


class _Text(BaseModel):
    body: Words = None


class _Button(BaseModel):
    payload: Words = None
    text: Words = None


class _Choice(BaseModel):
    id: Words = None
    title: Words = None


class _Interactive(BaseModel):
    button_reply: Annotated[_Choice | None, IfReadable] = None
    list_reply: Annotated[_Choice | None, IfReadable] = None


class _Reaction(BaseModel):
    emoji: Words = None


class _Context(BaseModel):
    id: Annotated[str, StringConstraints(min_length=1, max_length=MAX_ID, pattern=r"^[^\x00]+$")] | None = (
        None
    )


def _context(value: Any, read: Callable[[Any], _Context]) -> _Context:
    """An id that cannot be read is empty: it names no message that anybody knows."""
    try:
        return read(value)
    except ValidationError:
        return _Context.model_construct(id="")


class _Message(BaseModel):
    sender: Number | None = Field(alias="from")
    id: Id
    timestamp: Instant
    type: Words = None
    text: Annotated[_Text | None, IfReadable] = None
    button: Annotated[_Button | None, IfReadable] = None
    interactive: Annotated[_Interactive | None, IfReadable] = None
    reaction: Annotated[_Reaction | None, IfReadable] = None
    context: Annotated[_Context | None, WrapValidator(_context)] = None
    group_id: Any = None

    @property
    def words(self) -> str:
        """What the user said; empty for a picture and the like, which are messages too."""
        if self.text:
            return self.text.body or ""
        if self.button:
            return self.button.payload or self.button.text or ""
        choice = self.interactive and (self.interactive.button_reply or self.interactive.list_reply)
        return (choice.id or choice.title or "") if choice else ""

    @property
    def is_button(self) -> bool:
        return self.button is not None or self.interactive is not None

    @property
    def is_activity(self) -> bool:
        """Whether the user has done something, other than to remove a reaction."""
        is_removed = self.type == "reaction" and not (self.reaction and self.reaction.emoji)
        return self.type not in NO_ACTIVITY and not is_removed


class _Error(BaseModel):
    code: int


class _Status(BaseModel):
    id: Id
    status: str
    timestamp: Instant
    biz_opaque_callback_data: Words = None
    errors: Any = None

    @property
    def code(self) -> int | None:
        """The first code that can be read."""
        errors = self.errors if isinstance(self.errors, list) else [self.errors]
        read = (_or_none(error, _Error.model_validate) for error in errors)
        return next((error.code for error in read if error), None)


class _UserPreference(BaseModel):
    wa_id: Number | None
    category: str
    value: str
    timestamp: Instant


class _Contact(BaseModel):
    wa_id: Number
    user_id: Words = None


def events_in(body: Any, *, phone_number_id: str) -> Iterator[Event] | None:
    """The events of a body, in their order; None if it is no webhook of WhatsApp.

    Each change and each event is read on its own: what is not as documented keeps nothing else from being
    taken. Events for the account's other numbers are ignored; an empty `phone_number_id` accepts all.
    """
    if not isinstance(body, dict) or body.get("object") != ACCOUNT or not isinstance(body.get("entry"), list):
        return None
    changes = (change for entry in body["entry"] for change in _items(entry, "changes"))
    return (event for change in changes for event in _events(change, phone_number_id=phone_number_id))


def _items(container: Any, name: str) -> list[Any]:
    """The items of a list, which may be missing. What has another form is one item, and not readable."""
    found = container.get(name, []) if isinstance(container, dict) else None
    return found if isinstance(found, list) else [found]


def _events(change: Any, *, phone_number_id: str) -> Iterator[Event]:
    value = change.get("value", {}) if isinstance(change, dict) else None
    if not isinstance(value, dict):
        yield Effect.UNREADABLE
        return
    metadata = value.get("metadata")
    to = metadata.get("phone_number_id") if isinstance(metadata, dict) else None
    is_other_number = bool(phone_number_id and to and str(to) != phone_number_id)
    for read, name in (
        (_receipt, "statuses"),
        (_user_message, "messages"),
        (_preference, "user_preferences"),
    ):
        for item in _items(value, name):
            try:
                yield Effect.IGNORED if is_other_number else read(item, value)
            except ValidationError:
                yield Effect.UNREADABLE


def _receipt(item: Any, _value: dict[str, Any]) -> Event:
    status = _Status.model_validate(item)
    if status.status not in KINDS:
        return Effect.IGNORED
    message_id, attempt_id = callback_ids(status.biz_opaque_callback_data) or (None, None)
    return Receipt(
        kind=ReceiptKind(status.status),
        occurred_at=status.timestamp,
        message_id=message_id,
        attempt_id=attempt_id,
        provider_message_id=status.id,
        refusal=None if status.code is None else refusal_of(status.code),
    )


def _user_message(item: Any, value: dict[str, Any]) -> Event:
    message = _Message.model_validate(_with_number(item, value, number="from", user_id="from_user_id"))
    if not message.is_activity:
        return Effect.IGNORED
    if message.sender is None:
        return Effect.WITHOUT_NUMBER
    return UserMessage(
        number=message.sender.lstrip("+"),
        message_id=message.id,
        received_at=message.timestamp,
        text=message.words,
        button_of=message.context.id if message.is_button and message.context else None,
        is_in_group=bool(message.group_id),
    )


def _preference(item: Any, value: dict[str, Any]) -> Event:
    change = _UserPreference.model_validate(_with_number(item, value, number="wa_id", user_id="user_id"))
    preference = PREFERENCES.get(change.value)
    if preference is None or change.category != "marketing_messages":
        return Effect.IGNORED
    if change.wa_id is None:
        return Effect.WITHOUT_NUMBER
    return PreferenceChange(change.wa_id.lstrip("+"), preference, change.timestamp)


def _with_number(item: Any, value: dict[str, Any], *, number: str, user_id: str) -> Any:
    """The item with its author's number from `contacts`, if it has none itself; None if that has none either.

    WhatsApp leaves out the numbers of users with a username, and names them by a business-scoped id.
    """
    if not isinstance(item, dict) or item.get(number):
        return item
    own_id = item.get(user_id)
    contacts = [_or_none(each, _Contact.model_validate) for each in _items(value, "contacts")]
    # A contact without an id may be somebody else, unless there is no other.
    ids = (own_id,) if len(contacts) > 1 else (own_id, None)
    own = [contact.wa_id for contact in contacts if contact and (own_id is None or contact.user_id in ids)]
    return {**item, number: own[0] if len(set(own)) == 1 else None}
