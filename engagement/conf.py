"""The app's settings, read in one place and typed; the defaults are those of the design."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import timedelta
from decimal import Decimal, InvalidOperation
from difflib import get_close_matches
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, NamedTuple
from urllib.parse import urlsplit

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured

from engagement.states import Policy

if TYPE_CHECKING:
    from collections.abc import Mapping

MAX_BATCH_SIZE: Final = 10_000
"""Above this a batch holds its locks for seconds, and one bad user costs too much to find."""


RESEMBLANCE: Final = 0.85
"""How alike, from 0 to 1, an unknown name must be to a setting to be taken for a typing error."""


class Number(NamedTuple):
    """A whole-number setting: its default and the values that make sense."""

    default: int
    minimum: int
    maximum: int


MAX_GOODBYES: Final = "ENGAGEMENT_MAX_GOODBYES_PER_RUN"
MAX_GOODBYE_SHARE: Final = "ENGAGEMENT_MAX_GOODBYE_SHARE"
HEARTBEAT_URL: Final = "ENGAGEMENT_HEARTBEAT_URL"

WHOLE_NUMBERS: Final[Mapping[str, Number]] = MappingProxyType(
    {
        "ENGAGEMENT_INACTIVITY_DAYS": Number(14, 1, 3650),
        "ENGAGEMENT_GOODBYE_WAIT_HOURS": Number(48, 1, 8760),
        "ENGAGEMENT_REMIND_AFTER_DAYS": Number(14, 1, 3650),
        "ENGAGEMENT_UNPROMPTED_RETURN_DAYS": Number(3, 1, 3650),
        "ENGAGEMENT_BATCH_SIZE": Number(1_000, 1, MAX_BATCH_SIZE),
        "ENGAGEMENT_BATCH_ATTEMPTS": Number(5, 1, 100),
        "ENGAGEMENT_LOCK_TIMEOUT_SECONDS": Number(5, 1, 3600),
        "ENGAGEMENT_RECONNECT_LIMIT_SECONDS": Number(30, 0, 86_400),
        MAX_GOODBYES: Number(0, 0, 1_000_000_000),
    }
)
SETTINGS: Final = (*WHOLE_NUMBERS, MAX_GOODBYE_SHARE, HEARTBEAT_URL)
"""Every setting of the app, by the name it has in Django's settings and in the environment."""


@dataclass(frozen=True, slots=True)
class EngagementSettings:
    """The settings, typed."""

    policy: Policy
    batch_size: int
    """Users per transaction."""
    batch_attempts: int
    """How often a batch is tried in all when it meets deadlocks, serialization failures or lock timeouts."""
    lock_timeout: timedelta
    """How long one statement waits for somebody else's lock before the batch is tried again."""
    reconnect_limit: timedelta
    """How long a run waits for a database that went away, before it ends as failed."""
    max_goodbyes: int
    """How many goodbyes one run may say; 0 for no limit."""
    max_goodbye_share: Decimal
    """To how much of the active users, from 0 to 1, one run may say goodbye; 0 for no limit."""
    heartbeat_url: str = field(repr=False)
    """What to ping when a run starts and ends, or nothing. Whoever knows it can ping as well: a secret."""


def engagement_settings() -> EngagementSettings:
    """The settings as Django has them now, so that `override_settings` is seen.

    Raises ImproperlyConfigured, with one sentence, for an impossible value.
    """
    number = {name: _whole_number(name, limits) for name, limits in WHOLE_NUMBERS.items()}
    return EngagementSettings(
        policy=Policy(
            inactivity=timedelta(days=number["ENGAGEMENT_INACTIVITY_DAYS"]),
            goodbye_wait=timedelta(hours=number["ENGAGEMENT_GOODBYE_WAIT_HOURS"]),
            remind_after=timedelta(days=number["ENGAGEMENT_REMIND_AFTER_DAYS"]),
            unprompted_return_after=timedelta(days=number["ENGAGEMENT_UNPROMPTED_RETURN_DAYS"]),
        ),
        batch_size=number["ENGAGEMENT_BATCH_SIZE"],
        batch_attempts=number["ENGAGEMENT_BATCH_ATTEMPTS"],
        lock_timeout=timedelta(seconds=number["ENGAGEMENT_LOCK_TIMEOUT_SECONDS"]),
        reconnect_limit=timedelta(seconds=number["ENGAGEMENT_RECONNECT_LIMIT_SECONDS"]),
        max_goodbyes=number[MAX_GOODBYES],
        max_goodbye_share=_share(MAX_GOODBYE_SHARE),
        heartbeat_url=_address(HEARTBEAT_URL),
    )


def refuse_misspelt_names() -> None:
    """A typing error must not leave a setting at its default, unnoticed: raises ImproperlyConfigured.

    Names that resemble none are somebody else's: container platforms set ENGAGEMENT_PORT and the
    like where a service is called "engagement".
    """
    for name in dir(settings):
        if name.startswith("ENGAGEMENT_") and name not in SETTINGS:
            for meant in get_close_matches(name, SETTINGS, n=1, cutoff=RESEMBLANCE):
                raise ImproperlyConfigured(f"{name} is not a setting; did you mean {meant}?")


def _whole_number(name: str, limits: Number) -> int:
    raw = _raw(name)
    if raw == "":
        return limits.default
    try:
        # As text, so that 1.5 and True are refused and not cut to 1.
        value = int(str(raw))
    except ValueError:
        value = None
    if value is None or not limits.minimum <= value <= limits.maximum:
        raise ImproperlyConfigured(
            f"{name} must be a whole number from {limits.minimum} to {limits.maximum}, not {raw!r}."
        )
    return value


def _share(name: str) -> Decimal:
    """A fraction; 0 where there is none. A Decimal: 0.29 of 100 users are 29, not a little less."""
    raw = _raw(name)
    try:
        value = Decimal(str(raw or 0))
    except InvalidOperation:
        value = Decimal("NaN")
    if not (value.is_finite() and 0 <= value <= 1):
        raise ImproperlyConfigured(
            f"{name} must be a fraction from 0 to 1, such as 0.05 for 5%, not {raw!r}."
        )
    return value


def _address(name: str) -> str:
    """A web address; empty where there is none. The sentence about a wrong one does not repeat it."""
    raw = str(_raw(name))
    if raw and not _is_web_address(raw):
        raise ImproperlyConfigured(
            f"{name} must look like https://host/path: http or https, a host, no user name, no spaces."
        )
    return raw


def _is_web_address(text: str) -> bool:
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        return False
    is_plain = _PRINTABLE.fullmatch(text) is not None and "@" not in parts.netloc
    return is_plain and parts.scheme in {"http", "https"} and bool(parts.hostname) and port != 0


_PRINTABLE: Final = re.compile(r"[!-~]+")


def _raw(name: str) -> object:
    """The setting as Django has it; an empty text where there is none."""
    value = getattr(settings, name, None)
    return "" if value is None else value
