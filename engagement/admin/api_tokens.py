"""The tokens of the HTTP API: a list, a page that makes one and shows it once, and their revocation."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from django import forms
from django.contrib import admin, messages
from django.contrib.admin.models import ADDITION
from django.core.exceptions import PermissionDenied, ValidationError
from django.http import HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from unfold.widgets import UnfoldAdminCheckboxSelectMultipleWidget, UnfoldAdminTextInputWidget
from uuid_utils.compat import uuid7

from engagement.admin import admin_log
from engagement.admin.action_views import ActionResult, SupportAction, SupportActionsAdmin, skipped
from engagement.admin.filters import now_of
from engagement.admin.read_only_admin import time_column
from engagement.models import ApiScope, ApiToken
from engagement.services.api_tokens import InvalidToken, TokenExists, make_token, revoke_token

if TYPE_CHECKING:
    from collections.abc import Collection

    from django.http import HttpRequest, HttpResponse

    from engagement.admin.action_views import ActionRequest

PERMISSION: Final = "engagement.manage_api_tokens"
MADE_BEFORE: Final = gettext_lazy(
    "This token has been made already, and cannot be shown again. If it was not copied, revoke it and make"
    " another."
)


def _revoke(request: ActionRequest) -> ActionResult:
    if not revoke_token(token_id=request.target_id, now=request.now):
        return skipped(_("the token has been revoked before"))
    token = ApiToken.objects.get(pk=request.target_id)
    admin_log.record(token, admin_log.TOKEN_REVOKED, account=request.account, now=request.now)
    return ActionResult(_("revoked"))


REVOKE: Final = SupportAction(
    name="revoke",
    label=gettext_lazy("Revoke"),
    permission=PERMISSION,
    question=gettext_lazy("Revoke this token? Its client can make no more requests with it."),
    perform=_revoke,
    is_destructive=True,
)


class _FormId(forms.UUIDField):
    """The id of a hidden field. Whatever else is sent is no id."""

    def clean(self, value: Any) -> Any:
        try:
            return super().clean(value)
        except ValidationError:
            return None


class TokenForm(forms.Form):
    """Who will use the token, and for what."""

    client = forms.CharField(
        label=gettext_lazy("Client"),
        widget=UnfoldAdminTextInputWidget,
        help_text=gettext_lazy("1 to 40 lower-case letters, digits and hyphens, such as assistant-eu."),
    )
    token_id = _FormId(required=False, initial=uuid7, widget=forms.HiddenInput)
    """A form that is sent again, as by reloading the page that answers, makes no other token."""
    scopes = forms.MultipleChoiceField(
        label=gettext_lazy("Scopes"),
        choices=[(scope.value, scope.label) for scope in ApiScope],
        widget=UnfoldAdminCheckboxSelectMultipleWidget,
    )


@admin.register(ApiToken)
class ApiTokenAdmin(SupportActionsAdmin):
    """The tokens, without their secrets."""

    list_display = ("client", "scope_names", "created", "created_by", "last_used", "revoked")
    ordering = ("-created_at", "-id")
    extra_lookups = ()
    support_actions = (REVOKE,)
    fields = (*list_display, "id")
    created = time_column("created_at", gettext_lazy("created at"))
    last_used = time_column("last_used_at", gettext_lazy("last used at"))
    revoked = time_column("revoked_at", gettext_lazy("revoked at"))

    @admin.display(description=gettext_lazy("scopes"))
    def scope_names(self, token: ApiToken) -> str:
        return ", ".join(token.scopes)

    def useful_actions(self, row: ApiToken) -> Collection[SupportAction]:
        return () if row.revoked_at else self.support_actions

    def back_url(self, request: HttpRequest, row: ApiToken | None = None) -> str:  # noqa: ARG002
        return reverse(f"{self.admin_site.name}:engagement_apitoken_changelist")

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        # Making and revoking tokens leads to the list.
        return super().has_view_permission(request, obj) or self.has_add_permission(request)

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:  # noqa: ARG002
        return bool(request.user.has_perm(PERMISSION))

    def add_view(self, request: HttpRequest, *_args: Any, **_options: Any) -> HttpResponse:
        """Make a token, and show it on the page that answers: it is in no message, cookie or log."""
        if not self.has_add_permission(request):
            raise PermissionDenied
        form, secret = TokenForm(request.POST or None), ""
        if request.method == "POST" and form.is_valid():
            try:
                secret = self._make(request, form)
            except TokenExists:
                self.message_user(request, str(MADE_BEFORE), messages.WARNING)
                return HttpResponseRedirect(self.back_url(request))
        context = {
            **self.admin_site.each_context(request),
            "title": _("Make an API token"),
            "opts": self.opts,
            "form": form,
            "secret": secret,
            "back": self.back_url(request),
        }
        response = TemplateResponse(request, "engagement/make_token.html", context)
        response["Cache-Control"] = "no-store"
        return response

    def _make(self, request: HttpRequest, form: TokenForm) -> str:
        account, now = admin_log.account_of(request), now_of(request)
        try:
            token, secret = make_token(
                client=form.cleaned_data["client"],
                scopes=form.cleaned_data["scopes"],
                now=now,
                made_by=account.get_username(),
                token_id=form.cleaned_data["token_id"],
            )
        except InvalidToken as error:
            form.add_error("client", str(error))
            return ""
        admin_log.record(token, admin_log.TOKEN_MADE, account=account, now=now, flag=ADDITION)
        return secret
