"""The suppression list: addresses of people who were erased. Nobody can read an address from it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from django.core.exceptions import ImproperlyConfigured
from django.utils.crypto import salted_hmac

from engagement.addresses import canonical
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

_SALT: Final = "engagement.suppression"


def has_key() -> bool:
    """Whether there is a key, without which no address can be put on the list or found on it."""
    return bool(text_setting(SUPPRESSION_KEY).strip())


def refuse_without_key() -> None:
    """Raise ImproperlyConfigured, with one sentence, for a short key, or none to look into the list."""
    refuse_short_suppression_key()
    if not has_key() and SuppressedAddress.objects.exists():
        raise ImproperlyConfigured(
            f"{SUPPRESSION_KEY} must be set: without it people who were erased would be written to again."
        )


def suppress(address: str, *, now: datetime) -> None:
    """Put an address on the list. Transaction: joins the caller's. Repeatable."""
    row = SuppressedAddress(digest=_digests(address)[0], created_at=now)
    SuppressedAddress.objects.bulk_create([row], ignore_conflicts=True)


def is_suppressed(address: str | None) -> bool:
    """Whether an address is on the list. One statement, and none without a key."""
    if not (has_key() and address and is_address(address)):
        return False
    return SuppressedAddress.objects.filter(digest__in=_digests(address)).exists()


def lift(address: str | None) -> None:
    """Take an address off the list: its owner wants messages again. Transaction: joins the caller's."""
    if has_key() and address and is_address(address):
        SuppressedAddress.objects.filter(digest__in=_digests(address)).delete()


def _digests(address: str) -> list[str]:
    """Under the key, and under the former ones."""
    keys = (text_setting(SUPPRESSION_KEY), *listed_setting(SUPPRESSION_KEY_FALLBACKS))
    return [
        salted_hmac(_SALT, canonical(address), secret=key, algorithm="sha256").hexdigest() for key in keys
    ]
