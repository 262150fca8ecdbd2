"""Who may try to log in, and how often."""

from __future__ import annotations

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
"""Ten colleagues behind one address may each mistype as often as one may; whoever tries one password
after the other on all names there are may not."""


class LoginForm(AuthenticationForm):  # type: ignore[misc]  # untyped
    """The theme's, which would hand names of any length on to tables that have no room for them."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        longest = User.username.field.max_length
        self.fields["username"].validators.append(MaxLengthValidator(longest))


class LoginThrottle(AxesDatabaseHandler):  # type: ignore[misc]  # untyped
    """Counts by name and address, as the settings say, and all failures of one address together."""

    def get_failures(self, request: HttpRequest, credentials: dict[str, Any] | None = None) -> int:
        of_name: int = super().get_failures(request, credentials)
        if self._from_address(request) >= FAILURES_PER_ADDRESS:
            return max(of_name, settings.AXES_FAILURE_LIMIT)
        return of_name

    def _from_address(self, request: HttpRequest) -> int:
        address = request.axes_ip_address  # type: ignore[attr-defined]  # axes puts it there
        attempts = AccessAttempt.objects.filter(
            ip_address=address, attempt_time__gte=get_cool_off_threshold(request)
        )
        return attempts.aggregate(failures=Sum("failures_since_start"))["failures"] or 0
