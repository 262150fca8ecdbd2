"""Where a visitor of the admin comes from."""

from __future__ import annotations

from ipaddress import ip_address
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from django.http import HttpRequest


def address_behind_proxy(request: HttpRequest) -> str:
    """The address that our own proxy saw, which it puts last; what stands before it anybody can write.

    Some proxies add the visitor's port. Without an address to be read it is the proxy's own.
    """
    forwarded = request.META.get("HTTP_X_FORWARDED_FOR", "").rpartition(",")[2].strip()
    return _address(forwarded) or str(request.META["REMOTE_ADDR"])


def _address(text: str) -> str | None:
    """`192.0.2.1`, `192.0.2.1:4711`, `2001:db8::1` or `[2001:db8::1]:4711`, without the port."""
    bare = text.partition("]")[0].lstrip("[")
    if bare.count(":") == 1:
        bare = bare.partition(":")[0]
    try:
        return str(ip_address(bare))
    except ValueError:
        return None
