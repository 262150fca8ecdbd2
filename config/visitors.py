"""Where a visitor of the admin comes from."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from django.http import HttpRequest


def address_behind_proxy(request: HttpRequest) -> str:
    """The address that our own proxy saw, which it puts last; what stands before it anybody can write."""
    forwarded = request.META.get("HTTP_X_FORWARDED_FOR", "").rpartition(",")[2].strip()
    return forwarded or str(request.META["REMOTE_ADDR"])
