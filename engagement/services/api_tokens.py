"""The bearer tokens of the HTTP API. A token is a secret; only its digest is kept."""

from __future__ import annotations

import re
import secrets
from datetime import timedelta
from hashlib import sha256
from typing import TYPE_CHECKING, Final

import structlog
from django.utils.translation import gettext as _
from uuid_utils.compat import uuid7

from engagement.models import ApiScope, ApiToken
from engagement.states import require_aware

if TYPE_CHECKING:
    from collections.abc import Collection
    from datetime import datetime
    from uuid import UUID

PREFIX: Final = "eng_"
"""So that a search for leaked secrets finds a token."""
CLIENT: Final = re.compile(r"[a-z0-9][a-z0-9-]{0,39}")
USE_NOTED_AFTER: Final = timedelta(hours=1)
"""A token in use is written once in this time, not with each request."""

log = structlog.get_logger("engagement")


class InvalidToken(ValueError):
    """A token cannot be made like this."""


class TokenExists(Exception):
    """A token with this id has been made before."""


def make_token(
    *,
    client: str,
    scopes: Collection[str],
    now: datetime,
    made_by: str | None = None,
    token_id: UUID | None = None,
) -> tuple[ApiToken, str]:
    """Make a token for a client; returns its row, and the token itself, which cannot be read again.

    Transaction: a few statements. Each call makes a new token. With `token_id` it makes one only once.
    A client may have several.
    Raises InvalidToken, with one sentence, for a name or scopes that are not allowed; TokenExists if there is
    one with this id; ValueError for a naive `now`.
    """
    require_aware(now)
    if not CLIENT.fullmatch(client):
        raise InvalidToken(
            _("The client's name must have 1 to 40 lower-case letters, digits and hyphens, no hyphen first.")
        )
    unknown = sorted(set(scopes) - set(ApiScope.values))
    if unknown or not scopes:
        raise InvalidToken(_("Choose some of the scopes %(names)s.") % {"names": ", ".join(ApiScope.values)})
    secret = PREFIX + secrets.token_urlsafe(32)
    token, is_new = ApiToken.objects.get_or_create(
        id=token_id or uuid7(),
        defaults={
            "client": client,
            "token_digest": _digest(secret),
            "scopes": [scope for scope in ApiScope.values if scope in scopes],
            "created_at": now,
            "created_by": made_by,
        },
    )
    if not is_new:
        raise TokenExists
    log.info("engagement_api_token_made", client=client, token_id=str(token.id), scopes=token.scopes)
    return token, secret


def revoke_token(*, token_id: UUID, now: datetime) -> bool:
    """Make a token invalid for ever; returns whether it was valid.

    Transaction: one statement. Repeatable. Messages that its client has leased stay leased.
    """
    revoked = ApiToken.objects.filter(pk=token_id, revoked_at__isnull=True).update(revoked_at=now)
    if revoked:
        log.info("engagement_api_token_revoked", token_id=str(token_id))
    return bool(revoked)


def all_tokens() -> list[ApiToken]:
    """All tokens, by client."""
    return list(ApiToken.objects.order_by("client", "created_at"))


def valid_token(secret: str, *, now: datetime) -> ApiToken | None:
    """The token's row, if it is valid. Notes, once an hour, that it is in use."""
    token = ApiToken.objects.filter(token_digest=_digest(secret), revoked_at__isnull=True).first()
    if token and (token.last_used_at is None or now - token.last_used_at >= USE_NOTED_AFTER):
        ApiToken.objects.filter(pk=token.pk).update(last_used_at=now)
    return token


def _digest(secret: str) -> str:
    """Of 256 random bits: it needs neither salt nor a slow function."""
    return sha256(secret.encode()).hexdigest()
