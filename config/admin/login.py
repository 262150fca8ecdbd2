"""Login: the form, the limit on failed attempts and the visitor's address."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Network, ip_address
from typing import TYPE_CHECKING, Any, Final

from axes.attempts import get_cool_off_threshold
from axes.handlers.database import AxesDatabaseHandler
from axes.models import AccessAttempt
from django.conf import settings
from django.contrib.auth.models import User
from django.core.validators import MaxLengthValidator
from django.db.models import Sum
from unfold.forms import AuthenticationForm

if TYPE_CHECKING:
    from django.http import HttpRequest

FAILURES_PER_ADDRESS: Final = 50
"""High enough for ten colleagues who share an address, low enough to stop an attempt to use one
password on many names."""

NO_ADDRESS: Final = "0.0.0.0"  # noqa: S104  a name, not a socket
"""Stands for visitors without an address: they are counted together."""


class LoginForm(AuthenticationForm):  # type: ignore[misc]  # untyped
    """The theme's form, with a limit on the length of names: the tables of attempts have one."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        longest = User.username.field.max_length
        self.fields["username"].validators.append(MaxLengthValidator(longest))


class LoginThrottle(AxesDatabaseHandler):  # type: ignore[misc]  # untyped
    """Counts failures by name and address, as the settings say, and all failures of one address."""

    def get_failures(self, request: HttpRequest, credentials: dict[str, Any] | None = None) -> int:
        of_name: int = super().get_failures(request, credentials)
        if self._from_address(request) >= FAILURES_PER_ADDRESS:
            return max(of_name, settings.AXES_FAILURE_LIMIT)
        return of_name

    def _from_address(self, request: HttpRequest) -> int:
        address = request.axes_ip_address  # type: ignore[attr-defined]  # set by axes
        attempts = AccessAttempt.objects.filter(
            ip_address=address, attempt_time__gte=get_cool_off_threshold(request)
        )
        return attempts.aggregate(failures=Sum("failures_since_start"))["failures"] or 0


def client_address(request: HttpRequest) -> str:
    """Return the address by which failed logins are counted; `NO_ADDRESS` behind a Unix socket."""
    return _address(str(request.META.get("REMOTE_ADDR") or "")) or NO_ADDRESS


def address_behind_proxy(request: HttpRequest) -> str:
    """Return the address that our own proxy saw: the last one, because visitors can forge the others.

    Some proxies add the visitor's port. If the header has no valid address, it is the proxy's own.
    """
    forwarded = request.META.get("HTTP_X_FORWARDED_FOR", "").rpartition(",")[2].strip()
    return _address(forwarded) or client_address(request)


def _address(text: str) -> str | None:
    """`192.0.2.1`, `192.0.2.1:4711`, `2001:db8::1` or `[2001:db8::1]:4711`, without the port.

    Of an IPv6 address the first 64 bits: one visitor has all addresses that begin with them.
    """
    bare = text.partition("]")[0].lstrip("[")
    if bare.count(":") == 1:
        bare = bare.partition(":")[0]
    try:
        address = ip_address(bare.partition("%")[0])
    except ValueError:
        return None
    if isinstance(address, IPv4Address):
        return str(address)
    if address.ipv4_mapped:
        return str(address.ipv4_mapped)
    return str(IPv6Network((int(address), 64), strict=False).network_address)
