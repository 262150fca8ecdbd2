"""The settings of the app, typed, read in this one place."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from datetime import UTC, time, timedelta
from decimal import Decimal, InvalidOperation
from difflib import get_close_matches
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, NamedTuple
from urllib.parse import urlsplit

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured

from engagement.replies import (
    NAMED_IN_TEXTS,
    OPT_IN_WORDS,
    OPT_OUT_WORDS,
    PREFERENCES,
    REPLIES,
    Preference,
    plain_words,
    preferences_of,
)
from engagement.schedule import DEFAULT_RUN_TIME
from engagement.sending_hours import zone_named
from engagement.states import Policy

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from zoneinfo import ZoneInfo

MAX_BATCH_SIZE: Final = 10_000
"""A larger batch would hold its locks for seconds, and take long to search for a user who fails."""

MIN_KEY_LENGTH: Final = 16
"""Of the suppression key: phone numbers could be found from their digests under a key that can be guessed."""

MAX_WORKERS: Final = 64
"""Each worker has its own database connection."""
MOST_THAT_PAY: Final = 4
"""More workers than that bring nothing, because Python itself runs on one core only (docs/performance.md)."""

SIMILARITY: Final = 0.85
"""From 0 to 1: an unknown name that is this similar to a setting is treated as a typing error."""


class Number(NamedTuple):
    """A whole-number setting: its default and its bounds."""

    default: int
    minimum: int
    maximum: int


MAX_GOODBYES: Final = "ENGAGEMENT_MAX_GOODBYES_PER_RUN"
MAX_GOODBYE_SHARE: Final = "ENGAGEMENT_MAX_GOODBYE_SHARE"
HEARTBEAT_URL: Final = "ENGAGEMENT_HEARTBEAT_URL"
RUN_TIME: Final = "ENGAGEMENT_RUN_TIME"
SEND_HOURS: Final = "ENGAGEMENT_SEND_HOURS"
SEND_TIME_ZONE: Final = "ENGAGEMENT_SEND_TIME_ZONE"
STAFF_TIME_ZONE: Final = "ENGAGEMENT_STAFF_TIME_ZONE"
SEND_RATE: Final = "ENGAGEMENT_SEND_RATE_PER_SECOND"
SEND_ALLOW_ONLY: Final = "ENGAGEMENT_SEND_ALLOW_ONLY"
SEND_TYPES: Final = "ENGAGEMENT_SEND_TYPES"
MESSAGE_BACKEND: Final = "ENGAGEMENT_MESSAGE_BACKEND"
SEND_TIMEOUT: Final = "ENGAGEMENT_SEND_TIMEOUT_SECONDS"
METRICS_FILE: Final = "ENGAGEMENT_METRICS_FILE"
SUPPRESSION_KEY: Final = "ENGAGEMENT_SUPPRESSION_KEY"
SUPPRESSION_KEY_FALLBACKS: Final = "ENGAGEMENT_SUPPRESSION_KEY_FALLBACKS"
STATEMENT_TIMEOUT: Final = "ENGAGEMENT_STATEMENT_TIMEOUT_SECONDS"
WORKERS: Final = "ENGAGEMENT_WORKERS"
WORDS: Final[Mapping[Preference, str]] = MappingProxyType(
    {
        Preference.OPTED_OUT: "ENGAGEMENT_OPT_OUT_WORDS",
        Preference.OPTED_IN: "ENGAGEMENT_OPT_IN_WORDS",
    }
)

POLICY: Final[Mapping[str, Number]] = MappingProxyType(
    {
        "ENGAGEMENT_INACTIVITY_DAYS": Number(14, 1, 3650),
        "ENGAGEMENT_GOODBYE_WAIT_HOURS": Number(48, 1, 8760),
        "ENGAGEMENT_REMIND_AFTER_DAYS": Number(14, 1, 3650),
        "ENGAGEMENT_UNPROMPTED_RETURN_DAYS": Number(3, 1, 3650),
    }
)
WHOLE_NUMBERS: Final[Mapping[str, Number]] = MappingProxyType(
    {
        **POLICY,
        "ENGAGEMENT_BATCH_SIZE": Number(1_000, 1, MAX_BATCH_SIZE),
        "ENGAGEMENT_BATCH_ATTEMPTS": Number(5, 1, 100),
        WORKERS: Number(0, 0, MAX_WORKERS),
        "ENGAGEMENT_LOCK_TIMEOUT_SECONDS": Number(5, 1, 3600),
        "ENGAGEMENT_RECONNECT_LIMIT_SECONDS": Number(30, 0, 86_400),
        MAX_GOODBYES: Number(0, 0, 1_000_000_000),
        "ENGAGEMENT_SEND_DAILY_CAP": Number(0, 0, 1_000_000_000),
        "ENGAGEMENT_SEND_MAX_AGE_HOURS": Number(48, 1, 8760),
        "ENGAGEMENT_SEND_MAX_ATTEMPTS": Number(5, 1, 100),
        STATEMENT_TIMEOUT: Number(300, 1, 86_400),
        SEND_TIMEOUT: Number(30, 1, 600),
    }
)
SETTINGS: Final = (
    *WHOLE_NUMBERS,
    MAX_GOODBYE_SHARE,
    HEARTBEAT_URL,
    RUN_TIME,
    *WORDS.values(),
    SEND_HOURS,
    SEND_TIME_ZONE,
    STAFF_TIME_ZONE,
    SEND_RATE,
    SEND_ALLOW_ONLY,
    SEND_TYPES,
    MESSAGE_BACKEND,
    METRICS_FILE,
    SUPPRESSION_KEY,
    SUPPRESSION_KEY_FALLBACKS,
)
"""The names of all settings, in Django's settings and in the environment."""


@dataclass(frozen=True, slots=True)
class EngagementSettings:
    """The settings, typed."""

    policy: Policy
    batch_size: int
    """Users per transaction."""
    workers: int
    """How many workers share a large run of the daily job."""
    batch_attempts: int
    """How often a batch is tried, in all, after deadlocks, serialization failures and lock timeouts."""
    lock_timeout: timedelta
    """How long one statement waits for a lock before the batch is tried again."""
    reconnect_limit: timedelta
    """How long a run tries to reconnect to the database before it fails."""
    max_goodbyes: int
    """The most goodbyes that one run may send; 0 for no limit."""
    max_goodbye_share: Decimal
    """The largest share of the active users, from 0 to 1, that one run may send a goodbye; 0 for no limit."""
    heartbeat_url: str = field(repr=False)
    """The URL to ping when a run starts and ends, or empty. A secret: anyone who knows it can ping."""
    run_time: time
    """When the scheduler starts the daily run, in UTC."""
    preferences: Mapping[str, Preference]
    """By phrase, as `plain_words` returns it: whether it opts out or in."""


def engagement_settings() -> EngagementSettings:
    """Read and check the settings. Call it where a program is entered and pass the result on.

    Raises ImproperlyConfigured, with one sentence, for an invalid value.
    """
    number = {name: whole_number(name) for name in WHOLE_NUMBERS}
    return EngagementSettings(
        policy=Policy(
            inactivity=timedelta(days=number["ENGAGEMENT_INACTIVITY_DAYS"]),
            goodbye_wait=timedelta(hours=number["ENGAGEMENT_GOODBYE_WAIT_HOURS"]),
            remind_after=timedelta(days=number["ENGAGEMENT_REMIND_AFTER_DAYS"]),
            unprompted_return_after=timedelta(days=number["ENGAGEMENT_UNPROMPTED_RETURN_DAYS"]),
        ),
        batch_size=number["ENGAGEMENT_BATCH_SIZE"],
        workers=number[WORKERS] or min(os.cpu_count() or 1, MOST_THAT_PAY),
        batch_attempts=number["ENGAGEMENT_BATCH_ATTEMPTS"],
        lock_timeout=timedelta(seconds=number["ENGAGEMENT_LOCK_TIMEOUT_SECONDS"]),
        reconnect_limit=timedelta(seconds=number["ENGAGEMENT_RECONNECT_LIMIT_SECONDS"]),
        max_goodbyes=number[MAX_GOODBYES],
        max_goodbye_share=_share(MAX_GOODBYE_SHARE),
        heartbeat_url=_web_address(HEARTBEAT_URL),
        run_time=_time_of_day(RUN_TIME),
        preferences=_preferences(),
    )


def statement_timeout() -> timedelta:
    """How long one statement may take. Read alone, because every transaction needs it."""
    return timedelta(seconds=whole_number(STATEMENT_TIMEOUT))


def refuse_short_suppression_key() -> None:
    """Raise ImproperlyConfigured for a key of the suppression list that could be guessed.

    Not for every service: what users say must be heard whatever the key.
    """
    key = text_setting(SUPPRESSION_KEY)
    if key and len(key.strip()) < MIN_KEY_LENGTH:
        raise ImproperlyConfigured(
            f"{SUPPRESSION_KEY} must have {MIN_KEY_LENGTH} characters or more. If the list has entries, keep"
            f" the former key in {SUPPRESSION_KEY_FALLBACKS}."
        )


def refuse_misspelt_names() -> None:
    """Raise ImproperlyConfigured for a name that looks like a misspelt setting.

    Other unknown names are allowed: Kubernetes sets ENGAGEMENT_HEARTBEAT_PORT and similar variables
    for a service that is called "engagement-heartbeat".
    """
    for name in dir(settings):
        if name.startswith("ENGAGEMENT_") and name not in SETTINGS and not _SERVICE_LINK.search(name):
            for similar in get_close_matches(name, SETTINGS, n=1, cutoff=SIMILARITY):
                # A name that is cut short means the whole one, which may be less similar than another.
                meant = next((setting for setting in SETTINGS if setting.startswith(name)), similar)
                raise ImproperlyConfigured(f"{name} is not a setting; did you mean {meant}?")


def whole_number(name: str) -> int:
    """One of WHOLE_NUMBERS. Raises ImproperlyConfigured outside of its bounds."""
    limits, raw = WHOLE_NUMBERS[name], raw_setting(name)
    if raw == "":
        return limits.default
    try:
        # From text, so that 1.5 and True are refused instead of truncated to 1.
        value = int(str(raw))
    except ValueError:
        value = None
    if value is None or not limits.minimum <= value <= limits.maximum:
        raise ImproperlyConfigured(
            f"{name} must be a whole number from {limits.minimum} to {limits.maximum}, not {shown(raw)}."
        )
    return value


def time_zone_setting(name: str, *, default: str) -> ZoneInfo:
    """A time zone. Raises ImproperlyConfigured for a name that the zone database does not have."""
    raw = text_setting(name) or default
    zone = zone_named(raw)
    if zone is None:
        raise ImproperlyConfigured(
            f"{name} must be the name of a time zone, such as America/Sao_Paulo, not {shown(raw)}."
        )
    return zone


def staff_time_zone() -> ZoneInfo:
    """The time zone of the admin for accounts that have chosen none."""
    return time_zone_setting(STAFF_TIME_ZONE, default="UTC")


def _share(name: str) -> Decimal:
    """A fraction, 0 by default. A Decimal, because the float 0.29 is slightly less than 29 of 100 users."""
    raw = raw_setting(name)
    try:
        value = Decimal(str(raw or 0))
    except InvalidOperation:
        value = Decimal("NaN")
    if not (value.is_finite() and 0 <= value <= 1):
        raise ImproperlyConfigured(
            f"{name} must be a fraction from 0 to 1, such as 0.05 for 5%, not {shown(raw)}."
        )
    return value


def _time_of_day(name: str) -> time:
    """A time in UTC, from `HH:MM`."""
    raw = raw_setting(name)
    if raw == "":
        return DEFAULT_RUN_TIME
    if not _HOURS_AND_MINUTES.fullmatch(str(raw)):
        raise ImproperlyConfigured(f"{name} must be a time in UTC, such as 06:00, not {shown(raw)}.")
    return time.fromisoformat(str(raw)).replace(tzinfo=UTC)


def _preferences() -> Mapping[str, Preference]:
    """The phrases that opt out and in; the settings replace the default ones."""
    if not any(map(raw_setting, WORDS.values())):
        return PREFERENCES
    opt_out = _phrases(Preference.OPTED_OUT, OPT_OUT_WORDS)
    opt_in = _phrases(Preference.OPTED_IN, OPT_IN_WORDS)
    for phrase in {plain_words(phrase) for phrase in opt_out} & {plain_words(phrase) for phrase in opt_in}:
        names = " and ".join(WORDS.values())
        raise ImproperlyConfigured(f"{names} must not have the same phrase, but {phrase!r} is in both.")
    return preferences_of(opt_out=opt_out, opt_in=opt_in)


def _phrases(preference: Preference, default: Sequence[str]) -> Sequence[str]:
    """Phrases with commas between them."""
    name = WORDS[preference]
    phrases = listed_setting(name) or default
    for phrase in phrases:
        if plain_words(phrase) in {"", *REPLIES}:
            raise ImproperlyConfigured(
                f"{name} must be phrases, none of which is a reply to the goodbye, not {phrase[:80]!r}."
            )
    for needed in NAMED_IN_TEXTS[preference]:
        if needed not in map(plain_words, phrases):
            raise ImproperlyConfigured(f"{name} must include {needed!r}, which messages tell users to send.")
    return phrases


def text_setting(name: str) -> str:
    """A setting that is a text; empty if it is missing."""
    return str(raw_setting(name))


def listed_setting(name: str) -> list[str]:
    """The items of a setting that is a text with commas between them."""
    return [item.strip() for item in text_setting(name).split(",") if item.strip()]


def shown(raw: object) -> str:
    """A value as an error repeats it: a long text is cut short."""
    return repr(raw[:_LONGEST_SHOWN] if isinstance(raw, str) else raw)


def _web_address(name: str) -> str:
    """A URL, empty by default. The error does not repeat it, because it is a secret."""
    raw = text_setting(name)
    if raw and not (is_printable(raw) and is_web_address(raw) and "@" not in urlsplit(raw).netloc):
        raise ImproperlyConfigured(
            f"{name} must look like https://host/path: http or https, a host, no user name, no spaces."
        )
    return raw


def is_web_address(text: str) -> bool:
    """Whether a request can be sent there: http or https, with a host and perhaps a port."""
    try:
        parts = urlsplit(text)
        return parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False


def is_printable(text: str) -> bool:
    """Whether the text has visible ASCII characters alone, as a URL and a header need."""
    return _PRINTABLE.fullmatch(text) is not None


_SERVICE_LINK: Final = re.compile(r"_(SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT(_\d+_(TCP|UDP|SCTP)(_\w+)?)?)$")
"""The end of a variable by which Kubernetes and Docker announce a service."""
_LONGEST_SHOWN: Final = 40
_PRINTABLE: Final = re.compile(r"[!-~]+")
_HOURS_AND_MINUTES: Final = re.compile(r"([01][0-9]|2[0-3]):[0-5][0-9]")


def raw_setting(name: str, *, default: object = "") -> object:
    """The setting in Django's settings, as it was written; `default` if it is missing."""
    value = getattr(settings, name, None)
    return default if value is None else value
