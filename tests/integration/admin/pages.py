"""Addresses of the admin's pages, and what they cost."""

from __future__ import annotations

from html import unescape
from typing import TYPE_CHECKING, Any, Final

from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from engagement.models import (
    EngagementJobRun,
    EngagementMessage,
    EngagementStateTransition,
    UserEngagementState,
    UserProfile,
)

if TYPE_CHECKING:
    from django.db.models import Model
    from django.test import Client

OF_USERS: Final = (UserProfile, UserEngagementState, EngagementStateTransition, EngagementMessage)
MODELS: Final = (*OF_USERS, EngagementJobRun)
"""Those that have a list and pages."""


def list_url(model: type[Model]) -> str:
    return reverse(f"admin:engagement_{model._meta.model_name}_changelist")


def page_url(row: Model) -> str:
    return reverse(f"admin:engagement_{row._meta.model_name}_change", args=[row.pk])


def act_url(row: Model, action: str) -> str:
    return reverse(f"admin:engagement_{row._meta.model_name}_act", args=[row.pk, action])


def text_of(client: Client, url: str, **query: Any) -> str:
    """What a page shows; it must be there."""
    response = client.get(url, query)
    assert response.status_code == 200, f"{url}: {response.status_code}"
    return unescape(response.content.decode())


def cost_of(client: Client, url: str) -> int:
    """How many statements a page needs, after the first visit."""
    text_of(client, url)
    with CaptureQueriesContext(connection) as queries:
        text_of(client, url)
    return len(queries)


def choose(client: Client, model: type[Model], action: str, *rows: Model, **more: str) -> Any:
    """Choose rows of a list for an action, and go where that leads."""
    data = {"action": action, "_selected_action": [str(row.pk) for row in rows], **more}
    return client.post(list_url(model), data, follow=True)


def sentences(response: Any) -> list[str]:
    """What the person is told."""
    return [str(message) for message in response.context["messages"]]


def levels(response: Any) -> list[str]:
    """How each of the sentences is meant."""
    return [message.level_tag for message in response.context["messages"]]
