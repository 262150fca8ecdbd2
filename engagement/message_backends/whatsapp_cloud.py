"""Meta's WhatsApp Cloud API.

After 24 hours without a message from the user it takes approved templates only; replies are free text.
https://developers.facebook.com/docs/whatsapp/cloud-api
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import timedelta
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from engagement.addresses import number_of
from engagement.conf import SEND_TIMEOUT, is_printable, text_setting, whole_number
from engagement.message_backends.base import (
    Accepted,
    MessageBackend,
    OutgoingMessage,
    Refused,
    Scope,
    SendOutcome,
    Template,
    Unknown,
)
from engagement.message_backends.http import Answer, post
from engagement.message_catalogue import DEFAULT_LANGUAGE, GOODBYE
from engagement.states import DAY, MINUTE

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

DEFAULT_URL: Final = "https://graph.facebook.com"
DEFAULT_VERSION: Final = "v23.0"
MESSAGES: Final = "messages"
ENDPOINTS: Final = (MESSAGES, "marketing_messages")
REPLY: Final = "reply"
QUICK_REPLIES: Final = ("1", "2", "3")


SCOPES: Final[Mapping[int, Scope]] = MappingProxyType(
    {
        **dict.fromkeys((0, 3, 10, 33, 190, *range(200, 220)), Scope.CONFIGURATION),
        **dict.fromkeys((131005, 131037, 131042, 131045, 131063, 133010), Scope.CONFIGURATION),
        **dict.fromkeys((368, 131031, 131048, 131064), Scope.ACCOUNT),
        **dict.fromkeys(range(132000, 132017), Scope.TEMPLATE),
        **dict.fromkeys((4, 80007, 130429), Scope.THROTTLE),
        **dict.fromkeys((131000, 131016, 131057), Scope.PLATFORM),
        **dict.fromkeys((131026, 131021, 131030, 131047, 131051, 130472, 131008, 131009), Scope.RECIPIENT),
        **dict.fromkeys((131056, 131049, 100), Scope.RECIPIENT_LATER),
        131050: Scope.OPTED_OUT,
    }
)
"""By the code of an error. The title and the HTTP status say too little."""
WAITS: Final[Mapping[int, timedelta]] = MappingProxyType({131056: MINUTE, 131049: DAY})
_LARGEST_CODE: Final = 10**9
_NO_SUCH_PHONE_NUMBER_ID: Final = (100, 33)
"""The code and the subcode of the answer to a wrong WHATSAPP_PHONE_NUMBER_ID."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CloudSettings:
    """What the backend has to know, as text."""

    url: str
    version: str
    phone_number_id: str
    token: str = field(repr=False)
    templates: str
    """A JSON object: by message key and language, the template."""

    @classmethod
    def from_django(cls) -> CloudSettings:
        return cls(
            url=text_setting("WHATSAPP_API_URL") or DEFAULT_URL,
            version=text_setting("WHATSAPP_API_VERSION") or DEFAULT_VERSION,
            phone_number_id=text_setting("WHATSAPP_PHONE_NUMBER_ID"),
            token=text_setting("WHATSAPP_ACCESS_TOKEN"),
            templates=text_setting("WHATSAPP_TEMPLATES"),
        )


class WhatsAppCloudBackend(MessageBackend):
    """Sends templates, and replies as text."""

    name = "whatsapp_cloud"
    rate_per_second = 10
    uses_templates = True

    def __init__(self, settings: CloudSettings | None = None) -> None:
        self._settings = settings or CloudSettings.from_django()
        self._seconds = whole_number(SEND_TIMEOUT)
        self._templates, self._problem = _templates(self._settings.templates)

    @property
    def max_call(self) -> timedelta:
        return timedelta(seconds=self._seconds)

    def check(self) -> list[str]:
        names = ("WHATSAPP_PHONE_NUMBER_ID", "WHATSAPP_ACCESS_TOKEN")
        values = (self._settings.phone_number_id, self._settings.token)
        problems = [f"{name} must be set." for name, value in zip(names, values, strict=True) if not value]
        problems += [
            f"{name} must be one line of plain characters, without spaces."
            for name, value in zip(names, values, strict=True)
            if value and not is_printable(value)
        ]
        if not _is_safe(self._settings.url):
            problems.append(
                "WHATSAPP_API_URL must begin with https://, or with http://127.0.0.1 for a sandbox."
            )
        if self._problem:
            problems.append(self._problem)
        elif self.template_of(key=GOODBYE, language=DEFAULT_LANGUAGE) is None:
            problems.append(
                f"WHATSAPP_TEMPLATES must have a template of {GOODBYE} for the language pt-BR, which users"
                " of other languages than English get."
            )
        return problems

    def template_of(self, *, key: str, language: str) -> Template | None:
        return self._templates.get(key, {}).get(language.lower())

    def send(self, message: OutgoingMessage) -> SendOutcome:
        template = self.template_of(key=message.message_key, language=message.language)
        if message.message_type == REPLY:
            endpoint, content = MESSAGES, {"type": "text", "text": {"body": message.text}}
        elif template:
            endpoint, content = template.endpoint, _filled_in(template, message)
        else:
            return Refused(Scope.TEMPLATE, "no_template")
        number = number_of(message.to)
        if number is None:
            return Refused(Scope.RECIPIENT, "not_a_number")
        body = {
            "messaging_product": "whatsapp",
            "recipient_type": "individual",
            "to": number,
            **content,
        }
        if endpoint == MESSAGES:  # the other one does not take it
            body["biz_opaque_callback_data"] = message.callback_data
        server = self._settings
        return outcome_of(
            post(
                f"{server.url.rstrip('/')}/{server.version}/{server.phone_number_id}/{endpoint}",
                body=json.dumps(body).encode(),
                headers={"Authorization": f"Bearer {server.token}", "Content-Type": "application/json"},
                seconds=self._seconds,
            )
        )


def outcome_of(exchange: Answer | Refused | Unknown) -> SendOutcome:
    """What an answer of the API means."""
    if not isinstance(exchange, Answer):
        return exchange
    answer = exchange.json()
    if not isinstance(answer, dict):
        return Unknown(f"http_{exchange.status}")
    if isinstance(error := answer.get("error"), dict) and _is_code(error.get("code")):
        is_wrong_id = (error["code"], error.get("error_subcode")) == _NO_SUCH_PHONE_NUMBER_ID
        code = error["error_subcode"] if is_wrong_id else error["code"]
        return refusal_of(code, retry_after=exchange.retry_after)
    message_id = _message_id(answer)
    if exchange.status == 200 and message_id:  # noqa: PLR2004
        return Accepted(message_id if is_printable(message_id) else None)
    return Unknown(f"http_{exchange.status}")


def _is_code(value: object) -> bool:
    return type(value) is int and abs(value) < _LARGEST_CODE


def refusal_of(code: int, *, retry_after: str | None = None) -> Refused | Unknown:
    """What an error of the API is about. An unknown code says too little: a person looks at it."""
    scope = SCOPES.get(code)
    if scope is None:
        return Unknown(f"code_{code}")
    seconds = int(retry_after) if retry_after and retry_after.isdecimal() and len(retry_after) < 6 else 0  # noqa: PLR2004
    wait = max(timedelta(seconds=seconds), WAITS.get(code, timedelta()))
    return Refused(scope, str(code), wait or None)


def _message_id(answer: Mapping[str, Any]) -> str | None:
    messages = answer.get("messages")
    if isinstance(messages, list) and messages and isinstance(messages[0], dict):
        found = messages[0].get("id")
        return found if isinstance(found, str) else None
    return None


def _filled_in(template: Template, message: OutgoingMessage) -> dict[str, Any]:
    content: dict[str, Any] = {
        "name": template.name,
        "language": {"policy": "deterministic", "code": template.language},
    }
    if components := list(_components(message)):
        content["components"] = components
    return {"type": "template", "template": content}


def _components(message: OutgoingMessage) -> Iterator[dict[str, Any]]:
    if message.params:
        parameters = [
            {"type": "text", "parameter_name": name, "text": str(value)}
            for name, value in message.params.items()
        ]
        yield {"type": "body", "parameters": parameters}
    if message.message_key == GOODBYE:
        for index, payload in enumerate(QUICK_REPLIES):
            yield {
                "type": "button",
                "sub_type": "quick_reply",
                "index": str(index),
                "parameters": [{"type": "payload", "payload": payload}],
            }


def _templates(text: str) -> tuple[dict[str, dict[str, Template]], str | None]:
    """By key and language: the template. With a sentence if the setting is wrong."""
    if not text:
        return {}, None
    try:
        given = json.loads(text)
        return {key: _by_language(languages) for key, languages in given.items()}, None
    except (ValueError, AttributeError, TypeError, KeyError):
        return {}, (
            "WHATSAPP_TEMPLATES must be a JSON object by message key and language, such as"
            ' {"engagement.goodbye.self_select": {"pt-BR": {"name": "goodbye_v1", "language": "pt_BR"}}}.'
        )


def _by_language(languages: Mapping[str, Mapping[str, str]]) -> dict[str, Template]:
    found = {}
    for language, given in languages.items():
        chosen = (given["name"], given["language"], given.get("endpoint", ENDPOINTS[0]))
        template = Template(*chosen)
        if template.endpoint not in ENDPOINTS or not all(isinstance(each, str) for each in chosen):
            raise ValueError
        found[language.lower()] = template
    return found


def _is_safe(url: str) -> bool:
    """Whether a token may be sent there: encrypted, or not beyond this machine."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return False
    is_local = parts.scheme == "http" and parts.hostname in {"127.0.0.1", "localhost"}
    return is_local or (parts.scheme == "https" and bool(parts.hostname))
