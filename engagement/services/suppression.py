"""The suppression list: addresses of people who were erased. Nobody can read an address from it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypeGuard

import structlog
from django.core.exceptions import ImproperlyConfigured
from django.utils.crypto import salted_hmac

from engagement.addresses import canonical, is_group
from engagement.conf import (
    SUPPRESSION_KEY,
    SUPPRESSION_KEY_FALLBACKS,
    listed_setting,
    refuse_short_suppression_key,
    text_setting,
)
from engagement.models import SuppressedAddress, is_address

if TYPE_CHECKING:
    from datetime import datetime

    from django.db.models import QuerySet

KEY_MISSING: Final = (
    f"{SUPPRESSION_KEY} must be set: without it people who were erased would be written to again."
)
_SALT: Final = "engagement.suppression"

log = structlog.get_logger("engagement")


def has_key() -> bool:
    """Whether there is a key, without which no address can be put on the list or found on it."""
    return bool(text_setting(SUPPRESSION_KEY).strip())


def is_key_missing() -> bool:
    """Whether the list has entries and there is no key to find them. One statement at most."""
    return not has_key() and SuppressedAddress.objects.exists()


def refuse_without_key() -> None:
    """Raise ImproperlyConfigured, with one sentence, for a short key, or none to look into the list."""
    refuse_short_suppression_key()
    if is_key_missing():
        raise ImproperlyConfigured(KEY_MISSING)


def suppress(address: str, *, now: datetime) -> None:
    """Put a person's address on the list, as of now. Transaction: joins the caller's. Repeatable."""
    row = SuppressedAddress(digest=_digests(address)[0], created_at=now)
    SuppressedAddress.objects.bulk_create(
        [row], update_conflicts=True, update_fields=["created_at"], unique_fields=["digest"]
    )


def is_of_a_person(address: str | None) -> TypeGuard[str]:
    """Whether the address is one that can be on the list. A group's is other people's, too."""
    return address is not None and is_address(address) and not is_group(address)


def is_suppressed(address: str | None) -> bool:
    """Whether an address is on the list. One statement, and none without a key."""
    return _entries(address).exists()


def may_be_lifted(address: str | None, *, said_at: datetime | None) -> bool:
    """Whether no entry of an address is as late as what its owner said, at `said_at` or now."""
    return said_at is None or not _entries(address).filter(created_at__gte=said_at).exists()


def lift(address: str | None) -> int:
    """Take an address off the list, because its owner wants messages again; returns how many entries it had.

    Without a key nobody knows which; that is logged. A refusal would lose what else the owner's message does.
    Transaction: joins the caller's.
    """
    if is_key_missing():
        log.warning("engagement_suppression_key_missing")
    return _entries(address).delete()[0]


def _entries(address: str | None) -> QuerySet[SuppressedAddress]:
    if not (has_key() and is_of_a_person(address)):
        return SuppressedAddress.objects.none()
    return SuppressedAddress.objects.filter(digest__in=_digests(address))


def _digests(address: str) -> list[str]:
    """Under the key, and under the former ones."""
    keys = (text_setting(SUPPRESSION_KEY), *listed_setting(SUPPRESSION_KEY_FALLBACKS))
    return [
        salted_hmac(_SALT, canonical(address), secret=key, algorithm="sha256").hexdigest() for key in keys
    ]
