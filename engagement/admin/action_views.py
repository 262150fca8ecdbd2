"""Support actions in lists and on pages: buttons, confirmation, execution, report."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import structlog
from django.contrib import messages
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.core.exceptions import PermissionDenied
from django.db import DatabaseError
from django.http import HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import path, reverse
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from engagement.admin.admin_log import account_of
from engagement.admin.filters import now_of
from engagement.admin.masking import visibility_for
from engagement.admin.read_only_admin import ReadOnlyAdmin
from engagement.formatting import number_text
from engagement.selectors.user_history import has_profile
from engagement.services.resilience.errors import ErrorKind, describe, error_kind, loggable
from engagement.services.resilience.transactions import in_transaction

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence
    from datetime import datetime
    from uuid import UUID

    from django.contrib.auth.models import AbstractBaseUser
    from django.db.models import Model, QuerySet
    from django.http import HttpRequest, HttpResponse
    from django.urls import URLPattern
    from django.utils.functional import _StrOrPromise

    from engagement.admin.masking import Visibility

log = structlog.get_logger("engagement")

ROW_LOCK_WAIT: Final = timedelta(seconds=3)
"""How long one row waits for a lock."""
TOTAL_LOCK_WAIT: Final = timedelta(seconds=10)
"""How long all selected rows wait together. The web server ends a request after 30 seconds."""


class ActionRequest(NamedTuple):
    """One user or message to act on, by one staff account, at one time."""

    target_id: UUID
    account: AbstractBaseUser
    now: datetime
    visibility: Visibility


class ActionResult(NamedTuple):
    """The result of an action on one user or message."""

    text: str
    is_done: bool = True
    cancelled: int = 0
    """Pending messages that the action cancelled."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SupportAction:
    """An action on users or messages."""

    name: str
    """In URLs and forms."""
    label: _StrOrPromise
    permission: str
    question: _StrOrPromise
    """On the confirmation page, for one row or several."""
    perform: Callable[[ActionRequest], ActionResult]
    """Runs inside a transaction."""
    is_destructive: bool = False


class Button(NamedTuple):
    """A link to a confirmation page."""

    label: _StrOrPromise
    url: str
    is_destructive: bool = False


class ChosenRow(NamedTuple):
    """A row on the confirmation page."""

    id: UUID
    name: str
    state: str


def skipped(reason: str) -> ActionResult:
    """The result of an action that changed nothing."""
    return ActionResult(_("skipped because %(reason)s") % {"reason": reason}, is_done=False)


class SupportActionsAdmin(ReadOnlyAdmin):
    """A list with actions on selected rows, and pages with a button for each useful action."""

    support_actions: Sequence[SupportAction] = ()
    change_form_outer_before_template = "engagement/buttons.html"

    def list_actions(self, request: HttpRequest) -> dict[str, Any]:
        allowed = {
            action.name: (partial(_act_on_chosen, action), action.name, action.label)
            for action in self.allowed_actions(request)
        }
        return {**allowed, **super().list_actions(request)}

    def allowed_actions(self, request: HttpRequest) -> list[SupportAction]:
        """The actions that the staff account may perform."""
        return [action for action in self.support_actions if request.user.has_perm(action.permission)]

    def useful_actions(self, row: Any) -> Collection[SupportAction]:  # noqa: ARG002  subclasses use the row
        """The actions that would change something."""
        return self.support_actions

    def buttons(
        self, request: HttpRequest, row: Any, *, useful: Collection[SupportAction] | None = None
    ) -> list[Button]:
        """A button for each allowed and useful action. A page that knows more of the row passes `useful`."""
        useful = self.useful_actions(row) if useful is None else useful
        allowed = self.allowed_actions(request)
        return [
            Button(action.label, self.act_url(row.pk, action), action.is_destructive)
            for action in allowed
            if action in useful
        ]

    def row_state(self, row: Any) -> str:  # noqa: ARG002
        """The state of a row on the confirmation page, if it has one."""
        return ""

    def page_context(self, request: HttpRequest, row: Any) -> dict[str, Any]:
        return {"buttons": self.buttons(request, row)}

    def get_urls(self) -> list[URLPattern]:
        url = path(
            "<uuid:row_id>/act/<slug:name>/",
            self.admin_site.admin_view(self.act_on_one),
            name=f"{self.opts.app_label}_{self.opts.model_name}_act",
        )
        return [url, *super().get_urls()]

    def act_url(self, row_id: UUID, action: SupportAction) -> str:
        """The URL of the action on one row."""
        return reverse(
            f"{self.admin_site.name}:{self.opts.app_label}_{self.opts.model_name}_act",
            args=(row_id, action.name),
        )

    def act_on_one(self, request: HttpRequest, row_id: UUID, name: str) -> HttpResponse:
        """Ask for confirmation, or perform the action and go back."""
        action = next((action for action in self.allowed_actions(request) if action.name == name), None)
        if action is None or not self.has_view_permission(request):
            raise PermissionDenied
        row = self.get_queryset(request).filter(pk=row_id).first()
        if row is None:
            return self._get_obj_does_not_exist_redirect(request, self.opts, str(row_id))
        back = self.back_url(request, row)
        if request.method == "POST":
            self.perform(request, action, [row])
            return HttpResponseRedirect(back)
        return self.confirm(request, action, [row], back=back)

    def back_url(self, request: HttpRequest, row: Any) -> str:
        """The user's page, or the row's own page if the user has none that the staff account may see."""
        user_id = self.user_id_of(row)
        has_page = visibility_for(request).users and has_profile(user_id)
        model, key = ("userprofile", user_id) if has_page else (self.opts.model_name, row.pk)
        return reverse(f"{self.admin_site.name}:engagement_{model}_change", args=(key,))

    def confirm(
        self, request: HttpRequest, action: SupportAction, rows: Collection[Model], *, back: str
    ) -> TemplateResponse:
        """The confirmation page."""
        self.prepare(request, list(rows))
        chosen = [ChosenRow(row.pk, self.row_name(row), self.row_state(row)) for row in rows]
        heading = _("%(action)s: %(name)s") % {"action": action.label, "name": chosen[0].name}
        if len(chosen) > 1:
            heading = _("%(action)s: %(count)s selected") % {"action": action.label, "count": len(chosen)}
        context = {
            **self.admin_site.each_context(request),
            "title": heading,
            "opts": self.opts,
            "action": action,
            "submit_variant": "danger" if action.is_destructive else "primary",
            "rows": chosen,
            "checkbox_name": ACTION_CHECKBOX_NAME,
            "back": back,
        }
        return TemplateResponse(request, "engagement/confirm_action.html", context)

    def perform(self, request: HttpRequest, action: SupportAction, rows: Collection[Any]) -> None:
        """Act on each row in a transaction of its own, and report the results."""
        common = (account_of(request), now_of(request), visibility_for(request))
        lock_timeout = min(ROW_LOCK_WAIT, TOTAL_LOCK_WAIT / len(rows))
        results = [
            _performed(action, ActionRequest(row.pk, *common), lock_timeout=lock_timeout) for row in rows
        ]
        for level, is_done in ((messages.SUCCESS, True), (messages.WARNING, False)):
            if reported := [result for result in results if result.is_done is is_done]:
                report = _report(reported, with_counts=len(results) > 1)
                self.message_user(request, f"{action.label}: {report}.", level)

    def user_id_of(self, row: Any) -> UUID:
        """The user of the row."""
        user_id: UUID = row.user_id
        return user_id


def _report(results: Collection[ActionResult], *, with_counts: bool) -> str:
    counts = Counter(result.text for result in results if result.text)
    report = [f"{text} ({number_text(count)})" if with_counts else text for text, count in counts.items()]
    if cancelled := sum(result.cancelled for result in results):
        cancelled_text = ngettext(
            "%(number)s pending message cancelled", "%(number)s pending messages cancelled", cancelled
        )
        report.append(cancelled_text % {"number": number_text(cancelled)})
    return "; ".join(report)


def _performed(action: SupportAction, request: ActionRequest, *, lock_timeout: timedelta) -> ActionResult:
    """Act on one row in a transaction. An error does not stop the action on other rows."""
    try:
        return in_transaction(partial(action.perform, request), lock_timeout=lock_timeout, whole_tables=True)
    except DatabaseError as error:
        log.error(  # noqa: TRY400  with the traceback that `loggable` allows
            "engagement_action_failed",
            action=action.name,
            target_id=str(request.target_id),
            error=describe(error),
            exc_info=loggable(error),
        )
        if error_kind(error) is ErrorKind.CONFLICT:
            return skipped(_("another change is in progress; try again"))
        return ActionResult(_("failed; the log has the reason"), is_done=False)


def _act_on_chosen(
    action: SupportAction, model_admin: SupportActionsAdmin, request: HttpRequest, rows: QuerySet[Any]
) -> HttpResponse | None:
    """Ask for confirmation of an action on selected rows, or perform it once confirmed."""
    chosen = model_admin.chosen(request, rows)
    if not chosen:
        return None
    if "confirmed" not in request.POST:
        return model_admin.confirm(request, action, chosen, back=request.get_full_path())
    model_admin.perform(request, action, chosen)
    if missing := len(set(request.POST.getlist(ACTION_CHECKBOX_NAME))) - len(chosen):
        sentence = ngettext(
            "%(number)s selected row skipped: no longer in this list.",
            "%(number)s selected rows skipped: no longer in this list.",
            missing,
        ) % {"number": number_text(missing)}
        model_admin.message_user(request, f"{action.label}: {sentence}", messages.WARNING)
    return None
