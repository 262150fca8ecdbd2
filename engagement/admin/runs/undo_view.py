"""Undo a run from the admin: a preview, a confirmation that says the numbers, and a report."""

from __future__ import annotations

from contextlib import suppress
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.db import Error as DatabaseError
from django.http import HttpResponseRedirect
from django.shortcuts import get_object_or_404
from django.template.response import TemplateResponse
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from engagement.admin import admin_log, links
from engagement.admin.filters import now_of
from engagement.admin.masking import may_see_contacts, shown_text
from engagement.formatting import number_text
from engagement.local_times import local_text
from engagement.models import RunStatus
from engagement.selectors.audit_log import transitions_of_run
from engagement.selectors.job_runs import status_of_run
from engagement.services.resilience.deadline import statement_deadline
from engagement.services.resilience.stop import StopAfter
from engagement.services.undo.undo_batch import UndoRequest
from engagement.services.undo.undo_result import NotUndoneReason
from engagement.services.undo.undo_run import undo_run

if TYPE_CHECKING:
    from collections.abc import Iterator
    from uuid import UUID

    from django.http import HttpRequest, HttpResponse

    from engagement.admin.runs.run_list import EngagementJobRunAdmin
    from engagement.models import EngagementJobRun
    from engagement.services.undo.undo_result import UndoCounts, UndoResult

UNDO_PERMISSION: Final = "engagement.undo_run"
SECONDS: Final = 10
"""After so many seconds the preview and the undo stop at the end of a batch. The web server ends a request
after 30 seconds."""


def undo_command(run_id: UUID) -> str:
    """The command that undoes a run."""
    return f"manage.py undo_engagement_run {run_id}"


def undo_view(model_admin: EngagementJobRunAdmin, request: HttpRequest, run_id: UUID) -> HttpResponse:
    """Show what an undo would do. If the numbers of the preview are confirmed, undo the run and report.

    If the numbers have changed since the preview, the form is posted twice, another undo was quicker, or
    another program had the users locked, the preview is shown again.
    """
    if not (model_admin.has_view_permission(request) and request.user.has_perm(UNDO_PERMISSION)):
        raise PermissionDenied
    run = get_object_or_404(model_admin.get_queryset(request), pk=run_id)
    if obstacle := _obstacle(request, run):
        return _page(model_admin, request, run, obstacle=obstacle)
    preview = _undo(request, run, dry_run=True)
    if _is_confirmed(request, preview):
        result = _undo(request, run, dry_run=False)
        if result.counts.undone or result.status is not RunStatus.SUCCEEDED:
            return _report(model_admin, request, run, result)
        # Another undo was quicker, or another program has changed or locked the users.
        preview = _undo(request, run, dry_run=True)
    if _is_cut_short(preview):
        return _page(model_admin, request, run, obstacle=_failure(request, preview))
    return _page(model_admin, request, run, preview=preview)


def _is_confirmed(request: HttpRequest, preview: UndoResult) -> bool:
    return _has_numbers(request, preview) and preview.counts.undone > 0 and not _is_cut_short(preview)


def _has_numbers(request: HttpRequest, preview: UndoResult) -> bool:
    """Whether the form confirms the numbers of this preview."""
    return request.method == "POST" and request.POST.get("confirmed") == _numbers(preview.counts)


def _why_again(request: HttpRequest, preview: UndoResult) -> str:
    """Why the preview is shown again after a confirmation."""
    if request.method != "POST":
        return ""
    if not _has_numbers(request, preview):
        return _("Nothing was undone: the numbers have changed since you saw them. Look again, then confirm.")
    if not preview.counts.undone:
        return ""
    return _("Nothing was undone: another program was using these users. Try again.")


def _is_cut_short(preview: UndoResult) -> bool:
    return preview.status in {RunStatus.FAILED, RunStatus.INTERRUPTED}


def _report(
    model_admin: EngagementJobRunAdmin, request: HttpRequest, run: EngagementJobRun, result: UndoResult
) -> HttpResponse:
    """Record and say what was undone."""
    if result.counts.undone:
        _record(request, run, result.counts)
    if result.failure:
        # The database may still be away: the next page could not show what was done.
        report = " ".join(text for _level, text in _sentences(request, result))
        return _page(model_admin, request, run, obstacle=report)
    for level, text in _sentences(request, result):
        model_admin.message_user(request, text, level)
    return HttpResponseRedirect(links.run_url(run.pk))


def _obstacle(request: HttpRequest, run: EngagementJobRun) -> str:
    """Why the run cannot be undone here; empty if it can."""
    if status_of_run(run, now=now_of(request)) == RunStatus.RUNNING:
        return _("The run is at work and goes on moving users. Stop it first.")
    if not transitions_of_run(run.pk).exists():
        return _("The audit log has no transition of this run.")
    return ""


def _undo(request: HttpRequest, run: EngagementJobRun, *, dry_run: bool) -> UndoResult:
    name = admin_log.account_of(request).get_username()
    undo = UndoRequest(job_id=run.pk, now=now_of(request), dry_run=dry_run, performed_by=name)
    # A pooler without a session to spare would let a statement wait longer.
    with statement_deadline(timedelta(seconds=SECONDS)):
        return undo_run(request=undo, stop=StopAfter(SECONDS))


def _numbers(counts: UndoCounts) -> str:
    """What is confirmed."""
    return f"{counts.undone} {counts.messages_cancelled}"


def _failure(request: HttpRequest, result: UndoResult) -> str:
    if result.failure:
        return shown_text(result.failure, unmasked=may_see_contacts(request))
    return _("This takes too long for a web page. Use the command.")


def _page(
    model_admin: EngagementJobRunAdmin,
    request: HttpRequest,
    run: EngagementJobRun,
    *,
    preview: UndoResult | None = None,
    obstacle: str = "",
) -> TemplateResponse:
    counts = preview.counts if preview else None
    context: dict[str, Any] = {
        **model_admin.admin_site.each_context(request),
        "title": _("Undo the run of %(date)s") % {"date": local_text(run.now)},
        "opts": model_admin.opts,
        "run": run,
        "obstacle": obstacle,
        "why_again": _why_again(request, preview) if preview else "",
        "undone": counts.undone if counts else 0,
        "effect": _effect(counts) if counts and counts.undone else "",
        "not_undone": list(_not_undone(counts)) if counts else [],
        "confirmed": _numbers(counts) if counts else "",
        "button": _button(counts.undone) if counts else "",
        "command": undo_command(run.pk),
        "back": links.run_url(run.pk),
    }
    return TemplateResponse(request, "engagement/undo_run.html", context)


def _button(undone: int) -> str:
    text = ngettext("Put %(count)s user back", "Put %(count)s users back", undone)
    return text % {"count": number_text(undone)}


def _effect(counts: UndoCounts) -> str:
    """What the undo does, with its numbers."""
    users = ngettext(
        "%(count)s user goes back to the state before the run.",
        "%(count)s users go back to their state before the run.",
        counts.undone,
    ) % {"count": number_text(counts.undone)}
    cancelled = ngettext(
        "%(count)s unsent goodbye is cancelled.",
        "%(count)s unsent goodbyes are cancelled.",
        counts.messages_cancelled,
    ) % {"count": number_text(counts.messages_cancelled)}
    return f"{users} {cancelled}"


def _not_undone(counts: UndoCounts) -> Iterator[tuple[int, str]]:
    for reason in NotUndoneReason:
        if number := counts.not_undone.get(reason):
            yield number, str(reason.label)


def _record(request: HttpRequest, run: EngagementJobRun, counts: UndoCounts) -> None:
    """Record it in the admin's log, if the database can be reached; the audit log has it as well."""
    sentence = admin_log.english(
        admin_log.RUN_UNDONE, number=counts.undone, cancelled=counts.messages_cancelled
    )
    with suppress(DatabaseError):
        admin_log.record(run, sentence, account=admin_log.account_of(request), now=now_of(request))


def _sentences(request: HttpRequest, result: UndoResult) -> Iterator[tuple[int, str]]:
    counts = result.counts
    if counts.undone:
        yield messages.SUCCESS, _done(counts)
    for number, reason in _not_undone(counts):
        yield (
            messages.WARNING,
            _("Not undone: %(count)s, %(reason)s.") % {"count": number_text(number), "reason": reason},
        )
    if counts.failed:
        text = ngettext(
            "%(count)s user could not be put back. The log has the reason.",
            "%(count)s users could not be put back. The log has the reasons.",
            counts.failed,
        )
        yield messages.ERROR, text % {"count": number_text(counts.failed)}
    if result.status is RunStatus.INTERRUPTED:
        yield messages.WARNING, _("The time for a web page was over. Use the command for the other users.")
    if result.failure:
        yield messages.ERROR, _failure(request, result)


def _done(counts: UndoCounts) -> str:
    users = ngettext(
        "%(count)s user went back to the state before the run.",
        "%(count)s users went back to their state before the run.",
        counts.undone,
    ) % {"count": number_text(counts.undone)}
    cancelled = ngettext(
        "%(count)s unsent goodbye was cancelled.",
        "%(count)s unsent goodbyes were cancelled.",
        counts.messages_cancelled,
    ) % {"count": number_text(counts.messages_cancelled)}
    return f"{users} {cancelled}"
