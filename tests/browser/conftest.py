"""The pages that a browser looks at."""

from __future__ import annotations

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import User
from django.urls import reverse

from engagement.message_catalogue import GOODBYE
from engagement.models import EngagementJobRun, MessageType, SendingChannel, UserProfile
from engagement.services.delivery.channels import WITHOUT_END
from tests.browser.visitor import PASSWORD
from tests.factories import make_run, make_user, queue_for
from tests.integration.admin.pages import MODELS, act_url, list_url, page_url
from tests.running import run_job


@pytest.fixture
def pages(transactional_db: None) -> list[str]:
    """A page of each kind, of rows with long values, for the administrator Grace."""
    user = make_user("silent", user__whatsapp_jid=f"{'5' * 305}@s.whatsapp.net")
    run_job()
    failed = queue_for(user, MessageType.WELCOME, status="failed", error_message="x" * 200)
    EngagementJobRun.objects.all().delete()
    run = make_run(
        succeeded=1,
        errors=[{"user_id": str(user.user_id), "check_type": "inactivity_14d", "error": "x" * 200}],
    )
    SendingChannel.objects.create(backend="console", paused_until=WITHOUT_END, pause_reason="x" * 200)
    grace = User.objects.create_superuser("grace", password=PASSWORD)
    rows = [model._default_manager.all()[0] for model in MODELS]
    return [
        "/admin/",
        *map(list_url, MODELS),
        *map(page_url, rows),
        f"{list_url(UserProfile)}?q=nobody",
        list_url(SendingChannel),
        list_url(LogEntry),
        reverse("admin:engagement_apitoken_add"),
        act_url(user.user, "opt_out"),
        act_url(failed, "retry"),
        reverse("admin:engagement_engagementjobrun_undo", args=[run.pk]),
        reverse("admin:engagement_message_texts"),
        reverse("admin:engagement_message_text", args=[GOODBYE]),
        "/admin/auth/user/",
        f"/admin/auth/user/{grace.pk}/change/",
    ]
