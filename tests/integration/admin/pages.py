"""URLs of the admin's pages, what they show, and what they cost."""

from __future__ import annotations

import re
from html import unescape
from typing import TYPE_CHECKING, Any, Final

from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from engagement.models import (
    EngagementJobRun,
    EngagementMessage,
    EngagementStateTransition,
    UserProfile,
)

if TYPE_CHECKING:
    from django.db.models import Model
    from django.test import Client

ROWS_OF_USERS: Final = (EngagementStateTransition, EngagementMessage)
OF_USERS: Final = (UserProfile, *ROWS_OF_USERS)
MODELS: Final = (*OF_USERS, EngagementJobRun)
"""The models that have a list and pages."""


def list_url(model: type[Model]) -> str:
    return reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_changelist")


def page_url(row: Model) -> str:
    return reverse(f"admin:engagement_{row._meta.model_name}_change", args=[row.pk])


def act_url(row: Model, action: str) -> str:
    return reverse(f"admin:engagement_{row._meta.model_name}_act", args=[row.pk, action])


def actions_url(profile: UserProfile) -> str:
    """The list of all support actions on a user."""
    return f"{reverse('admin:admin_logentry_changelist')}?object_id__exact={profile.pk}"


def export_url(model: type[Model]) -> str:
    return reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_export")


def link_to(row: Model, text: object, *, title: object = "") -> str:
    hover = f' title="{title}"' if title else ""
    return f'<a class="engagement-link" href="{page_url(row)}"{hover}>{text}</a>'


def text_of(client: Client, url: str, **query: Any) -> str:
    """The HTML of a page that must exist, without the tags and the tooltips of times."""
    response = client.get(url, query)
    assert response.status_code == 200, f"{url}: {response.status_code}"
    return unescape(re.sub(r"</?time[^>]*>", "", response.content.decode()))


def rows_of(client: Client, url: str | type[Model], **query: Any) -> list[Any]:
    """The rows on the first page of a list."""
    response = client.get(url if isinstance(url, str) else list_url(url), query)
    assert response.status_code == 200
    return list(response.context["cl"].result_list)


def cost_of(client: Client, url: str) -> int:
    """The number of statements of a page, after a first visit."""
    text_of(client, url)
    with CaptureQueriesContext(connection) as queries:
        text_of(client, url)
    return len(queries)


def choose(
    client: Client, model: type[Model], action: str, *rows: Model, query: str = "", **more: str
) -> Any:
    """Select rows of a list for an action, and follow the redirect."""
    data = {"action": action, "_selected_action": [str(row.pk) for row in rows], **more}
    return client.post(list_url(model) + query, data, follow=True)


def cell(page: str, name: str) -> str:
    """The text of a column of the only row."""
    (found,) = re.findall(rf'<t[dh][^>]*class="field-{name} [^>]*>(.*?)</t[dh]>', page, re.DOTALL)
    return " ".join(re.sub(r"<[^>]*>", " ", found).split())


def download(client: Client, *rows: Model) -> str:
    """The CSV of these rows."""
    return content_of(choose(client, type(rows[0]), "download", *rows))


def export(client: Client, model: type[Model], query: str = "") -> str:
    """The CSV of everything that the list has."""
    return content_of(client.post(export_url(model) + query))


def content_of(response: Any) -> str:
    """The text of a response that is a stream."""
    assert response.status_code == 200
    text: str = b"".join(response.streaming_content).decode()
    return text


def sentences(response: Any) -> list[str]:
    """The messages to the reader."""
    return [str(message) for message in response.context["messages"]]


def reports(response: Any) -> list[tuple[str, str]]:
    """The level and the text of each message to the reader."""
    return [(message.level_tag, str(message)) for message in response.context["messages"]]
