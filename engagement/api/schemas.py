"""What the HTTP API takes and gives back."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Final, Literal, TypeAlias
from uuid import UUID

from ninja import Schema
from pydantic import AfterValidator, AwareDatetime, ConfigDict, Field, StringConstraints, model_validator

from engagement.message_backends.base import Accepted, Refused, Scope, SendOutcome, Unknown
from engagement.models.choices import EARLIEST, LATEST
from engagement.services.delivery.leases import LONGEST, MOST_LEASED, SHORTEST
from engagement.services.delivery.receipts import ReceiptKind

MAX_TEXT: Final = 65_536
PRINTABLE: Final = r"^[^\x00-\x1f\x7f]+$"
NUMBER: Final = r"^\+?[0-9]{5,20}$"
MAX_ERROR_CODE: Final = 9_999_999
"""Longer ones may be phone numbers."""


def _in_range(instant: datetime) -> datetime:
    if not EARLIEST <= instant < LATEST:
        raise ValueError("the time must be from 1970 to 2999")
    return instant.astimezone(UTC)


def _number(text: str) -> str:
    if not re.fullmatch(NUMBER, text):
        raise ValueError("send digits with the country code, such as 5511987654321, without @s.whatsapp.net")
    return text


Instant: TypeAlias = Annotated[AwareDatetime, AfterValidator(_in_range)]
ProviderId: TypeAlias = Annotated[str, StringConstraints(min_length=1, max_length=512, pattern=PRINTABLE)]
Code: TypeAlias = Annotated[str, StringConstraints(min_length=1, max_length=64, pattern=PRINTABLE)]
Number: TypeAlias = Annotated[str, AfterValidator(_number), Field(json_schema_extra={"pattern": NUMBER})]
LeaseSeconds: TypeAlias = Annotated[int, Field(ge=SHORTEST.seconds, le=LONGEST.seconds)]


class Body(Schema):
    """A request; an unknown field is an error, because it is a misspelt one."""

    model_config = ConfigDict(extra="forbid")


class ErrorDetail(Schema):
    code: str
    message: str


class ErrorBody(Schema):
    """Every error."""

    error: ErrorDetail


class InboundIn(Body):
    """A message that a user has written."""

    user_id: UUID | None = Field(None, description="The author; or `number`.")
    number: Number | None = Field(None, description="The author's number, with the country code.")
    text: Annotated[str, StringConstraints(max_length=MAX_TEXT)] = Field(
        "", description="Empty for a picture and the like. It is not stored."
    )
    message_id: ProviderId | None = Field(
        None, description="The messenger's id, by which a repeated message is recognised. Not stored."
    )
    received_at: Instant | None = Field(None, description="By default now. Needed without `message_id`.")
    button_of: ProviderId | None = Field(
        None, description="The messenger's id of the message whose button was pressed."
    )

    @model_validator(mode="after")
    def _is_identified(self) -> InboundIn:
        if (self.user_id is None) == (self.number is None):
            raise ValueError("name the author by user_id or by number")
        if self.message_id is None and self.received_at is None:
            raise ValueError("send message_id or received_at, by which a repeated message is recognised")
        return self


class TransitionOut(Schema):
    from_state: str
    to_state: str
    trigger: str


class ReplyOut(Schema):
    key: str
    params: dict[str, Any]
    language: str
    text: str = Field(description="What to answer, in the user's language.")


class InboundOut(Schema):
    user_id: UUID
    repeat: bool = Field(description="The message was processed before; the reply is the same as then.")
    novelty: Literal["new", "repeat", "old"]
    transition: TransitionOut | None
    preference: Literal["opted_out", "opted_in"] | None
    reply: ReplyOut | None
    cancelled: int = Field(description="How many pending messages were cancelled.")


class LeaseIn(Body):
    """A request for messages to send."""

    request_id: UUID = Field(description="A new one for each request; the same one to ask again.")
    limit: int = Field(10, ge=1, le=MOST_LEASED)
    seconds: LeaseSeconds = Field(120, description="How long the lease lasts.")


class LeaseOut(Schema):
    message_id: UUID
    attempt_id: UUID
    user_id: UUID
    to: str = Field(description="The WhatsApp address.")
    type: str
    key: str
    params: dict[str, Any]
    language: str
    text: str
    callback_data: str = Field(description="For `biz_opaque_callback_data` of WhatsApp's Cloud API.")
    send_at: datetime = Field(description="Not before this time, so that the pace is kept.")
    expires_at: datetime
    repeat: bool = Field(
        description="An earlier request leased it. If you may have begun to send it, report `unknown`."
    )


class LeasesOut(Schema):
    leases: list[LeaseOut]
    paused_until: datetime | None
    pause_reason: str | None


class ExtensionIn(Body):
    attempt_id: UUID
    seconds: LeaseSeconds = Field(120, description="From now on.")


class ExtensionOut(Schema):
    expires_at: datetime


class OutcomeIn(Body):
    """How an attempt ended."""

    attempt_id: UUID
    outcome: Literal["accepted", "refused", "unknown"] = Field(
        description="`refused` only if the message has certainly not left; `unknown` in all doubt."
    )
    provider_message_id: ProviderId | None = Field(
        None, description="The messenger's id, if it was accepted."
    )
    scope: Scope | None = Field(None, description="What a refusal is about; it decides what happens next.")
    code: Code = Field("unspecified", description="The messenger's code or word for it.")
    retry_after: int | None = Field(None, ge=1, le=86_400, description="Seconds.")

    @model_validator(mode="after")
    def _fits(self) -> OutcomeIn:
        if (self.outcome == "refused") != (self.scope is not None):
            raise ValueError("scope belongs to refused, and only to it")
        return self

    def result(self) -> SendOutcome:
        if self.outcome == "accepted":
            return Accepted(self.provider_message_id)
        if self.scope is None:
            return Unknown(self.code)
        return Refused(
            self.scope, self.code, timedelta(seconds=self.retry_after) if self.retry_after else None
        )


class OutcomeOut(Schema):
    message_id: UUID
    ending: Literal["sent", "failed", "unknown", "waiting", "stale"] = Field(
        description="`waiting`: it will be due again. `stale`: it is another attempt's now; nothing changed."
    )


class ReceiptIn(Body):
    """What the messenger reports later about a message."""

    kind: ReceiptKind
    occurred_at: Instant
    provider_message_id: ProviderId | None = None
    callback_data: ProviderId | None = Field(None, description="As it was leased, if it comes back.")
    code: int | None = Field(
        None, ge=0, le=MAX_ERROR_CODE, description="WhatsApp's error code, if it failed."
    )

    @model_validator(mode="after")
    def _names_a_message(self) -> ReceiptIn:
        if self.provider_message_id is None and self.callback_data is None:
            raise ValueError("send provider_message_id or callback_data")
        return self


class ReceiptOut(Schema):
    effect: Literal["recorded", "repeated", "earlier_attempt", "unknown_message"]


class PreferenceOut(Schema):
    user_id: UUID
    opted_out: bool
    cancelled: int = Field(description="How many pending messages were cancelled.")
