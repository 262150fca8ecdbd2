"""One-time links, with which a person sets the first password of an account, or a new one.

A link is a token of django.contrib.auth: signed, valid for PASSWORD_RESET_TIMEOUT, and only until the
password changes or the account logs in. Nothing of it is stored.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog
from django.conf import settings
from django.contrib.auth.tokens import default_token_generator
from django.core.mail import send_mail
from django.template.loader import render_to_string
from django.urls import reverse
from django.utils.encoding import force_bytes
from django.utils.http import urlsafe_base64_encode
from django.utils.translation import gettext as _

if TYPE_CHECKING:
    from django.contrib.auth.models import User
    from django.http import HttpRequest

log = structlog.get_logger("config")


def mail_is_configured() -> bool:
    """Whether links can be sent by mail."""
    return bool(settings.EMAIL_HOST)


def days_valid() -> int:
    """For how many days a link is valid."""
    days: int = settings.PASSWORD_RESET_TIMEOUT // 86_400
    return days


def one_time_link(request: HttpRequest, account: User) -> str:
    """A link with which the password of the account can be set once."""
    uid = urlsafe_base64_encode(force_bytes(account.pk))
    token = default_token_generator.make_token(account)
    return request.build_absolute_uri(reverse("set_password", args=(uid, token)))


def send_link(request: HttpRequest, account: User) -> bool:
    """Send a link to the account's address. Returns whether the mail server has accepted it.

    The log has the kind of a failure, and no address.
    """
    context = {
        "link": one_time_link(request, account),
        "account": account,
        "days": days_valid(),
        "site": request.get_host(),
    }
    text = render_to_string("accounts/one_time_link.txt", context)
    try:
        send_mail(_("Set your password for Engagement"), text, None, [account.email])
    except OSError as error:  # smtplib's errors among them
        # Without a traceback: the mail server repeats the address.
        log.error("account_mail_not_sent", account_id=account.pk, error=type(error).__name__)  # noqa: TRY400
        return False
    return True
