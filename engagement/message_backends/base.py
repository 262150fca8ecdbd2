"""The interface of a message backend, and what it returns."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, ClassVar, Final, TypeAlias

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.utils.module_loading import import_string

from engagement.conf import MESSAGE_BACKEND, text_setting

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import timedelta
    from uuid import UUID

CONSOLE: Final = "engagement.message_backends.console.ConsoleBackend"


@dataclass(frozen=True, slots=True, kw_only=True)
class OutgoingMessage:
    """One message, ready to be sent."""

    message_id: UUID
    attempt_id: UUID
    user_id: UUID
    to: str = field(repr=False)
    """The user's address as the profile has it, such as 5511987654321@s.whatsapp.net."""
    message_type: str
    message_key: str
    params: Mapping[str, object] = field(repr=False)
    language: str
    """`pt-br` or `en`."""
    text: str = field(repr=False)
    """The message as free text."""
    callback_data: str
    """`{message id}:{attempt id}`, for the provider to send back with each receipt."""


class Scope(Enum):
    """What a refusal is about. It decides what happens to the message and to the others."""

    CONFIGURATION = "configuration"
    """The token, a permission, the payment: nothing can be sent until a person mends it."""
    ACCOUNT = "account"
    """The account is restricted."""
    TEMPLATE = "template"
    """This template cannot be used."""
    THROTTLE = "throttle"
    """Too fast."""
    PLATFORM = "platform"
    """The provider has trouble."""
    CONNECTION = "connection"
    """The provider was never reached, so nothing was sent."""
    RECIPIENT = "recipient"
    """This message can never be sent to this user."""
    RECIPIENT_LATER = "recipient_later"
    """This message cannot be sent to this user now."""
    OPTED_OUT = "opted_out"
    """The user has told the provider to stop such messages."""


@dataclass(frozen=True, slots=True)
class Accepted:
    """The provider has taken the message. That is no proof of delivery."""

    provider_message_id: str | None = field(default=None, repr=False)
    """Personal data: an id of WhatsApp contains the phone number."""


@dataclass(frozen=True, slots=True)
class Refused:
    """The message was definitely not sent."""

    scope: Scope
    code: str
    retry_after: timedelta | None = None


@dataclass(frozen=True, slots=True)
class Unknown:
    """The message may have been sent, or not."""

    reason: str


TIMEOUT: Final = "timeout"
TOO_LARGE: Final = "answer_too_large"
NO_MESSAGE_ID: Final = "no_message_id"
NOT_RECORDED: Final = "not_recorded"
BACKEND_CRASHED: Final = "backend_crashed"
"""Reasons of outcomes that are unknown."""


SendOutcome: TypeAlias = Accepted | Refused | Unknown


@dataclass(frozen=True, slots=True)
class Template:
    """A template that the provider has approved."""

    name: str
    language: str
    """The provider's code of its language, such as pt_BR."""
    endpoint: str


class MessageBackend(ABC):
    """Sends messages, one at a time in each thread. One instance serves all workers of a sender."""

    name: ClassVar[str]
    """Stored with each message, and the key of the backend's pauses."""
    rate_per_second: ClassVar[float] = 0
    """The default rate; 0 for no limit."""
    has_jitter: ClassVar[bool] = False
    """Whether the time between two messages varies."""
    uses_templates: ClassVar[bool] = False
    """Whether messages that are no replies need a template."""

    @property
    @abstractmethod
    def max_call(self) -> timedelta:
        """The longest that `send` takes."""

    @abstractmethod
    def send(self, message: OutgoingMessage) -> SendOutcome:
        """Send the message. Raises nothing."""

    def template_of(self, *, key: str, language: str) -> Template | None:  # noqa: ARG002  few use templates
        """The template of a message in a language of the catalogue, if there is one."""
        return None

    def check(self) -> list[str]:
        """Sentences about what is missing or wrong in the backend's settings."""
        return []


def load_backend(path: str) -> MessageBackend:
    """The backend with this dotted path.

    Raises ImproperlyConfigured, with one sentence, if there is none.
    """
    try:
        backend, reason = import_string(path), ""
    except ImportError as error:
        backend, reason = None, f" ({error})"
    if not (isinstance(backend, type) and issubclass(backend, MessageBackend)):
        raise ImproperlyConfigured(
            f"{MESSAGE_BACKEND} must be the dotted path of a message backend, such as"
            f" {CONSOLE}, not {path[:100]!r}{reason}."
        )
    if missing := _missing_in(backend):
        raise ImproperlyConfigured(
            f"{MESSAGE_BACKEND} must name a whole backend; {path} lacks {' and '.join(missing)}."
        )
    return backend()


def _missing_in(backend: type[MessageBackend]) -> list[str]:
    without_name = [] if getattr(backend, "name", "") else ["name"]
    return [*without_name, *sorted(backend.__abstractmethods__)]


def configured_backend() -> MessageBackend:
    """The backend of the setting ENGAGEMENT_MESSAGE_BACKEND; in development the console by default.

    Raises ImproperlyConfigured, with one sentence, if there is none, or if it lacks what it needs.
    """
    backend = named_backend()
    for problem in backend.check():
        raise ImproperlyConfigured(problem)
    return backend


def backend_if_any() -> MessageBackend | None:
    """The configured backend; None if there is none, as where only clients of the HTTP API send.

    Raises ImproperlyConfigured, with one sentence, if it lacks what it needs.
    """
    return configured_backend() if text_setting(MESSAGE_BACKEND) or settings.DEBUG else None


def named_backend() -> MessageBackend:
    """The configured backend, whether it has what it needs or not.

    Raises ImproperlyConfigured, with one sentence, if there is none.
    """
    path = text_setting(MESSAGE_BACKEND) or (CONSOLE if settings.DEBUG else "")
    if not path:
        raise ImproperlyConfigured(
            f"{MESSAGE_BACKEND} must say how messages are sent, such as"
            " engagement.message_backends.whatsapp_cloud.WhatsAppCloudBackend."
        )
    return load_backend(path)
