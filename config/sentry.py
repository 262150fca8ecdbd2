"""Errors to Sentry, if SENTRY_DSN is set: scrubbed as the logs are, without requests or variables."""

from __future__ import annotations

from typing import Any

from django.core.exceptions import ImproperlyConfigured

from config.logs import redacted


def configure_sentry(dsn: str, *, release: str) -> None:
    """Send errors to this DSN; nothing without one.

    Raises ImproperlyConfigured, with one sentence, without the package, or for a DSN that is none.
    """
    if not dsn:
        return
    try:
        import sentry_sdk
        from sentry_sdk.utils import BadDsn
    except ImportError:
        raise ImproperlyConfigured(
            "SENTRY_DSN is set, but sentry-sdk is missing; install it with: pip install sentry-sdk"
        ) from None
    try:
        sentry_sdk.init(
            dsn=dsn,
            release=release,
            include_local_variables=False,
            max_request_body_size="never",
            before_send=scrubbed,
            before_breadcrumb=lambda *_crumb: None,
        )
    except (BadDsn, ValueError):
        raise ImproperlyConfigured("SENTRY_DSN must be the DSN of a Sentry project.") from None


def scrubbed(event: Any, _hint: Any = None) -> Any:
    """The event without requests and users, and without what looks like an address or a number."""
    for key in ("request", "user", "extra", "breadcrumbs"):
        event.pop(key, None)
    shown: Any = redacted(event)
    # Sentry's own ids may have as many digits in a row as a phone number.
    if "event_id" in event:
        shown["event_id"] = event["event_id"]
    if trace := event.get("contexts", {}).get("trace"):
        shown["contexts"]["trace"] = trace
    return shown
