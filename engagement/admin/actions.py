"""What a person may do by hand, and how they are asked before and told after."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from time import monotonic
from typing import TYPE_CHECKING, Any, Final, NamedTuple, cast

import structlog
from django.contrib import messages
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.core.exceptions import PermissionDenied
from django.db import DatabaseError
from django.http import HttpResponseRedirect
from django.shortcuts import get_object_or_404
from django.template.response import TemplateResponse
from django.urls import path, reverse

from engagement.admin.base import ReadOnlyAdmin, moment_of
from engagement.formatting import count_text
from engagement.readable_rows import every_value_is_read
from engagement.selectors import user_history
from engagement.services.resilience.errors import ErrorKind, describe, error_kind, loggable
from engagement.services.resilience.transactions import in_transaction

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence
    from datetime import datetime
    from uuid import UUID

    from django.contrib.auth.models import User
    from django.db.models import Model, QuerySet
    from django.http import HttpRequest, HttpResponse
    from django.urls import URLPattern

log = structlog.get_logger("engagement")

PATIENCE_FOR_ONE: Final = timedelta(seconds=3)
"""How long to wait for a lock that somebody else has."""
PATIENCE: Final = timedelta(seconds=10)
"""The same for all rows of a choice: after half a minute the web server gives a request up."""
SHORTEST_WAIT: Final = timedelta(milliseconds=1)
"""Zero would mean without end."""


class Act(NamedTuple):
    """One person, one user or message, one moment."""

    target_id: UUID
    person: User
    now: datetime


class Outcome(NamedTuple):
    """What became of one act, in a few words."""

    words: str
    is_done: bool = True
    """False where everything was left as it was."""
    cancelled: int = 0
    """Pending messages that were taken out of the queue."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HandAction:
    """Something that a person may do for a user, or with a message."""

    name: str
    """In addresses and forms."""
    label: str
    permission: str
    question: str
    """What is asked before, of one or of several."""
    perform: Callable[[Act], Outcome]
    """Does it, inside a transaction."""


class Button(NamedTuple):
    """Leads to the question whether something shall be done."""

    label: str
    url: str


class ActingAdmin(ReadOnlyAdmin):
    """A list whose rows may be chosen for actions, and whose pages have a button for each that fits."""

    hand_actions: Sequence[HandAction] = ()
    change_form_outer_before_template = "engagement/buttons.html"

    def list_actions(self, request: HttpRequest) -> dict[str, Any]:
        manual = {
            action.name: (partial(_act_on_chosen, action), action.name, action.label)
            for action in self.allowed(request)
        }
        return {**manual, **super().list_actions(request)}

    def allowed(self, request: HttpRequest) -> list[HandAction]:
        """What this person may do."""
        return [action for action in self.hand_actions if request.user.has_perm(action.permission)]

    def fitting(self, row: Any) -> Collection[HandAction]:  # noqa: ARG002  others look at the row
        """What would make a difference to this row, as far as its page knows."""
        return self.hand_actions

    def buttons(
        self, request: HttpRequest, row: Any, *, fitting: Collection[HandAction] | None = None
    ) -> list[Button]:
        """What this person may do with the row, where that would make a difference.

        `fitting` is for a page that has read more of the row than we have, and knows better.
        """
        fitting = self.fitting(row) if fitting is None else fitting
        return [
            Button(action.label, self.act_url(row.pk, action))
            for action in self.allowed(request)
            if action in fitting
        ]

    def render_change_form(
        self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any
    ) -> HttpResponse:
        if "buttons" not in context:
            context["buttons"] = self.buttons(request, context["original"])
        return super().render_change_form(request, context, *args, **kwargs)

    def get_urls(self) -> list[URLPattern]:
        url = path(
            "<uuid:row_id>/act/<slug:name>/",
            self.admin_site.admin_view(self.act_on_one),
            name=f"{self.opts.app_label}_{self.opts.model_name}_act",
        )
        return [url, *super().get_urls()]

    def act_url(self, row_id: UUID, action: HandAction) -> str:
        """Where one row is acted on."""
        return reverse(
            f"{self.admin_site.name}:{self.opts.app_label}_{self.opts.model_name}_act",
            args=(row_id, action.name),
        )

    def act_on_one(self, request: HttpRequest, row_id: UUID, name: str) -> HttpResponse:
        """Ask, or act and go back."""
        action = next((action for action in self.allowed(request) if action.name == name), None)
        if action is None or not self.has_view_permission(request):
            raise PermissionDenied
        row = get_object_or_404(self.get_queryset(request), pk=row_id)
        back = self.way_back(row)
        if request.method == "POST":
            self.perform(request, action, [row])
            return HttpResponseRedirect(back)
        return self.ask(request, action, [row], back=back)

    def way_back(self, row: Any) -> str:
        """The user's page, or the row's own: other programs queue messages for who has no profile."""
        user_id = self.user_of(row)
        known = user_history.has_profile(user_id)
        model, key = ("userprofile", user_id) if known else (self.opts.model_name, row.pk)
        return reverse(f"{self.admin_site.name}:engagement_{model}_change", args=(key,))

    def ask(
        self, request: HttpRequest, action: HandAction, rows: Collection[Model], *, back: str
    ) -> TemplateResponse:
        """The page that asks whether this is meant."""
        context = {
            **self.admin_site.each_context(request),
            "title": action.label,
            "opts": self.opts,
            "action": action,
            "rows": rows,
            "checkbox_name": ACTION_CHECKBOX_NAME,
            "back": back,
        }
        return TemplateResponse(request, "engagement/confirm_action.html", context)

    def perform(self, request: HttpRequest, action: HandAction, rows: Collection[Any]) -> None:
        """Act on each row, and report what became of it, or of how many what."""
        now = moment_of(request)
        # The admin lets nobody in who has not logged in.
        person = cast("User", request.user)
        acts = [Act(self.target_of(row), person, now) for row in rows]
        deadline = monotonic() + PATIENCE.total_seconds()
        with every_value_is_read():
            outcomes = [_performed(action, act, deadline=deadline) for act in acts]
        for level, is_done in ((messages.SUCCESS, True), (messages.WARNING, False)):
            if told := [outcome for outcome in outcomes if outcome.is_done is is_done]:
                report = _in_words(told, several=len(outcomes) > 1)
                self.message_user(request, f"{action.label}: {report}.", level)

    def target_of(self, row: Any) -> UUID:
        """Whom or what the actions of this list are about."""
        target_id: UUID = row.pk
        return target_id

    def user_of(self, row: Any) -> UUID:
        """Whose page to go back to."""
        user_id: UUID = row.user_id
        return user_id


def _in_words(outcomes: Collection[Outcome], *, several: bool) -> str:
    results = Counter(outcome.words for outcome in outcomes if outcome.words)
    report = [f"{words} ({count:,})" if several else words for words, count in results.items()]
    if cancelled := sum(outcome.cancelled for outcome in outcomes):
        report.append(f"{count_text(cancelled, 'pending message')} cancelled")
    return "; ".join(report)


def _performed(action: HandAction, act: Act, *, deadline: float) -> Outcome:
    """Act on one row, in a transaction. What fails for it is no reason to leave the others alone."""
    left = timedelta(seconds=deadline - monotonic())
    wait = max(min(left, PATIENCE_FOR_ONE), SHORTEST_WAIT)
    try:
        return in_transaction(partial(action.perform, act), lock_timeout=wait, whole_tables=True)
    except DatabaseError as error:
        return _told_and_logged(error, action=action, act=act)


def _told_and_logged(error: DatabaseError, *, action: HandAction, act: Act) -> Outcome:
    log.error(
        "engagement_action_failed",
        action=action.name,
        target_id=str(act.target_id),
        error=describe(error),
        exc_info=loggable(error),
    )
    if error_kind(error) is ErrorKind.CONFLICT:
        return Outcome("left alone, because somebody else is at work on it: try again", is_done=False)
    return Outcome("could not be done", is_done=False)


def _act_on_chosen(
    action: HandAction, model_admin: ActingAdmin, request: HttpRequest, rows: QuerySet[Any]
) -> HttpResponse | None:
    """Ask about the rows that were chosen in a list, or act on them once that was answered."""
    chosen = model_admin.chosen(request, rows)
    if not chosen:
        return None
    if "confirmed" not in request.POST:
        return model_admin.ask(request, action, chosen, back=request.get_full_path())
    model_admin.perform(request, action, chosen)
    if missing := len(set(request.POST.getlist(ACTION_CHECKBOX_NAME))) - len(chosen):
        sentence = f"{count_text(missing, 'row')} of your choice left alone: no longer in this list."
        model_admin.message_user(request, f"{action.label}: {sentence}", messages.WARNING)
    return None
