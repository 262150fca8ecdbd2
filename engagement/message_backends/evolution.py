"""Evolution API, a gateway over WhatsApp Web.

It takes free text, has no receipts here, and answers 400 also after a message has left: only a few answers
are definite. Numbers that send fast are banned, hence one message in 45 seconds.
"""

from __future__ import annotations

import json
import re
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

from engagement.conf import SEND_TIMEOUT, is_printable, is_web_address, text_setting, whole_number
from engagement.message_backends.base import (
    NO_MESSAGE_ID,
    Accepted,
    MessageBackend,
    Refused,
    Scope,
    SendOutcome,
    Unknown,
)
from engagement.message_backends.http import Answer, post

if TYPE_CHECKING:
    from engagement.message_backends.base import OutgoingMessage

SETTINGS: Final = ("EVOLUTION_URL", "EVOLUTION_API_KEY", "EVOLUTION_INSTANCE")
_CONFIGURATION: Final = {301, 307, 308, 401, 403, 404}
"""Also redirects that ask for the same request elsewhere: they are not followed, so nothing was sent."""
_ACCEPTED: Final = {200, 201}
_BAD_REQUEST: Final = 400
_SCHEMA_ERROR: Final = re.compile(
    r"\W*instance(\.\w+)* (requires property|does not (match|meet|conform)"
    r"|is not (of a type|one of|allowed to have|exactly))"
)
"""What the gateway says of a body that does not fit its schema, perhaps in a list."""


class EvolutionBackend(MessageBackend):
    """Sends free text through one instance of the gateway."""

    name = "evolution"
    rate_per_second = 1 / 45
    has_jitter = True

    def __init__(self) -> None:
        self._url, self._key, self._instance = map(text_setting, SETTINGS)
        self._seconds = whole_number(SEND_TIMEOUT)

    @property
    def max_call(self) -> timedelta:
        return timedelta(seconds=self._seconds)

    def check(self) -> list[str]:
        values = (self._url, self._key, self._instance)
        problems = [f"{name} must be set." for name, value in zip(SETTINGS, values, strict=True) if not value]
        if self._url and not _is_address_of_a_gateway(self._url):
            problems.append(
                "EVOLUTION_URL must be the address of the gateway, such as https://host:8080, without a user"
                " name, spaces, ? and #."
            )
        if self._key and not is_printable(self._key):
            problems.append("EVOLUTION_API_KEY must be one line of plain characters, without spaces.")
        return problems

    def send(self, message: OutgoingMessage) -> SendOutcome:
        answer = post(
            f"{self._url.rstrip('/')}/message/sendText/{quote(self._instance, safe='')}",
            body=json.dumps({"number": message.to, "text": message.text}).encode(),
            headers={"apikey": self._key, "Content-Type": "application/json"},
            seconds=self._seconds,
        )
        if not isinstance(answer, Answer):
            return answer
        if answer.status in _CONFIGURATION:
            return Refused(Scope.CONFIGURATION, f"http_{answer.status}")
        return _outcome(answer.status, answer.json())


def _is_address_of_a_gateway(url: str) -> bool:
    return is_printable(url) and is_web_address(url) and not {*"@?#"} & {*url}


def _outcome(status: int, answer: Any) -> SendOutcome:
    if status in _ACCEPTED and isinstance(answer, dict):
        key = answer.get("key")
        found = key.get("id") if isinstance(key, dict) else None
        if not isinstance(found, str):
            return Unknown(NO_MESSAGE_ID)
        return Accepted(found if is_printable(found) else None)
    problems = _problems_in(answer) if status == _BAD_REQUEST else []
    if any(isinstance(each, dict) and each.get("exists") is False for each in problems):
        return Refused(Scope.RECIPIENT, "not_on_whatsapp")
    if any(_SCHEMA_ERROR.match(str(each)) for each in problems):
        return Refused(Scope.RECIPIENT_LATER, "invalid_request")
    return Unknown(f"http_{status}")


def _problems_in(answer: Any) -> list[Any]:
    response = answer.get("response") if isinstance(answer, dict) else None
    problems = response.get("message") if isinstance(response, dict) else None
    return problems if isinstance(problems, list) else []
